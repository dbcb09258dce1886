"""Parity: a linear unit whose gate takes both signs computes it, one with gates in [0, 1] cannot.

Sources: Grazzi et al. 2024, arXiv:2411.12537; Sarrof et al. 2024, arXiv:2405.17394.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from tests.cells.test_diagonal_cells import HIDDEN, drawn, numbers

every_real_cell = pytest.mark.parametrize(
    "name", ["MinGRU", "MinLSTM", "GILR", "QRNN", "SRU", "RGLRU"]
)


class Parity(seqmem.AbstractDiagonalCell):
    """s_t = (1 − 2 x_t) s_{t−1}: the sign of the state is the parity of the bits so far."""

    def init_state(self):
        return jnp.ones(())

    def project(self, x):
        return 1 - 2 * x[0]

    def update(self, s, u):
        return u * s

    def readout(self, s, u):
        return (1 - s) / 2


@pytest.mark.parametrize("method", [seqmem.Scan(), seqmem.Parallel(), seqmem.ReferenceScan()])
def test_linear_unit_with_gates_of_both_signs_computes_parity_at_any_length(method):
    bits = np.random.default_rng(5).integers(0, 2, (1000, 7))
    bits[:, 0] = 1
    _, ys = seqmem.unroll(
        Parity(), Parity().init_state(), jnp.asarray(bits[..., None], jnp.float32), method=method
    )
    np.testing.assert_array_equal(ys, np.cumsum(bits, 0) % 2)


def sensitivity(cell, start, xs):
    """∂h_t/∂h_0, entry by entry, for all t."""

    def states(start):
        method = seqmem.ReferenceScan()
        return seqmem.solve(cell, start, xs, method=method, return_states=True).states

    return jax.jvp(states, (start,), (jnp.ones_like(start),))[1]


@every_real_cell
def test_gates_in_0_1_keep_the_order_of_states(name):
    """∂h_t/∂h_0 is a product of gates: never negative, never growing, whatever the parameters and
    inputs are. So of two histories the one with the larger state keeps the larger state.
    """
    for seed in range(5):
        cell = drawn(name, seed)
        xs = 3 * numbers(seed, 101, *cell.input_shape)
        slopes = sensitivity(cell, numbers(seed + 1, HIDDEN).astype(jnp.float32), xs)
        assert (slopes >= 0).all()
        assert (np.diff(slopes, axis=0, prepend=1) <= 0).all()
        assert (slopes[0] > 0).any()


@pytest.mark.usefixtures("float64")
@every_real_cell
def test_gates_in_0_1_cannot_compute_parity_of_two_bits_by_a_threshold(name):
    """A threshold separates odd from even after one bit only if h(1) > h(0) or h(1) < h(0). The
    next bit, 1, makes the odd history even and the even one odd, so the order would be reversed.
    """
    history = jnp.asarray([[0.0, 1.0], [1.0, 1.0]])  # 0 then 1, 1 then 1
    for seed in range(5):
        cell = drawn(name, seed)
        xs = jnp.broadcast_to(history.T[..., None], (2, 2, *cell.input_shape))
        states = seqmem.solve(cell, None, xs, return_states=True).states
        before, after = np.diff(states, axis=1)[:, 0]
        assert (before * after >= -1e-12).all()
        assert (abs(before) > 1e-3).any()


def test_parity_unit_reverses_the_order_of_states():
    bits = jnp.asarray([[1.0], [0.0], [1.0]])
    np.testing.assert_array_equal(sensitivity(Parity(), jnp.ones(()), bits), [-1, -1, 1])
