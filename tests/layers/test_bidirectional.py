"""Two layers from both ends of a sequence; PyTorch's are compared in tests/interop."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem.layers import Bidirectional, LayerByLayer, Map, Stack
from tests.helpers.slow import slow
from tests.helpers.unrolling import BATCH, HIDDEN, INPUT, TIME, close, normal

LENGTHS = np.array([TIME, 4, 0])
PADDING = np.arange(TIME)[:, None] >= LENGTHS

pytestmark = pytest.mark.usefixtures("float64")


def layer(input_size=INPUT):
    forward, backward = jax.random.split(jax.random.key(0))
    pair = seqmem.LSTM(input_size, HIDDEN, key=forward), seqmem.MinGRU(input_size, 3, key=backward)
    return jax.tree.map(lambda leaf: leaf.astype(jnp.float64), Bidirectional(*pair))


@jax.jit
def evaluate(network, state, xs, lengths):
    """Everything that unroll returns, and all its gradients."""

    def loss(network, state, xs):
        out = seqmem.unroll(network, state, xs, lengths=lengths)
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(out)), out

    return jax.value_and_grad(loss, (0, 1, 2), has_aux=True)(network, state, xs)


def test_bidirectional_layer_equals_two_unrolls():
    network, xs = layer(), normal(TIME, BATCH, INPUT)
    states, ys = seqmem.unroll(network, None, xs, lengths=LENGTHS)
    for i, length in enumerate(LENGTHS):
        alone = xs[:length, i]
        first, ahead = seqmem.unroll(network.forward, None, alone)
        last, back = seqmem.unroll(network.backward, None, alone[::-1])
        np.testing.assert_allclose(ys[:length, i, :HIDDEN], ahead, rtol=1e-12)
        np.testing.assert_allclose(ys[:length, i, HIDDEN:], back[::-1], rtol=1e-12)
        assert not ys[length:, i].any()
        np.testing.assert_allclose(states[0].c[i], first.c, rtol=1e-12)
        np.testing.assert_allclose(states[1][i], last, rtol=1e-12)


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_padding_is_never_read(poison):
    network, xs = layer(), normal(TIME, BATCH, INPUT)
    poisoned = np.where(PADDING[..., None], poison, xs)
    clean, dirty = (evaluate(network, network.init_state(), x, LENGTHS) for x in (xs, poisoned))
    for one, other in zip(jax.tree.leaves(dirty), jax.tree.leaves(clean), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_backward_layer_gets_the_time_to_the_next_step():
    """Of one sequence and of packed ones: a loop from the last step to the first. A Map before it
    leaves a Δt that is not 0 in the padding.
    """
    network = Bidirectional(*(seqmem.CfC(INPUT, HIDDEN, key=jax.random.key(k)) for k in (0, 1)))
    network = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), network)
    x, delta_t = normal(TIME, BATCH, INPUT), np.abs(normal(TIME, BATCH))
    resets = (np.arange(TIME) == 2)[:, None].repeat(BATCH, 1)
    xs = seqmem.Timed(x, np.where(PADDING, np.nan, delta_t))
    later = Map(lambda x: x._replace(delta_t=x.delta_t + 0.5), input_shape=network.input_shape)
    options = {"lengths": LENGTHS, "resets": resets}
    _, ys = seqmem.unroll(Stack([later, network]), None, xs, **options)
    step = jax.jit(lambda state, x, dt: network.backward(state, seqmem.Timed(x, dt)))
    for i, length in enumerate(LENGTHS):
        for start, end in ((0, min(2, length)), (2, length)):
            state, until_next = network.backward.init_state(), np.zeros(())
            for t in range(end - 1, start - 1, -1):
                state, y = step(state, jnp.asarray(x[t, i]), jnp.asarray(until_next))
                np.testing.assert_allclose(ys[t, i, HIDDEN:], y, rtol=1e-12)
                until_next = delta_t[t, i] + 0.5


def test_resets_separate_packed_sequences():
    network, xs = layer(), normal(TIME, INPUT)
    resets = np.arange(TIME) == 3
    _, ys = seqmem.unroll(network, None, xs, resets=resets)
    parts = [seqmem.unroll(network, None, part)[1] for part in (xs[:3], xs[3:])]
    np.testing.assert_allclose(ys, np.concatenate(parts), rtol=1e-12)


@pytest.mark.slow
def test_stack_of_bidirectional_layers_equals_a_loop_over_layers():
    low, high = layer(), layer(HIDDEN + 3)
    xs = normal(TIME, BATCH, INPUT)
    states, ys = seqmem.unroll(Stack([low, high]), None, xs, lengths=LENGTHS)
    low_state, between = seqmem.unroll(low, None, xs, lengths=LENGTHS)
    high_state, want = seqmem.unroll(high, None, between, lengths=LENGTHS)
    close((states, ys), ((low_state, high_state), want))


@pytest.mark.parametrize("method", [None, slow(LayerByLayer(seqmem.ReferenceScan()))], ids=str)
def test_rematerialised_bidirectional_stack_has_the_same_gradients(method):
    network, xs = Stack([layer(), layer(HIDDEN + 3)]), normal(TIME, BATCH, INPUT)

    def loss(network, **options):
        _, ys = seqmem.unroll(network, None, xs, lengths=LENGTHS, **options)
        return jnp.sum(jnp.sin(ys))

    close(
        jax.jit(jax.grad(functools.partial(loss, method=method, remat_every=3)))(network),
        jax.jit(jax.grad(loss))(network),
    )


@pytest.mark.slow
def test_states_and_gradients_of_states_are_those_of_both_directions():
    network, xs = layer(), normal(TIME, BATCH, INPUT)
    solution = seqmem.solve(network, None, xs, lengths=LENGTHS, return_states=True)
    reverse = seqmem.solve(
        network.backward, None, xs, lengths=LENGTHS, return_states=True, reverse=True
    )
    close(solution.states[1], reverse.states)

    def loss(network, xs, perturbations):
        _, ys = seqmem.unroll(network, None, xs, lengths=LENGTHS, perturbations=perturbations)
        return jnp.sum(jnp.sin(ys))

    _, _, flow = seqmem.gradients.value_grad_and_flow(loss)(network, jnp.asarray(xs))
    want = jax.grad(lambda s: jnp.sum(jnp.sin(s)))(solution.states[1])
    padded = PADDING[..., None]
    # MinGRU's output is its state, so at the step that runs last nothing else is added.
    np.testing.assert_allclose(flow.d_states[1][0], np.where(padded, 0, want)[0], rtol=1e-12)


def test_bidirectional_refuses_what_it_cannot_do():
    with pytest.raises(ValueError, match=r"Bidirectional got a function.*\n.*two cells"):
        Bidirectional(layer().forward, seqmem.unroll)
    with pytest.raises(ValueError, match=r"state is a tree.*\n.*init_state"):
        seqmem.unroll(layer(), layer().forward.init_state(), normal(TIME, INPUT))
    with pytest.raises(ValueError, match=r"reverse=True.*\n.*both directions.*\n.*swap"):
        seqmem.unroll(layer(), None, normal(TIME, INPUT), reverse=True)
    with pytest.raises(ValueError, match=r"no single step.*\n.*layer by layer.*\n.*LayerByLayer"):
        seqmem.unroll(layer(), None, normal(TIME, INPUT), method=seqmem.Scan())
