"""Writes mamba3.npz beside it: what the authors' block of Mamba-3 computes as a whole, in float64.

    python tests/reference/make_mamba3.py MAMBA

with torch==2.13.0 and einops==0.8.2 on a CPU. MAMBA is a checkout of github.com/state-spaces/mamba
at commit 7438488, of April 2026. Their module `Mamba3` is loaded as a single file and runs as it
stands, but its kernels, for sequences and for single steps, need a GPU: in their place are the
loops over steps of their tests, `mamba3_siso_step_ref` and `mamba3_MIMO_step_ref`. The loop for
MIMO rotates channels 2n and 2n + 1 where the kernel of the module rotates n and n + N/2, so it gets
these as neighbours. Where this code asks for float32, it gets float64. Not run: `Mamba3` of
flash-linear-attention, which calls the same kernels. In transformers no Mamba-3 was found.

Everything is drawn from the seed, the weights too, and rounded. The names are those of blocks.npz:
"Mamba-3: inputs", "Mamba-3: in_proj.weight", "Mamba-3: gradient of inputs" and so on, the gradients
being those of Σ weight · outputs.
"""

import ast
import importlib.util
import math
import pathlib
import sys
import types
import typing
from unittest import mock

import einops
import numpy as np
import torch
from make import HERE, SEED

TIME, BATCH = 19, 2
OPS = "mamba_ssm.ops."


class Norm(torch.nn.Module):
    """RMSNorm of mamba_ssm.ops.triton.layernorm_gated without a gate, as its kernel has it."""

    def __init__(self, size, eps, device, dtype):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x):
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps)


def function(file, name):
    """One function of a file that imports what a CPU has not."""
    tree = ast.parse(file.read_text())
    (node,) = (node for node in tree.body if getattr(node, "name", None) == name)
    names = {"torch": torch, "F": torch.nn.functional, "math": math}
    names |= {"repeat": einops.repeat, "rearrange": einops.rearrange}
    names |= {"Optional": typing.Optional, "Tuple": tuple}
    exec(compile(ast.Module([node], []), str(file), "exec"), names)
    return names[name]


def load_module(checkout):
    """mamba_ssm/modules/mamba3.py, with the loops of the tests in place of its kernels."""
    tests = checkout / "tests" / "ops"
    siso_loop = function(tests / "triton" / "test_mamba3_siso.py", "mamba3_siso_step_ref")
    mimo_loop = function(tests / "tilelang" / "test_mamba3_mimo.py", "mamba3_MIMO_step_ref")

    def siso(*, chunk_size, Input_States, return_final_states, cu_seqlens, **inputs):
        return siso_loop(**inputs)[0]

    def mimo(*, Q, K, Q_bias, K_bias, MIMO_Out, **inputs):
        unused = ("chunk_size", "rotary_dim_divisor", "dtype", "return_state", "cu_seqlens")
        inputs = {name: value for name, value in inputs.items() if name not in unused}
        neighbours = torch.arange(Q.shape[-1]).reshape(2, -1).T.ravel()
        Q, K, Q_bias, K_bias = (leaf[..., neighbours] for leaf in (Q, K, Q_bias, K_bias))
        biases = {"Q_bias": Q_bias, "K_bias": K_bias}
        return mimo_loop(Q=Q, K=K, MIMO_O=MIMO_Out, **biases, **inputs)[0]

    stand_ins = {
        "triton.layernorm_gated": {"RMSNorm": Norm},
        "tilelang.mamba3.mamba3_mimo": {"mamba3_mimo": mimo},
        "triton.mamba3.mamba3_siso_combined": {"mamba3_siso_combined": siso},
        "triton.mamba3.mamba3_mimo_rotary_step": {"apply_rotary_qk_inference_fwd": None},
    }
    for name, members in stand_ins.items():
        sys.modules[OPS + name] = types.ModuleType(OPS + name)
        vars(sys.modules[OPS + name]).update(members)
    file = checkout / "mamba_ssm" / "modules" / "mamba3.py"
    spec = importlib.util.spec_from_file_location("mamba3", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Mamba3


def compute(block, size):
    """What a block with drawn weights makes of drawn inputs, by name."""
    rng = np.random.default_rng(SEED)

    def drawn(*shape):
        return torch.tensor(np.round(128 * rng.standard_normal(shape)) / 256)

    block.double().eval()
    for parameter in block.parameters():
        parameter.data = drawn(*parameter.shape)
    inputs = drawn(BATCH, TIME, size).requires_grad_()
    outputs = block(inputs)
    weight = drawn(*outputs.shape)
    (weight * outputs).sum().backward()
    leaves = {"inputs": inputs} | dict(block.named_parameters())
    found = leaves | {"outputs": outputs, "weight of outputs": weight}
    found |= {f"gradient of {name}": leaf.grad for name, leaf in leaves.items()}
    assert all(array.dtype == torch.float64 for array in found.values())
    return {name: array.detach().numpy() for name, array in found.items()}


def main(checkout):
    torch.set_default_dtype(torch.float64)
    Mamba3 = load_module(pathlib.Path(checkout))
    siso = Mamba3(6, d_state=8, expand=2, headdim=3, ngroups=2)
    mimo = Mamba3(
        5, d_state=6, expand=4, headdim=5, ngroups=2, is_mimo=True, mimo_rank=3, rope_fraction=1.0
    )
    arrays = {}
    for name, block, size in (("Mamba-3", siso, 6), ("Mamba-3 MIMO", mimo, 5)):
        arrays |= {f"{name}: {own}": array for own, array in compute(block, size).items()}
    np.savez_compressed(HERE / "mamba3.npz", **arrays)


if __name__ == "__main__":
    wide = {"float": torch.float64, "float32": torch.float64}
    with (
        mock.patch.multiple(torch, **wide),
        mock.patch.object(torch.Tensor, "float", torch.Tensor.double),
    ):
        main(*sys.argv[1:])
