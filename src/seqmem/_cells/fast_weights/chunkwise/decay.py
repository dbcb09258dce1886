"""Cumulative decays within a chunk, and products of rows and columns that decay in between.

The decay over the steps j + 1, ..., i is always a product of the decays of single steps, as in a
loop, never a quotient of two cumulative products nor the exponential of a difference of two sums:
after a decay of 0 these are 0/0, and after a strong decay they cancel.

A chunk is cut into segments, level by level, here of 8 steps with 2 per smallest segment:

    level 0    |0 1|2 3|4 5|6 7|         from_start, of step 6 at level 1: decay 4 · 5 · 6
    level 1    |0 1 2 3|4 5 6 7|         to_end,     of step 1 at level 1: decay 2 · 3
    level 2    |0 1 2 3 4 5 6 7|

A decayed product over a segment of level n + 1 is two triangles of level n and a square:

    A[i, j] = Σ_d rows[i, d] cols[j, d] ∏_{j<l≤i} decay[l, d]      [ ▲ 0 ]
            = (rows · from_start)[i] · (cols · to_end)[j] in ■     [ ■ ▲ ]

A decayed sum, Y[i, d] = Σ_j A[i, j] cols[j, d] ∏_{j<l≤i} decay[l, d], is cut in the same way.

All arrays are [..., step, channel], or [..., segment, step, channel].
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ..write import matmul
from .halving import diagonal_tiles, halve_until, join_triangles, split_pairs, squares_below

SMALL = 4  # steps of the smallest segments, which are computed step by step, side by side

PerStep = Float[Array, "*lead step channel"]
PerSegment = Float[Array, "*lead segment step channel"]


class Level(NamedTuple):
    """Products of decays within the segments of one level, each at most 1.

    Attributes:
        from_start: from the start of the segment up to and including the step: what is left, at the
            step, of a matrix from before the segment.
        to_end: after the step up to the end of the segment: what is left, after the segment, of
            what the step wrote.
    """

    from_start: PerSegment
    to_end: PerSegment


class CumulativeDecay(NamedTuple):
    """The decays of a chunk, and all products of them that the chunk needs.

    Attributes:
        decay: of every step, for every channel or for all channels alike, in the smallest segments.
        levels: from the smallest segments to the whole chunk.
        pairwise: ∏_{j<l≤i} decay[l] of every pair of steps, where a step has one decay for all
            channels.
    """

    decay: PerSegment
    levels: tuple[Level, ...]
    pairwise: Float[Array, "*lead step step"] | None

    def from_start(self, is_reset: Bool[Array, "*lead step 1"] | None = None) -> PerStep:
        """∏_{l≤i} decay[l] at each step i, from the start of the chunk or the last reset on."""
        levels = self.levels if is_reset is None else _levels(self.decay, is_reset)
        return levels[-1].from_start[..., 0, :, :]

    @property
    def to_end(self) -> PerStep:
        """∏_{l>j} decay[l] at each step j, to the end of the chunk."""
        return self.levels[-1].to_end[..., 0, :, :]


def cumulative_decay(log_decay: PerStep) -> CumulativeDecay:
    """The cumulative decays of a chunk."""
    # The exponential has one shape, and it is cut: XLA:CPU, seen with jaxlib 0.10.2 and 0.12.0.1,
    # writes a gradient over the decays while it reads the same memory under another shape.
    decay = jnp.exp(_cut_small(log_decay))
    levels = _levels(decay, None)
    if decay.shape[-1] > 1:
        return CumulativeDecay(decay, levels, None)
    ones = jnp.ones_like(log_decay)
    return CumulativeDecay(decay, levels, _by_doubling(ones, ones, decay, levels))


def decayed_products(
    rows: PerStep, cols: PerStep, decays: CumulativeDecay | None
) -> Float[Array, "*lead step step"]:
    """A[i, j] = Σ_d rows[i, d] cols[j, d] ∏_{j<l≤i} decay[l, d] where j ≤ i, else 0.

    There may be one row for every n columns: it is then at the last of these.
    """
    steps = rows.shape[-2]
    if decays is None:
        is_earlier = every_nth(jnp.tri(cols.shape[-2], dtype=bool), steps)
        return jnp.where(is_earlier, matmul(rows, cols.mT), 0)
    if decays.pairwise is not None:
        return matmul(rows, cols.mT) * every_nth(decays.pairwise, steps)
    rows = at_every_nth(rows, cols.shape[-2])
    return every_nth(_by_doubling(rows, cols, decays.decay, decays.levels), steps)


def every_nth(leaf: Array, count: int) -> Array:
    """`count` rows of [..., n · count, channel], each the last of n."""
    n = leaf.shape[-2] // count
    return leaf if n == 1 else leaf[..., n - 1 :: n, :]


def at_every_nth(rows: Array, count: int) -> Array:
    """`count` rows, of which `every_nth` are the given ones, and the others 0."""
    *lead, steps, channels = rows.shape
    n = count // steps
    if n == 1:
        return rows
    padding = [*[(0, 0)] * (len(lead) + 1), (n - 1, 0), (0, 0)]
    return jnp.pad(rows[..., None, :], padding).reshape(*lead, count, channels)


def _by_doubling(
    rows: PerStep, cols: PerStep, decay: PerSegment, levels: tuple[Level, ...]
) -> Array:
    """`decayed_products` by the levels' triangles and squares: both factors are at most 1."""
    rows, cols, decay = jnp.broadcast_arrays(_cut_small(rows), _cut_small(cols), decay)
    A = _step_by_step(rows, cols, decay)
    for level in levels[:-1]:
        _, later_rows = split_pairs(_cut_as(rows, level.from_start))
        earlier_cols, _ = split_pairs(_cut_as(cols, level.to_end))
        _, from_start = split_pairs(level.from_start)
        to_end, _ = split_pairs(level.to_end)
        squares = matmul(later_rows * from_start, (earlier_cols * to_end).mT)
        A = join_triangles(A, squares)
    return A[..., 0, :, :]


def decayed_sums(
    A: Float[Array, "*lead step step"], cols: PerStep, decays: CumulativeDecay | None
) -> PerStep:
    """Y[i, d] = Σ_{j≤i} A[i, j] cols[j, d] ∏_{j<l≤i} decay[l, d]: the transpose, in the rows, of
    `decayed_products`, also where there is one row for every n columns.
    """
    steps = A.shape[-2]
    if decays is None:
        is_earlier = every_nth(jnp.tri(A.shape[-1], dtype=bool), steps)
        return matmul(jnp.where(is_earlier, A, 0), cols)
    if decays.pairwise is not None:
        return matmul(A * every_nth(decays.pairwise, steps), cols)
    A = at_every_nth(A, A.shape[-1])
    cols, decay = jnp.broadcast_arrays(_cut_small(cols), decays.decay)
    Y = _sums_step_by_step(diagonal_tiles(A, decay.shape[-2]), cols, decay)
    for level in decays.levels[:-1]:
        earlier_cols, _ = split_pairs(_cut_as(cols, level.to_end))
        _, from_start = split_pairs(level.from_start)
        to_end, _ = split_pairs(level.to_end)
        squares = squares_below(A, level.to_end.shape[-2])
        first, second = split_pairs(Y)
        second = second + from_start * matmul(squares, earlier_cols * to_end)
        Y = jnp.concatenate([first, second], -2)
    return every_nth(Y[..., 0, :, :], steps)


def _sums_step_by_step(A: Array, cols: PerSegment, decay: PerSegment) -> PerSegment:
    """`decayed_sums` of the smallest segments, by a loop: all columns so far decay."""
    decayed_cols, Y = cols[..., :0, :], []
    for i in range(cols.shape[-2]):
        step = slice(i, i + 1)
        decayed_cols = jnp.concatenate([decayed_cols * decay[..., step, :], cols[..., step, :]], -2)
        Y.append(matmul(A[..., step, : i + 1], decayed_cols))
    return jnp.concatenate(Y, -2)


def _step_by_step(rows: PerSegment, cols: PerSegment, decay: PerSegment) -> Array:
    """`decayed_products` of the smallest segments, by a loop: all columns so far decay."""
    size = rows.shape[-2]
    decayed_cols, A = cols[..., :0, :], []
    for i in range(size):
        step = slice(i, i + 1)
        decayed_cols = jnp.concatenate([decayed_cols * decay[..., step, :], cols[..., step, :]], -2)
        row = matmul(rows[..., step, :], decayed_cols.mT)
        A.append(jnp.pad(row, [(0, 0)] * (row.ndim - 1) + [(0, size - 1 - i)]))
    return jnp.concatenate(A, -2)


def _levels(decay: PerSegment, is_reset: Array | None) -> tuple[Level, ...]:
    """All levels, from the smallest segments on. With resets, `from_start` restarts at each."""
    level = _smallest_level(decay, None if is_reset is None else _cut_small(is_reset))
    levels = [level]
    after_reset = None if is_reset is None else jnp.cumsum(_cut_small(is_reset), -2) > 0
    while level.from_start.shape[-3] > 1:
        (first, second), (first_to_end, second_to_end) = map(split_pairs, level)
        continued = first[..., -1:, :] * second
        if after_reset is not None:
            first_after, second_after = split_pairs(after_reset)
            continued = jnp.where(second_after, second, continued)
            after_reset = jnp.concatenate(
                [first_after, second_after | first_after[..., -1:, :]], -2
            )
        to_end = jnp.concatenate([first_to_end * second[..., -1:, :], second_to_end], -2)
        level = Level(jnp.concatenate([first, continued], -2), to_end)
        levels.append(level)
    return tuple(levels)


def _smallest_level(decay: PerSegment, is_reset: Array | None) -> Level:
    size = decay.shape[-2]
    steps = [decay[..., i : i + 1, :] for i in range(size)]
    from_start, to_end = [steps[0]], [jnp.ones_like(steps[0])]
    for i in range(1, size):
        product = from_start[-1] * steps[i]
        if is_reset is not None:
            product = jnp.where(is_reset[..., i : i + 1, :], steps[i], product)
        from_start.append(product)
        to_end.append(to_end[-1] * steps[-i])
    return Level(jnp.concatenate(from_start, -2), jnp.concatenate(to_end[::-1], -2))


def _cut_as(leaf: PerSegment, like: PerSegment) -> PerSegment:
    """The same steps in segments as long as those of another array."""
    return leaf.reshape(*leaf.shape[:-3], *like.shape[-3:-1], leaf.shape[-1])


def _cut_small(leaf: PerStep) -> PerSegment:
    """The smallest segments of a chunk."""
    *lead, steps, channels = leaf.shape
    size = halve_until(steps, SMALL)
    return leaf.reshape(*lead, steps // size, size, channels)
