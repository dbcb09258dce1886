"""The loss of gradient flossing against its closed form and against a plain loop."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import seqmem
from seqmem import dynamics, gradients, training
from tests.helpers.cells import CELLS
from tests.helpers.linear import linear_rnn
from tests.helpers.maps import MapCell, RandomNetwork
from tests.helpers.slow import slow

float64 = pytest.mark.usefixtures("float64")

KEY = jax.random.key(0)
COUNTER = MapCell(lambda state, x: state + 1, np.zeros(3, np.int32))
FLOOR = 100 * np.finfo(float).eps


def draw(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


@float64
def test_floss_of_a_scaled_rotation_is_that_of_the_log_of_the_scale():
    """All exponents are ln g, so L = k (ln g − a)² and dL/dg = 2k (ln g − a)/g."""
    rotation, xs = jnp.linalg.qr(draw(2, 5, 5))[0], draw(1, 23, 2)

    @jax.jit
    def value_and_grad(gain, target):
        def loss(gain):
            return gradients.floss(
                linear_rnn(gain * rotation), None, xs, k=3, target=target, key=KEY
            )

        return jax.value_and_grad(loss)(gain)

    for gain in (0.5, 1.3):
        for target in (0.0, 0.1):
            distance = np.log(gain) - target
            value, grad = value_and_grad(gain, target)
            np.testing.assert_allclose(value, 3 * distance**2, rtol=1e-12)
            np.testing.assert_allclose(grad, 6 * distance / gain, rtol=1e-12)


def loop_of_steps(cell, xs, k, target, washout):
    """The loss from whole Jacobians and JAX's own derivative of a QR decomposition."""
    size = sum(leaf.size for leaf in jax.tree.leaves(cell.init_state()))
    flat, unravel = jax.flatten_util.ravel_pytree(cell.init_state())
    columns = [jax.random.normal(jax.random.fold_in(KEY, i), (size,)) for i in range(k)]
    Q = jnp.linalg.qr(jnp.stack(columns, axis=1))[0]
    log_growth = 0.0
    for index, x in enumerate(xs):

        def step(v, x=x):
            return jax.flatten_util.ravel_pytree(cell(unravel(v), x)[0])[0]

        Q, R = jnp.linalg.qr(jax.jacobian(step)(flat) @ Q)
        if index >= washout:
            log_growth += jnp.log(jnp.abs(jnp.diagonal(R)))
        flat = step(flat)
    return jnp.square(log_growth / (len(xs) - washout) - target).sum()


@float64
@pytest.mark.parametrize("name", ["RNN", slow("LSTM"), slow("GRU")])
def test_floss_and_its_gradient_are_those_of_a_plain_loop(name):
    cell, xs = CELLS[name](), draw(1, 6, 2)
    targets = jnp.array([0.1, -0.2, 0.3])

    def loss(cell):
        return gradients.floss(cell, None, xs, k=3, target=targets, washout=2, key=KEY)

    def expected(cell):
        return loop_of_steps(cell, xs, 3, targets, 2)

    results = (jax.jit(jax.value_and_grad(function))(cell) for function in (loss, expected))
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-8, atol=1e-11), *results)


@pytest.mark.slow
@float64
def test_floss_of_a_batch_is_the_mean_of_its_examples():
    cell, xs = CELLS["RNN"](), draw(1, 6, 2, 3, 2)

    @jax.jit
    def loss(xs):
        return gradients.floss(cell, None, xs, k=2, key=KEY)

    singles = [loss(xs[:, i, j]) for i in range(2) for j in range(3)]
    np.testing.assert_allclose(loss(xs), np.mean(singles), rtol=1e-12)


@pytest.mark.slow
@float64
def test_directions_that_a_step_maps_to_zero_have_the_documented_floor_and_no_derivative():
    """Two of five ReLU units are off: their exponents count as ln (100 ε)."""
    cell = seqmem.RNN(2, 5, activation=jax.nn.relu, key=KEY)
    bias = jnp.array([1.0, -9.0, 1.0, 1.0, -9.0])
    cell = eqx.tree_at(lambda c: (c.W, c.b), cell, (0.0 * cell.W, bias))

    @jax.jit
    def value_and_grad(gain):
        def loss(gain):
            wide = eqx.tree_at(lambda c: c.U, cell, gain * jnp.eye(5))
            return gradients.floss(wide, None, jnp.zeros((9, 2)), k=5, key=KEY)

        return jax.value_and_grad(loss)(gain)

    value, grad = value_and_grad(0.5)
    # The directions of the floor are found one after another, so that the first steps mix them.
    np.testing.assert_allclose(value, 3 * np.log(0.5) ** 2 + 2 * np.log(FLOOR) ** 2, rtol=0.05)
    np.testing.assert_allclose(grad, 6 * np.log(0.5) / 0.5, rtol=0.2)
    dead, dead_grad = jax.jit(
        jax.value_and_grad(lambda c: gradients.floss(c, None, jnp.zeros((9, 2)), k=5, key=KEY))
    )(eqx.tree_at(lambda c: c.b, cell, bias - 99))
    np.testing.assert_allclose(dead, 5 * np.log(FLOOR) ** 2, rtol=1e-12)
    jax.tree.map(lambda leaf: np.testing.assert_array_equal(leaf, 0), dead_grad)


@pytest.mark.slow
@pytest.mark.optimised
def test_memory_of_the_gradient_grows_as_the_square_root_of_the_time():
    """At T = 10,000 it is less than 3 numbers for each step, and a frame alone has n · k = 527."""
    size, k = 31, 17
    cell = RandomNetwork(jnp.zeros((size, size)), jnp.zeros(size))

    def temporary_bytes(time):
        grad = jax.jit(jax.grad(lambda c, xs: gradients.floss(c, None, xs, k=k, key=KEY)))
        compiled = grad.lower(cell, jax.ShapeDtypeStruct((time, 0), jnp.float32)).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    short, long = temporary_bytes(100), temporary_bytes(10_000)
    assert long < 15 * short
    assert long < 10_000 * size * k * 4 / 5


@pytest.mark.slow
@pytest.mark.optimised
@pytest.mark.parametrize("gain", [0.5, 3.0])
def test_flossing_brings_the_exponents_of_a_tanh_network_to_zero(gain):
    """E17: 32 units that noise drives, from below ln 0.5 and from chaos. With Adam alone the loss
    does not fall in chaos, which the decay of the recurrent weights ends.
    """
    size, keys = 32, jax.random.split(KEY, 3)
    cell = seqmem.RNN(size, size, key=KEY)
    U = gain * draw(1, size, size).astype(jnp.float32) / size**0.5
    cell = eqx.tree_at(lambda c: (c.U, c.W), cell, (U, 0.3 * jnp.eye(size)))

    def exponents(cell):
        xs = jax.random.normal(keys[0], (4500, size))
        state, _ = seqmem.unroll(cell, None, xs[:500])
        result = dynamics.lyapunov_exponents(cell, state, xs[500:], k=8, key=keys[1])
        return result.exponents

    def loss(cell, key):
        xs = jax.random.normal(key, (120, 2, size))
        return gradients.floss(cell, None, xs, k=10, washout=80, key=key)

    first = exponents(cell)[0]
    assert first > 0.1 if gain > 1 else first < np.log(0.5)
    decays = eqx.tree_at(lambda c: c.U, jax.tree.map(lambda leaf: False, cell), True)
    rate = optax.cosine_decay_schedule(1e-2, 500)
    decay = optax.adamw(rate, b2=0.99, weight_decay=1.0, mask=decays)
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), decay)
    cell, _ = training.floss_steps(loss, cell, optimiser, steps=500, key=keys[2])
    np.testing.assert_allclose(exponents(cell), 0, atol=0.02)


@pytest.mark.parametrize(
    "options",
    [
        {"k": 6},
        {"k": 0},
        {"k": True},
        {"washout": 9},
        {"washout": -1},
        {"target": np.zeros(3)},
        {"cell": COUNTER},
        {"cell": seqmem.GRU},
        {"xs": np.zeros((0, 2), np.float32)},
    ],
)
def test_loss_without_exponents_is_refused(options):
    defaults = {"cell": seqmem.GRU(2, 5, key=KEY), "xs": np.ones((9, 2)), "k": 2, "key": KEY}
    with pytest.raises(ValueError, match=r"(?s)^[^\n]+\n  Expected: .*\n  What to do: "):
        gradients.floss(state=None, **defaults | options)
