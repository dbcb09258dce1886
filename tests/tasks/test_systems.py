"""Chaotic systems: the method of integration, the vector fields, and known exponents."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmem import dynamics, tasks
from tests.helpers.refusals import assert_refused
from tests.helpers.slow import slow

SYSTEMS = [tasks.Lorenz63(dt=0.03, substeps=2), tasks.Lorenz96(7, 5.0, dt=0.1, substeps=2)]


def lorenz63(s):
    x, y, z = s
    return np.array([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z])


def lorenz96(s):
    n = len(s)
    return np.array(
        [(s[(i + 1) % n] - s[(i - 2) % n]) * s[(i - 1) % n] - s[i] + 5.0 for i in range(n)]
    )


def runge_kutta(f, s, h):
    k1 = f(s)
    k2 = f(s + h / 2 * k1)
    k3 = f(s + h / 2 * k2)
    return s + h / 6 * (k1 + 2 * k2 + 2 * k3 + f(s + h * k3))


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("system", "f"), [(SYSTEMS[0], lorenz63), slow(SYSTEMS[1], lorenz96)])
def test_trajectories_are_those_of_runge_and_kutta(system, f):
    xs = system.trajectories(jax.random.key(0), 2, 5, transient=3)
    expected = np.asarray(system.start(jax.random.key(0), 2)[1])
    for step in range(8):
        for _ in range(2):
            expected = runge_kutta(f, expected, system.dt / 2)
        if step >= 3:
            np.testing.assert_allclose(xs[step - 3, 1], expected, rtol=1e-12)


@pytest.mark.usefixtures("float64")
def test_cell_of_a_system_is_its_step():
    system, start = SYSTEMS[0], jnp.array([1.0, 2, 20])
    cell = system.as_cell(start)
    np.testing.assert_array_equal(cell.init_state(2), [start, start])
    state, y = cell(start, jnp.zeros(0))
    np.testing.assert_allclose(state, system.step(start), rtol=1e-12)
    np.testing.assert_array_equal(state, y)


def exponents(system, batch, time, k):
    state = system.trajectories(jax.random.key(0), batch, 1)[0]
    inputs = jnp.zeros((time, batch, 0), state.dtype)
    cell = system.as_cell(state[0])
    result = dynamics.lyapunov_exponents(cell, state, inputs, k=k, key=jax.random.key(1))
    return np.asarray(result.exponents / system.dt)


@pytest.mark.slow
@pytest.mark.optimised
@pytest.mark.usefixtures("float64")
def test_exponents_of_lorenz_63_are_those_of_sprott():
    system = tasks.Lorenz63(dt=0.02, substeps=2)
    measured = exponents(system, 4, 40_000, 3)
    mean = measured.mean(0)
    np.testing.assert_allclose(mean[[0, 2]], np.array(system.exponents)[[0, 2]], rtol=0.01)
    np.testing.assert_allclose(mean[1], 0, atol=0.01)
    np.testing.assert_allclose(measured.sum(1), -(10 + 1 + 8 / 3), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.optimised
@pytest.mark.usefixtures("float64")
def test_largest_exponent_of_lorenz_96():
    system = tasks.Lorenz96(dt=0.05, substeps=2)
    np.testing.assert_allclose(exponents(system, 16, 8000, 1).mean(), *system.exponents, rtol=0.02)
    assert tasks.Lorenz96(36).exponents == ()


def test_refusals():
    assert_refused("Lorenz63 got dt=0", tasks.Lorenz63, dt=0)
    assert_refused("Lorenz63 got substeps=0", tasks.Lorenz63, substeps=0)
    assert_refused("Lorenz96 got N=3", tasks.Lorenz96, 3)
    assert_refused("Lorenz96 got F=nan", tasks.Lorenz96, F=float("nan"))
    system, key = tasks.Lorenz63(), jax.random.key(0)
    draw, came = system.trajectories, "Lorenz63.trajectories got"
    assert_refused(f"{came} size=0", draw, key, 0, 5)
    assert_refused(f"{came} transient=-1", draw, key, 2, 5, transient=-1)
    assert_refused("Lorenz63.as_cell got a state of shape (2,)", system.as_cell, jnp.zeros(2))
