"""Blocks with the weights of their authors' modules, and the numbers of those modules.

The reference numbers are in tests/reference: blocks.npz, solvers.npz, mamba3.npz, slots.npz and
new_blocks.npz, written by make_blocks.py, make_solvers.py, make_mamba3.py, make_slots.py and
make_new_blocks.py in that folder.
"""

import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from seqmem import interop

REFERENCE = {}
for part in ("blocks", "solvers", "mamba3", "slots", "new_blocks"):
    with np.load(pathlib.Path(__file__).parent.parent / "reference" / f"{part}.npz") as file:
        REFERENCE |= file

GRADIENT = "gradient of "
INPUTS = ("inputs", "first values")


class Block(NamedTuple):
    """The importer of a block, its inverse, and the options that the weights do not tell."""

    from_weights: Callable[..., Any]
    to_weights: Callable[..., Any]
    options: dict[str, Any]


BLOCKS = {
    "Qwen3-Next": Block(interop.from_qwen3_next, interop.to_qwen3_next, {"num_key_heads": 2}),
    "Mamba-2": Block(interop.from_mamba2, interop.to_mamba2, {"num_groups": 2}),
    "Mamba-3": Block(interop.from_mamba3, interop.to_mamba3, {"num_groups": 2}),
    "Mamba-3 MIMO": Block(
        interop.from_mamba3, interop.to_mamba3, {"num_groups": 2, "rope_fraction": 1.0}
    ),
    "Gated DeltaNet": Block(
        interop.from_fla_gated_delta_net, interop.to_fla_gated_delta_net, {"beta_max": 2.0}
    ),
    "xLSTM": Block(interop.from_xlstm, interop.to_xlstm, {}),
    "GLA": Block(interop.from_fla_gla, interop.to_fla_gla, {}),
    "MesaNet": Block(interop.from_fla_mesa_net, interop.to_fla_mesa_net, {}),
    "GSA": Block(interop.from_fla_gsa, interop.to_fla_gsa, {"num_heads": 3}),
    "RWKV-7": Block(interop.from_fla_rwkv7, interop.to_fla_rwkv7, {}),
    "RWKV-7 above": Block(interop.from_fla_rwkv7, interop.to_fla_rwkv7, {}),
    "Gated DeltaNet-2": Block(
        interop.from_fla_gated_delta_net_2, interop.to_fla_gated_delta_net_2, {"beta_max": 2.0}
    ),
    "Comba": Block(interop.from_fla_comba, interop.to_fla_comba, {}),
    "RWKV-6": Block(interop.from_fla_rwkv6, interop.to_fla_rwkv6, {}),
    "preconditioned Gated DeltaNet": Block(
        interop.from_fla_preconditioned_gated_delta_net,
        interop.to_fla_preconditioned_gated_delta_net,
        {"beta_max": 2.0},
    ),
    "preconditioned KDA": Block(
        interop.from_fla_preconditioned_kda, interop.to_fla_preconditioned_kda, {"beta_max": 2.0}
    ),
    "DeltaNet": Block(interop.from_fla_delta_net, interop.to_fla_delta_net, {"beta_max": 2.0}),
    "KDA": Block(interop.from_fla_kda, interop.to_fla_kda, {}),
    "MiniMax": Block(
        interop.from_minimax,
        interop.to_minimax,
        {"num_heads": 3, "layer": 1, "num_layers": 5},
    ),
}
every_block = pytest.mark.parametrize("name", BLOCKS)


def reference(block):
    """The arrays of one block in the file, by name."""
    prefix = f"{block}: "
    return {
        name.removeprefix(prefix): array
        for name, array in REFERENCE.items()
        if name.startswith(prefix)
    }


def weights(name):
    """The parameters of a block: the arrays with a gradient that are no inputs."""
    file = reference(name)
    return {key: file[key] for key in file if GRADIENT + key in file and key not in INPUTS}


def make_block(name, arrays):
    return BLOCKS[name].from_weights(arrays, **BLOCKS[name].options)
