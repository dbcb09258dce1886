"""Memories made for reinforcement learning: their authors' programs compute the same."""

import pathlib

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from tests.helpers.refusals import assert_refused

REFERENCE = pathlib.Path(__file__).parent.parent / "reference" / "reinforcement.npz"
GRADIENT = "gradient of "
KEY = jax.random.key(0)

pytestmark = pytest.mark.usefixtures("float64")


def reference(name):
    """The arrays of a cell, and the gradients among them, by the names of the other program."""
    with np.load(REFERENCE) as file:
        arrays = {key.removeprefix(f"{name}: "): file[key] for key in file if ": " not in key}
        arrays |= {
            key.removeprefix(f"{name}: "): file[key] for key in file if key.startswith(f"{name}: ")
        }
    gradients = {key for key in arrays if key.startswith(GRADIENT)}
    return (
        {key: array for key, array in arrays.items() if key not in gradients},
        {key.removeprefix(GRADIENT): arrays[key] for key in gradients},
    )


def with_parameters(cell, parameters):
    for name, value in parameters.items():
        cell = eqx.tree_at(lambda cell, name=name: getattr(cell, name), cell, jnp.asarray(value))
    return cell


def run(cell, arrays):
    """The gradients of the weighted sum of outputs by cell and inputs; the state and outputs."""

    def loss(cell, xs):
        state, ys = seqmem.unroll(cell, None, xs)
        return (arrays["weight"] * ys).sum(), (state, ys)

    return jax.jit(jax.grad(loss, (0, 1), has_aux=True))(cell, jnp.asarray(arrays["xs"]))


def close(got, want):
    np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)


def rtu_parameters(arrays):
    W = np.stack([arrays["wx1"].T, arrays["wx2"].T])
    return {"nu": arrays["r_param"], "theta": arrays["theta_param"], "W": W}


@pytest.mark.parametrize("cell_type", [seqmem.RTU, seqmem.NonlinearRTU])
def test_trace_units_have_the_outputs_and_online_gradients_of_their_authors_code(cell_type):
    arrays, gradients = reference(cell_type.__name__)
    cell = with_parameters(cell_type(3, 4, key=KEY), rtu_parameters(arrays))
    (d_cell, _), (_, ys) = run(cell, arrays)
    close(ys, arrays["ys"])
    expected = rtu_parameters(gradients)
    expected["theta"] *= np.exp(arrays["theta_param"])  # theirs is by θ, and not by its logarithm
    for name, gradient in expected.items():
        close(getattr(d_cell, name), gradient)


def shm_parameters(arrays):
    linear = ("key", "query", "value", "vc_net")
    W = np.stack([arrays[f"{name}.weight"] for name in linear])
    return {"W": W, "w": arrays["eta.weight"][0], "theta": arrays["theta_matrix"][0]}


def test_hadamard_memory_has_the_outputs_states_and_gradients_of_its_authors_code():
    arrays, gradients = reference("SHM")
    cell = with_parameters(seqmem.SHM(3, 4, key=KEY), shm_parameters(arrays))
    (d_cell, d_xs), (state, ys) = run(cell, arrays)
    close(ys, arrays["ys"])
    close(state, arrays["state"])
    close(d_xs, gradients["xs"])
    for name, expected in shm_parameters(gradients).items():
        close(getattr(d_cell, name), expected)
    assert not gradients["theta_matrix"][1:].any()


@pytest.mark.parametrize("cell_type", [seqmem.RTU, seqmem.NonlinearRTU])
def test_trace_units_refuse_an_activation_that_is_no_function(cell_type):
    name = cell_type.__name__
    assert_refused(f"{name} got activation=", cell_type, 3, 4, activation="relu", key=KEY)
