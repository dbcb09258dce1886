"""Memories that are matrices, 65,536 tokens of width 4096, beside kernels written for Hopper.

32 heads of 128 channels, 8 sequences of 8192 steps. The writes are given, so that nothing but the
memory is measured. seqmem computes in float32 in any case, with products in full precision; in the
rows of bfloat16 its inputs and their gradients have 16 bits. The kernels of fla (Triton, called by
PyTorch) and of jax-linear-attention (Pallas) multiply in bfloat16.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp

import seqmem

from ...common.records import Row
from ...common.timing import mean_square_gradient, time_queued
from ..matrix_recurrences import random_writes, seqmem_readings
from ..peers import wait_for_torch
from .fast_weight_kernels import Shape, fla_calls, pallas_program
from .section import Case, Section, given

GROUPS = (("gated delta", "GLA"), ("retention", "KDA"))  # that compile together, about a minute
SHAPE, SMOKE_SHAPE = Shape(8192, 8, 32, 128), Shape(128, 2, 2, 16)
CHUNK_SIZES = (64, 256)
PRECISIONS = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
PARTS = ("forward", "gradient")


def measure(section: Section) -> None:
    shape = SMOKE_SHAPE if section.smoke else SHAPE
    chunk_sizes = CHUNK_SIZES[:1] if section.smoke else CHUNK_SIZES
    for rules in (GROUPS[0][:1],) if section.smoke else GROUPS:
        cases = [case for rule in rules for case in seqmem_cases(rule, shape, chunk_sizes)]
        section.measure(cases + [case for rule in rules for case in pallas_cases(rule, shape)])
        del cases  # and their arrays
        for rule in rules:
            for part in PARTS:
                labels = row_labels(rule, shape, "fla", "bfloat16", part)
                section.attempt(labels, functools.partial(fla_times, rule, shape, part))


def row_labels(rule: str, shape: Shape, library: str, precision: str, part: str) -> Row:
    return {
        "rule": rule,
        "sizes": list(shape),
        "library": library,
        "precision": precision,
        "part": part,
    }


def seqmem_cases(rule: str, shape: Shape, chunk_sizes: Sequence[int]) -> Iterator[Case]:
    draw = jax.jit(random_writes, static_argnums=(0, 1, 2, 3, 4))
    writes = draw(rule, *shape)
    for precision, dtype in PRECISIONS.items():
        args = (jax.tree.map(lambda leaf, dtype=dtype: leaf.astype(dtype), writes),)
        for chunk_size in chunk_sizes:
            method = seqmem.Parallel(chunk_size=chunk_size)
            forward = functools.partial(seqmem_readings, method=method)
            for part in PARTS:
                function = forward if part == "forward" else mean_square_gradient(forward)
                library = f"seqmem, chunks of {chunk_size}"
                labels = row_labels(rule, shape, library, precision, part)
                yield Case(labels, given(function, *args))


def pallas_cases(rule: str, shape: Shape) -> Iterator[Case]:
    for part in PARTS:

        def build(part: str = part) -> Any:
            forward, args = pallas_program(rule, shape)
            return forward if part == "forward" else mean_square_gradient(forward), args

        labels = row_labels(rule, shape, "jax-linear-attention", "bfloat16", part)
        yield Case(labels, build)


def fla_times(rule: str, shape: Shape, part: str) -> Row:
    return time_queued(fla_calls(rule, shape)[part], wait_for_torch, most=3)
