"""Writes reinforcement.npz: what the authors of RTU and SHM compute, in float64.

    python tests/reference/make_reinforcement.py RTUS SHM

RTUS is a checkout of github.com/esraaelelimy/rtus at commit b10d4fe, SHM one of
github.com/thaihungle/SHM at commit 651f9e2; made with jax 0.10.2, flax 0.12.8 and torch 2.13.0, on
a CPU.

Everything is drawn from the seed below. The names in the file are those of the other code, behind
the name of our cell; with them come inputs, outputs, the weight of every output in a loss, and
gradients of that loss. RTUs are run step by step, so their gradients are those of their own
real-time recurrent learning; that of theta_param lacks the factor exp(theta_param). Two lines of
the programs are replaced: the 10⁻⁸ that RTUs add to √(1 − r²) is 0, and the row of θ that SHM
takes, always the first as is checked below, is taken in float64.
"""

import functools
import pathlib
import sys

import numpy as np

SEED, TIME, INPUTS, HIDDEN = 7, 11, 3, 4


def rtu(checkout):
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    sys.path.insert(0, checkout)
    from src.nets.rtus import linear_rtus, non_linear_rtus, rtus

    for module in (linear_rtus, non_linear_rtus):
        module.g_phi_params = functools.partial(module.g_phi_params, eps=0.0)
    rng = np.random.default_rng(SEED)
    xs, weight = rng.standard_normal((TIME, INPUTS)), rng.standard_normal((TIME, 2 * HIDDEN))
    params = {
        "r_param": rng.normal(-1.0, 0.5, (1, HIDDEN)),
        "theta_param": rng.normal(0.0, 0.7, (1, HIDDEN)),
        "wx1": {"kernel": rng.standard_normal((INPUTS, HIDDEN))},
        "wx2": {"kernel": rng.standard_normal((INPUTS, HIDDEN))},
    }
    params = jax.tree.map(jnp.asarray, params)
    found = {"xs": xs, "weight": weight}
    layers = {"RTU": rtus.RealTimeLinearRTUsLayer, "NonlinearRTU": rtus.RealTimeNonLinearRTUsLayer}
    for name, layer_type in layers.items():
        layer = layer_type(HIDDEN)
        start = layer.initialize_state(1, HIDDEN, INPUTS)
        start = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), start)
        inner = layer_type.__name__.removesuffix("Layer")  # flax 0.12 cannot run its `init`
        place = (f"{inner}_0", f"Fwd{inner}_0")

        def loss(params, place=place, layer=layer, start=start):
            variables = {"params": {place[0]: {place[1]: params}}}

            def step(carry, x):
                carry, y = layer.apply(variables, carry, x[None])
                return carry, y[0]

            ys = jax.lax.scan(step, start, jnp.asarray(xs))[1]
            return (weight * ys).sum(), ys

        by_params, ys = jax.grad(loss, has_aux=True)(params)
        found[f"{name}: ys"] = ys
        for prefix, tree in (("", params), ("gradient of ", by_params)):
            for field in ("r_param", "theta_param"):
                found[f"{name}: {prefix}{field}"] = tree[field][0]
            for field in ("wx1", "wx2"):
                found[f"{name}: {prefix}{field}"] = tree[field]["kernel"]
    return {own: np.asarray(array) for own, array in found.items()}


def shm(checkout):
    import torch

    sys.path.insert(0, checkout)
    from shm import SHM

    torch.manual_seed(SEED)
    model = SHM(INPUTS, 2, HIDDEN)
    xs = torch.randn(1, TIME, INPUTS)
    first_row = model.theta_matrix[0].expand(1, TIME, HIDDEN)
    assert torch.equal(model.retrieve_theta(xs, model.theta_matrix), first_row)
    model.retrieve_theta = lambda x, theta: theta[0].expand(1, TIME, HIDDEN)
    model = model.double()
    xs = xs.double().requires_grad_()
    model.norm = torch.nn.Identity()  # the norm is no part of our cell
    ys, states = model.matrix_memory_update(xs, model.initial_state(xs).double())
    weight = torch.randn_like(ys)
    (weight * ys).sum().backward()
    found = {"xs": xs, "weight": weight, "ys": ys, "state": states[:, -1]}
    found = {own: tensor[0] for own, tensor in found.items()} | {"gradient of xs": xs.grad[0]}
    for own, parameter in model.named_parameters():
        if parameter.grad is not None:
            found |= {own: parameter, f"gradient of {own}": parameter.grad}
    return {f"SHM: {own}": tensor.detach().numpy() for own, tensor in found.items()}


def main(rtus, shm_checkout):
    path = pathlib.Path(__file__).parent / "reinforcement.npz"
    np.savez_compressed(path, **rtu(rtus), **shm(shm_checkout))


if __name__ == "__main__":
    main(*sys.argv[1:])
