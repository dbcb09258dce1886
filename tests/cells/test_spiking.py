"""Cells that spike: known rates, snntorch's numbers and gradients, surrogates and resets."""

import pathlib

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem.spikes import (
    ArcTan,
    FastSigmoid,
    StraightThrough,
    SubtractThreshold,
    ToZero,
    Triangular,
)
from tests.helpers.refusals import assert_refused

REFERENCE = pathlib.Path(__file__).parent.parent / "reference" / "spiking.npz"
KEY = jax.random.key(0)
# The potential after n steps of a constant current I is I (1 − αⁿ) / (1 − α), and passes 1 after
# ⌈ln(1 − (1 − α) / I) / ln α⌉ of them.
PERIODS = [(0.9, 0.15, 11), (0.95, 0.1, 14), (0.5, 0.6, 3)]

pytestmark = pytest.mark.usefixtures("float64")


def lif_unit(decay, **options):
    """One unit whose potential gets its input."""
    cell = seqmem.LIF(1, 1, tau=-1 / np.log(decay), key=KEY, **options)
    return eqx.tree_at(lambda cell: cell.W, cell, jnp.ones((1, 1)))


def test_unit_of_constant_input_spikes_every_so_many_steps():
    decays, currents, periods = map(np.array, zip(*PERIODS, strict=True))
    cell = seqmem.LIF(3, 3, tau=-1 / np.log(decays), reset=ToZero(), key=KEY)
    cell = eqx.tree_at(lambda cell: cell.W, cell, jnp.eye(3))
    _, spikes = seqmem.unroll(cell, None, jnp.tile(currents, (1000, 1)))
    expected = np.arange(1, 1001)[:, None] % periods == 0
    np.testing.assert_array_equal(spikes, expected.astype(float))


def test_resets_differ_by_what_is_left_above_the_threshold():
    xs = jnp.array([[1.5], [0.0], [0.0]])
    for reset, left in ((SubtractThreshold(), 0.9 * 1.5 - 1), (ToZero(), 0.0)):
        cell = lif_unit(0.9, reset=reset)
        states = seqmem.solve(cell, None, xs, return_states=True).states
        np.testing.assert_array_equal(states.s[:, 0], [1, 0, 0])
        np.testing.assert_allclose(states.v[:, 0], [1.5, left, 0.9 * left], rtol=1e-14)


def test_spike_raises_the_threshold_of_an_adaptive_unit():
    options = {"tau": 1e-3, "is_recurrent": False, "key": KEY}
    cell = seqmem.AdaptiveLIF(1, 1, beta=0.5, tau_adaptation=1 / np.log(2), **options)
    cell = eqx.tree_at(lambda cell: cell.W, cell, jnp.ones((1, 1)))
    xs = jnp.array([[1.2], [2.4], [2.4], [1.2], [1.2]])  # minus 1 where the unit has just spiked
    states = seqmem.solve(cell, None, xs, return_states=True).states
    np.testing.assert_allclose(states.a[:, 0], [0, 1, 0.5, 1.25, 0.625], rtol=1e-14)
    np.testing.assert_array_equal(states.s[:, 0], [1, 0, 1, 0, 0])


LAST = "RSynaptic"
CASES = {
    "Leaky": (seqmem.LIF, {"surrogate": FastSigmoid(5)}),
    "Leaky to zero": (seqmem.LIF, {"surrogate": ArcTan(3.0), "reset": ToZero()}),
    "RLeaky": (seqmem.LIF, {"surrogate": ArcTan(3.0), "is_recurrent": True}),
    "Synaptic": (seqmem.SynapticLIF, {"surrogate": StraightThrough()}),
    LAST: (seqmem.SynapticLIF, {"surrogate": FastSigmoid(5), "is_recurrent": True}),
}


# All but the last are slow: it has whatever the others have.
@pytest.mark.parametrize(
    "name", [*(pytest.param(name, marks=pytest.mark.slow) for name in CASES if name != LAST), LAST]
)
def test_spikes_and_surrogate_gradients_are_those_of_snntorch(name):
    with np.load(REFERENCE) as file:
        arrays = {key.split(": ")[1]: file[key] for key in file if key.split(": ")[0] == name}
    cell_type, options = CASES[name]
    hidden, inputs = arrays["weight"].shape
    xs, weight, weight_v = (arrays[n][..., 0, :] for n in ("xs", "weight of spikes", "weight of v"))
    decays = {"tau": "beta", "tau_current": "alpha"}
    taus = {tau: -1 / np.log(arrays[own]) for tau, own in decays.items() if own in arrays}
    cell = cell_type(inputs, hidden, key=KEY, **options, **taus)
    U, b = arrays.get("recurrent.weight"), arrays["bias"] + arrays.get("recurrent.bias", 0)
    cell = eqx.tree_at(lambda c: (c.W, c.b), cell, (jnp.asarray(arrays["weight"]), jnp.asarray(b)))
    if U is not None:
        cell = eqx.tree_at(lambda cell: cell.U, cell, jnp.asarray(U))

    def loss(cell, xs):
        state, spikes = seqmem.unroll(cell, None, xs)
        return (weight * spikes).sum() + (weight_v * state.v).sum(), (state, spikes)

    grad = jax.jit(jax.grad(loss, (0, 1), has_aux=True))
    grads, (state, spikes) = grad(cell, jnp.asarray(xs))
    np.testing.assert_array_equal(spikes, arrays["spikes"][:, 0])
    d_cell, d_xs = grads
    pairs = {
        "v": (state.v, arrays["v"][0]),
        "xs": (d_xs, arrays["gradient of xs"][:, 0]),
        "W": (d_cell.W, arrays["gradient of weight"]),
        "b": (d_cell.b, arrays["gradient of bias"]),
    }
    if U is not None:
        pairs["U"] = d_cell.U, arrays["gradient of recurrent.weight"]
    for tau in taus:
        decay = arrays[decays[tau]]  # exp(−1/τ), whose derivative by ln τ is −decay ln decay
        expected = arrays[f"gradient of {decays[tau]}"] * -decay * np.log(decay)
        pairs[tau] = getattr(d_cell, f"log_{tau}"), expected
    for label, (value, expected) in pairs.items():
        scale = np.abs(expected).max()
        np.testing.assert_allclose(value, expected, rtol=0, atol=1e-10 * scale, err_msg=label)


DERIVATIVES = {
    FastSigmoid(7.0): lambda x: 1 / (1 + 7 * np.abs(x)) ** 2,
    ArcTan(3.0): lambda x: 1.5 / (1 + (1.5 * np.pi * x) ** 2),
    Triangular(0.4): lambda x: 0.4 * np.maximum(0, 1 - np.abs(x)),
    StraightThrough(): np.ones_like,
}


def derivatives_of(surrogate, x):
    """A spike, its derivative in forward and in reverse mode, and its second derivative."""

    def first(x):
        return jax.grad(lambda x: surrogate(x).sum())(x)

    ones = jnp.ones_like(x)
    spikes, forward = jax.jvp(surrogate, (x,), (ones,))
    return spikes, forward, first(x), jax.grad(lambda x: first(x).sum())(x)


def test_spike_is_a_step_with_the_derivatives_of_its_surrogate():
    x = np.array([-2.3, -0.4, 0.7, 5.0, 1e4, -1.0, 0.0, 1.0])
    smooth, step = slice(5), 1e-6  # where ψ is smooth
    results = jax.jit(lambda x: [derivatives_of(surrogate, x) for surrogate in DERIVATIVES])(x)
    for (surrogate, psi), found in zip(DERIVATIVES.items(), results, strict=True):
        spikes, forward, reverse, second = found
        np.testing.assert_array_equal(spikes, x > 0)
        np.testing.assert_allclose(forward, psi(x), rtol=1e-13, err_msg=repr(surrogate))
        np.testing.assert_allclose(reverse, psi(x), rtol=1e-13, err_msg=repr(surrogate))
        expected = (psi(x + step) - psi(x - step))[smooth] / (2 * step)
        np.testing.assert_allclose(second[smooth], expected, atol=1e-9, err_msg=repr(surrogate))


@pytest.mark.slow
def test_forward_mode_through_spikes_is_reverse_mode():
    cell = seqmem.LIF(2, 3, is_recurrent=True, key=KEY)
    xs, tangent = np.random.default_rng(3).normal(0, 3, (2, 11, 2))

    def loss(xs):
        _, spikes = seqmem.unroll(cell, None, xs, method=seqmem.ReferenceScan())
        return (spikes * jnp.arange(3.0)).sum()

    xs = jnp.asarray(xs)
    forward = jax.jvp(loss, (xs,), (jnp.asarray(tangent),))[1]
    np.testing.assert_allclose(forward, (jax.grad(loss)(xs) * tangent).sum(), rtol=1e-12)
    assert abs(forward) > 0.1


@pytest.mark.parametrize("reset", [SubtractThreshold, ToZero])
def test_reset_passes_a_gradient_to_the_spike_only_if_asked(reset):
    """Two steps of one unit: v₂ = reset(α v₁, s₁), and ∂s₁/∂v₁ = 1."""
    xs, alpha = jnp.array([[1.5], [0.0]]), 0.9

    def last_potential(xs, has_gradient):
        cell = lif_unit(alpha, surrogate=StraightThrough(), reset=reset(has_gradient=has_gradient))
        return seqmem.unroll(cell, None, xs)[0].v[0]

    of_spike = {SubtractThreshold: -1.0, ToZero: -alpha * 1.5}[reset]
    of_potential = {SubtractThreshold: alpha, ToZero: 0.0}[reset]
    for has_gradient in (False, True):
        d_xs = jax.jit(jax.grad(last_potential), static_argnums=1)(xs, has_gradient)
        expected = of_potential + has_gradient * of_spike
        np.testing.assert_allclose(d_xs[0, 0], expected, rtol=0, atol=1e-14)


@pytest.mark.slow
def test_time_constants_have_a_gradient_where_they_are_learned():
    xs = jnp.asarray(np.random.default_rng(3).normal(0, 3, (11, 2)))

    @jax.jit
    def gradients(cells):
        return jax.grad(lambda cells: sum(seqmem.unroll(c, None, xs)[1].sum() for c in cells))(
            cells
        )

    for learns_tau in (False, True):
        options = {"learns_tau": learns_tau, "key": KEY}
        cells = (seqmem.LIF, seqmem.AdaptiveLIF, seqmem.SynapticLIF)
        for d_cell in gradients([cell(2, 3, **options) for cell in cells]):
            taus = [value for name, value in vars(d_cell).items() if name.startswith("log_tau")]
            assert taus
            assert all(bool(jnp.any(d_tau != 0)) == learns_tau for d_tau in taus)


def test_cell_without_recurrent_weights_has_none_to_drop():
    cell = seqmem.LIF(2, 3, key=KEY)
    assert cell.recurrent_weights == ()
    assert_refused("with_weight_dropout got a LIF", seqmem.with_weight_dropout, cell, 0.5, key=KEY)
    cell = seqmem.LIF(2, 64, is_recurrent=True, key=KEY)
    dropped = seqmem.with_weight_dropout(cell, 0.5, key=KEY).U
    assert 0.4 < jnp.mean(dropped == 0) < 0.6


WRONG = {
    "input_size=0": {"input_size": 0},
    "hidden_size=2.5": {"hidden_size": 2.5},
    "tau=0.0": {"tau": 0.0},
    "tau=nan": {"tau": np.nan},
    "tau=inf": {"tau": np.inf},
    "tau='10'": {"tau": "10"},
    "tau=[1.0, 2.0]": {"tau": [1.0, 2.0]},
    "surrogate=<": {"surrogate": jax.nn.sigmoid},
    "reset='zero'": {"reset": "zero"},
}


def test_wrong_arguments_are_refused():
    for cell_type in (seqmem.LIF, seqmem.AdaptiveLIF, seqmem.SynapticLIF):
        for came, wrong in WRONG.items():
            options = {"input_size": 2, "hidden_size": 3, "key": KEY} | wrong
            assert_refused(f"{cell_type.__name__} got {came}", cell_type, **options)
    refuse = assert_refused
    refuse("SynapticLIF got tau_current=-1", seqmem.SynapticLIF, 2, 3, tau_current=-1, key=KEY)
    refuse("AdaptiveLIF got tau_adap", seqmem.AdaptiveLIF, 2, 3, tau_adaptation=0, key=KEY)
    refuse("AdaptiveLIF got beta=0.0", seqmem.AdaptiveLIF, 2, 3, beta=0.0, key=KEY)
    refuse("FastSigmoid got slope=0", FastSigmoid, 0)
    refuse("ArcTan got alpha=-1", ArcTan, -1)
    refuse("Triangular got height=nan", Triangular, np.nan)
    refuse("ToZero got has_gradient=1", ToZero, has_gradient=1)
