"""Padding anywhere: a masked run equals a run of the sequence without its masked steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from tests.helpers.slow import slow
from tests.helpers.unrolling import close, normal

pytestmark = pytest.mark.usefixtures("float64")

KEY = jax.random.key(0)
TIME, BATCH = 11, 3
MASK = np.random.default_rng(0).random((TIME, BATCH)) < 0.6
MASK[:, 2] = False
RESETS = np.random.default_rng(1).random((TIME, BATCH)) < 0.3
LENGTHS = np.array([TIME, 9, 5])
CELLS = {
    "GRU": lambda: seqmem.GRU(2, 5, key=KEY),
    "LRU": lambda: seqmem.LRU(2, 5, key=KEY),
    "CausalConv": lambda: seqmem.CausalConv(2, 3, width=3, key=KEY),
}


def float64(cell):
    return jax.tree.map(lambda leaf: leaf.astype(float), cell)


@pytest.mark.parametrize(
    ("name", "reverse"),
    [
        ("GRU", True),
        *(slow("GRU", False), slow("LRU", True), slow("LRU", False)),
        *(slow("CausalConv", True), slow("CausalConv", False)),
    ],
)
def test_masked_steps_are_as_if_they_were_not_there(name, reverse):
    cell, xs = float64(CELLS[name]()), normal(TIME, BATCH, 2)
    valid = MASK & (np.arange(TIME)[:, None] < LENGTHS)
    poisoned = np.where(valid[..., None], xs, np.nan)

    def loss(cell, xs, masked):
        options = {"resets": RESETS, "reverse": reverse}
        if masked:
            options |= {"mask": MASK, "lengths": LENGTHS}
        state, ys = seqmem.unroll(cell, None, xs, **options)
        return sum(jnp.sum(jnp.abs(leaf) ** 2) for leaf in jax.tree.leaves((state, ys))), (
            state,
            ys,
        )

    run = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True), static_argnums=2)
    (_, (state, ys)), (d_cell, d_xs) = run(cell, jnp.asarray(poisoned), True)
    total = jax.tree.map(jnp.zeros_like, cell)
    for i in range(BATCH):
        steps = valid[:, i]
        (_, (one_state, one_ys)), (d_one, d_x) = jax.jit(
            jax.value_and_grad(
                lambda cell, xs, resets=RESETS[steps, i]: _alone(cell, xs, resets, reverse),
                (0, 1),
                has_aux=True,
            )
        )(cell, jnp.asarray(xs[steps, i]))
        close(jax.tree.map(lambda leaf, i=i: leaf[i], state), one_state)
        close(np.asarray(ys)[steps, i], one_ys)
        close(np.asarray(d_xs)[steps, i], d_x)
        assert not np.asarray(ys)[~steps, i].any()
        assert not np.asarray(d_xs)[~steps, i].any()
        total = jax.tree.map(jnp.add, total, d_one)
    close(d_cell, total)


def _alone(cell, xs, resets, reverse):
    state, ys = seqmem.unroll(cell, None, xs, resets=resets, reverse=reverse)
    loss = sum(jnp.sum(jnp.abs(leaf) ** 2) for leaf in jax.tree.leaves((state, ys)))
    return loss, (state, ys)


def test_states_and_their_gradients_stand_at_the_unmasked_steps():
    cell, xs = float64(CELLS["GRU"]()), jnp.asarray(normal(TIME, BATCH, 2))
    solution = seqmem.solve(cell, None, xs, mask=MASK, return_states=True)
    close(solution.states, solution.outputs)

    def loss(perturbations):
        state, ys = seqmem.unroll(cell, None, xs, mask=MASK, perturbations=perturbations)
        return jnp.sum(state**2) + jnp.sum(ys**2)

    d_states = jax.grad(loss)(jnp.zeros((TIME, BATCH, 5)))
    assert (np.asarray(d_states).any(-1) == MASK).all()


def test_mask_of_another_shape_or_dtype_is_refused():
    cell, xs = CELLS["GRU"](), np.zeros((TIME, BATCH, 2), np.float32)
    with pytest.raises(ValueError, match=r"mask is bool of shape.*\n.*\(11, 3\)"):
        seqmem.unroll(cell, None, xs, mask=MASK[:, 0])
    with pytest.raises(ValueError, match=r"mask is int.*\n.*booleans"):
        seqmem.unroll(cell, None, xs, mask=MASK.astype(int))
    with pytest.raises(
        ValueError, match=r"mask with Sharded.*\n.*lengths.*\n.*end of the sequences"
    ):
        seqmem.unroll(cell, None, xs, mask=MASK, method=seqmem.Sharded("time"))
