"""Cells made of structured matrices: what torchrecurrent computes, and what they promise."""

import pathlib

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from tests.helpers.refusals import assert_refused

REFERENCE = pathlib.Path(__file__).parent.parent / "reference" / "antisymmetric.npz"
KEY = jax.random.key(0)
CELLS = {
    "AntisymmetricRNN": seqmem.AntisymmetricRNN,
    "GatedAntisymmetricRNN": seqmem.GatedAntisymmetricRNN,
}


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", CELLS)
def test_antisymmetric_cells_compute_what_torchrecurrent_does(name):
    with np.load(REFERENCE) as file:
        parts = {key.removeprefix(f"{name}: "): value for key, value in file.items()}
    cell = CELLS[name](3, 5, step_size=0.3, damping=0.7, key=KEY)
    gates = () if name == "AntisymmetricRNN" else (2,)

    def of_torch(prefix=""):
        """W, A, b: the recurrent bias counts for the candidate alone, which is last."""
        b = np.array(parts[f"{prefix}bias_ih"]).reshape(*gates, 5)
        if not prefix:
            b[-1 if gates else ...] += parts["bias_hh"]
        return parts[f"{prefix}weight_ih"].reshape(*gates, 5, 3), parts[f"{prefix}weight_hh"], b

    def where(cell):
        return cell.W, cell.U.parameters, cell.b

    cell = eqx.tree_at(where, cell, tuple(map(jnp.asarray, of_torch())))

    @jax.jit
    def loss(cell, xs):
        _, ys = seqmem.unroll(cell, jnp.asarray(parts["h_0"]), xs)
        return (ys * parts["weight"]).sum(), ys

    (d_cell, d_xs), ys = jax.grad(loss, (0, 1), has_aux=True)(cell, jnp.asarray(parts["xs"]))
    np.testing.assert_allclose(ys, parts["ys"], rtol=0, atol=1e-10)
    np.testing.assert_allclose(d_xs, parts["gradient of xs"], rtol=0, atol=1e-10)
    for ours, theirs in zip(where(d_cell), of_torch("gradient of "), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-10)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_exp_rnn_without_thresholds_keeps_the_norm_of_its_state():
    cell = seqmem.ExpRNN(3, 5, key=KEY)
    cell = eqx.tree_at(lambda cell: cell.b, cell, jnp.zeros(5))
    start = jnp.asarray(np.random.default_rng(0).standard_normal(5))
    _, ys = seqmem.unroll(cell, start, jnp.zeros((1000, 3)))
    np.testing.assert_allclose(np.linalg.norm(ys, axis=1), np.linalg.norm(start), rtol=1e-10)


@pytest.mark.parametrize(
    ("came", "make"),
    [
        (
            "AntisymmetricRNN got step_size=0",
            lambda: seqmem.AntisymmetricRNN(3, 5, step_size=0, key=KEY),
        ),
        (
            "Antisymmetric got damping=-1",
            lambda: seqmem.GatedAntisymmetricRNN(3, 5, damping=-1, key=KEY),
        ),
        ("LipschitzRNN got step_size=-1", lambda: seqmem.LipschitzRNN(3, 5, step_size=-1, key=KEY)),
        ("SymmetricSkew got skew=1.5", lambda: seqmem.LipschitzRNN(3, 5, skew=1.5, key=KEY)),
        ("Schur got a matrix of 5 rows", lambda: seqmem.NNRNN(3, 5, key=KEY)),
        ("ExpRNN got hidden_size=0", lambda: seqmem.ExpRNN(3, 0, key=KEY)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_cells_of_structured_matrices_refuse_what_they_cannot_be(came, make):
    assert_refused(came, make)
