"""On a GPU chunks are computed side by side: the numbers are those of single writes, and one
product per chunk is left in order. Traced for a GPU, the programs run on the CPU that tests them.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem._cells.fast_weights.chunkwise import schedule
from tests.helpers.cells import CELLS
from tests.helpers.fast_weights import assert_trees_close, outputs_and_gradients
from tests.helpers.given_writes import HEADS, KINDS, VALUE, draw_cell, gentle, strong
from tests.helpers.laws import check_laws_of_time
from tests.helpers.programs import lowered
from tests.helpers.slow import slow, slow_but

TIME, CHUNK = 53, 5
LENGTHS = np.array([0, 1, 4, 5, 20, 41, 53])
BATCH = len(LENGTHS)
CHUNKS = seqmem.Parallel(chunk_size=CHUNK)


ENTRIES = BATCH * HEADS * CHUNK * max(CHUNK, VALUE)  # of one array of a chunk


@pytest.fixture(autouse=True)
def groups_of_four_chunks(monkeypatch):
    """Of the writes below: 11 chunks are three groups, with one chunk of padding."""
    monkeypatch.setattr(schedule, "GROUP_ENTRIES", 4 * ENTRIES)


@functools.partial(jax.jit, static_argnums=0, static_argnames="reverse")
def run(method, *args, **options):
    return outputs_and_gradients(method, *args, **options)


def run_in_groups(*args, **options):
    with seqmem.target_platform("gpu"):
        return run(CHUNKS, *args, **options)


def draw_resets():
    """Resets at borders of chunks and of groups, next to them and elsewhere; some have none."""
    resets = np.zeros((TIME, BATCH), bool)
    resets[[0, 5, 9, 20, 40], 3:5] = True
    resets[[4, 6, 19, 21, 22, 51], -1] = True
    return jnp.asarray(resets)


QUICK = [("delta rule, decay per channel", True, True)]
# Every kind in reverse with lengths and resets, the most general program, and a few in all ways.
ALL_WAYS = (
    *("gated delta rule", "removal elsewhere, decay per channel", "gains"),
    *("several writes", "several queries", "transposed, decay per channel"),
)
GROUPED = [(kind, True, True) for kind in KINDS]
GROUPED += [
    (kind, *way) for kind in ALL_WAYS for way in ((False, False), (False, True), (True, False))
]


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("kind", "reverse", "has_flags"),
    slow_but(QUICK, GROUPED),
)
def test_groups_of_chunks_match_single_writes(kind, reverse, has_flags):
    """Values and gradients, with strong decays, and with or without lengths and resets."""
    args = draw_cell(KINDS[kind], strong, TIME, BATCH)
    flags = {"lengths": LENGTHS, "resets": draw_resets()} if has_flags else {}
    want = run(seqmem.ReferenceScan(), *args, **flags, reverse=reverse)
    assert_trees_close(run_in_groups(*args, **flags, reverse=reverse), want, 1e-9)


def spoil(leaf, step, number):
    """Spoils one entry of one example, which has resets later in the same group and in another."""
    return leaf.at[(step, -1, *[0] * (leaf.ndim - 2))].set(number)


BAD = {
    "query": lambda state, write: (state, write._replace(query=spoil(write.query, 7, jnp.nan))),
    "value": lambda state, write: (state, write._replace(value=spoil(write.value, 7, jnp.inf))),
    "last write of a group": lambda state, write: (
        state,
        write._replace(key=spoil(write.key, 19, -jnp.inf)),
    ),
    "overflow within a group": lambda state, write: (
        state,
        write._replace(log_decay=write.log_decay.at[22:37, -1].set(100.0)),
    ),
    "memory": lambda state, write: (
        state._replace(matrix=state.matrix.at[-1, 0, 0, 0].set(jnp.nan)),
        write,
    ),
    "log scale": lambda state, write: (
        state._replace(log_scale=state.log_scale.at[-1, 0].set(jnp.inf)),
        write,
    ),
    "empty memory": lambda state, write: (
        state._replace(log_scale=state.log_scale.at[-1].set(-jnp.inf)),
        write,
    ),
}
BAD_CASES = [
    *(("delta rule, decay per channel", bad) for bad in list(BAD)[:5]),
    *(("gains", bad) for bad in BAD if bad != "overflow within a group"),
]


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("has_resets", [slow(False), True])
@pytest.mark.parametrize(("kind", "bad"), slow_but([], BAD_CASES))
def test_what_is_not_finite_is_lost_as_in_chunks_one_after_another(kind, bad, has_resets):
    """The same numbers are NaN, in outputs, final state and gradients."""
    cell, state, write = draw_cell(KINDS[kind], gentle, TIME, BATCH)
    state, write = BAD[bad](state, write)
    options = {"resets": draw_resets() if has_resets else None}
    want = run(CHUNKS, cell, state, write, **options)
    got = run_in_groups(cell, state, write, **options)
    is_nan = [bool(np.isnan(leaf).any()) for leaf in jax.tree.leaves(want)]
    assert any(is_nan) == (bad != "empty memory")
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-9), got, want)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("kind", ["delta rule", slow("gains"), slow("decay per channel")])
def test_second_derivatives_match_chunks_one_after_another(kind):
    """Forward mode over reverse mode."""
    cell, state, write = draw_cell(KINDS[kind], gentle, 2 * CHUNK, BATCH)

    @jax.jit
    def derivatives(state, write):
        def loss(state, write):
            run = seqmem.unroll(cell, state, write, method=seqmem.Parallel(chunk_size=2))
            return sum(jnp.sin(leaf).sum() for leaf in jax.tree.leaves(run))

        tangents = jax.tree.map(jnp.cos, (state, write))
        return jax.jvp(jax.grad(loss, (0, 1)), (state, write), tangents)

    want = derivatives(state, write)
    with seqmem.target_platform("gpu"):
        assert_trees_close(derivatives(state, write), want, 1e-9)


# Gains, decays per channel, momentum, and a solver; the numbers of every kind of write are above.
LAWFUL = ["MLSTM", "KDA", "MomentumDeltaRule", "MesaNet"]


@pytest.mark.slow
@pytest.mark.parametrize("name", LAWFUL)
def test_cell_passes_the_laws_in_groups(name):
    """Transformations and perturbations are the same code for all of them."""
    method = seqmem.Parallel(chunk_size=2)
    with seqmem.target_platform("gpu"):
        if name == "KDA":
            report = seqmem.testing.check_cell(CELLS[name](), methods=[method])
            assert set(report.values()) == {"holds"}
        else:
            check_laws_of_time(CELLS[name](), [method])


@pytest.mark.slow
def test_one_product_per_chunk_is_made_in_order(monkeypatch):
    """Forward and in the backward pass, which does not run the forward loop again."""
    monkeypatch.setattr(schedule, "GROUP_ENTRIES", 2 * schedule.UNROLL * ENTRIES)
    cell = seqmem.GatedDeltaRule(7, HEADS * VALUE, num_heads=HEADS, key=jax.random.key(0))
    xs = jax.ShapeDtypeStruct((24 * CHUNK, BATCH, 7), jnp.float32)

    def loss(cell, xs):
        return seqmem.unroll(cell, None, xs, method=CHUNKS)[1].sum()

    loops = lowered(jax.grad(loss), cell, xs, platform="cuda").innermost
    assert [loop.products for loop in loops] == [schedule.UNROLL, schedule.UNROLL]
    chunk_loops = lowered(jax.grad(loss), cell, xs, platform="cpu").innermost
    assert min(loop.products for loop in chunk_loops) > 2 * schedule.UNROLL


@pytest.mark.slow
@pytest.mark.parametrize(
    ("batch", "time", "chunk_size", "expected"),
    [
        (16, 4096, None, (64, 16)),  # 2²² entries: 16 chunks · 16 examples · 4 heads · 64 · 64
        (1, 4096, None, (64, 64)),
        (2**12, 4096, None, (64, 1)),
        (16, 4000, None, (64, 16)),  # 63 chunks, and one of padding
        (16, 1100, None, (64, 9)),  # 18 chunks
        (16, 50, None, (56, 1)),
        (16, 4096, 256, (256, 1)),  # the scores of one chunk are 256 · 256
        (16, 4096, 20, (24, 29)),
        (0, 4096, None, (64, 64)),
    ],
)
def test_groups_fill_the_memory_that_they_are_given(batch, time, chunk_size, expected, monkeypatch):
    monkeypatch.setattr(schedule, "GROUP_ENTRIES", 2**22)
    cell = seqmem.GatedDeltaRule(3, 256, num_heads=4, key=jax.random.key(0))
    xs, init = jnp.zeros((time, batch, 3)), cell.init_state()
    problem = seqmem.Problem(cell, init, cell.init_state(batch), xs, seqmem.StepFlags(), 1)
    one = jax.ShapeDtypeStruct((time, batch, 4, 64), jnp.float32)
    write = seqmem.Write(one, one, one)
    with seqmem.target_platform("gpu"):
        assert schedule.schedule_of(problem, write, chunk_size) == expected
    for platform in ("cpu", "tpu"):
        with seqmem.target_platform(platform):
            assert schedule.schedule_of(problem, write, chunk_size) == (expected[0], 1)


@pytest.mark.parametrize(("rank", "expected"), [(1, 64), (2, 32), (4, 16), (16, 8)])
def test_chunk_has_as_many_queries_whatever_a_step_has(rank, expected):
    memory = seqmem.Mamba3(3, 8, num_heads=2, rank=rank, key=jax.random.key(0)).layers[2]
    steps = jnp.zeros((100, 7))
    problem = seqmem.Problem(memory, memory.init_state(), None, steps, seqmem.StepFlags(), 1)
    write = seqmem.Write(*[jax.ShapeDtypeStruct((100, 7, 2, rank, 4), jnp.float32)] * 3)
    assert schedule.schedule_of(problem, write, None).chunk_size == expected
