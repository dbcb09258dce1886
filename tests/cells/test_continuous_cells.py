"""Cells in continuous time: what other programs compute, and what a Δt does."""

import pathlib

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from tests.helpers.inputs import draw_inputs
from tests.helpers.refusals import assert_refused
from tests.helpers.slow import slow_but

pytestmark = pytest.mark.usefixtures("float64")
KEY = jax.random.key(0)
REFERENCE = pathlib.Path(__file__).parent.parent / "reference" / "continuous.npz"


@pytest.fixture(scope="module")
def reference():
    with np.load(REFERENCE) as arrays:
        return dict(arrays)


def cfc_of(p):
    """A CfC of parameters, or of gradients, in the names of ncps."""
    cell = seqmem.CfC(2, 5, backbone_size=11, num_layers=2, key=KEY)
    first, heads = p["backbone.0.weight"], ("ff1", "ff2", "time_a", "time_b")
    return eqx.tree_at(
        lambda c: (c.W, c.U, c.b, c.V, c.c, c.H, c.d),
        cell,
        (
            first[:, :2],
            first[:, 2:],
            p["backbone.0.bias"],
            p["backbone.2.weight"][None],
            p["backbone.2.bias"][None],
            np.stack([p[f"{name}.weight"] for name in heads]),
            np.stack([p[f"{name}.bias"] for name in heads]),
        ),
    )


def ltc_of(p):
    """An LTC of parameters, or of gradients, in the names of ncps."""
    names = ("w", "mu", "sigma", "erev")
    return eqx.tree_at(
        lambda c: (c.neurons, c.synapses, c.sensory, c.input_map, c.output_map),
        seqmem.LTC(2, 5, key=KEY),
        tuple(
            type(part)(*(p[name] for name in fields))
            for part, fields in zip(
                jax.tree.leaves(
                    seqmem.LTC(2, 5, key=KEY), is_leaf=lambda node: isinstance(node, tuple)
                ),
                (
                    ("cm", "gleak", "vleak"),
                    names,
                    [f"sensory_{name}" for name in names],
                    ("input_w", "input_b"),
                    ("output_w", "output_b"),
                ),
                strict=True,
            )
        ),
    )


def ode_lstm_of(p):
    """An ODELSTM of parameters, or of gradients, in the names of ode-lstms; PyTorch's LSTM has two
    biases, each of which has the gradient of our one.
    """
    is_gradient = bool(np.array_equal(p["lstm.bias_ih"], p["lstm.bias_hh"]))
    bias = p["lstm.bias_ih"] + (0 if is_gradient else p["lstm.bias_hh"])
    layers = ("f_node.0", "f_node.2")
    return eqx.tree_at(
        lambda c: (c.W, c.U, c.b, c.V, c.e),
        seqmem.ODELSTM(2, 5, key=KEY),
        (
            p["lstm.weight_ih"].reshape(4, 5, 2),
            p["lstm.weight_hh"].reshape(4, 5, 5),
            bias.reshape(4, 5),
            np.stack([p[f"{name}.weight"] for name in layers]),
            np.stack([p[f"{name}.bias"] for name in layers]),
        ),
    )


def gru_d_of(p):
    """A GRUD of parameters, or of gradients, in the names of GRU-D."""
    weights = np.stack([p[f"{name}.weight"] for name in ("R_lin", "Z_lin", "tilde_lin")])
    return eqx.tree_at(
        lambda c: (c.W, c.U, c.V, c.b, c.input_decay, c.D, c.e),
        seqmem.GRUD(2, 5, key=KEY),
        (
            weights[..., :2],
            weights[..., 2:7],
            weights[..., 7:],
            np.stack([p[f"{name}.bias"] for name in ("R_lin", "Z_lin", "tilde_lin")]),
            np.stack([np.diag(p["gamma_x_lin.weight"]), p["gamma_x_lin.bias"]]),
            p["gamma_h_lin.weight"],
            p["gamma_h_lin.bias"],
        ),
    )


CELLS = {"CfC": cfc_of, "LTC": ltc_of, "ODELSTM": ode_lstm_of, "GRUD": gru_d_of}


@pytest.mark.parametrize("name", slow_but({"CfC"}, CELLS))
def test_cell_and_its_gradients_match_another_program(name, reference):
    parts = {"parameters": f"{name}.", "gradients": f"{name}/gradient of "}
    cell, expected = (
        CELLS[name](
            {key.removeprefix(prefix): value for key, value in reference.items() if prefix in key}
        )
        for prefix in parts.values()
    )
    xs = seqmem.Timed(reference["xs"], reference["delta_t"])
    if name == "GRUD":  # whose mean is no parameter there, and gets no gradient here
        xs = xs._replace(x=seqmem.Observed(xs.x, reference["is_observed"]))
        cell = eqx.tree_at(lambda cell: cell.mean, cell, reference["mean"])

    def loss(cell):
        ys = seqmem.unroll(cell, None, xs)[1]
        return jnp.sum(reference["weight"] * ys), ys

    (_, ys), gradients = jax.value_and_grad(loss, has_aux=True)(jax.tree.map(jnp.asarray, cell))
    np.testing.assert_allclose(ys, reference[f"{name}/outputs"], rtol=1e-10, atol=1e-12)
    for got, want in zip(jax.tree.leaves(gradients), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)


@pytest.mark.slow
def test_unobserved_entries_of_gru_d_are_never_read():
    cell = seqmem.GRUD(3, 5, mean=jnp.arange(3.0), key=KEY)
    values, delta_t = draw_inputs(cell, np.random.default_rng(0), 7)

    def loss(x):
        xs = seqmem.Timed(values._replace(x=x), delta_t)
        return seqmem.unroll(cell, None, xs)[1].sum()

    is_observed = values.is_observed
    assert 0 < is_observed.sum() < is_observed.size
    value, gradient = jax.jit(jax.value_and_grad(loss))(jnp.where(is_observed, values.x, np.nan))
    assert value == jax.jit(jax.value_and_grad(loss))(jnp.asarray(values.x))[0]
    assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(gradient != 0, is_observed)


@pytest.mark.slow
def test_time_gate_of_a_phased_lstm_is_closed_between_its_periods():
    cell = seqmem.PhasedLSTM(2, 3, ratio_on=0.25, leak=0.0, key=KEY)
    period = np.exp(np.asarray(cell.log_tau))
    cell = eqx.tree_at(lambda cell: cell.shift, cell, jnp.zeros(3))
    np.testing.assert_allclose(
        cell.openness(jnp.array([[0.0], [0.0625], [0.125], [0.1875], [0.25], [0.9]])),
        np.repeat([[0.0], [0.5], [1.0], [0.5], [0.0], [0.0]], 3, 1),
    )
    state, _ = cell(cell.init_state(), seqmem.Timed(jnp.ones(2), jnp.asarray(0.125 * period[0])))
    later, y = cell(state, seqmem.Timed(jnp.ones(2), jnp.asarray(0.5 * period[0])))
    assert state.h[0] != 0
    assert y[0] == later.h[0] == state.h[0]
    np.testing.assert_allclose(later.phase[0], 0.625)


def test_flow_of_an_ode_lstm_without_weights_is_a_line():
    cell = seqmem.ODELSTM(2, 3, key=KEY)
    h = jnp.arange(3.0)
    np.testing.assert_array_equal(cell.flow(h, jnp.asarray(2.0)), h)
    cell = eqx.tree_at(lambda cell: cell.e, cell, jnp.ones((2, 3)))
    np.testing.assert_allclose(cell.flow(h, jnp.asarray(2.0)), h + 2, rtol=1e-14)


def test_ltc_of_no_capacitance_keeps_its_state_and_has_finite_gradients_over_no_time():
    cell = seqmem.LTC(3, 4, key=jax.random.key(0))
    cell = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), cell)
    no_capacitance = jnp.array([-50, -80, -120, 0], jnp.float32)  # the softplus of the third is 0
    cell = eqx.tree_at(lambda cell: cell.neurons.cm, cell, no_capacitance)
    state = jnp.array([0.5, -0.5, 1.0, 2.0], jnp.float32)
    steps = cell.project(seqmem.Timed(jnp.zeros(3, jnp.float32), jnp.float32(0)))
    np.testing.assert_array_equal(cell.update(state, steps), state)
    gradients = jax.grad(lambda cell: cell.update(state, steps).sum())(cell)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


def test_unusable_arguments_are_refused():
    assert_refused("GRUD got a mean of shape (2,)", seqmem.GRUD, 3, 5, mean=jnp.ones(2), key=KEY)
    assert_refused("CfC got num_layers=0", seqmem.CfC, 3, 5, num_layers=0, key=KEY)
    assert_refused("LTC got num_steps=0", seqmem.LTC, 3, 5, num_steps=0, key=KEY)
    assert_refused("ODELSTM got num_steps=0.5", seqmem.ODELSTM, 3, 5, num_steps=0.5, key=KEY)
    for options in (
        {"period_min": 0.0},
        {"period_max": 1.0},
        {"ratio_on": 0.0},
        {"ratio_on": 1.5},
        {"leak": -0.1},
        {"period_max": float("nan")},
    ):
        assert_refused("PhasedLSTM got period_min", seqmem.PhasedLSTM, 3, 5, key=KEY, **options)
