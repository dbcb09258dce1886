"""Networks of neuroscience: time constants, noise, mean-field theory, linear regions."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from tests.helpers.refusals import assert_refused

KEY = jax.random.key(0)
CELLS = {"LeakyRNN": seqmem.LeakyRNN, "CTRNN": seqmem.CTRNN}


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", CELLS)
def test_decay_over_a_time_does_not_depend_on_its_number_of_steps(name):
    tau, start = jnp.array([1.0, 2.0, 5.0]), jnp.array([1.0, -2.0, 3.0])
    cells = [CELLS[name](2, 3, time_constants=tau, dt=dt, key=KEY) for dt in (2.0, 0.25)]
    cells = [
        eqx.tree_at(lambda cell: (cell.W, cell.U), cell, (jnp.zeros((3, 2)), jnp.zeros((3, 3))))
        for cell in cells
    ]
    for cell, steps in zip(cells, (1, 8), strict=True):
        state, _ = seqmem.unroll(cell, start, jnp.zeros((steps, 2)))
        np.testing.assert_allclose(state, start * np.exp(-2 / tau), rtol=1e-12)


@pytest.mark.slow
def test_noise_gives_a_current_its_standard_deviation():
    cell = seqmem.CTRNN(2, 50, time_constants=3.0, key=KEY)
    cell = eqx.tree_at(lambda cell: cell.U, cell, jnp.zeros((50, 50)))
    noise = 0.4 * np.sqrt(1 - np.exp(-2 / 3)) * jax.random.normal(KEY, (2000, 50))
    solution = seqmem.solve(
        cell, None, jnp.zeros((2000, 2)), perturbations=noise, return_states=True
    )
    assert abs(solution.states[100:].std() - 0.4) < 0.01  # five standard errors


def gaussian_mean(fn, variance):
    """∫ Dz fn(√variance z), by quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(61)
    return weights @ fn(np.sqrt(variance) * nodes) / np.sqrt(2 * np.pi)


def mean_field(overlap, gain):
    """(κ, Δ) of the stationary state of U = m nᵀ/N + g χ, for m and n − overlap · m standard normal
    and independent: x = κ m + g χ φ(x) has the variance Δ = κ² + g² ⟨φ²⟩, and κ = ⟨n φ(x)⟩ =
    overlap κ ⟨φ'⟩.
    """

    def slope(x):
        return 1 - np.tanh(x) ** 2

    low, high = 1e-6, 100.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if overlap * gaussian_mean(slope, middle) > 1 else (low, middle)
    kappa = np.sqrt(low - gain**2 * gaussian_mean(lambda x: np.tanh(x) ** 2, low))
    return kappa, low


def stationary(cell, steps=200):
    """The current long after a start with all units along m."""
    state, _ = seqmem.unroll(cell, cell.U.parameters["M"][:, 0], jnp.zeros((steps, 1)))
    return np.asarray(state, float)


@functools.cache
def network(units):
    """A network whose orthogonal matrix, which takes long to draw, is to be replaced."""
    return seqmem.CTRNN(1, units, time_constants=1.0, key=KEY)


def rank_one(units, overlap, gain, seed=3):
    """A network of rank one whose m and n have exactly the covariances of the theory."""
    U = seqmem.LowRank(1, random_gain=gain)(jax.random.key(seed), (units, units))
    draws = np.random.default_rng(seed).standard_normal((units, 2))
    m, other = np.linalg.qr(draws)[0].T * np.sqrt(units)
    factors = {"M": jnp.asarray(m[:, None]), "N": jnp.asarray((overlap * m + other)[:, None])}
    U = seqmem.StructuredMatrix(U.parameters | factors, U.structure)
    return eqx.tree_at(lambda cell: cell.U, network(units), U)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_network_of_rank_one_settles_along_m():
    """Mastrogiuseppe & Ostojic 2018 without a random part: x = κ m with κ = nᵀ φ(κ m)/N."""
    cell = rank_one(100, 2.0, 0.0)
    m, n = (cell.U.parameters[name][:, 0] for name in "MN")
    kappa = 1.0
    for _ in range(200):
        kappa = n @ jnp.tanh(kappa * m) / 100
    assert abs(kappa) > 0.3
    np.testing.assert_allclose(stationary(cell), kappa * m, rtol=0, atol=1e-10)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_mean_field_theory_predicts_a_network_of_rank_one_with_a_random_part():
    """The stationary solution of Mastrogiuseppe & Ostojic 2018, in the mean over networks: each
    differs from it by the order of 1/√N.
    """
    kappa, delta = mean_field(2.0, 0.5)
    found = []
    for seed in range(16):
        cell = rank_one(500, 2.0, 0.5, seed)
        x, n = stationary(cell, 40), np.asarray(cell.U.parameters["N"][:, 0])
        found.append((n @ np.tanh(x) / 500, x.var()))
    standard_error = np.std(found, axis=0) / 4
    assert (standard_error < [0.015, 0.05]).all()
    assert (np.abs(np.mean(found, axis=0) - (kappa, delta)) < 3 * standard_error).all()
    assert delta - kappa**2 > 5 * standard_error[1]  # which the random part adds


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_overlap_below_one_leaves_a_network_of_rank_one_silent():
    cell = rank_one(100, 0.8, 0.0)
    assert np.abs(stationary(cell)).max() < 1e-6


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("cell", "is_rectified"),
    [
        (seqmem.PLRNN(2, 5, key=KEY), np.ones(5, bool)),
        (seqmem.ALRNN(2, 5, num_rectified=2, key=KEY), np.arange(5) >= 3),
    ],
    ids=["PLRNN", "ALRNN"],
)
def test_step_is_linear_between_the_borders_of_its_rectified_units(cell, is_rectified):
    cell = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), cell)
    z = jnp.array([0.5, -1.0, 2.0, -0.3, 1.0])
    W = np.array(seqmem.evaluate_parametrizations(cell).W)
    expected = np.diag(cell.A) + W @ np.diag(np.where(is_rectified, np.asarray(z) > 0, 1.0))
    drive = cell.project(jnp.zeros(2))
    np.testing.assert_allclose(jax.jacfwd(cell.update)(z, drive), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("came", "make"),
    [
        ("LeakyRNN got time_constants", lambda: seqmem.LeakyRNN(3, 5, time_constants=0.0, key=KEY)),
        (
            "CTRNN got time_constants",
            lambda: seqmem.CTRNN(3, 5, time_constants=np.ones(4), key=KEY),
        ),
        ("CTRNN got dt=-1.0", lambda: seqmem.CTRNN(3, 5, dt=-1.0, key=KEY)),
        ("CTRNN got recurrent='dense'", lambda: seqmem.CTRNN(3, 5, recurrent="dense", key=KEY)),
        (
            "LeakyRNN got activation='relu'",
            lambda: seqmem.LeakyRNN(3, 5, activation="relu", key=KEY),
        ),
        ("ALRNN got num_rectified=6", lambda: seqmem.ALRNN(3, 5, num_rectified=6, key=KEY)),
        ("ALRNN got num_rectified=-1", lambda: seqmem.ALRNN(3, 5, num_rectified=-1, key=KEY)),
        ("PLRNN got hidden_size=0", lambda: seqmem.PLRNN(3, 0, key=KEY)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_networks_of_neuroscience_refuse_what_they_cannot_be(came, make):
    assert_refused(came, make)
