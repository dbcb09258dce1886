"""Weights from and to Mamba-2 mixers, by the names in a `state_dict`.

    in_proj.weight = [U_z; W; U_a]         with W = [W_v; W_B; W_C]
    conv1d.weight, conv1d.bias             over [v; B; C], the present step last
    A_log, dt_bias, D, norm.weight = scale, out_proj.weight = W_o

The names are those of `Mamba2Mixer` in Hugging Face transformers 5.24.0, and of state-spaces'
`Mamba2`. PyTorch is never imported.
"""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from .._core.errors import bad_input
from ..blocks.mamba2 import Mamba2Core
from ..blocks.short_conv import ShortFilter
from ..layers.stack import Stack
from ._arrays import at, check_layers, check_shapes, filled, no_others
from ._short_filter import taps, weight

AXES = {"in_proj.weight": 2, "conv1d.weight": 3, "conv1d.bias": 1, "A_log": 1, "dt_bias": 1}
AXES |= {"D": 1, "norm.weight": 1, "out_proj.weight": 2}

REMEDY = (
    "pass the state_dict of one Mamba2Mixer, with prefixes such as 'backbone.layers.0.mixer.' cut "
    "off the names, and its config's n_groups."
)


def from_mamba2(state_dict: Mapping[str, Any], groups: int, *, eps: float = 1e-5) -> Stack:
    """The block that computes what a Mamba-2 mixer computes, whose projections have no bias.

    The parameters get the widest precision among them. It can be differentiated: gradients with
    respect to JAX arrays in `state_dict` have the module's names.

    Args:
        state_dict: arrays by the module's names. Tensors on the CPU will do.
        groups: the config's `n_groups` (`ngroups` in state-spaces' own), which a state_dict does
            not tell.
        eps: the config's `layer_norm_epsilon`.

    Raises:
        ValueError: where names or shapes do not fit.

    Example:
        >>> import numpy as np
        >>> from seqmem.interop import from_mamba2
        >>> shapes = {"in_proj.weight": (94, 3), "conv1d.weight": (58, 1, 4), "conv1d.bias": 58}
        >>> shapes |= {"A_log": 6, "dt_bias": 6, "D": 6, "norm.weight": 30}
        >>> shapes |= {"out_proj.weight": (3, 30)}
        >>> weights = {name: np.ones(shape) for name, shape in shapes.items()}
        >>> from_mamba2(weights, groups=2).init_state()[1].matrix.shape
        (2, 3, 5, 7)
    """
    arrays = no_others(state_dict, AXES, remedy=REMEDY)
    (output, size), heads = arrays["out_proj.weight"].shape, len(arrays["D"])
    mixed, _, width = arrays["conv1d.weight"].shape
    both = mixed - size  # of all groups' B and C
    if groups < 1 or heads % groups or both % (2 * groups) or both < 2 * groups:
        raise bad_input(
            f"groups={groups} for {heads} heads, and {both} entries of all groups' B and C.",
            "a number that divides the heads and half of the entries.",
            REMEDY,
        )
    check_shapes(
        arrays,
        {
            "in_proj.weight": (size + mixed + heads, output),
            "conv1d.weight": (mixed, 1, width),
            "conv1d.bias": (mixed,),
            "A_log": (heads,),
            "dt_bias": (heads,),
            "D": (heads,),
            "norm.weight": (size,),
            "out_proj.weight": (output, size // heads * heads),
        },
        whose=f"{heads} heads, {size} values and {both} entries of B and C",
        remedy=REMEDY,
    )
    rows = arrays["in_proj.weight"]
    fields = {
        "layers.0.W": rows[size : size + mixed],
        "layers.0.U": jnp.concatenate([rows[:size], rows[size + mixed :]]),
        "layers.0.conv.w": taps(arrays["conv1d.weight"]),
        "layers.0.conv.b": arrays["conv1d.bias"],
        "layers.1.A_log": arrays["A_log"],
        "layers.1.dt_bias": arrays["dt_bias"],
        "layers.1.D": arrays["D"],
        "layers.1.scale": arrays["norm.weight"],
        "layers.1.W_o": arrays["out_proj.weight"],
    }
    sizes, options = (output, size, heads, both // (2 * groups)), {"groups": groups, "eps": eps}
    return filled(mamba2, *sizes, fields=fields, width=width, **options)


def to_mamba2(block: Stack) -> dict[str, Float[np.ndarray, "..."]]:
    """The parameters of a block by the names that a Mamba-2 mixer has for them.

    The inverse of `from_mamba2`. For `module.load_state_dict`, make tensors of the arrays with
    `torch.from_numpy`.

    Args:
        block: made by `seqmem.blocks.mamba2_block`.

    Raises:
        ValueError: for another cell.

    Example:
        >>> import jax, seqmem
        >>> from seqmem.interop import to_mamba2
        >>> block = seqmem.blocks.mamba2_block(3, 30, 6, 7, groups=2, key=jax.random.key(0))
        >>> [(name, array.shape) for name, array in to_mamba2(block).items()][:2]
        [('in_proj.weight', (94, 3)), ('conv1d.weight', (58, 1, 4))]
    """
    check_layers(block, "seqmem.blocks.mamba2_block", ShortFilter, Mamba2Core)
    front, core = block.layers[0], at(block, "layers.1")
    size = len(core.scale)
    z, a = np.split(at(front, "U"), (size,))
    return {
        "in_proj.weight": np.concatenate([z, at(front, "W"), a]),
        "conv1d.weight": weight(at(front, "conv.w")),
        "conv1d.bias": np.array(at(front, "conv.b")),
        "A_log": np.array(core.A_log),
        "dt_bias": np.array(core.dt_bias),
        "D": np.array(core.D),
        "norm.weight": np.array(core.scale),
        "out_proj.weight": np.array(core.W_o),
    }
