"""Products of decays over stretches of a block, and products that fade by them.

A decay over the steps j + 1, ..., i is always made by multiplying, as a loop of single steps makes
it, and never as a quotient of two products nor from a difference of two sums: behind a decay to
nothing these are 0/0, and behind a strong one they cancel. All arrays are [..., step, channel].
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ..write import matmul

FEW = 4  # steps of the stretches that are made one step after another, all side by side

Steps = Float[Array, "*lead step channel"]


class Fading(NamedTuple):
    """The decays of a block, and what is made of them once for all products.

    Attributes:
        decay: of every step, for every channel or for all alike, in stretches of few steps.
        spans: for stretches of few steps, then twice as many, up to all: what is left at each step
            of what was there before the stretch, and behind the stretch of what was written at each
            step. [..., stretch, step, channel].
        between: where a step has one decay for all channels, those of every pair of steps.
    """

    decay: Float[Array, "*lead stretch step channel"]
    spans: tuple[tuple[Array, Array], ...]
    between: Float[Array, "*lead step step"] | None

    def passed(self, reset: Bool[Array, "*lead step 1"] | None = None) -> Steps:
        """What is left, at each step, of what was there at the start or the last reset before:
        ∏_{l ≤ i} decay[l].
        """
        spans = self.spans if reset is None else _spans(self.decay, reset)
        return spans[-1][0][..., 0, :, :]

    @property
    def left(self) -> Steps:
        """What is left, at the end, of what was written at each step: ∏_{l > j} decay[l]."""
        return self.spans[-1][1][..., 0, :, :]


def fading_by(log_decay: Steps) -> Fading:
    # The exponential has one shape, and it is cut: XLA:CPU, seen with jaxlib 0.10.2 and 0.12.0.1,
    # writes a gradient over the decays while it reads the same memory under another shape.
    decay = jnp.exp(_in_stretches(log_decay))
    spans = _spans(decay, None)
    if decay.shape[-1] > 1:
        return Fading(decay, spans, None)
    ones = jnp.ones_like(log_decay)
    return Fading(decay, spans, _by_doubling(ones, ones, decay, spans))


def faded_products(
    rows: Steps, cols: Steps, fading: Fading | None
) -> Float[Array, "*lead step step"]:
    """A[i, j] = Σ_d rows[i, d] cols[j, d] ∏_{j < l ≤ i} decay[l, d] where j ≤ i, else 0."""
    if fading is None:
        return jnp.where(jnp.tri(rows.shape[-2], dtype=bool), matmul(rows, cols.mT), 0)
    if fading.between is not None:
        return matmul(rows, cols.mT) * fading.between
    return _by_doubling(rows, cols, fading.decay, fading.spans)


def _by_doubling(
    rows: Steps, cols: Steps, decay: Array, spans: tuple[tuple[Array, Array], ...]
) -> Array:
    """A triangle is two half triangles and a square. Whatever passes through the square passes the
    border between the halves: its decay is what is left of the write there, times what is left of
    that at the row, two factors of at most 1, so the square is one product.
    """

    def cut(leaf: Array, to: Array) -> Array:
        return leaf.reshape(*leaf.shape[:-3], *to.shape[-3:-1], leaf.shape[-1])

    rows, cols, decay = jnp.broadcast_arrays(_in_stretches(rows), _in_stretches(cols), decay)
    A = _row_by_row(rows, cols, decay)
    for to, since in spans[:-1]:
        passing = cut(rows, to)[..., 1::2, :, :] * to[..., 1::2, :, :]
        left = cut(cols, to)[..., 0::2, :, :] * since[..., 0::2, :, :]
        A = joined(A, matmul(passing, left.mT))
    return A[..., 0, :, :]


def _row_by_row(rows: Array, cols: Array, decay: Array) -> Array:
    """The same by the definition: what was written so far fades at every step."""
    size = rows.shape[-2]
    faded, A = cols[..., :0, :], []
    for i in range(size):
        here = slice(i, i + 1)
        faded = jnp.concatenate([faded * decay[..., here, :], cols[..., here, :]], -2)
        row = matmul(rows[..., here, :], faded.mT)
        A.append(jnp.pad(row, [(0, 0)] * (row.ndim - 1) + [(0, size - 1 - i)]))
    return jnp.concatenate(A, -2)


def _spans(decay: Array, reset: Array | None) -> tuple[tuple[Array, Array], ...]:
    """`Fading.spans`; with resets, the first of each pair counts from the last one."""
    reset = None if reset is None else _in_stretches(reset)
    size = decay.shape[-2]
    steps = [decay[..., i : i + 1, :] for i in range(size)]
    to, since = [steps[0]], [jnp.ones_like(steps[0])]
    for i in range(1, size):
        passed = to[-1] * steps[i]
        to.append(
            passed if reset is None else jnp.where(reset[..., i : i + 1, :], steps[i], passed)
        )
        since.append(since[-1] * steps[-i])
    to, since = jnp.concatenate(to, -2), jnp.concatenate(since[::-1], -2)
    spans = [(to, since)]
    anew = None if reset is None else jnp.cumsum(reset, -2) > 0
    while to.shape[-3] > 1:
        (first, second), (begun, ended) = _halves(to), _halves(since)
        onward = first[..., -1:, :] * second
        if anew is not None:
            before, after = _halves(anew)
            onward = jnp.where(after, second, onward)
            anew = jnp.concatenate([before, after | before[..., -1:, :]], -2)
        since = jnp.concatenate([begun * second[..., -1:, :], ended], -2)
        to = jnp.concatenate([first, onward], -2)
        spans.append((to, since))
    return tuple(spans)


def _in_stretches(leaf: Array) -> Array:
    """[..., step, channel] to [..., stretch, step, channel], of few steps each."""
    size = base_size(leaf.shape[-2], FEW)
    return leaf.reshape(*leaf.shape[:-2], -1, size, leaf.shape[-1])


def _halves(leaf: Array) -> tuple[Array, Array]:
    return leaf[..., 0::2, :, :], leaf[..., 1::2, :, :]


def base_size(size: int, most: int) -> int:
    """The size, halved until it is odd or no more than `most`."""
    while size > most and size % 2 == 0:
        size //= 2
    return size


def joined(triangles: Array, squares: Array) -> Array:
    """Lower triangles, neighbours together, over the squares between them."""
    upper, lower = _halves(triangles)
    top = jnp.concatenate([upper, jnp.zeros_like(squares)], -1)
    return jnp.concatenate([top, jnp.concatenate([squares, lower], -1)], -2)
