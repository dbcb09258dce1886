"""Resets from ids of segments, cumulative lengths and ends of episodes, against plain loops."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from tests.helpers.refusals import assert_refused

TIME, BATCH = 11, 3


@pytest.mark.parametrize("time", [1, 2, TIME])
def test_segments_reset_where_the_id_changes_and_at_the_first_step(time):
    ids = np.random.default_rng(0).integers(-1, 2, (time, BATCH))
    want = np.zeros((time, BATCH), bool)
    for t, i in itertools.product(range(time), range(BATCH)):
        want[t, i] = t == 0 or ids[t, i] != ids[t - 1, i]
    np.testing.assert_array_equal(seqmem.resets_from_segments(ids), want)
    np.testing.assert_array_equal(seqmem.resets_from_segments(jnp.asarray(ids[:, 0])), want[:, 0])


@pytest.mark.parametrize(
    "lengths", [[3, 4], [1], [2, 0, 3], [0, 0, 2], [4, 0], [1, 1, 1], [0]], ids=str
)
@pytest.mark.parametrize("padding", [0, 2])
def test_cumulative_lengths_reset_where_a_sequence_with_steps_begins(lengths, padding):
    want = [step == 0 for n in [*lengths, padding] for step in range(n)]
    boundaries = np.cumsum([0, *lengths])
    given = functools.partial(seqmem.resets_from_cu_seqlens, length=len(want))
    np.testing.assert_array_equal(given(boundaries), want)
    if not padding:
        np.testing.assert_array_equal(seqmem.resets_from_cu_seqlens(boundaries.tolist()), want)


def test_cumulative_lengths_may_be_traced_and_mapped():
    rows = jnp.array([[0, 3, 5, 7], [0, 2, 2, 7]])
    of_row = functools.partial(seqmem.resets_from_cu_seqlens, length=7)
    traced = jax.jit(jax.vmap(of_row, out_axes=1))(rows)
    np.testing.assert_array_equal(traced, np.stack([of_row(row) for row in rows], 1))


def resets_by_a_loop(dones, previous):
    """Step by step, as an agent meets its episodes."""
    resets, is_first_step = [], previous
    for done in dones:
        resets.append(is_first_step)
        is_first_step = done
    return np.array(resets)


@pytest.mark.parametrize("time", [1, 2, TIME])
def test_dones_reset_the_step_after_the_end_of_an_episode(time):
    rng = np.random.default_rng(1)
    dones, previous = rng.random((time, BATCH)) < 0.4, rng.random(BATCH) < 0.5
    got = seqmem.resets_from_dones(dones, previous)
    np.testing.assert_array_equal(got, resets_by_a_loop(dones, previous))
    for value in (False, True):
        want = resets_by_a_loop(dones, np.full(BATCH, value))
        np.testing.assert_array_equal(seqmem.resets_from_dones(dones, value), want)
    np.testing.assert_array_equal(seqmem.resets_from_dones(dones)[0], np.zeros(BATCH, bool))


def test_dones_of_chunks_are_those_of_the_whole_rollout():
    dones = np.random.default_rng(2).random((TIME, BATCH)) < 0.4
    whole = seqmem.resets_from_dones(dones)
    first = seqmem.resets_from_dones(dones[:4])
    rest = seqmem.resets_from_dones(dones[4:], dones[3])
    assert dones[3].any()
    np.testing.assert_array_equal(whole, np.concatenate([first, rest]))


TRACED = jax.jit(seqmem.resets_from_cu_seqlens)
REFUSED = {
    "ids of floats": (seqmem.resets_from_segments, (np.ones((3, 2)),), "segment_ids of float64"),
    "an id alone": (seqmem.resets_from_segments, (np.array(1),), "segment_ids of int64 and"),
    "boundaries of floats": (seqmem.resets_from_cu_seqlens, (np.ones(3),), "float64 of shape (3,)"),
    "boundaries in two axes": (seqmem.resets_from_cu_seqlens, (np.ones((1, 2), int),), "int64 of"),
    "decreasing boundaries": (seqmem.resets_from_cu_seqlens, ([0, 5, 3],), "boundaries [0, 5, 3]"),
    "lengths": (seqmem.resets_from_cu_seqlens, ([3, 4],), "boundaries [3, 4]"),
    "no boundary": (seqmem.resets_from_cu_seqlens, (np.zeros(0, int),), "boundaries []"),
    "a wrong total": (seqmem.resets_from_cu_seqlens, ([0, 3, 7], 6), "length=6 and a last"),
    "traced boundaries": (TRACED, (jnp.array([0, 3]),), "traced boundaries and no length"),
    "float dones": (seqmem.resets_from_dones, (np.zeros((3, 2)),), "dones of float64"),
    "one done": (seqmem.resets_from_dones, (True,), "dones of bool and shape ()"),
    "dones of a whole chunk": (
        seqmem.resets_from_dones,
        (np.zeros((3, 2), bool), np.zeros((3, 2), bool)),
        "previous of bool and shape (3, 2)",
    ),
    "float previous": (
        seqmem.resets_from_dones,
        (np.zeros((3, 2), bool), np.zeros(2)),
        "previous of float64",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_wrong_arguments_are_refused(case):
    function, arguments, came = REFUSED[case]
    name = getattr(function, "__name__", "resets_from_cu_seqlens")
    assert_refused(f"{name} got {came}", function, *arguments)
