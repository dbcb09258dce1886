"""Weights from and to flash-linear-attention's RWKV-7 layers, by the names in a `state_dict`.

    x_r, x_w, ...          each [1, 1, input]: μ
    r_k                    [heads, input/heads]: ρ
    w_lora.lora.0.weight, 2.weight, 2.bias = V_w, W_w, b_w, and so on for a, g and v (ν)

The names are those of `RWKV7Attention` in flash-linear-attention at commit bc3b101; v_lora is in
all layers of a model but the first. PyTorch is never imported.
"""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ..blocks.rwkv7 import RWKV7Core
from ..blocks.rwkv7_upper import RWKV7CoreAbove, rwkv7_upper_block
from ..blocks.token_shift import Mixed, ShiftBeside, TokenShift
from ..layers.stack import Stack
from ._arrays import at, check_layers, check_shapes, filled, no_others

CORE = {
    "k_k": "xi",
    "k_a": "alpha",
    "r_k": "rho",
    "r_proj.weight": "W_r",
    "k_proj.weight": "W_k",
    "v_proj.weight": "W_v",
    "o_proj.weight": "W_o",
    "w_lora.lora.0.weight": "w.V",
    "w_lora.lora.2.weight": "w.W",
    "w_lora.lora.2.bias": "w.b",
    "a_lora.lora.0.weight": "a.V",
    "a_lora.lora.2.weight": "a.W",
    "a_lora.lora.2.bias": "a.b",
    "g_lora.lora.0.weight": "g.V",
    "g_lora.lora.2.weight": "g.W",
    "g_norm.weight": "scale",
    "g_norm.bias": "shift",
}
ABOVE = {
    "v_lora.lora.0.weight": "layers.1.nu.V",
    "v_lora.lora.2.weight": "layers.1.nu.W",
    "v_lora.lora.2.bias": "layers.1.nu.b",
}
SHIFTS = tuple(f"x_{use}" for use in Mixed._fields)
VECTORS = ("k_k", "k_a", "g_norm.weight", "g_norm.bias")

REMEDY = (
    "pass the state_dict of one RWKV7Attention, whose values are as many as its keys, with "
    "prefixes such as 'model.layers.0.attn.' cut off the names."
)


def from_fla_rwkv7(state_dict: Mapping[str, Any], *, eps: float | None = None) -> Stack:
    """The block that computes what fla's `RWKV7Attention` computes.

    It is that of `seqmem.blocks.rwkv7_block` where the names have no v_lora, as in the first layer of a
    model, and else that of `rwkv7_upper_block`. The parameters get the widest precision among them. It
    can be differentiated: gradients with respect to JAX arrays in `state_dict` have the module's
    names.

    Args:
        state_dict: arrays by the module's names. Tensors on the CPU will do.
        eps: the module's `norm_eps` times its `head_dim`; None is 10⁻⁵ times it, as by default.

    Raises:
        ValueError: where names or shapes do not fit.

    Example:
        >>> import jax, seqmem
        >>> from seqmem.interop import from_fla_rwkv7, to_fla_rwkv7
        >>> block = seqmem.blocks.rwkv7_block(10, 2, rank=3, key=jax.random.key(0))
        >>> from_fla_rwkv7(to_fla_rwkv7(block)).init_state()[1].matrix.shape
        (2, 5, 5)
    """
    above = any(name in state_dict for name in ABOVE)
    paths = _paths(above)
    axes = {name: 1 if name in VECTORS or name.endswith(".bias") else 2 for name in paths}
    arrays = no_others(state_dict, axes | dict.fromkeys(SHIFTS, 3), remedy=REMEDY)
    heads, head = arrays["r_k"].shape
    size = heads * head
    shapes = {name: (size,) if axes[name] == 1 else (size, size) for name in paths}
    shapes |= dict.fromkeys(SHIFTS, (1, 1, size)) | {"r_k": (heads, head)}
    for down in [name for name in paths if name.endswith("0.weight")]:
        rank = len(arrays[down])
        shapes |= {down: (rank, size), down.replace("0.weight", "2.weight"): (size, rank)}
    check_shapes(arrays, shapes, whose=f"{heads} heads of {head} entries", remedy=REMEDY)

    fields = {path: arrays[name] for name, path in paths.items()}
    fields[paths["r_k"]] = arrays["r_k"].reshape(-1)
    fields[_mu(above)] = jnp.concatenate([arrays[name][0] for name in SHIFTS])
    return filled(rwkv7_upper_block if above else rwkv7, size, heads, fields=fields, eps=eps)


def to_fla_rwkv7(block: Stack) -> dict[str, Float[np.ndarray, "..."]]:
    """The parameters of a block by the names that fla's `RWKV7Attention` has for them.

    The inverse of `from_fla_rwkv7`. For `module.load_state_dict`, make tensors of the arrays with
    `torch.from_numpy`.

    Args:
        block: made by `seqmem.blocks.rwkv7_block` or `rwkv7_upper_block`.

    Raises:
        ValueError: for another cell.
    """
    above = isinstance(block, Stack) and isinstance(block.layers[-1], RWKV7CoreAbove)
    layers = (ShiftBeside, RWKV7CoreAbove) if above else (TokenShift, RWKV7Core)
    check_layers(block, "seqmem.blocks.rwkv7_block or rwkv7_upper_block", *layers)
    paths = _paths(above)
    arrays = {name: np.array(at(block, path)) for name, path in paths.items()}
    heads = at(block, "layers.1.core.heads" if above else "layers.1.heads")
    arrays["r_k"] = arrays["r_k"].reshape(heads, -1)
    mu = np.array(at(block, _mu(above)))
    return arrays | {name: row[None, None] for name, row in zip(SHIFTS, mu, strict=True)}


def _paths(above: bool) -> dict[str, str]:
    core = "layers.1.core" if above else "layers.1"
    return {name: f"{core}.{path}" for name, path in CORE.items()} | (ABOVE if above else {})


def _mu(above: bool) -> str:
    return "layers.0.shift.mu" if above else "layers.0.mu"
