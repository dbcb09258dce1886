"""The mixture of experts against NumPy, and against that of Qwen3-Next in transformers, whose
numbers in tests/reference/experts.npz make_experts.py wrote.
"""

import functools
import pathlib

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from tests.helpers.refusals import assert_refused
from tests.helpers.slow import slow
from tests.helpers.windows import KEY, close, in_float64, normal

PATH = pathlib.Path(__file__).parent.parent / "reference" / "experts.npz"
SIZES = {"num_experts": 7, "num_chosen": 3, "expert_size": 5, "shared_size": 4}
make = functools.partial(seqmem.layers.MixtureOfExperts, 6, key=KEY)
float64 = pytest.mark.usefixtures("float64")


def silu(z):
    return z / (1 + np.exp(-z))


@pytest.mark.slow
@float64
def test_mixture_of_experts_is_its_equations():
    layer = in_float64(make(**SIZES))
    xs = np.asarray(normal(11, 6))
    _, ys = seqmem.unroll(layer, None, xs)

    def mlp(part, x, *e):
        W_g, W_u, W_d = (np.asarray(W)[e] for W in (part.W_g, part.W_u, part.W_d))
        return W_d @ (silu(W_g @ x) * (W_u @ x))

    for x, y in zip(xs, ys, strict=True):
        p = np.exp(np.asarray(layer.W_r) @ x)
        chosen = np.argsort(-p)[:3]
        routed = sum(p[e] * mlp(layer.experts, x, e) for e in chosen) / p[chosen].sum()
        gate = 1 / (1 + np.exp(-np.asarray(layer.w_s) @ x))
        close(y, routed + gate * mlp(layer.shared, x))


@float64
@pytest.mark.parametrize("normalised", [True, slow(False)])
def test_mixture_of_experts_matches_that_of_transformers(normalised):
    """Outputs and the gradient of the inputs, to the precision of the other program's float32."""
    with np.load(PATH) as file:
        prefix = f"{normalised}: "
        stored = {key.removeprefix(prefix): file[key] for key in file if key.startswith(prefix)}
    W_g, W_u = np.split(stored["experts.gate_up_proj"], 2, 1)
    shared = [stored[f"shared_expert.{name}_proj.weight"] for name in ("gate", "up", "down")]
    arrays = [stored["gate.weight"], W_g, W_u, stored["experts.down_proj"], *shared]
    arrays += [stored["shared_expert_gate.weight"][0]]
    layer = make(**SIZES, normalised=normalised)
    layer = jax.tree.unflatten(jax.tree.structure(layer), map(jnp.asarray, arrays))

    def loss(xs):
        ys = seqmem.unroll(layer, None, xs)[1]
        return (stored["weight"] * ys).sum(), ys

    by_xs, ys = jax.grad(loss, has_aux=True)(jnp.asarray(stored["xs"]))
    np.testing.assert_allclose(ys, stored["ys"], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(by_xs, stored["gradient of xs"], rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_expert_that_is_not_chosen_has_no_effect_and_no_gradient():
    layer = make(num_experts=3, num_chosen=2, expert_size=5)
    W_r = jnp.ones((3, 6)).at[1].set(-1)
    layer = eqx.tree_at(lambda layer: layer.W_r, layer, W_r)

    def loss(layer):
        return seqmem.unroll(layer, None, jnp.ones((2, 6)))[1].sum()

    W_d = layer.experts.W_d
    for number in (jnp.nan, jnp.inf):
        bad = eqx.tree_at(lambda layer: layer.experts.W_d, layer, W_d.at[1].set(number))
        value, gradient = jax.value_and_grad(loss)(bad)
        assert value == loss(layer)
        assert np.isfinite(gradient.W_r).all()
        for W in jax.tree.leaves(gradient.experts):
            assert np.isfinite(W[0]).all()
            assert (W[0] != 0).any()
    huge = eqx.tree_at(lambda layer: layer.experts.W_u, layer, layer.experts.W_u.at[1].set(3e38))
    for W in jax.tree.leaves(jax.grad(loss)(huge).experts):
        assert (W[1] == 0).all()


@pytest.mark.slow
def test_mixture_of_experts_passes_every_law():
    report = seqmem.testing.check_cell(make(**SIZES), methods=[seqmem.Parallel()])
    assert set(report.values()) == {"holds"}


def test_mixture_of_experts_refuses_sizes_that_do_not_fit():
    for name in SIZES:
        message = f"MixtureOfExperts got {name}=0."
        assert_refused(message, make, **SIZES | {name: 0})
    assert_refused(
        "MixtureOfExperts got num_chosen=8 of num_experts=7.", make, **SIZES | {"num_chosen": 8}
    )
