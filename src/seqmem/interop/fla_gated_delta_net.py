"""Weights from and to flash-linear-attention's Gated DeltaNet layers, by the names in a
`state_dict`.

    q_proj, k_proj, v_proj = W,  g_proj, b_proj, a_proj = U          one under the other
    q_conv1d, k_conv1d, v_conv1d           the present step last
    A_log, dt_bias, o_norm.weight = scale, o_proj.weight = W_o

The names are those of `GatedDeltaNet` in flash-linear-attention at commit bc3b101, as it is made by
default: with a gate, and with short convolutions that have no bias. PyTorch is never imported.
"""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from .._core.errors import bad_input
from ..blocks.gated_delta_net import GatedDeltaCore
from ..blocks.short_conv import ShortFilter
from ..layers.stack import Stack
from ._arrays import at, check_layers, check_option, check_shapes, filled, no_others
from ._short_filter import taps, weight

MIXED = ("q", "k", "v")
BESIDE = ("g", "b", "a")

AXES = {f"{name}_proj.weight": 2 for name in (*MIXED, *BESIDE, "o")}
AXES |= {f"{name}_conv1d.weight": 3 for name in MIXED}
AXES |= {"A_log": 1, "dt_bias": 1, "o_norm.weight": 1}

REMEDY = (
    "pass the state_dict of one GatedDeltaNet, made with a gate and short convolutions, with "
    "prefixes such as 'model.layers.0.attn.' cut off the names; and its num_heads, if num_v_heads "
    "is another."
)


def from_fla_gated_delta_net(
    state_dict: Mapping[str, Any],
    key_heads: int | None = None,
    *,
    strength: float = 1.0,
    eps: float = 1e-5,
) -> Stack:
    """The block that computes what fla's `GatedDeltaNet` computes.

    The parameters get the widest precision among them. It can be differentiated: gradients with
    respect to JAX arrays in `state_dict` have the module's names.

    Args:
        state_dict: arrays by the module's names. Tensors on the CPU will do.
        key_heads: the module's `num_heads`; None is as many as of values.
        strength: 2 for a module with `allow_neg_eigval`.
        eps: the module's `norm_eps`.

    Raises:
        ValueError: where names or shapes do not fit.

    Example:
        >>> import jax, seqmem
        >>> from seqmem.interop import from_fla_gated_delta_net, to_fla_gated_delta_net
        >>> block = seqmem.blocks.gated_delta_net_block(7, 3, 2, 5, key=jax.random.key(0))
        >>> weights = to_fla_gated_delta_net(block)
        >>> from_fla_gated_delta_net(weights).init_state()[1].matrix.shape
        (3, 1, 5, 2)
    """
    arrays = no_others(state_dict, AXES, remedy=REMEDY)
    keys, inputs = arrays["q_proj.weight"].shape
    heads, value_size = len(arrays["A_log"]), len(arrays["o_norm.weight"])
    key_heads = heads if key_heads is None else key_heads
    if key_heads < 1 or heads % key_heads or keys % key_heads:
        raise bad_input(
            f"key_heads={key_heads} for {heads} heads of values, and {keys} entries of all keys.",
            "a number that divides both.",
            REMEDY,
        )
    width, values = arrays["q_conv1d.weight"].shape[2], heads * value_size
    rows = dict(zip((*MIXED, *BESIDE), (keys, keys, values, values, heads, heads), strict=True))
    shapes = {f"{name}_proj.weight": (count, inputs) for name, count in rows.items()}
    shapes |= {f"{name}_conv1d.weight": (rows[name], 1, width) for name in MIXED}
    shapes |= {"A_log": (heads,), "dt_bias": (heads,), "o_norm.weight": (value_size,)}
    shapes |= {"o_proj.weight": (inputs, values)}
    check_shapes(arrays, shapes, whose=f"{heads} heads of {value_size} values", remedy=REMEDY)

    def stacked(kind: str, names: tuple[str, ...]) -> Any:
        return jnp.concatenate([arrays[f"{name}_{kind}.weight"] for name in names])

    fields = {
        "layers.0.W": stacked("proj", MIXED),
        "layers.0.U": stacked("proj", BESIDE),
        "layers.0.conv.w": taps(stacked("conv1d", MIXED)),
        "layers.1.A_log": arrays["A_log"],
        "layers.1.dt_bias": arrays["dt_bias"],
        "layers.1.scale": arrays["o_norm.weight"],
        "layers.1.W_o": arrays["o_proj.weight"],
    }
    options = {"key_heads": key_heads, "width": width, "strength": strength, "eps": eps}
    sizes = inputs, heads, keys // key_heads, value_size
    return filled(gated_delta_net, *sizes, fields=fields, **options)


def to_fla_gated_delta_net(block: Stack) -> dict[str, Float[np.ndarray, "..."]]:
    """The parameters of a block by the names that fla's `GatedDeltaNet` has for them.

    The inverse of `from_fla_gated_delta_net`. For `module.load_state_dict`, make tensors of the
    arrays with `torch.from_numpy`.

    Args:
        block: made by `seqmem.blocks.gated_delta_net_block`, with a strength of 1, or of 2 for a module
            with `allow_neg_eigval`.

    Raises:
        ValueError: for another cell, or another strength.
    """
    check_layers(block, "seqmem.blocks.gated_delta_net_block", ShortFilter, GatedDeltaCore)
    core = at(block, "layers.1")
    check_option("strength", core.strength, (1, 2))
    keys, heads = core.key_heads * core.key_size, len(core.A_log)
    values = heads * len(core.scale)
    mixed, beside = np.cumsum((keys, keys)), np.cumsum((values, heads))
    W, U = np.array(at(block, "layers.0.W")), np.array(at(block, "layers.0.U"))
    own = dict(zip(MIXED, np.split(W, mixed), strict=True))
    own |= dict(zip(BESIDE, np.split(U, beside), strict=True))
    filters = np.split(weight(at(block, "layers.0.conv.w")), mixed)
    arrays = {f"{name}_proj.weight": rows for name, rows in own.items()}
    arrays |= {f"{name}_conv1d.weight": own for name, own in zip(MIXED, filters, strict=True)}
    return arrays | {
        "A_log": np.array(core.A_log),
        "dt_bias": np.array(core.dt_bias),
        "o_norm.weight": np.array(core.scale),
        "o_proj.weight": np.array(core.W_o),
    }
