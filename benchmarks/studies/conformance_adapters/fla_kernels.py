"""flash-linear-attention: its naive and chunked forms in PyTorch, which its tests compare with."""

from collections.abc import Callable
from typing import Any

from fla.ops.delta_rule import naive as delta
from fla.ops.gated_delta_rule import naive as gated_delta
from fla.ops.gdn2 import naive as gdn2
from fla.ops.generalized_delta_rule.dplr import naive as dplr
from fla.ops.gla import naive as gla
from fla.ops.kda import naive as kda
from fla.ops.retention import naive as retention
from fla.ops.simple_gla import naive as simple_gla

from seqmem.testing import KernelOp

from .entry import Entry
from .torch_function import numpy_function

CHUNK = 32
WHOLE_CHUNKS: dict[str, Any] = {"chunk_size": CHUNK, "any_length": False}
STATELESS: dict[str, Any] = {"initial_state": False, "final_state": False}
FINAL: dict[str, Any] = {"output_final_state": True}
CHUNKED: dict[str, Any] = FINAL | {"chunk_size": CHUNK}
HEADS_FIRST = {"layout": "BHTD"}


def entries() -> list[Entry]:
    return [
        _entry("delta", delta.delta_rule_recurrence, **HEADS_FIRST),
        _entry(
            "delta",
            delta.delta_rule_chunkwise,
            {"chunk_size": CHUNK},
            initial_state=False,
            **WHOLE_CHUNKS,
            **HEADS_FIRST,
        ),
        _entry(
            "delta",
            _first(delta.delta_rule_parallel),
            chunk_size=128,
            any_length=False,
            **STATELESS,
            **HEADS_FIRST,
        ),
        _entry("gated_delta", gated_delta.naive_recurrent_gated_delta_rule, FINAL),
        _entry("gated_delta", gated_delta.naive_chunk_gated_delta_rule, CHUNKED, chunk_size=CHUNK),
        _entry("kda", kda.naive_recurrent_kda, FINAL),
        _entry("kda", kda.naive_chunk_kda, CHUNKED, **WHOLE_CHUNKS),
        _entry("gdn2", gdn2.naive_recurrent_gdn2, FINAL),
        _entry("gdn2", gdn2.naive_chunk_gdn2, CHUNKED, chunk_size=CHUNK),
        _entry("gla", _renamed(gla.naive_recurrent_gla, g="gk"), FINAL),
        _entry("simple_gla", simple_gla.naive_recurrent_simple_gla, FINAL),
        _entry("simple_gla", simple_gla.naive_chunk_simple_gla, CHUNKED, chunk_size=CHUNK),
        _entry("simple_gla", _first(simple_gla.naive_parallel_simple_gla), **STATELESS),
        _entry("retention", retention.naive_retention, **STATELESS, **HEADS_FIRST),
        _entry("rwkv7", _renamed(dplr.dplr_recurrence, **DPLR), FINAL, **HEADS_FIRST),
        _entry(
            "rwkv7", _renamed(dplr.dplr_chunkwise, **DPLR), CHUNKED, **WHOLE_CHUNKS, **HEADS_FIRST
        ),
    ]


DPLR = {"w": "gk", "a": "alpha", "b": "beta"}


def _entry(
    rule: str, kernel: Callable[..., Any], options: dict[str, Any] | None = None, **fields: Any
) -> Entry:
    def run(**inputs: Any) -> Any:
        return kernel(**inputs, **(options or {}))

    return Entry(kernel.__name__, KernelOp(numpy_function(run), rule, **fields))


def _first(kernel: Callable[..., Any]) -> Callable[..., Any]:
    """The outputs without the attention matrix."""

    def run(**inputs: Any) -> Any:
        return kernel(**inputs)[0]

    run.__name__ = kernel.__name__
    return run


def _renamed(kernel: Callable[..., Any], **names: str) -> Callable[..., Any]:
    def run(**inputs: Any) -> Any:
        return kernel(**{names.get(name, name): leaf for name, leaf in inputs.items()})

    run.__name__ = kernel.__name__
    return run
