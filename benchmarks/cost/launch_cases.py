"""The programs whose launches are counted: every kind of cell, by its default method.

It imports nothing of seqmem but its public names, so that it runs with the sources of an older
commit.
"""

import contextlib
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

import seqmem

from ..common.aot import absent_device, compile_for
from ..common.launches import count_launches

BATCH = 16
KEY = jax.random.key(0)


class Case(NamedTuple):
    """A cell, how many steps it runs, and what makes the method; None is the cell's default."""

    make: Callable[[], Any]
    time: int
    size: int
    method: Callable[[], seqmem.AbstractMethod] | None = None

    def labels(self) -> dict[str, Any]:
        method = "default" if self.method is None else type(self.method()).__name__
        return {"method": method, "time": self.time, "batch": BATCH, "size": self.size}


def gated(cell_type: Any, method: Callable[[], seqmem.AbstractMethod] | None = None) -> Case:
    return Case(lambda: cell_type(768, 768, key=KEY), 1024, 768, method)


def long(
    make: Callable[..., Any],
    *args: int,
    method: Callable[[], seqmem.AbstractMethod] | None = None,
    **options: int,
) -> Case:
    return Case(lambda: make(256, *args, **options, key=KEY), 4096, 256, method)


by_kernel = functools.partial(seqmem.Parallel, kernel=True)
FAST_WEIGHTS = (
    *(seqmem.GatedDeltaRule, seqmem.GLA, seqmem.KDA, seqmem.MLSTM),
    *(seqmem.RWKV7, seqmem.DeltaProduct),
)
CASES = {
    "LSTM": gated(seqmem.LSTM),
    "LSTM, plain lax.scan": gated(seqmem.LSTM, seqmem.ReferenceScan),
    "GRU": gated(seqmem.GRU),
    "RNN": gated(seqmem.RNN),
    "MGU": gated(seqmem.MGU),
    "MinGRU": long(seqmem.MinGRU, 256),
    "MinGRU, kernel": long(seqmem.MinGRU, 256, method=by_kernel),
    "LRU": long(seqmem.LRU, 256),
    "LRU, kernel": long(seqmem.LRU, 256, method=by_kernel),
    "S6": long(seqmem.S6, 16),
    **{cell.__name__: long(cell, 256, num_heads=4) for cell in FAST_WEIGHTS},
    "SlidingWindowAttention": long(seqmem.SlidingWindowAttention, num_heads=4, window=64),
}


def programs_of(case: Case) -> dict[str, Callable[..., Any]]:
    method = None if case.method is None else case.method()

    def forward(cell: Any, xs: Any) -> Any:
        return seqmem.unroll(cell, None, xs, method=method)[1]

    def gradient(cell: Any, xs: Any) -> Any:
        return jax.grad(lambda cell: jnp.sum(jnp.abs(forward(cell, xs)) ** 2))(cell)

    return {"forward": forward, "gradient": gradient}


def measure(case: Case, target: str) -> dict[str, Any]:
    """The launches (of a GPU), their outline and the temporaries in MiB of both programs."""
    # A commit before 0.2.0 has one schedule for all platforms.
    target_platform = getattr(seqmem, "target_platform", contextlib.nullcontext)
    device, cell = absent_device(target), case.make()
    xs = jax.ShapeDtypeStruct((case.time, BATCH, case.size), jnp.float32)
    results: dict[str, Any] = {}
    for kind, program in programs_of(case).items():
        with target_platform("gpu" if target == "h200" else "tpu"):
            compiled = compile_for(device, program, cell, xs)
        results[kind] = {"MiB": compiled.memory_analysis().temp_size_in_bytes / 2**20}
        if target == "h200":
            program = count_launches(compiled.as_text())
            results[kind] |= {"launches": program.launches, "outline": program.outline()}
    return results
