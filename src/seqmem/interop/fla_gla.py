"""Weights from and to flash-linear-attention's GLA layers, by the names in a `state_dict`.

The names are those of `GatedLinearAttention` in flash-linear-attention at commit bc3b101, as it is
made by default: with the fused norm and swish gate, without short convolutions. PyTorch is never
imported.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from ..blocks.gla import GLACore
from ..layers.stack import Stack
from ._arrays import at, check_layers, check_shapes, filled, no_others

PATHS = {
    "q_proj.weight": "layers.0.cell.W_q",
    "k_proj.weight": "layers.0.cell.W_k",
    "v_proj.weight": "layers.0.cell.W_v",
    "gk_proj.0.weight": "layers.0.cell.V_a",
    "gk_proj.1.weight": "layers.0.cell.W_a",
    "gk_proj.1.bias": "layers.0.cell.b",
    "g_proj.weight": "layers.0.W_g",
    "g_norm_swish_gate.weight": "layers.0.scale",
    "o_proj.weight": "layers.0.W_o",
}

AXES = {name: 2 for name in PATHS} | {"gk_proj.1.bias": 1, "g_norm_swish_gate.weight": 1}

REMEDY = (
    "pass the state_dict of one GatedLinearAttention, made without short convolutions and with as "
    "many heads of keys and values as of queries, with prefixes such as 'model.layers.0.attn.' cut "
    "off the names."
)


def from_fla_gla(state_dict: Mapping[str, Any], *, eps: float = 1e-5) -> Stack:
    """The block that computes what fla's `GatedLinearAttention` computes.

    The parameters get the widest precision among them. It can be differentiated: gradients with
    respect to JAX arrays in `state_dict` have the module's names.

    Args:
        state_dict: arrays by the module's names. Tensors on the CPU will do.
        eps: the module's `norm_eps`. Its `gate_logit_normalizer` is taken to be 16.

    Raises:
        ValueError: where names or shapes do not fit.

    Example:
        >>> import jax, seqmem
        >>> from seqmem.interop import from_fla_gla, to_fla_gla
        >>> block = seqmem.blocks.gla_block(12, 15, 3, key_size=6, rank=2, key=jax.random.key(0))
        >>> from_fla_gla(to_fla_gla(block)).init_state()[0].matrix.shape
        (3, 5, 2)
    """
    arrays = no_others(state_dict, AXES, remedy=REMEDY)
    (rank, inputs), keys = arrays["gk_proj.0.weight"].shape, len(arrays["gk_proj.1.bias"])
    size, head = len(arrays["g_proj.weight"]), len(arrays["g_norm_swish_gate.weight"])
    heads = size // head
    check_shapes(
        arrays,
        {
            "q_proj.weight": (keys, inputs),
            "k_proj.weight": (keys, inputs),
            "v_proj.weight": (size, inputs),
            "gk_proj.0.weight": (rank, inputs),
            "gk_proj.1.weight": (keys, rank),
            "gk_proj.1.bias": (keys,),
            "g_proj.weight": (heads * head, inputs),
            "g_norm_swish_gate.weight": (head,),
            "o_proj.weight": (inputs, size),
        },
        whose=f"{inputs} inputs, {keys} entries of keys and {size} of values, {head} in a head",
        remedy=REMEDY,
    )
    fields = {path: arrays[name] for name, path in PATHS.items()}
    return filled(gla, inputs, size, heads, fields=fields, key_size=keys, rank=rank, eps=eps)


def to_fla_gla(block: Stack) -> dict[str, Float[np.ndarray, "..."]]:
    """The parameters of a block by the names that fla's `GatedLinearAttention` has for them.

    The inverse of `from_fla_gla`. For `module.load_state_dict`, make tensors of the arrays with
    `torch.from_numpy`.

    Args:
        block: made by `seqmem.blocks.gla_block`.

    Raises:
        ValueError: for another cell.
    """
    check_layers(block, "seqmem.blocks.gla_block", GLACore)
    return {name: np.array(at(block, path)) for name, path in PATHS.items()}
