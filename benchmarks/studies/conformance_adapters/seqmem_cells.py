"""seqmem: its cells by several methods, and its rules of linear attention as kernels."""

import functools
from collections.abc import Callable
from typing import Any

import jax

import seqmem
from benchmarks.cost.matrix_recurrences import MemoryOnly, write_of
from seqmem.testing import KernelOp

from .entry import Entry
from .loops import HIDDEN, INPUT, scan_op

CHUNK = 4
SCAN, PARALLEL = seqmem.Scan(), seqmem.Parallel(chunk_size=CHUNK)
CELLS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "LSTM": (seqmem.LSTM, (SCAN,)),
    "GRU": (seqmem.GRU, (SCAN,)),
    "MinGRU": (seqmem.MinGRU, (SCAN, PARALLEL)),
    "LRU": (seqmem.LRU, (SCAN, PARALLEL)),
    "MLSTM": (functools.partial(seqmem.MLSTM, num_heads=1), (SCAN, PARALLEL)),
}
RULES = {
    "delta": "delta",
    "gated_delta": "gated delta",
    "kda": "KDA",
    "gdn2": "gated delta 2",
    "gla": "GLA",
    "simple_gla": "retention",
}


def entries() -> list[Entry]:
    cells = [
        _cell(name, make, method) for name, (make, methods) in CELLS.items() for method in methods
    ]
    rules = [_rule(rule, method) for rule in RULES for method in (SCAN, PARALLEL)]
    return cells + rules


def _cell(name: str, make: Callable[..., Any], method: Any) -> Entry:
    cell = make(INPUT, HIDDEN, key=jax.random.key(0))

    def run(cell: Any, state: Any, xs: Any, **flags: Any) -> tuple[Any, Any]:
        state, ys = seqmem.unroll(cell, state, xs, method=method, **flags)
        return ys, state

    def step(cell: Any, state: Any, x: Any) -> tuple[Any, Any]:
        return cell(state, x)[::-1]

    state = jax.device_get(cell.init_state())
    op = scan_op(run, cell, state, step=step, flags=("lengths", "resets"))
    return Entry(f"{name}, {type(method).__name__}", op)


def _rule(rule: str, method: Any) -> Entry:
    """`function(q, k, v, gates) -> (o, state)`, of a memory whose inputs are its writes."""

    def kernel(*, q: Any, k: Any, v: Any, initial_state: Any = None, **options: Any) -> Any:
        resets = options.pop("resets", None)
        gates = {
            name: gate[..., None] if gate.ndim == 3 else gate for name, gate in options.items()
        }
        write = write_of(RULES[rule], {"q": q * k.shape[-1] ** -0.5, "k": k, "v": v} | gates)
        cell = MemoryOnly(jax.tree.map(lambda leaf: leaf.shape[2:], write))
        state = None if initial_state is None else seqmem.Memory(initial_state.mT)
        state, o = seqmem.unroll(cell, state, write, resets=resets, method=method)
        return o, state.matrix.mT

    op = KernelOp(kernel, rule, layout="TBHD", flags=("resets",), chunk_size=CHUNK)
    return Entry(f"{rule}, {type(method).__name__}", op)
