"""The chunkwise form of fast weights matches a loop of single writes, for every kind of write."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from tests.helpers.fast_weights import assert_trees_close, draw, outputs_and_gradients
from tests.helpers.given_writes import KINDS, GivenWrites, draw_cell, gentle, strong
from tests.helpers.slow import slow, slow_but

TIME = 200
LENGTHS = np.array([1, 2, 63, 64, 65, 200, 0])
BATCH = len(LENGTHS)

# Each part of a chunk: decays and removals, gains. The rest are combinations with other parts.
QUICK = {"delta rule, decay per channel", "gains"}


def draw_resets(time, batch):
    resets = np.random.default_rng(5).random((time, batch)) < 0.01
    resets[[0, 5, 16, 32, 63, 64, 65, 128], :4] = True
    return jnp.asarray(resets)


run = jax.jit(outputs_and_gradients, static_argnums=0, static_argnames="reverse")


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("draw_log_decay", [gentle, slow(strong)], ids=lambda draw: draw.__name__)
@pytest.mark.parametrize("kind", slow_but(QUICK, KINDS))
def test_chunks_match_single_writes(kind, draw_log_decay):
    """Values and gradients, with lengths, resets at borders of chunks, and a learned memory."""
    args = draw_cell(KINDS[kind], draw_log_decay, TIME, BATCH)
    flags = {"lengths": LENGTHS, "resets": draw_resets(TIME, BATCH)}
    want = run(seqmem.ReferenceScan(), *args, **flags)
    assert_trees_close(run(seqmem.Parallel(chunk_size=16), *args, **flags), want, 1e-9)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("kind", "reverse"),
    [
        *((kind, False) for kind in KINDS),
        ("gated delta rule", True),
        ("several writes", True),
        ("gains", True),
        ("transposed, several writes", True),
        ("several writes, momentum", True),
    ],
)
def test_long_chunks_match_single_writes_in_either_direction(kind, reverse):
    lengths = np.array([1, 2, 63, 64, 65, 200, 1000])
    flags = {"lengths": lengths, "resets": draw_resets(1000, BATCH), "reverse": reverse}
    for draw_log_decay in (gentle, strong):
        args = draw_cell(KINDS[kind], draw_log_decay, time=1000, batch=BATCH)
        want = run(seqmem.ReferenceScan(), *args, **flags)
        assert_trees_close(run(seqmem.Parallel(chunk_size=64), *args, **flags), want, 1e-9)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("time", [0, 1, slow(13)])
def test_any_chunk_size_fits_any_time(time):
    args = draw_cell(KINDS["delta rule, decay per channel"], gentle, time, BATCH)
    want = run(seqmem.ReferenceScan(), *args)
    for chunk_size in (1, 3, 11, 64):
        assert_trees_close(run(seqmem.Parallel(chunk_size=chunk_size), *args), want, 1e-12)


SINGLE = {
    "−10": lambda rng, shape: np.full(shape, -10.0),
    "0 and −1000": lambda rng, shape: rng.choice([0.0, -1000.0], shape),
    "0 and −∞": lambda rng, shape: rng.choice([0.0, -np.inf], shape),
}


@pytest.mark.parametrize(
    "kind",
    [
        slow("decay per head"),
        slow("decay per channel"),
        "delta rule, decay per channel",
        slow("transposed, decay per head"),
        slow("transposed, decay per channel"),
        slow("transposed delta rule, decay per channel"),
        slow("several writes and queries"),
        slow("gated delta rule, momentum"),
    ],
)
@pytest.mark.parametrize("draw_log_decay", SINGLE)
def test_strong_decays_lose_no_digit_in_single_precision(draw_log_decay, kind):
    args = draw_cell(KINDS[kind], SINGLE[draw_log_decay], TIME, 2, dtype=np.float32)
    want = run(seqmem.ReferenceScan(), *args)
    assert_trees_close(run(seqmem.Parallel(chunk_size=64), *args), want, 1e-5)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("leaf", ["query", "key", "value", "log_decay", "remove"])
def test_nonfinite_write_is_lost_until_the_next_reset(leaf):
    """Neither the steps before it in its chunk nor those after the reset are."""
    cell, state, write = draw_cell(KINDS["delta rule, decay per channel"], gentle, time=40, batch=1)
    resets = jnp.zeros((40, 1), bool).at[[9, 30], 0].set(True)
    bad = write._replace(**{leaf: getattr(write, leaf).at[3].set(jnp.nan)})

    @functools.partial(jax.jit, static_argnums=0)
    def readings(method, write):
        return seqmem.unroll(cell, state, write, resets=resets, method=method)[1]

    @functools.partial(jax.jit, static_argnums=0)
    def gradients(method, write):
        return jax.grad(lambda write: (readings(method, write)[9:] ** 2).sum())(write)

    clean = readings(seqmem.ReferenceScan(), write)
    for method in (seqmem.ReferenceScan(), seqmem.Parallel(chunk_size=16)):
        got = readings(method, bad)
        lost = slice(3, 4) if leaf == "query" else slice(3, 9)
        assert jnp.isnan(got[lost]).all()
        is_kept = np.ones(40, bool)
        is_kept[lost] = False
        np.testing.assert_allclose(got[is_kept], clean[is_kept], rtol=0, atol=1e-12)
        grads = gradients(method, bad)
        assert all(np.isfinite(leaf[9:]).all() for leaf in jax.tree.leaves(grads))


@pytest.mark.usefixtures("float64")
def test_nonfinite_memory_is_lost_until_the_next_reset():
    cell, state, write = draw_cell(KINDS["gains"], gentle, time=40, batch=1)
    resets = jnp.zeros((40, 1), bool).at[21, 0].set(True)
    bad = state._replace(matrix=state.matrix.at[0, 1].set(jnp.nan))
    for method in (seqmem.ReferenceScan(), seqmem.Parallel(chunk_size=16)):
        reading, _ = seqmem.unroll(cell, bad, write, resets=resets, method=method)[1]
        clean, _ = seqmem.unroll(cell, state, write, resets=resets, method=method)[1]
        assert jnp.isnan(reading[:21, :, 1]).all()  # of this head
        np.testing.assert_array_equal(reading[:, :, 0], clean[:, :, 0])  # not of the other
        np.testing.assert_array_equal(reading[21:], clean[21:])


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("emptied", ["before the run", "at the end of a chunk"])
def test_empty_memory_of_a_cell_with_gains_is_finite(emptied):
    """Its log scale is −∞: nothing is left of it, and nothing was written."""
    cell, state, write = draw_cell(KINDS["gains"], gentle, time=40, batch=1)
    if emptied == "before the run":
        state = state._replace(log_scale=jnp.full_like(state.log_scale, -jnp.inf))
    else:
        nothing = {"log_decay": -jnp.inf, "log_gain": -jnp.inf}
        write = write._replace(
            **{name: getattr(write, name).at[15].set(log) for name, log in nothing.items()}
        )

    @functools.partial(jax.jit, static_argnums=0)
    def readings_and_gradients(method, *args):  # of a maximum of two −∞ there is none
        def readings(state, write):
            return seqmem.unroll(cell, state, write, method=method)[1][0]

        ys, pull = jax.vjp(readings, *args)
        return ys, pull(jnp.asarray(draw(0, *ys.shape)))

    want = readings_and_gradients(seqmem.ReferenceScan(), state, write)
    got = readings_and_gradients(seqmem.Parallel(chunk_size=16), state, write)
    assert_trees_close(got, want, 1e-9)


@pytest.mark.slow
@pytest.mark.optimised
def test_gradient_saves_one_matrix_per_chunk():
    """Temporaries of a gradient at T = 4096, one head of 64: q, k, v and y are 4 MiB."""
    size, time = 64, 4096
    step = jax.ShapeDtypeStruct((time, 1, size), jnp.float32)
    cell = GivenWrites(seqmem.Memory(jnp.zeros((1, size, size))))
    limits = {
        "delta rule": (seqmem.Write(step, step, step, None, step), 9),
        "a decay per channel": (seqmem.Write(step, step, step, step, step), 12),
    }
    for write, limit in limits.values():

        def loss(write):
            return seqmem.unroll(cell, cell.init_state(), write)[1].sum()

        compiled = jax.jit(jax.grad(loss)).lower(write).compile()
        assert compiled.memory_analysis().temp_size_in_bytes <= limit * 2**20


EMPTY = {
    "several writes": lambda key: seqmem.DeltaProduct(3, 10, num_heads=2, key=key),
    "gains": lambda key: seqmem.MLSTM(3, 10, num_heads=2, key=key),
    "decay per channel": lambda key: seqmem.KDA(3, 10, num_heads=2, key=key),
    "groups": lambda key: seqmem.SSD(3, 20, num_heads=4, num_groups=2, key=key),
}


@pytest.mark.parametrize("name", slow_but({"gains"}, EMPTY))
def test_batch_of_size_0_has_outputs_of_size_0(name):
    cell, xs = EMPTY[name](jax.random.key(0)), jnp.zeros((13, 0, 3))
    resets, lengths = jnp.zeros((13, 0), bool), jnp.zeros(0, int)

    @functools.partial(jax.grad, has_aux=True)
    def run(cell):
        options = {"lengths": lengths, "resets": resets, "method": seqmem.Parallel(chunk_size=8)}
        state, ys = seqmem.unroll(cell, None, xs, **options)
        return ys.sum(), (state, ys)

    gradients, (state, ys) = jax.jit(run)(cell)
    assert ys.shape == (13, 0, *cell.output_shape)
    assert jax.tree.map(jnp.shape, state) == jax.tree.map(jnp.shape, cell.init_state(0))
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(gradients))


@pytest.mark.parametrize("name", slow_but({"gains"}, EMPTY))
def test_transition_of_a_batch_of_size_0_gives_a_state_of_size_0(name):
    cell, xs = EMPTY[name](jax.random.key(0)), jnp.zeros((13, 0, 3))
    state, flags = cell.init_state(0), seqmem.StepFlags(reset=jnp.zeros((13, 0), bool))
    rule = cell.family.transition

    @jax.jit
    def run(cell):
        half = rule.of(seqmem.Problem(cell, cell.init_state(), state, xs, flags, 1))
        return rule.apply(rule.compose(half, half), state)

    assert jax.tree.map(jnp.shape, run(cell)) == jax.tree.map(jnp.shape, state)
