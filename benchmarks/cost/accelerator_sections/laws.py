"""Outputs and gradients on the device in float32, against float64 on the CPU.

Where they differ by more than float32's rounding explains, the times of all other sections mean
nothing, and the report says so.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import seqmem

from ...common.records import Row
from .section import CannotRunError, Section, build_and_compile, with_precision

LARGEST_ERROR = 1e-4  # float32 differs by about 1e-6, TF32 by 3e-4
TIME, INPUT, HIDDEN, BATCH = 300, 16, 64, 4
LENGTHS = np.array([300, 77, 1, 0], np.int32)  # of the sequences of the batch
PARALLEL = seqmem.Parallel
RUNS: dict[str, tuple[Any, seqmem.AbstractMethod]] = {
    "LSTM, Scan": (seqmem.LSTM, seqmem.Scan()),
    "GRU, Scan": (seqmem.GRU, seqmem.Scan()),
    "LRU, Scan": (seqmem.LRU, seqmem.Scan()),
    "LRU, Parallel, chunks of 16": (seqmem.LRU, PARALLEL(chunk_size=16)),
    "MinGRU, Parallel, chunks of 64": (seqmem.MinGRU, PARALLEL(chunk_size=64)),
    "GatedDeltaRule, chunks of 64": (seqmem.GatedDeltaRule, PARALLEL(chunk_size=64)),
    "GatedDeltaRule, chunks of 256": (seqmem.GatedDeltaRule, PARALLEL(chunk_size=256)),
    "KDA, chunks of 64": (seqmem.KDA, PARALLEL(chunk_size=64)),
    "SlidingWindowAttention": (seqmem.SlidingWindowAttention, PARALLEL()),
}


def measure(section: Section) -> None:
    names = list(RUNS)[:1] if section.smoke else list(RUNS)
    jobs = {name: functools.partial(results, *RUNS[name]) for name in names}
    for name, result in section.run_side_by_side(jobs).items():
        section.attempt(
            {"law": name, "precision": "float32"}, lambda result=result: check(result())
        )


def check(results: tuple[Any, Any]) -> Row:
    error = largest_error(*results)
    return {"error": error, "holds": error <= LARGEST_ERROR}  # NaN does not hold


def results(make: Any, method: seqmem.AbstractMethod) -> tuple[Any, Any]:
    """Outputs and gradients, on the device by a method, and on the CPU by a plain scan in
    float64.
    """
    cell = make_cell(make)
    xs = jax.random.normal(jax.random.key(1), (TIME, BATCH, INPUT))
    program = with_precision(outputs_and_gradients(method), "highest")
    compiled, args = build_and_compile(lambda: (program, (cell, xs)))
    try:
        cpu = jax.devices("cpu")[0]
    except RuntimeError:
        raise CannotRunError("JAX has no CPU here: leave JAX_PLATFORMS unset") from None
    with jax.enable_x64(True), jax.default_device(cpu):
        exact = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf, np.float64)), (cell, xs))
        expected = jax.jit(outputs_and_gradients(seqmem.ReferenceScan()))(*exact)
    return compiled.call(*args), expected


def make_cell(make: Any) -> seqmem.AbstractCell:
    key = jax.random.key(0)
    if make is seqmem.SlidingWindowAttention:
        return make(INPUT, num_heads=2, window=16, key=key)
    if issubclass(make, seqmem.AbstractFastWeightCell):
        return make(INPUT, HIDDEN, num_heads=2, key=key)
    return make(INPUT, HIDDEN, key=key)


def outputs_and_gradients(method: seqmem.AbstractMethod) -> Any:
    def loss(cell: Any, xs: jax.Array) -> tuple[jax.Array, jax.Array]:
        _, ys = seqmem.unroll(cell, None, xs, lengths=LENGTHS, method=method)
        return jnp.sum(ys**2), ys

    return jax.value_and_grad(loss, (0, 1), has_aux=True)


def largest_error(results: Any, expected: Any) -> float:
    """Of all arrays, the largest ‖difference‖ / ‖expected‖, where the smallest norm that counts is
    a thousandth of the largest: a gradient that is 0 has an error of its own.
    """
    pairs = [
        (np.asarray(array, np.float64), np.asarray(exact))
        for array, exact in zip(jax.tree.leaves(results), jax.tree.leaves(expected), strict=True)
    ]
    least = 1e-3 * max(np.linalg.norm(exact) for _, exact in pairs)
    errors = [
        np.linalg.norm(array - exact) / max(np.linalg.norm(exact), least) for array, exact in pairs
    ]
    return float(np.max(errors))  # NaN where one is
