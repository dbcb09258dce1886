"""Exact results about matrix memories: replacement, counting, recall and its error."""

import chex
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from tests.helpers.given_writes import GivenWrites

pytestmark = pytest.mark.usefixtures("float64")
KEY = jax.random.key(0)


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def recalled(keys, values, queries, beta=None):
    """The readings after all writes, by both methods."""
    nothing = jnp.zeros_like(keys[:1])
    write = seqmem.Write(
        jnp.concatenate([jnp.zeros_like(keys), queries])[:, None],
        jnp.concatenate([keys, *[nothing] * len(queries)])[:, None],
        jnp.concatenate([values, jnp.zeros((len(queries), values.shape[1]))])[:, None],
        remove=None
        if beta is None
        else beta * jnp.concatenate([keys, *[nothing] * len(queries)])[:, None],
    )
    memory = seqmem.Memory(jnp.zeros((1, values.shape[1], keys.shape[1])))
    cell = GivenWrites(memory)
    for method in (seqmem.Scan(), seqmem.Parallel(chunk_size=4)):
        _, ys = seqmem.unroll(cell, memory, write, method=method)
        yield ys[len(keys) :, 0]


def test_delta_rule_replaces_a_value_written_again():
    """The rewrite test: keys e_1 twice, β = 1."""
    keys = jnp.zeros((2, 3)).at[:, 0].set(1.0)
    values = jnp.array([[1.0, 2.0, 3.0], [-1.0, 5.0, 7.0]])
    for read in recalled(keys, values, keys[:1], beta=1.0):
        np.testing.assert_array_equal(read, [[-1.0, 5.0, 7.0]])


@pytest.mark.slow
def test_reflections_count_modulo_three():
    """With β = 2 and unit keys I − β k kᵀ is a reflection; two at 60° rotate by 120°."""
    angles = jnp.where(jnp.arange(60) % 2, jnp.pi / 3, 0)
    keys = jnp.stack([jnp.cos(angles), jnp.sin(angles)], -1)[:, None]
    write = seqmem.Write(
        jnp.broadcast_to(jnp.array([1.0, 0.0]), (60, 1, 2)),
        keys,
        jnp.zeros((60, 1, 1)),
        remove=2 * keys,
    )
    memory = seqmem.Memory(jnp.array([[[1.0, 0.0]]]))
    turns = np.arange(1, 31) * 2 * np.pi / 3
    for method in (seqmem.Scan(), seqmem.Parallel(chunk_size=16)):
        _, ys = seqmem.unroll(GivenWrites(memory), memory, write, method=method)
        np.testing.assert_allclose(ys[1::2, 0, 0], np.cos(turns), rtol=0, atol=1e-12)


@pytest.mark.slow
def test_orthonormal_keys_are_recalled_exactly():
    keys = jnp.linalg.qr(jnp.asarray(normal(1, 7, 7)))[0]
    values = jnp.asarray(normal(2, 7, 5))
    for read in recalled(keys, values, keys):
        np.testing.assert_allclose(read, values, rtol=0, atol=1e-14)


def test_random_keys_are_recalled_with_the_known_error():
    """n unit keys of d entries, added up: relative squared error (n − 1)/d."""
    n, d, draws = 16, 32, 100
    keys = normal(3, draws, n, d)
    keys = jnp.asarray(keys / np.linalg.norm(keys, axis=-1, keepdims=True))
    values = jnp.asarray(normal(4, draws, n, d))
    read = jax.vmap(lambda k, v: next(iter(recalled(k, v, k))))(keys, values)
    error = ((read - values) ** 2).sum((1, 2)) / (values**2).sum((1, 2))
    standard = error.std() / np.sqrt(draws)
    assert abs(error.mean() - (n - 1) / d) < 4 * standard


def run_both(cells, time=11):
    """Outputs, final states and gradients of the inputs of two cells."""
    xs = jnp.asarray(normal(6, time, 3))

    def run(cell):
        (memory, ys), pull = jax.vjp(lambda xs: seqmem.unroll(cell, None, xs), xs)
        return ys, memory, *pull((jax.tree.map(jnp.ones_like, memory), jnp.sin(ys)))

    return [jax.jit(run)(cell) for cell in cells]


def with_fields(cell, **fields):
    """A copy of the cell with other parameters."""
    names = list(fields)
    return eqx.tree_at(lambda c: [getattr(c, name) for name in names], cell, list(fields.values()))


def rule_2_with_one_gate(kda):
    """A `GatedDeltaRule2` whose erase and write gates are all the β of a `KDA`."""
    cell = seqmem.GatedDeltaRule2(3, 10, num_heads=2, key_size=5, beta_max=1.0, key=KEY)
    shared = {name: getattr(kda, name) for name in ("W_q", "W_k", "W_v", "V_alpha", "W_alpha")}
    gate = jnp.repeat(kda.W_beta, 5, 0)
    return with_fields(cell, **shared, W_b=gate, W_w=gate, dt_bias=kda.b, A_log=kda.A_log)


@pytest.mark.slow
def test_gated_delta_rule_2_with_equal_gates_is_kda():
    kda = seqmem.KDA(3, 10, num_heads=2, key_size=5, key=KEY)
    for ours, theirs in zip(*run_both([rule_2_with_one_gate(kda), kda]), strict=True):
        chex.assert_trees_all_close(ours, theirs, rtol=0, atol=1e-13)


@pytest.mark.slow
def test_gated_delta_rule_2_with_one_gate_and_one_decay_is_the_gated_delta_rule():
    rule = seqmem.GatedDeltaRule(3, 10, num_heads=2, key_size=5, key=KEY)
    kda = with_fields(
        seqmem.KDA(3, 10, num_heads=2, key_size=5, key=KEY),
        **{name: getattr(rule, name) for name in ("W_q", "W_k", "W_v", "W_beta", "A_log")},
        V_alpha=jnp.zeros((5, 3)).at[:2].set(rule.W_alpha),
        W_alpha=jnp.repeat(jnp.eye(2, 5), 5, 0),  # one decay for all channels of a head
        b=jnp.repeat(rule.b, 5),
    )
    for ours, theirs in zip(*run_both([rule_2_with_one_gate(kda), rule]), strict=True):
        chex.assert_trees_all_close(ours, theirs, rtol=0, atol=1e-13)
