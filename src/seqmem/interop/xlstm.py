"""Weights from and to the mLSTM layers of xLSTM 7B, by the names in a `state_dict`.

The names are those of `xLSTMLayer` in Hugging Face transformers 5.24.0, with
`weight_mode="single"`. PyTorch is never imported.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from ..blocks.xlstm import MLSTMCore
from ..layers.stack import Stack
from ._arrays import at, check_layers, check_shapes, filled, no_others

PATHS = {
    "q.weight": "layers.0.W_q",
    "k.weight": "layers.0.W_k",
    "v.weight": "layers.0.W_v",
    "ogate_preact.weight": "layers.0.W_g",
    "igate_preact.weight": "layers.0.W_i",
    "igate_preact.bias": "layers.0.b_i",
    "fgate_preact.weight": "layers.0.W_f",
    "fgate_preact.bias": "layers.0.b_f",
    "multihead_norm.weight": "layers.0.scale",
    "out_proj.weight": "layers.0.W_o",
}

VECTORS = ("igate_preact.bias", "fgate_preact.bias", "multihead_norm.weight")
AXES = {name: 1 if name in VECTORS else 2 for name in PATHS}

REMEDY = (
    "pass the state_dict of one xLSTMLayer without biases, with prefixes such as "
    "'backbone.blocks.0.mlstm_layer.' cut off the names."
)


def from_xlstm(state_dict: Mapping[str, Any], *, cap: float = 15.0, eps: float = 1e-6) -> Stack:
    """The block that computes what an `xLSTMLayer` computes.

    The parameters get the widest precision among them. It can be differentiated: gradients with
    respect to JAX arrays in `state_dict` have the module's names.

    Args:
        state_dict: arrays by the module's names. Tensors on the CPU will do.
        cap: the config's `gate_soft_cap`.
        eps: the config's `eps` and `norm_eps`, which are one here.

    Raises:
        ValueError: where names or shapes do not fit.

    Example:
        >>> import jax, numpy as np, seqmem
        >>> from seqmem.interop import from_xlstm, to_xlstm
        >>> block = seqmem.blocks.xlstm_block(10, 14, 2, key_size=6, key=jax.random.key(0))
        >>> from_xlstm(to_xlstm(block)).init_state()[0].matrix.shape
        (2, 8, 3)
    """
    arrays = no_others(state_dict, AXES, remedy=REMEDY)
    (keys, inputs), heads = arrays["q.weight"].shape, len(arrays["igate_preact.bias"])
    size = len(arrays["multihead_norm.weight"])
    check_shapes(
        arrays,
        {
            "q.weight": (keys, inputs),
            "k.weight": (keys, inputs),
            "v.weight": (size, inputs),
            "ogate_preact.weight": (size, inputs),
            "igate_preact.weight": (heads, inputs),
            "igate_preact.bias": (heads,),
            "fgate_preact.weight": (heads, inputs),
            "fgate_preact.bias": (heads,),
            "multihead_norm.weight": (size,),
            "out_proj.weight": (inputs, size),
        },
        whose=f"{inputs} inputs, {heads} heads, {keys} entries of keys and {size} of values",
        remedy=REMEDY,
    )
    fields = {path: arrays[name] for name, path in PATHS.items()}
    return filled(mlstm, inputs, size, heads, fields=fields, key_size=keys, cap=cap, eps=eps)


def to_xlstm(block: Stack) -> dict[str, Float[np.ndarray, "..."]]:
    """The parameters of a block by the names that an `xLSTMLayer` has for them.

    The inverse of `from_xlstm`. For `module.load_state_dict`, make tensors of the arrays with
    `torch.from_numpy`.

    Args:
        block: made by `seqmem.blocks.xlstm_block`.

    Raises:
        ValueError: for another cell.
    """
    check_layers(block, "seqmem.blocks.xlstm_block", MLSTMCore)
    return {name: np.array(at(block, path)) for name, path in PATHS.items()}
