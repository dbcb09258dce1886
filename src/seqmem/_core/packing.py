"""Sequences of different lengths in rows of one length, one after another, with little padding."""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, PyTree, Shaped

from .errors import bad_input
from .validation import check_count

PADDING = 0  # the segment id of a step that belongs to no sequence


@dataclasses.dataclass(frozen=True, eq=False)
class Packed:
    """Sequences in one row, or in rows that are a batch; `seqmem.pack` makes it.

        options = {"resets": packed.resets, "lengths": packed.lengths}
        state, ys = seqmem.unroll(cell, None, packed.xs, **options)

    The sum of the losses of each sequence, which are [time, *row], is
    `jax.ops.segment_sum(losses.ravel(), packed.segment_ids.ravel())[1:]`.

    Attributes:
        xs: the sequences, [time, ...] in one row or [time, row, ...]; zeros at padding.
        resets: where each sequence begins.
        lengths: the valid steps of each row; its padding is at the end.
        segment_ids: i + 1 where a step belongs to sequence i of the list, 0 at padding.
        places: where each sequence is: `xs[places[i]]` is sequence i.
    """

    xs: PyTree[Shaped[Array | np.ndarray, "time ..."]]
    resets: Bool[np.ndarray, "time *row"]
    lengths: Int[np.ndarray, "*row"]
    segment_ids: Int[np.ndarray, "time *row"]
    places: tuple[slice | tuple[slice, int], ...]


def pack(
    sequences: Sequence[PyTree[Shaped[Array | np.ndarray, "_ ..."]]], length: int | None = None
) -> Packed:
    """Put sequences one after another, in one row or in rows of one length.

    A sequence goes to the first row that has room for it, in the order of the list (first-fit); a
    list that is sorted by falling length needs less padding. NumPy arrays remain on the host;
    arrays of JAX are packed differentiably. A sequence without steps takes no place.

    Args:
        sequences: arrays [steps, ...], or trees of them such as (inputs, targets).
        length: steps of a row; None is one row [time, ...] without padding and without a batch
            axis.

    Raises:
        ValueError: for no sequence, sequences of different trees, shapes or dtypes, or one that is
            longer than `length`.

    Example:
        >>> import numpy as np, seqmem
        >>> packed = seqmem.pack([np.array([1, 2, 3]), np.array([4, 5]), np.array([6])], length=4)
        >>> packed.xs.T.tolist()                                       # two rows of 4 steps
        [[1, 2, 3, 6], [4, 5, 0, 0]]
        >>> packed.resets.T.astype(int).tolist(), packed.lengths.tolist()
        ([[1, 0, 0, 1], [1, 0, 0, 0]], [4, 2])
        >>> [sequence.tolist() for sequence in seqmem.unpack(packed, packed.xs)]
        [[1, 2, 3], [4, 5], [6]]
    """
    sequences = list(sequences)
    steps = _steps_of(sequences)
    if length is not None:
        check_count("pack", "length", length)
        if max(steps) > length:
            raise bad_input(
                f"pack got a sequence of {max(steps)} steps for rows of {length}.",
                "sequences that fit into one row.",
                "cut the sequence, or choose a larger length.",
            )
    rows, starts, lengths = _first_fit(steps, sum(steps) if length is None else length)
    # The step of all sequences, one after another, that stands at each place of the rows; after
    # all of them comes a step of padding.
    time = sum(steps) if length is None else length
    source = np.full((time, len(lengths)), sum(steps))
    segment_ids = np.full(source.shape, PADDING, np.int32)
    resets = np.zeros(source.shape, bool)
    firsts = np.cumsum([0, *steps])
    for i, (row, start, count) in enumerate(zip(rows, starts, steps, strict=True)):
        if count:
            source[start : start + count, row] = np.arange(firsts[i], firsts[i + 1])
            segment_ids[start : start + count, row] = i + 1
            resets[start, row] = True
    places: list = [slice(start, start + n) for start, n in zip(starts, steps, strict=True)]
    if length is None:
        source, segment_ids, resets, lengths = (
            source[:, 0],
            segment_ids[:, 0],
            resets[:, 0],
            lengths[0],
        )
    else:
        places = list(zip(places, rows, strict=True))

    def arrange(*leaves: Array | np.ndarray) -> Array | np.ndarray:
        numpy = jnp if any(isinstance(leaf, jax.Array) for leaf in leaves) else np
        padding = np.zeros((1, *leaves[0].shape[1:]), leaves[0].dtype)
        return numpy.concatenate([*leaves, padding])[source]

    return Packed(
        jax.tree.map(arrange, *sequences), resets, np.asarray(lengths), segment_ids, tuple(places)
    )


def unpack(packed: Packed, ys: PyTree[Shaped[Array | np.ndarray, "time ..."]]) -> list[PyTree]:
    """The steps of each packed sequence, in the order of the list.

    Args:
        packed: from `seqmem.pack`.
        ys: what belongs to its steps: `packed.xs`, outputs, losses, or the states of
            `seqmem.solve(..., return_states=True)`, whose last step is the final state.

    Raises:
        ValueError: for arrays that do not begin with the axes of `packed.resets`.

    Example:
        >>> import jax, seqmem
        >>> packed = seqmem.pack([jax.numpy.ones((3, 2)), jax.numpy.ones((4, 2))])
        >>> cell = seqmem.GRU(2, 5, key=jax.random.key(0))
        >>> _, ys = seqmem.unroll(cell, None, packed.xs, resets=packed.resets)
        >>> [y.shape for y in seqmem.unpack(packed, ys)]
        [(3, 5), (4, 5)]
    """
    axes = packed.resets.shape
    for leaf in jax.tree.leaves(ys):
        if np.shape(leaf)[: len(axes)] != axes:
            raise bad_input(
                f"unpack got an array of shape {np.shape(leaf)}.",
                f"the axes {axes} of the packed sequences in front.",
                "pass what unroll returned for packed.xs, time first.",
            )
    return [jax.tree.map(lambda leaf, place=place: leaf[place], ys) for place in packed.places]


def _steps_of(sequences: list[PyTree]) -> list[int]:
    """The steps of each sequence, which must be alike in all else."""
    if not sequences:
        raise bad_input(
            "pack got no sequence.",
            "a list of one sequence or more.",
            "leave the call out where there is nothing to pack.",
        )
    steps, first = [], _shapes_after_time(sequences[0])
    for i, sequence in enumerate(sequences):
        counts = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(sequence)}
        if len(counts) != 1 or counts == {()}:
            raise bad_input(
                f"pack got a sequence {i} with {len(counts)} numbers of steps, or without time.",
                "one array [steps, ...], or a tree of arrays with the same steps.",
                "put time first in every array.",
            )
        if _shapes_after_time(sequence) != first:
            raise bad_input(
                f"pack got {_shapes_after_time(sequence)} for a step of sequence {i}, and {first} "
                "for the first.",
                "sequences that differ in their steps only.",
                "give all sequences the same tree, features and dtype.",
            )
        steps.append(counts.pop()[0])
    return steps


def _shapes_after_time(sequence: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: f"{leaf.dtype}{list(leaf.shape[1:])}", sequence)


def _first_fit(steps: list[int], length: int) -> tuple[list[int], list[int], list[int]]:
    """The row and the first step of each sequence, and how many steps of each row are used."""
    rows, starts, used = [], [], np.zeros(1, int)
    for count in steps:
        has_room = used + count <= length
        row = int(has_room.argmax()) if has_room.any() else len(used)
        if row == len(used):
            used = np.append(used, 0)
        rows.append(row)
        starts.append(int(used[row]))
        used[row] += count
    return rows, starts, used.tolist()
