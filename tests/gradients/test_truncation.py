"""The bias of truncated gradients, and the window that is recommended for it."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem import gradients
from tests.helpers.linear import linear_rnn

TIME, INPUT, HIDDEN = 32, 2, 5

pytestmark = pytest.mark.usefixtures("float64")


def draw(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def final_loss(cell, xs, **options):
    return seqmem.unroll(cell, None, xs, **options)[0].sum()


def loss_of_input_weights(W, cell, xs, method):
    return final_loss(eqx.tree_at(lambda cell: cell.W, cell, W), xs, method=method)


def test_truncation_bias_is_that_of_the_truncated_sum():
    rate, xs = 0.8, draw(1, TIME, INPUT)
    # W contributes x_{T−k} rate^k to the final state; windows of 5 cut at t = 30.
    cell = linear_rnn(rate)
    full = (rate ** np.arange(TIME)[::-1]) @ xs
    truncated = (rate ** np.arange(2)[::-1]) @ xs[30:]
    np.testing.assert_allclose(jax.grad(final_loss)(cell, xs).W[0], full, rtol=1e-12)
    bias = gradients.truncation_bias(loss_of_input_weights, 5)(cell.W, cell, xs)
    relative = np.linalg.norm(truncated - full) / np.linalg.norm(full)
    cosine = truncated @ full / np.linalg.norm(truncated) / np.linalg.norm(full)
    np.testing.assert_allclose(bias.relative, relative, rtol=1e-12)
    np.testing.assert_allclose(bias.cosine, cosine, rtol=1e-12)


@pytest.mark.slow
def test_recommended_window_is_the_smallest_within_the_bias():
    cell = seqmem.RNN(INPUT, HIDDEN, key=jax.random.key(0))
    cell = eqx.tree_at(lambda cell: cell.U, cell, 0.5 * cell.U)
    batches = [(draw(seed, TIME, 3, INPUT),) for seed in range(4)]

    def loss(cell, xs, method):
        return jnp.mean(seqmem.unroll(cell, None, xs, method=method)[1] ** 2)

    result = gradients.recommend_window(loss, cell, batches, time=TIME, bias=0.05)
    assert 1 < result.window < TIME
    bounds = dict(zip(result.windows.tolist(), result.bound, strict=True))
    assert bounds[result.window] <= 0.05 < bounds[result.window - 1]
    bias = gradients.truncation_bias(loss, result.window)(cell, *batches[0])
    index = result.windows.tolist().index(result.window)
    np.testing.assert_allclose(result.relative[index, 0], bias.relative, rtol=1e-10)


def test_bound_is_the_mean_and_two_standard_errors():
    relative = np.array([[0.5, 0.7, 0.3], [0.2, 0.2, 0.2]])
    result = gradients.Recommendation(4, np.array([2, 4]), relative, np.ones((2, 3)))
    np.testing.assert_allclose(result.bound, [0.5 + 2 * 0.2 / np.sqrt(3), 0.2])
    single = result._replace(relative=relative[:, :1])
    np.testing.assert_allclose(single.bound, [0.5, 0.2])


def test_recommended_window_leaves_room_for_two_standard_errors():
    """The final state sees W through x_t; an impulse in front of the window is lost altogether.

    With biases of 0 and r at one window, mean + 2 standard errors is r/2 + r.
    """
    time = 4
    last, spread = np.zeros((time, 1)), np.zeros((time, 1))
    last[-1] = 1
    spread[-1], spread[-2] = 1, 0.25  # windows of 1, and of 3, lose 0.25 of 1.25
    cell = linear_rnn(1.0, input_size=1, hidden_size=1)
    batches = [(cell, last), (cell, spread)]
    recommended = {
        bias: gradients.recommend_window(
            loss_of_input_weights, cell.W, batches, time=time, bias=bias
        )
        for bias in (0.2, 0.35)
    }
    np.testing.assert_allclose(recommended[0.2].bound[0], 1.5 * 0.2)
    assert recommended[0.2].window == 2  # the mean of window 1 is 0.1 alone
    assert recommended[0.35].window == 1


@pytest.mark.slow
def test_recommended_window_is_all_of_the_time_where_no_other_is_within_the_bias():
    result = gradients.recommend_window(
        final_loss, linear_rnn(1.0), [(draw(1, 4, INPUT),)], time=4, bias=1e-6
    )
    assert result.window == 4
    np.testing.assert_allclose(result.relative[-1], 0, atol=1e-15)


def test_gradient_that_is_not_finite_is_refused():
    batch = (1e200 * np.ones((TIME, INPUT)),)
    with pytest.raises(ValueError, match="full gradient is not finite"):
        gradients.recommend_window(final_loss, linear_rnn(1e200), [batch], time=TIME)


@pytest.mark.parametrize(
    "call",
    [
        lambda cell, batch: gradients.truncation_bias(final_loss, 0),
        lambda cell, batch: gradients.recommend_window(final_loss, cell, [], time=3),
        lambda cell, batch: gradients.recommend_window(final_loss, cell, [batch], time=0),
        lambda cell, batch: gradients.recommend_window(final_loss, cell, [batch], time=3, bias=2.0),
    ],
)
def test_windows_and_biases_out_of_range_are_refused(call):
    with pytest.raises(ValueError, match=r"(?s)Expected: .*What to do: "):
        call(linear_rnn(0.5), (draw(1, 3, INPUT),))
