"""Packed sequences: rows, places, and the same numbers as each sequence by itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from tests.helpers.refusals import assert_refused
from tests.helpers.slow import slow
from tests.helpers.unrolling import close

STEPS, LENGTH, INPUT, HIDDEN = [5, 3, 0, 7, 2, 1], 8, 2, 3


def draw(steps, *shape):
    rng = np.random.default_rng(len(steps))
    return [rng.normal(size=(n, *shape)) for n in steps]


def rows_by_a_loop(sequences, length):
    """First-fit, with the number of its sequence at each step."""
    rows = []
    for number, sequence in enumerate(sequences, 1):
        for row in rows:
            if len(row) + len(sequence) <= length:
                break
        else:
            row = []
            rows.append(row)
        row += [(number, x) for x in sequence]
    return rows


@pytest.mark.parametrize("seed", range(5))
def test_rows_are_those_of_a_loop(seed):
    steps = np.random.default_rng(seed).integers(0, LENGTH + 1, 9)
    sequences = draw(steps, INPUT)
    packed = seqmem.pack(sequences, LENGTH)
    rows = rows_by_a_loop(sequences, LENGTH)
    assert packed.xs.shape == (LENGTH, len(rows), INPUT)
    for i, row in enumerate(rows):
        numbers = [0] * LENGTH
        numbers[: len(row)] = [number for number, _ in row]
        np.testing.assert_array_equal(packed.segment_ids[:, i], numbers)
        np.testing.assert_array_equal(packed.xs[: len(row), i], [x for _, x in row])
        assert not packed.xs[len(row) :, i].any()
        assert packed.lengths[i] == len(row)
    is_valid = packed.segment_ids > 0
    resets = seqmem.resets_from_segments(packed.segment_ids)
    np.testing.assert_array_equal(packed.resets, np.asarray(resets) & is_valid)


def test_one_row_is_all_sequences_without_padding():
    sequences = draw(STEPS, INPUT)
    packed = seqmem.pack(sequences)
    np.testing.assert_array_equal(packed.xs, np.concatenate(sequences))
    resets = seqmem.resets_from_cu_seqlens(np.cumsum([0, *STEPS]))
    np.testing.assert_array_equal(packed.resets, resets)
    assert packed.lengths.tolist() == sum(STEPS)


@pytest.mark.parametrize("length", [None, LENGTH])
def test_unpacked_trees_are_those_that_were_packed(length):
    sequences = [
        {"token": np.arange(n), "vector": (jnp.asarray(x, jnp.float32),)}
        for n, x in zip(STEPS, draw(STEPS, 3, INPUT), strict=True)
    ]
    packed = seqmem.pack(sequences, length)
    assert isinstance(packed.xs["token"], np.ndarray)
    for got, want in zip(seqmem.unpack(packed, packed.xs), sequences, strict=True):
        jax.tree.map(np.testing.assert_array_equal, got, want)


def test_sequences_without_steps_alone_are_one_row_of_padding():
    packed = seqmem.pack(draw([0, 0], INPUT), LENGTH)
    assert packed.xs.shape == (LENGTH, 1, INPUT)
    assert packed.lengths.tolist() == [0]
    assert not packed.resets.any()
    assert [len(x) for x in seqmem.unpack(packed, packed.xs)] == [0, 0]


KEY = jax.random.key(0)
CELLS = {
    "GRU": lambda: seqmem.GRU(INPUT, HIDDEN, key=KEY),
    "LRU": lambda: seqmem.LRU(INPUT, HIDDEN, key=KEY),
    "GatedDeltaRule": lambda: seqmem.GatedDeltaRule(
        INPUT, HIDDEN, num_heads=1, key_size=2, key=KEY
    ),
    "CausalConv": lambda: seqmem.CausalConv(INPUT, HIDDEN, width=3, key=KEY),
}


def run_packed(cell, sequences, reverse, shift=0):
    packed = seqmem.pack(sequences, LENGTH)
    solution = seqmem.solve(
        cell,
        None,
        packed.xs,
        resets=np.roll(packed.resets, shift, 0),
        lengths=packed.lengths,
        reverse=reverse,
        return_states=isinstance(cell, seqmem.GRU),
    )
    return seqmem.unpack(packed, (solution.outputs, solution.states))


def run_alone(cell, sequences, reverse):
    options = {"reverse": reverse, "return_states": isinstance(cell, seqmem.GRU)}
    solutions = [seqmem.solve(cell, None, xs, **options) for xs in sequences]
    return [(solution.outputs, solution.states) for solution in solutions]


def with_gradients(run, *options):
    """The results of the sequences, and the gradients of the cell and of each sequence."""

    def loss(cell, sequences):
        results = run(cell, sequences, *options)
        return sum(jnp.sum(jnp.abs(leaf) ** 3) for leaf in jax.tree.leaves(results)), results

    return jax.jit(jax.grad(loss, (0, 1), has_aux=True))


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("name", "reverse"),
    [
        *(("GRU", False), slow("GRU", True), slow("LRU", False), slow("LRU", True)),
        *(slow("GatedDeltaRule", False), slow("GatedDeltaRule", True)),
        *(slow("CausalConv", False), slow("CausalConv", True)),
    ],
)
def test_packed_sequences_run_as_each_by_itself(name, reverse):
    cell = jax.tree.map(lambda leaf: leaf.astype(float), CELLS[name]())
    sequences = [jnp.asarray(x) for x in draw(STEPS, INPUT) if len(x)]
    want_gradients, want = with_gradients(run_alone, reverse)(cell, sequences)
    got_gradients, got = with_gradients(run_packed, reverse)(cell, sequences)
    close(got, want)
    close(got_gradients, want_gradients)


@pytest.mark.slow
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("shift", [-1, 1])
def test_resets_that_are_wrong_by_one_step_give_other_outputs(shift, reverse):
    cell, sequences = CELLS["GRU"](), [x.astype(np.float32) for x in draw(STEPS, INPUT)]
    right = run_packed(cell, sequences, reverse)
    wrong = run_packed(cell, sequences, reverse, shift)
    differs = [bool((jnp.abs(a[0] - b[0]) > 1e-3).any()) for a, b in zip(right, wrong, strict=True)]
    assert sum(differs) >= 3, differs  # the first of a row may be right by chance of its place


REFUSED = {
    "no sequence": (([],), "no sequence"),
    "a scalar": (([np.float32(1.0)],), "a sequence 0 with"),
    "arrays that disagree": (([(np.zeros(3), np.zeros(2))],), "a sequence 0 with 2 numbers"),
    "other features": (([np.zeros((3, 2)), np.zeros((3, 1))],), "float64[1] for a step of sequ"),
    "another dtype": (([np.zeros(3), np.zeros(3, int)],), "int64[] for a step of sequence 1"),
    "a long sequence": ((draw(STEPS), 6), "a sequence of 7 steps for rows of 6"),
    "rows without a step": ((draw(STEPS), 0), "length=0"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_packed_is_refused(case):
    arguments, came = REFUSED[case]
    assert_refused(f"pack got {came}", seqmem.pack, *arguments)


def test_unpack_refuses_arrays_of_another_time_or_batch():
    packed = seqmem.pack(draw(STEPS, INPUT), LENGTH)
    assert_refused(
        "unpack got an array of shape (3, 8,", seqmem.unpack, packed, packed.xs.swapaxes(0, 1)
    )
