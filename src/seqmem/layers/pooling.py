"""One vector for a whole sequence, of its valid steps alone.

    ys [time, *batch, size]  →  [*batch, size]

Padding is never read, whatever stands in it, and neither it nor a sequence of length 0, whose
vector is 0, gets or spoils a gradient.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .._core.arguments import check_lengths
from .._core.calls import construction_remedy, refuse_misfits
from .._core.errors import bad_input
from .._core.precision import as_precision, precision
from .._core.validation import check_sizes

Outputs = Float[Array, "time *batch size"]
Lengths = Int[Array | np.ndarray, "*batch"]


@refuse_misfits("pooling.last", construction_remedy)
def last(ys: Outputs, lengths: Lengths | None = None) -> Float[Array, "*batch size"]:
    """The last valid step: y_T.

    Args:
        ys: outputs of a sequence.
        lengths: valid steps of each sequence, as for `seqmem.unroll`; None is all.

    Raises:
        ValueError: where the lengths do not fit.

    Example:
        >>> import jax, seqmem
        >>> ys = jax.numpy.arange(6.0).reshape(3, 2, 1)       # time, batch, size
        >>> seqmem.layers.pooling.last(ys, jax.numpy.array([1, 3]))
        Array([[0.],
               [5.]], dtype=float32)
    """
    steps, lengths = count_steps(ys, lengths)
    return jnp.where((steps == lengths - 1)[..., None], ys, 0).sum(0)


@refuse_misfits("pooling.mean", construction_remedy)
def mean(ys: Outputs, lengths: Lengths | None = None) -> Float[Array, "*batch size"]:
    """The mean over the valid steps: Σ_t y_t / T.

    Args:
        ys: outputs of a sequence.
        lengths: valid steps of each sequence, as for `seqmem.unroll`; None is all.

    Raises:
        ValueError: where the lengths do not fit.
    """
    steps, lengths = count_steps(ys, lengths)
    total = jnp.where((steps < lengths)[..., None], ys, 0).sum(0)
    return total / jnp.maximum(lengths, 1).astype(ys.dtype)[..., None]


class Attention(eqx.Module):
    """A mean over the valid steps with weights that are learned, by one query q.

        e_t = q · y_t
        Σ_t exp(e_t) y_t / Σ_t exp(e_t)

    Source: Raffel & Ellis 2015, arXiv:1512.08756. Differs: e_t is a product, where the paper has a
    tanh of one; q is 0 at the start, which is the mean.

    Args:
        size: entries of one output, > 0.

    Raises:
        ValueError: for a size below 1.

    Example:
        >>> import jax, seqmem
        >>> pool = seqmem.layers.pooling.Attention(5)
        >>> pool(jax.numpy.ones((7, 2, 5)), jax.numpy.array([7, 0])).shape
        (2, 5)
    """

    query: Float[Array, " size"]

    @refuse_misfits("pooling.Attention", construction_remedy, skip=1)
    def __init__(self, size: int):
        check_sizes("Attention", size=size)
        self.query = jnp.zeros(size)

    @refuse_misfits("Attention", construction_remedy, skip=1)
    def __call__(self, ys: Outputs, lengths: Lengths | None = None) -> Float[Array, "*batch size"]:
        """The pooled vector.

        Args:
            ys: outputs of a sequence.
            lengths: valid steps of each sequence, as for `seqmem.unroll`; None is all.

        Raises:
            ValueError: where the lengths or the size do not fit.
        """
        steps, lengths = count_steps(ys, lengths)
        if ys.shape[-1] != self.query.size:
            raise bad_input(
                f"ys has shape {ys.shape}: {ys.shape[-1]} entries in one output.",
                f"{self.query.size}, the size of the query, in the last axis.",
                "make the Attention with the size of the outputs.",
            )
        wide = precision((ys, self.query))
        valid = (steps < lengths)[..., None]
        ys = jnp.where(valid, as_precision(ys, wide), 0)
        weights = jax.nn.softmax(ys @ as_precision(self.query, wide), axis=0, where=valid[..., 0])
        return (weights[..., None] * ys).sum(0)


def count_steps(ys: Outputs, lengths: Lengths | None) -> tuple[Array, Array]:
    """Which steps these are, with the axes of lengths, and the lengths within bounds."""
    if jnp.ndim(ys) < 2:
        raise bad_input(
            f"ys has shape {jnp.shape(ys)}.",
            "[time, *batch, size]: at least 2 axes.",
            "put time first and features last.",
        )
    time, *batch, _ = ys.shape
    if lengths is None:
        lengths = jnp.full(batch, time)
    check_lengths(lengths, time, tuple(batch))
    steps = jnp.arange(time).reshape(-1, *[1] * len(batch))
    return steps, jnp.clip(lengths, 0, time)
