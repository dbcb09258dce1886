"""What all online cells have in common: resets, training, tokens, the laws, and refusals."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem.gradients import KFRTRL, RFLO, RTRL, UORO, EProp, SnAp, online_bias
from tests.helpers.online import (
    HIDDEN,
    INPUT,
    KEY,
    TIME,
    assert_close,
    draw,
    gradient_through_time,
    sum_of_online_gradients,
)
from tests.helpers.slow import slow

pytestmark = pytest.mark.usefixtures("float64")


class Counter(seqmem.AbstractCell):
    """A state without a derivative."""

    def init_state(self):
        return jnp.zeros((), jnp.int32)

    def project(self, x):
        return x

    def update(self, state, drive):
        return state + 1

    def readout(self, state, drive):
        return state


ONLINE = {
    "SnAp": SnAp,
    "EProp": EProp,
    "RFLO": lambda cell: RFLO(cell, draw(5, HIDDEN, HIDDEN)),
    "UORO": lambda cell: UORO(cell, key=KEY),
    "KFRTRL": lambda cell: KFRTRL(cell, key=KEY),
}


@pytest.mark.parametrize("name", ["SnAp", *map(slow, ("EProp", "RFLO", "UORO", "KFRTRL"))])
def test_reset_clears_the_trace(name):
    online = ONLINE[name](seqmem.GRU(INPUT, HIDDEN, key=KEY))
    x = draw(1, TIME, INPUT)
    xs = jnp.stack([x, jnp.roll(x, -4, 0), x], 1)  # with a reset, from there on, without it
    resets = np.zeros((TIME, 3), bool)
    resets[4, 0] = True

    @jax.jit
    def gradients(online):
        traced, _ = seqmem.unroll(online, None, xs, resets=resets, lengths=np.array([7, 3, 7]))
        return jax.vmap(online.gradient)(traced, jnp.ones((3, HIDDEN)))

    for after_reset, from_start, without in jax.tree.leaves(gradients(online)):
        np.testing.assert_allclose(after_reset, from_start, rtol=1e-10, atol=1e-10)
        assert np.abs(without - from_start).max() > 1e-6


def test_parameters_are_trained_within_a_scan():
    xs = draw(1, 50, INPUT)
    targets = xs.sum(1, keepdims=True) / 5

    @jax.jit
    def train(online):
        def step(carry, inputs):
            online, traced = carry
            x, target = inputs
            traced, y = online(traced, x)
            gradient = online.output_gradient(traced, x, y - target)
            cell = jax.tree.map(lambda p, d: p - 0.1 * d, online.cell, gradient)
            online = eqx.tree_at(lambda online: online.cell, online, cell)
            return (online, traced), jnp.sum((y - target) ** 2)

        carry = (online, online.init_state())
        return jax.lax.scan(step, carry, (xs, targets))[1]

    losses = train(SnAp(seqmem.MinGRU(INPUT, HIDDEN, key=KEY)))
    assert losses[-10:].mean() < 0.5 * losses[:10].mean()


@pytest.mark.slow
def test_tokens_are_read_off_the_given_inputs():
    embedded = seqmem.layers.Stack(
        [seqmem.layers.Embedding(7, INPUT, key=KEY), seqmem.MinGRU(INPUT, HIDDEN, key=KEY)]
    )
    xs = jnp.asarray([3, 1, 6, 0, 2, 5, 4])
    expected = gradient_through_time(embedded, xs, jnp.ones((7, 1)))
    online = SnAp(embedded, xs=jnp.arange(7))
    assert_close(sum_of_online_gradients(online, xs, jnp.ones((7, 1))), expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SnAp", "UORO", "KFRTRL"])
def test_online_cells_obey_the_laws_of_a_cell(name):
    online = ONLINE[name](seqmem.MGU(2, 3, key=KEY))
    seqmem.testing.check_cell(online, methods=[seqmem.ReferenceScan()])


def gru():
    return seqmem.GRU(INPUT, HIDDEN, key=KEY)


@pytest.mark.parametrize(
    ("call", "part"),
    [
        (lambda: SnAp(gru(), 0), "n=0"),
        (lambda: SnAp(Counter()), "int32"),
        (lambda: UORO(Counter(), key=KEY), "int32"),
        (lambda: jax.jit(SnAp)(gru()), "traced"),
        (lambda: KFRTRL(Counter(), key=KEY), "int32"),
        (lambda: KFRTRL(seqmem.layers.Embedding(7, 3, key=KEY), key=KEY), "tokens"),
        (lambda: SnAp(seqmem.layers.Embedding(7, 3, key=KEY)), "tokens"),
        (lambda: RTRL(seqmem.RNN(3, 5, recurrent=seqmem.Orthogonal(), key=KEY)), "computed"),
        (lambda: EProp(seqmem.MinGRU(INPUT, HIDDEN, key=KEY)), "diagonal"),
        (lambda: RFLO(seqmem.layers.Stack([gru()]), draw(0, 5, 5)), "composite"),
        (lambda: RFLO(gru(), draw(0, 5, 4)), r"\(5, 4\)"),
        (lambda: online_bias(jnp.sum, num_draws=1), "num_draws=1"),
        (lambda: online_bias(jnp.sum)(gru(), draw(0, 2, 3)), "GRU"),
        (lambda: online_bias(jnp.sum)(UORO(gru(), key=KEY), draw(0, 2, 3)), "key"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_input_is_refused(call, part):
    with pytest.raises(ValueError, match=rf"(?s){part}.*Expected:.*What to do:"):
        call()
