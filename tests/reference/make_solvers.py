"""Writes solvers.npz beside it: what other people's memories that are read by a solver compute.

    TRITON_INTERPRET=1 python tests/reference/make_solvers.py FLA GKA

with torch==2.13.0, einops==0.8.2, transformers==5.24.0, triton==3.6.0 and numpy==2.2.6 on a CPU.
FLA is a checkout of github.com/fla-org/flash-linear-attention at commit bc3b101, GKA one of
github.com/awslabs/hybrid-model-factory at 04b6242, the program of the authors of Gated KalmaNet; of
both, single files are loaded.

"mesa" is fla/ops/mesa_net/naive.py, in float64 where it asks for float32: the exact solution with
its gradients, from a given state, and conjugate gradients of three steps, without the 10⁻⁵ that
they add to divisors. "kalma" are the Triton kernels of one chunk, interpreted, in float32: the
solution x of (H_t + λ_t I) x_t = q_t by 30 steps of Chebyshev iteration, from a given H, and the
gradients of Σ weight · x with respect to q, k and the log-decays. "MesaNet" is fla's layer as a
whole, as make_blocks.py has others, with the exact solution. Layouts are the other code's.
"""

import importlib.util
import pathlib
import sys
import types
from unittest import mock

import make_blocks
import numpy as np
import torch
import triton
import triton.language as tl
from make import HERE, SEED

BATCH, TIME, HEADS, KEY = 2, 16, 3, 5
CHUNK, CHANNELS, STEPS, RIDGE = 32, 16, 30, 0.02  # of the kernels, which want powers of two
CHEBYSHEV = "training/src/hmf/model/hybrid_zoo/layers/gated_kalmanet/ops/chebyshev"


def draw(rng, time, key_size, dtype):
    def rounded(array):
        return (np.round(256 * array) / 256).astype(dtype)

    def unit(*shape):
        drawn = rng.standard_normal(shape)
        return rounded(drawn / np.linalg.norm(drawn, axis=-1, keepdims=True))

    lead = (BATCH, time, HEADS)
    earlier = rng.standard_normal((BATCH, HEADS, key_size, key_size))
    return {
        "q": unit(*lead, key_size),
        "k": unit(*lead, key_size),
        "v": rounded(rng.standard_normal((*lead, key_size))),
        "g": rounded(-rng.exponential(0.3, lead)),
        "beta": rounded(rng.uniform(0, 1, lead)),
        "lamb": rounded(rng.uniform(0.25, 2, (HEADS, key_size))),
        "h_kk": rounded(earlier @ earlier.swapaxes(-1, -2) / key_size),
        "h_kv": rounded(rng.standard_normal((BATCH, HEADS, key_size, key_size))),
        "weight": rounded(rng.standard_normal((*lead, key_size))),
        "weight of h_kk": rounded(rng.standard_normal((BATCH, HEADS, key_size, key_size))),
        "weight of h_kv": rounded(rng.standard_normal((BATCH, HEADS, key_size, key_size))),
    }


def load(name, path, source=None):
    module = types.ModuleType(name)
    spec = importlib.util.spec_from_file_location(name, path)
    if source is None:
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    else:
        exec(compile(source, str(path), "exec"), module.__dict__)
    return module


def compute_mesa(told, path):
    torch.set_default_dtype(torch.float64)
    naive = load("naive", path)
    without_eps = load("without_eps", path, path.read_text().replace("1e-5", "0"))
    names = ("q", "k", "v", "g", "lamb", "beta", "h_kk", "h_kv")
    leaves = {name: torch.tensor(told[name], requires_grad=True) for name in names}
    with mock.patch.object(torch.Tensor, "float", torch.Tensor.double):
        outputs, *states = naive.naive_mesa_net_exact(*leaves.values())
        iterates, _, _ = without_eps.naive_mesa_net_CG(
            *list(leaves.values())[:6], 8, 3, leaves["h_kk"], leaves["h_kv"]
        )
    loss = (torch.tensor(told["weight"]) * outputs).sum()
    for name, state in zip(("h_kk", "h_kv"), states, strict=True):
        loss = loss + (torch.tensor(told[f"weight of {name}"]) * state).sum()
    loss.backward()
    found = {f"gradient of {name}": leaf.grad for name, leaf in leaves.items()}
    found |= {"outputs": outputs, "final h_kk": states[0], "final h_kv": states[1]}
    found["outputs of three steps"] = iterates
    torch.set_default_dtype(torch.float32)
    return {name: array.detach().numpy() for name, array in found.items()}


@triton.jit
def exponential(x):
    return tl.exp(x)


class ShortConvolution(torch.nn.Conv1d):
    """Causal, without a cache."""

    def __init__(self, hidden_size, kernel_size, bias, activation):
        super().__init__(hidden_size, hidden_size, kernel_size, groups=hidden_size, bias=bias)

    def forward(self, x, **_):
        padded = torch.nn.functional.pad(x.mT, (self.kernel_size[0] - 1, 0))
        return torch.nn.functional.silu(super().forward(padded).mT), None


class Norm(torch.nn.Module):
    """RMSNorm, as its kernel has it."""

    def __init__(self, hidden_size, eps, dtype):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(hidden_size))
        self.eps = eps

    def forward(self, x):
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps)


def compute_layer(fla):
    for name in [name for name in sys.modules if name.split(".")[0] == "fla"]:
        del sys.modules[name]
    torch.set_default_dtype(torch.float64)
    wide = {"float": torch.float64, "float32": torch.float64}
    with (
        mock.patch.multiple(torch, **wide),
        mock.patch.object(torch.Tensor, "float", torch.Tensor.double),
    ):
        module = make_blocks.load_layer(fla, "mesa_net")
        naive = load("naive", fla / "ops/mesa_net/naive.py").naive_mesa_net_exact

        def solve(q, k, v, g, beta, lamb, **_):
            return naive(make_blocks.unit(q), make_blocks.unit(k), v, g, lamb, beta)

        vars(module).update(
            RMSNorm=Norm,
            ShortConvolution=ShortConvolution,
            chunk_mesa_net=solve,
            update_layer_cache=lambda *_, **__: None,
        )
        layer = module.MesaNet(hidden_size=7, num_heads=3, head_dim=2)
        found = make_blocks.compute(layer, lambda layer, x: layer(x)[0], {"inputs": 7})
    torch.set_default_dtype(torch.float32)
    return found


def sum_from_end(gates, chunk_size, reverse):
    assert reverse
    assert chunk_size == gates.shape[1]
    return gates.flip(1).cumsum(1).flip(1)


def compute_kalma(told, folder):
    """One chunk: the states before it are given, and nothing follows it."""
    for name in ("fla", "fla.ops", "fla.ops.common", "fla.ops.utils", "gka"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["gka"].__path__ = [str(folder)]
    sys.modules["fla.ops.common.chunk_h"] = mock.MagicMock()
    sys.modules["fla.ops.utils"].chunk_local_cumsum = sum_from_end
    sys.modules["fla.ops.utils.op"] = types.SimpleNamespace(exp=exponential)
    iteration = load("gka.chebyshev_iteration", folder / "chebyshev_iteration.py")
    for module in (iteration, sys.modules["gka.chunk_dk_backward_gating"]):
        for name, kernel in vars(module).items():
            if isinstance(kernel, triton.runtime.Autotuner):  # nothing is timed
                setattr(module, name, kernel.fn)
    q, k, weight, h = (torch.tensor(told[name]) for name in ("q", "k", "weight", "h_kk"))
    gates = torch.tensor(told["g"]).cumsum(1)
    states = h[:, None].contiguous()

    def solve(right, norm, load_norm):
        x = torch.empty_like(right)
        iteration.chebyshev_iteration_fro_gating_forward_kernel[1, HEADS * BATCH](
            states, k, right, gates, x, norm, CHUNK, HEADS, CHANNELS, CHUNK, STEPS, RIDGE, load_norm
        )
        return x

    norm = torch.empty(BATCH, CHUNK, HEADS)
    x = solve(q, norm, 0)
    dq = solve(weight, norm, 1)
    dk, dg = iteration.chunk_bwd_dk_gating(
        states, torch.zeros_like(states), k, x, dq, norm, gates, chunk_size=CHUNK, ridge_ratio=RIDGE
    )
    found = {"x": x, "norm": norm, "gradient of q": dq, "gradient of k": dk, "gradient of g": dg}
    return {name: array.numpy() for name, array in found.items()}


def main(fla, gka):
    rng = np.random.default_rng(SEED)
    mesa = draw(rng, TIME, KEY, np.float64)
    kalma = draw(rng, CHUNK, CHANNELS, np.float32)
    kalma = {name: kalma[name] for name in ("q", "k", "g", "h_kk", "weight")}
    results = mesa | compute_mesa(mesa, pathlib.Path(fla) / "fla/ops/mesa_net/naive.py")
    arrays = {f"mesa: {name}": array for name, array in results.items()}
    results = kalma | compute_kalma(kalma, pathlib.Path(gka) / CHEBYSHEV)
    arrays |= {f"kalma: {name}": array for name, array in results.items()}
    results = compute_layer(pathlib.Path(fla) / "fla")
    arrays |= {f"MesaNet: {name}": array for name, array in results.items()}
    np.savez_compressed(HERE / "solvers.npz", **arrays)


if __name__ == "__main__":
    main(*sys.argv[1:])
