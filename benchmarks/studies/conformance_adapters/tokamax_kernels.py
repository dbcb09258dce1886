"""tokamax: Kimi Delta Attention by its XLA implementations.

The function is marked as experimental, and is not among the public names of the package.
"""

import functools
from typing import Any

import jax.numpy as jnp
from tokamax._src.ops.kda.api import kimi_delta_attention

from seqmem.testing import KernelOp

from .entry import Entry

LOWER_BOUND = -5.0
SEGMENTS = 2  # of a row, in the cases of check_op


def entries() -> list[Entry]:
    fields: dict[str, Any] = {
        "layout": "HBTD",
        "flags": ("segment_ids",),
        "dtypes": ("float32", "bfloat16"),
        "state_dtype": "float32",
    }
    chunked = KernelOp(
        functools.partial(_kda, _bounded("xla_chunked")),
        "kda",
        chunk_size=64,
        any_length=False,
        least_log_decay=LOWER_BOUND,
        **fields,
    )
    plain = functools.partial(kimi_delta_attention, implementation="xla")
    return [
        Entry(
            "kimi_delta_attention, xla", KernelOp(functools.partial(_kda, plain), "kda", **fields)
        ),
        Entry("kimi_delta_attention, xla_chunked", chunked),
    ]


def _kda(
    run: Any,
    *,
    q: Any,
    k: Any,
    v: Any,
    g: Any,
    beta: Any,
    initial_state: Any = None,
    segment_ids: Any = None,
) -> Any:
    """States are [batch, segment, head, key, value], and the ids of segments begin with 1."""
    options: dict[str, Any] = {"output_final_state": True}
    segments = 1 if segment_ids is None else SEGMENTS
    if segment_ids is not None:
        options |= {"segment_ids": segment_ids + 1, "max_num_segments": segments}
    if initial_state is not None:
        zeros = jnp.zeros_like(initial_state)
        options["initial_state"] = jnp.stack([initial_state, zeros][:segments], 1)
    o, states = run(q, k, v, g, beta, **options)
    last = 0 if segment_ids is None else segment_ids[:, -1]
    return o, states[jnp.arange(len(states)), last]


def _bounded(implementation: str) -> Any:
    """The form that computes g = bound · σ(gate) itself, with the gate of a given g."""

    def run(q: Any, k: Any, v: Any, g: Any, beta: Any, **options: Any) -> Any:
        ratio = g / LOWER_BOUND
        return kimi_delta_attention(
            q,
            k,
            v,
            jnp.log(ratio) - jnp.log1p(-ratio),
            beta,
            use_gate_in_kernel=True,
            a_log=jnp.zeros(len(q), jnp.float32),
            lower_bound=LOWER_BOUND,
            implementation=implementation,
            **options,
        )

    return run
