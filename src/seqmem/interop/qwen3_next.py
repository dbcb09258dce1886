"""Weights from and to the Gated DeltaNet blocks of Qwen3-Next, by the names in a `state_dict`.

    in_proj_qkvz.weight    for each key head: its rows of q and k, then v and z of its value heads
    in_proj_ba.weight      for each key head: b and a of its value heads
    conv1d.weight          over [q; k; v], the present step last
    A_log, dt_bias, norm.weight = scale, out_proj.weight = W_o

The names are those of `Qwen3NextGatedDeltaNet` in Hugging Face transformers 5.24.0. PyTorch is
never imported.
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

AXES = {"in_proj_qkvz.weight": 2, "in_proj_ba.weight": 2, "conv1d.weight": 3}
AXES |= {"A_log": 1, "dt_bias": 1, "norm.weight": 1, "out_proj.weight": 2}

REMEDY = (
    "pass the state_dict of one Qwen3NextGatedDeltaNet, with prefixes such as "
    "'model.layers.0.linear_attn.' cut off the names, and its config's linear_num_key_heads."
)


def from_qwen3_next(state_dict: Mapping[str, Any], key_heads: int, *, eps: float = 1e-6) -> Stack:
    """The block that computes what a `Qwen3NextGatedDeltaNet` computes.

    The parameters get the widest precision among them. It can be differentiated: gradients with
    respect to JAX arrays in `state_dict` have the module's names.

    Args:
        state_dict: arrays by the module's names. Tensors on the CPU will do.
        key_heads: the config's `linear_num_key_heads`, which a state_dict does not tell.
        eps: the config's `rms_norm_eps`.

    Raises:
        ValueError: where names or shapes do not fit.

    Example:
        >>> import numpy as np
        >>> from seqmem.interop import from_qwen3_next
        >>> shapes = {"in_proj_qkvz.weight": (56, 11), "in_proj_ba.weight": (12, 11)}
        >>> shapes |= {"conv1d.weight": (38, 1, 4), "A_log": 6, "dt_bias": 6, "norm.weight": 3}
        >>> shapes |= {"out_proj.weight": (11, 18)}
        >>> weights = {name: np.ones(shape) for name, shape in shapes.items()}
        >>> from_qwen3_next(weights, key_heads=2).init_state()[1].matrix.shape
        (2, 3, 3, 5)
    """
    arrays = no_others(state_dict, AXES, remedy=REMEDY)
    (output, values), heads = arrays["out_proj.weight"].shape, len(arrays["A_log"])
    value_size, (mixed, _, width) = len(arrays["norm.weight"]), arrays["conv1d.weight"].shape
    keys = (mixed - values) // 2
    if key_heads < 1 or heads % key_heads or keys % key_heads or keys < key_heads:
        raise bad_input(
            f"key_heads={key_heads} for {heads} heads of values, and {keys} entries of all keys.",
            "a number that divides both.",
            REMEDY,
        )
    check_shapes(
        arrays,
        {
            "in_proj_qkvz.weight": (2 * keys + 2 * values, output),
            "in_proj_ba.weight": (2 * heads, output),
            "conv1d.weight": (2 * keys + values, 1, width),
            "A_log": (heads,),
            "dt_bias": (heads,),
            "norm.weight": (value_size,),
            "out_proj.weight": (output, heads * value_size),
        },
        whose=f"{heads} heads of {value_size} values",
        remedy=REMEDY,
    )
    sizes = output, heads, keys // key_heads, value_size
    of_qkvz, of_ba = _orders(key_heads, *sizes[1:])
    qkvz = arrays["in_proj_qkvz.weight"][of_qkvz]
    fields = {
        "layers.0.W": qkvz[:mixed],
        "layers.0.U": jnp.concatenate([qkvz[mixed:], arrays["in_proj_ba.weight"][of_ba]]),
        "layers.0.conv.w": taps(arrays["conv1d.weight"]),
        "layers.1.A_log": arrays["A_log"],
        "layers.1.dt_bias": arrays["dt_bias"],
        "layers.1.scale": arrays["norm.weight"],
        "layers.1.W_o": arrays["out_proj.weight"],
    }
    options = {"key_heads": key_heads, "width": width, "eps": eps}
    return filled(gated_delta_net, *sizes, fields=fields, **options)


def to_qwen3_next(block: Stack) -> dict[str, Float[np.ndarray, "..."]]:
    """The parameters of a block by the names that a `Qwen3NextGatedDeltaNet` has for them.

    The inverse of `from_qwen3_next`. For `module.load_state_dict`, make tensors of the arrays with
    `torch.from_numpy`.

    Args:
        block: made by `seqmem.blocks.gated_delta_net_block`.

    Raises:
        ValueError: for another cell, or another strength than 1.

    Example:
        >>> import jax, seqmem
        >>> from seqmem.interop import to_qwen3_next
        >>> block = seqmem.blocks.gated_delta_net_block(11, 6, 5, 3, key_heads=2, key=jax.random.key(0))
        >>> [(name, array.shape) for name, array in to_qwen3_next(block).items()][:2]
        [('in_proj_qkvz.weight', (56, 11)), ('in_proj_ba.weight', (12, 11))]
    """
    check_layers(block, "seqmem.blocks.gated_delta_net_block", ShortFilter, GatedDeltaCore)
    core = at(block, "layers.1")
    check_option("strength", core.strength, (1,))
    heads, value_size = len(core.A_log), len(core.scale)
    of_qkvz, of_ba = _orders(core.key_heads, heads, core.key_size, value_size)
    rows = np.concatenate([at(block, "layers.0.W"), at(block, "layers.0.U")])
    return {
        "in_proj_qkvz.weight": rows[: len(of_qkvz)][np.argsort(of_qkvz)],
        "in_proj_ba.weight": rows[len(of_qkvz) :][np.argsort(of_ba)],
        "conv1d.weight": weight(at(block, "layers.0.conv.w")),
        "A_log": np.array(core.A_log),
        "dt_bias": np.array(core.dt_bias),
        "norm.weight": np.array(core.scale),
        "out_proj.weight": np.array(core.W_o),
    }


def _orders(
    key_heads: int, heads: int, key_size: int, value_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Where the rows of [q; k; v; z] and of [b; a] stand in the module's matrices."""
    shared = heads // key_heads
    parts = (key_size, key_size, shared * value_size, shared * value_size)
    return _gathered(key_heads, parts), _gathered(key_heads, (shared, shared))


def _gathered(groups: int, parts: tuple[int, ...]) -> np.ndarray:
    """Parts that stand side by side in each group, each put together from all groups."""
    rows = np.arange(groups * sum(parts)).reshape(groups, -1)
    return np.concatenate([part.ravel() for part in np.split(rows, np.cumsum(parts)[:-1], 1)])
