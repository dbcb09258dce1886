"""jax-linear-attention: its token-by-token and its chunked forms.

The package asks for jax 0.11.2 exactly, so it needs an environment of its own.
"""

import functools
from typing import Any

import jax
from jla import ops
from jla.ops.reference import MLSTMState

from seqmem.testing import KernelOp

from .entry import Entry

CHUNK = 32
KINDS = {
    "delta": "deltanet",
    "gated_delta": "gated_deltanet",
    "kda": "kda",
    "gdn2": "gdn2",
    "gla": "gla",
    "simple_gla": "simple_gla",
    "rwkv7": "rwkv7",
    "mlstm": "mlstm",
}


def entries() -> list[Entry]:
    reference = [_entry(rule, "reference") for rule in KINDS]
    return reference + [_entry(rule, "chunked") for rule in KINDS]


def _entry(rule: str, form: str) -> Entry:
    options: dict[str, Any] = {"impl": form, "output_final_state": True}
    if form == "chunked":
        options["chunk_size"] = CHUNK
    if rule == "rwkv7":
        options["scale"] = 3**-0.5  # by default it has no scale
    takes_cu_seqlens = form == "reference" and rule not in ("rwkv7", "mlstm")
    run = functools.partial(ops.linear_attention, KINDS[rule], **options)
    op = KernelOp(
        functools.partial(_mlstm, run) if rule == "mlstm" else run,
        rule,
        flags=("segment_ids", "cu_seqlens") if takes_cu_seqlens else ("segment_ids",),
        chunk_size=CHUNK if form == "chunked" else None,
        dtypes=("float32", "bfloat16"),
        state_dtype="float32",
    )
    return Entry(f"{rule}, {form}", op)


def _mlstm(run: Any, *, i: Any, f: Any, initial_state: Any = None, **inputs: Any) -> Any:
    """Without the ε in its divisor, which the equations do not have."""
    state = None if initial_state is None else MLSTMState(*initial_state)
    return run(i=i, g=jax.nn.log_sigmoid(f), initial_state=state, eps=0.0, **inputs)
