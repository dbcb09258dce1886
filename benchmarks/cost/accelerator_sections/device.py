"""The device itself: the bandwidth of a copy, and what an iteration of an empty loop costs.

Memory-bound rows can be no faster than the copy, and sequential ones no faster than the loop: an
iteration launches one kernel and computes nothing to speak of. A loop whose end depends on the
data, as in Newton's methods, also returns a flag to the host in every iteration.
"""

import jax
import jax.numpy as jnp

from ...common.records import Row
from ...common.timing import time_queued
from ..peers import torch_device, wait_for_torch
from .section import Case, Section, given, no_figures

ENTRIES, ITERATIONS = 2**29, 1000  # a copy of 2 GiB


def measure(section: Section) -> None:
    x = jax.random.normal(jax.random.key(0), (2**18 if section.smoke else ENTRIES,))

    def bandwidth(ms: float) -> Row:
        return {"terabytes_per_second": 2 * x.nbytes / ms / 1e9}

    section.measure([Case(labels("copy", "XLA"), given(copy, x), bandwidth)])

    def torch_copy() -> Row:
        import torch

        source = torch.rand(x.size, device=torch_device())
        target = torch.empty_like(source)
        figures = time_queued(lambda: target.copy_(source), wait_for_torch)
        return figures | bandwidth(figures["ms"])

    section.attempt(labels("copy", "torch"), torch_copy)
    tiny = jnp.ones((8, 128))
    programs = {
        "a program of one kernel": one_kernel,
        f"a loop of {ITERATIONS}": loop,
        f"a loop of {ITERATIONS}, whose end depends on the data": loop_until,
    }
    cases = []
    for what, program in programs.items():
        figures = microseconds if "loop" in what else no_figures
        cases.append(Case(labels(what, "XLA"), given(program, tiny), figures))
    section.measure(cases)


def labels(what: str, library: str) -> Row:
    return {"what": what, "library": library, "precision": "float32"}


def copy(x: jax.Array) -> jax.Array:
    """XLA returns x itself where nothing is computed."""
    return x + 1


def one_kernel(x: jax.Array) -> jax.Array:
    return x * 1.0001


def loop(x: jax.Array) -> jax.Array:
    return jax.lax.fori_loop(0, ITERATIONS, lambda i, x: x * 1.0001, x)


def loop_until(x: jax.Array) -> jax.Array:
    """The same, with an end that the host learns from the data."""
    steps = x[0, 0] + ITERATIONS

    def step(carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        i, x = carry
        return i + 1, x * 1.0001

    return jax.lax.while_loop(lambda carry: carry[0] < steps, step, (x[0, 0], x))[1]


def microseconds(ms: float) -> Row:
    return {"microseconds_per_iteration": 1e3 * ms / ITERATIONS}
