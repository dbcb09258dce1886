"""Modern Hopfield layers: retrieval by hand, and `HopfieldPooling` beside its authors' program,
whose numbers in tests/reference/external.npz make_external.py wrote.
"""

import pathlib

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem.layers import HopfieldLayer, HopfieldPooling
from tests.helpers.refusals import assert_refused

key = jax.random.key(0)

with np.load(pathlib.Path(__file__).parent.parent / "reference" / "external.npz") as file:
    REFERENCE = dict(file)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("updates", [1, 4])
def test_pooling_matches_hopfield_layers(updates):
    """Their W_Q makes the state patterns of pooling weights, and their W_V comes last."""
    prefix = f"Hopfield, {updates} updates: "
    arrays = {k.removeprefix(prefix): v for k, v in REFERENCE.items() if k.startswith(prefix)}
    W_Q, W_K, W_V = np.split(arrays["hopfield.association_core.in_proj_weight"], 3)
    queries, size = arrays["pooling_weights"].shape[::2]
    pool = HopfieldPooling(
        size, len(W_K), num_queries=queries, num_updates=updates, beta=1.5, key=key
    )
    lengths = (~arrays["padding"]).sum(1)

    def loss(W_Q, W_K, W_V, xs):
        xi = jnp.asarray(arrays["pooling_weights"][:, 0]) @ W_Q.T
        changed = eqx.tree_at(lambda pool: (pool.queries, pool.W_K), pool, (xi, W_K))
        z = changed(xs, lengths).reshape(-1, queries, size) @ W_V.T  # [batch, queries, value]
        ours = z.swapaxes(0, 1).reshape(arrays["outputs"].shape)
        return jnp.sum(ours * arrays["cotangent"]), ours

    arguments = tuple(map(jnp.asarray, (W_Q, W_K, W_V, arrays["inputs"])))
    gradients, ours = jax.jit(jax.grad(loss, (0, 1, 2, 3), has_aux=True))(*arguments)
    np.testing.assert_allclose(ours, arrays["outputs"], rtol=1e-10, atol=1e-10)
    d_weights = arrays["gradient of hopfield.association_core.in_proj_weight"]
    expected = (*np.split(d_weights, 3), arrays["gradient of inputs"])
    for gradient, theirs in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(gradient, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.usefixtures("float64")
def test_padding_is_never_read_and_no_step_gives_zeros():
    pool = HopfieldPooling(3, 5, num_queries=2, num_updates=3, key=key)
    ys = np.random.default_rng(0).normal(size=(7, 2, 3))
    padded = ys.copy()
    padded[4:, 0] = np.nan
    padded[:, 1] = np.inf
    lengths = jnp.array([4, 0])
    gradient = jax.jit(jax.grad(lambda ys: jnp.sum(pool(ys, lengths))))(jnp.asarray(padded))
    z = pool(jnp.asarray(padded), lengths)
    np.testing.assert_allclose(z[0], pool(jnp.asarray(ys[:4, 0])), rtol=1e-14)
    np.testing.assert_array_equal(z[1], 0)
    assert np.isfinite(gradient).all()
    assert not gradient[4:, 0].any()


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("beta", "remains"), [(1.0, 0.4), (4.0, 2e-5)])
def test_noisy_pattern_is_drawn_to_the_stored_one(beta, remains):
    """The error is exponentially small in β times the separation (Ramsauer et al., theorem 5)."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(11, 13))
    sizes = {"num_patterns": 11, "key_size": 13, "num_updates": 3}
    layer = HopfieldLayer(13, 13, beta=beta, key=key, **sizes)
    layer = eqx.tree_at(lambda c: (c.W_Q, c.X, c.V), layer, (jnp.eye(13), X, X))
    xi = noisy = X[4] + 0.5 * rng.normal(size=13)
    for _ in range(3):
        weights = np.exp(beta * (X @ xi - (X @ xi).max()))
        xi = weights @ X / weights.sum()
    np.testing.assert_allclose(layer.project(jnp.asarray(noisy)), xi, rtol=1e-12, atol=1e-14)
    assert np.linalg.norm(xi - X[4]) < remains * np.linalg.norm(noisy - X[4])


@pytest.mark.slow
def test_hopfield_layer_keeps_every_law():
    layer = HopfieldLayer(2, 3, num_patterns=7, key_size=5, num_updates=2, key=key)
    assert set(seqmem.testing.check_cell(layer).values()) == {"holds"}


def test_sizes_that_do_not_fit_are_refused():
    assert_refused("HopfieldPooling got size=0", HopfieldPooling, 0, 5, key=key)
    assert_refused(
        "HopfieldPooling got num_updates=0", HopfieldPooling, 3, 5, num_updates=0, key=key
    )
    assert_refused("HopfieldPooling got beta=0", HopfieldPooling, 3, 5, beta=0, key=key)
    assert_refused(
        "HopfieldLayer got num_patterns=0",
        *(HopfieldLayer, 3, 5),
        num_patterns=0,
        key_size=7,
        key=key,
    )
    pool = HopfieldPooling(3, 5, key=key)
    assert_refused("ys has shape (7, 4): 4 entries", pool, jnp.ones((7, 4)))
    assert_refused("ys has shape (3,)", pool, jnp.ones(3))
