"""CoRNN, UnICORNN and LEM: oscillators without weights, and what other programs compute."""

import pathlib

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from tests.helpers.refusals import assert_refused

REFERENCE = pathlib.Path(__file__).parent.parent / "reference" / "oscillatory.npz"
KEY = jax.random.key(0)
INPUT, HIDDEN = 3, 4
DT, GAMMA, EPSILON, ALPHA = 0.3, 0.7, 1.1, 1.7
CELLS = {
    "CoRNN": lambda: seqmem.CoRNN(INPUT, HIDDEN, dt=DT, gamma=GAMMA, epsilon=EPSILON, key=KEY),
    "UnICORNN": lambda: seqmem.UnICORNN(INPUT, HIDDEN, dt=DT, alpha=ALPHA, key=KEY),
    "LEM": lambda: seqmem.LEM(INPUT, HIDDEN, dt=0.6, key=KEY),
}

pytestmark = pytest.mark.usefixtures("float64")


def normal(*shape):
    return jnp.asarray(np.random.default_rng(len(shape)).standard_normal(shape))


def random_state(cell):
    return type(cell.init_state())(*normal(2, HIDDEN))


def oscillator(step, stiffness, damping):
    """The matrix of a step of (y, z): the velocity z first, then y by the new velocity."""
    velocity = np.array([-step * stiffness, 1 - step * damping])
    return np.stack([np.array([1, 0]) + step * velocity, velocity])


@pytest.mark.parametrize(
    ("name", "matrix"),
    [
        ("CoRNN", oscillator(DT, GAMMA, EPSILON)),
        ("UnICORNN", oscillator(DT / 2, ALPHA, 0.0)),  # σ(0) = 1/2
    ],
)
def test_units_without_weights_are_oscillators(name, matrix):
    cell = jax.tree.map(jnp.zeros_like, CELLS[name]())
    start = random_state(cell)
    _, ys = seqmem.unroll(cell, start, normal(29, INPUT))
    powers = [np.linalg.matrix_power(matrix, steps) @ np.stack(start) for steps in range(1, 30)]
    np.testing.assert_allclose(ys, np.stack(powers)[:, 0], rtol=0, atol=1e-12)


def unit_jacobians(cell):
    """The derivative of one step by the state, [unit, 2, 2], where no unit reads another one."""
    state, drive = random_state(cell), cell.project(normal(INPUT))
    jacobian = np.array(jax.jit(jax.jacfwd(cell.update))(state, drive))  # (y, z) by (y, z)
    assert jacobian.shape == (2, 2, HIDDEN, HIDDEN)
    blocks = np.diagonal(jacobian, axis1=2, axis2=3)
    assert np.count_nonzero(jacobian) == np.count_nonzero(blocks)
    return np.moveaxis(blocks, -1, 0)


def test_step_of_co_rnn_without_weights_has_the_determinant_of_its_damping():
    cell = jax.tree.map(jnp.zeros_like, CELLS["CoRNN"]())
    determinants = np.linalg.det(unit_jacobians(cell))
    np.testing.assert_allclose(determinants, 1 - DT * EPSILON, rtol=1e-12)


def test_step_of_unicornn_has_determinant_1_whatever_the_weights_are():
    leaves, structure = jax.tree.flatten(CELLS["UnICORNN"]())
    cell = structure.unflatten([normal(*leaf.shape) for leaf in leaves])
    np.testing.assert_allclose(np.linalg.det(unit_jacobians(cell)), 1, rtol=1e-12)


def test_states_of_lem_stay_within_1():
    cell = jax.tree.map(lambda leaf: 30 * leaf, seqmem.LEM(INPUT, HIDDEN, key=KEY))
    states = seqmem.solve(cell, None, normal(29, INPUT), return_states=True).states
    largest = [float(jnp.abs(leaf).max()) for leaf in states]
    assert min(largest) > 0.99
    assert max(largest) <= 1


def reference(program):
    """The arrays of a program, and the gradients among them."""
    with np.load(REFERENCE) as file:
        arrays = {
            key.removeprefix(f"{program}: "): file[key]
            for key in file
            if key.startswith(f"{program}: ")
        }
    prefix = "gradient of "
    gradients = {key for key in arrays if key.startswith(prefix)}
    return (
        {key: array for key, array in arrays.items() if key not in gradients},
        {key.removeprefix(prefix): arrays[key] for key in gradients},
    )


def co_rnn_parameters(arrays):
    W, U_z, U_y = np.split(arrays["i2h.weight"], [INPUT, INPUT + HIDDEN], 1)
    return {"W": W, "U": np.stack([U_y, U_z])}, [arrays["i2h.bias"]]


def torchrecurrent_co_rnn_parameters(arrays):
    U = np.stack([arrays["weight_hh"], arrays["weight_ch"]])
    biases = [arrays[f"bias_{name}"] for name in ("ih", "hh", "ch")]
    return {"W": arrays["weight_ih"], "U": U}, biases


def torchrecurrent_unicornn_parameters(arrays):
    weights = {"W": "weight_ih", "w": "weight_hh", "c": "weight_ch"}
    return {own: arrays[name] for own, name in weights.items()}, [arrays["bias_ih"]]


def lem_parameters(arrays):
    """Their rows are of the steps of y and of z, and of y and z; ours are those of z first."""
    by_input = {
        kind: arrays[f"inp2hid.{kind}"].reshape(4, HIDDEN, -1)[[1, 0, 3, 2]]
        for kind in ("weight", "bias")
    }
    by_state = {
        kind: arrays[f"hid2hid.{kind}"].reshape(3, HIDDEN, -1)[[1, 0, 2]]
        for kind in ("weight", "bias")
    }
    other = np.concatenate([by_state["bias"][..., 0], arrays["transform_z.bias"][None]])
    weights = {
        "W": by_input["weight"],
        "U": by_state["weight"],
        "V": arrays["transform_z.weight"],
    }
    return weights, [by_input["bias"][..., 0], other]


@pytest.mark.parametrize(
    ("program", "parameters"),
    [
        ("CoRNN", co_rnn_parameters),
        ("CoRNN of torchrecurrent", torchrecurrent_co_rnn_parameters),
        ("UnICORNN of torchrecurrent", torchrecurrent_unicornn_parameters),
        ("LEM", lem_parameters),
    ],
)
def test_cell_has_the_states_and_gradients_of_another_program(program, parameters):
    arrays, gradients = reference(program)
    cell = CELLS[program.split()[0]]()
    weights, biases = parameters(arrays)
    for name, value in (weights | {"b": sum(biases)}).items():
        cell = eqx.tree_at(lambda cell, name=name: getattr(cell, name), cell, jnp.asarray(value))
    start = type(cell.init_state())(jnp.asarray(arrays["y_0"]), jnp.asarray(arrays["z_0"]))

    @jax.jit
    def run(cell, xs):
        def loss(cell, xs):
            state, ys = seqmem.unroll(cell, start, xs)
            return (arrays["weight"] * ys).sum(), (state, ys)

        return jax.grad(loss, (0, 1), has_aux=True)(cell, xs)

    (d_cell, d_xs), (state, ys) = run(cell, jnp.asarray(arrays["xs"]))

    def close(got, want):
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)

    close(ys, arrays["ys"])
    close(state.y, arrays["y"])
    close(state.z, arrays["z"])
    close(d_xs, gradients["xs"])
    d_weights, d_biases = parameters(gradients)
    for name, value in d_weights.items():
        close(getattr(d_cell, name), value)
    for value in d_biases:  # each of several biases that are added has the gradient of their sum
        close(d_cell.b, value)


@pytest.mark.parametrize(
    ("cell_type", "option", "value"),
    [
        (seqmem.CoRNN, "dt", 0.0),
        (seqmem.CoRNN, "gamma", -1.0),
        (seqmem.CoRNN, "epsilon", float("nan")),
        (seqmem.UnICORNN, "dt", -0.1),
        (seqmem.UnICORNN, "alpha", -1.0),
        (seqmem.LEM, "dt", 0.0),
    ],
)
def test_numbers_out_of_range_are_refused(cell_type, option, value):
    came = f"{cell_type.__name__} got {option}={value!r}"
    assert_refused(came, cell_type, INPUT, HIDDEN, **{option: value}, key=KEY)
