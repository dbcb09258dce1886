"""s_t = a_t ∘ s_{t−1} + b_t over all of time, by chunks of several sizes and by the kernel of
`Parallel(kernel=True)`, beside a copy.

The forward pass reads a and b and writes s; the backward pass reads a, s and ∂L/∂s, and writes
∂L/∂a and ∂L/∂b. These are the least bytes that can be moved; a row says which share of the copy's
bandwidth they make.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from seqmem._methods.linear_scan.choice import kernel_of, missing_kernel
from seqmem._methods.linear_scan.states import states_by_kernel
from seqmem._methods.recurrence import AffineMap, Schedule, diagonal_states, in_chunks

from ...common.records import Row
from .device import copy
from .section import CannotRunError, Case, Section, given

TIME, BATCH, CHANNELS = 65_536, 8, 1536
CHUNK_SIZES = (16, 64, 256, 1024)
ARRAYS = {"forward": 3, "gradient": 8}  # that are read or written once


def measure(section: Section) -> None:
    shape = (64, 2, 3) if section.smoke else (TIME, BATCH, CHANNELS)
    keys = jax.random.split(jax.random.key(0), 3)
    a = jax.random.uniform(keys[0], shape, minval=0.9, maxval=1.0)
    b, cotangent = (jax.random.normal(key, shape) for key in keys[1:])
    start = jnp.zeros(shape[1:])
    copied: list[float] = []

    def share_of_copy(arrays: int, ms: float) -> Row:
        figures = {"terabytes_per_second": arrays * b.nbytes / ms / 1e9}
        if copied:  # two arrays are read or written by a copy
            figures["share_of_copy"] = arrays * copied[0] / (2 * ms)
        return figures

    def copy_figures(ms: float) -> Row:
        copied.append(ms)
        return share_of_copy(2, ms)

    def labels(name: str, part: str) -> Row:
        return {"sizes": list(shape), "chunks": name, "precision": "float32", "part": part}

    # First, since the other rows are compared with it.
    cases = [Case(labels("copy", "forward"), given(copy, b), copy_figures)]
    schedules: dict[str, Schedule] = {
        "kernel": by_kernel,
        "one step after another": in_chunks(None),
    }
    schedules |= {f"chunks of {chunk_size}": in_chunks(chunk_size) for chunk_size in CHUNK_SIZES}
    for name, schedule in schedules.items():
        states = functools.partial(diagonal_states, schedule=schedule)
        programs = {
            "forward": given(states, a, b, start),
            "gradient": given(gradient_of(states), a, b, start, cotangent),
        }
        for part, program in programs.items():
            figures = functools.partial(share_of_copy, ARRAYS[part])
            cases.append(Case(labels(name, part), program, figures))
    section.measure(cases)


def by_kernel(maps: AffineMap, reverse: bool) -> jax.Array:
    """The schedule of the kernel of the platform."""
    if reason := missing_kernel():
        raise CannotRunError(reason)
    return states_by_kernel(kernel_of(True), None, maps, reverse)


def gradient_of(states: Callable[..., jax.Array]) -> Callable[..., Any]:
    """The backward pass of a cotangent that is given, with the forward pass before it."""

    def gradient(a: jax.Array, b: jax.Array, start: jax.Array, cotangent: jax.Array) -> Any:
        return jax.vjp(states, a, b, start)[1](cotangent)

    return gradient
