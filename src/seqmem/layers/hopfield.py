"""Modern Hopfield networks: a state pattern is drawn to the stored patterns that it resembles.

    ξ ← X softmax(β Xᵀ ξ)

Each update lowers an energy, and the fixed points are near single stored patterns, or near means of
similar ones. One update is the attention of a query ξ to keys X.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from .._cells.initialisers import lecun_normal, normal
from .._cells.pointwise import AbstractPointwiseCell
from .._core.errors import bad_input
from .._core.precision import as_precision, precision
from .._core.validation import check_count, check_positive, check_sizes
from .pooling import Lengths, Outputs, count_steps


def association(
    xi: Float[Array, "*queries key"],
    X: Float[Array, "patterns key"],
    beta: float,
    num_updates: int,
    valid: Bool[Array, " patterns"] | None = None,
) -> Float[Array, "*queries patterns"]:
    """softmax(β Xᵀ ξ) of the last of `num_updates` updates, over the valid patterns."""
    for _ in range(num_updates - 1):
        xi = jax.nn.softmax(beta * (xi @ X.mT), where=valid) @ X
    return jax.nn.softmax(beta * (xi @ X.mT), where=valid)


class HopfieldPooling(eqx.Module):
    """A vector for a whole sequence: learned state patterns retrieve from its outputs, which are
    the stored patterns.

        X = W_K Y                           one stored pattern for each valid step
        ξ ← X softmax(β Xᵀ ξ)               n − 1 times, from a learned ξ
        z = Y softmax(β Xᵀ ξ)               for each ξ

    Padding is never read. A sequence of length 0 gets zeros.

    Shapes: Y [time, *batch, size], ξ (key,), X (key, time), z side by side [*batch, num_queries ·
    size]. Cost: O(time · key · (size + n · num_queries)), none of it sequential.
    Source: Ramsauer et al. 2020, arXiv:2008.02217, equations 3 and 10, the layer HopfieldPooling.
    Differs: W_V is left to the layer after it, and the norms of the patterns to the one before it;
    the state patterns stand in the space of the keys, and have no W_Q.

    Args:
        size: entries of one output, > 0.
        key_size: entries of a pattern, > 0.
        num_queries: learned state patterns, > 0.
        num_updates: n, > 0; 1 is attention.
        beta: β, > 0; None: 1/√key_size. A large one retrieves single patterns, a small one means.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size below 1, or a β that is not above 0.

    Example:
        >>> import jax, seqmem
        >>> pool = seqmem.layers.HopfieldPooling(5, 7, num_queries=3, key=jax.random.key(0))
        >>> pool(jax.numpy.ones((11, 2, 5)), jax.numpy.array([11, 0])).shape
        (2, 15)
    """

    queries: Float[Array, "queries key"]
    W_K: Float[Array, "key size"]
    num_updates: int = eqx.field(static=True)
    beta: float = eqx.field(static=True)

    def __init__(
        self,
        size: int,
        key_size: int,
        *,
        num_queries: int = 1,
        num_updates: int = 1,
        beta: float | None = None,
        key: PRNGKeyArray,
    ):
        check_sizes("HopfieldPooling", size=size, key_size=key_size, num_queries=num_queries)
        self.num_updates, self.beta = _check("HopfieldPooling", key_size, num_updates, beta)
        keys = jax.random.split(key)
        self.queries = normal(keys[0], (num_queries, key_size))
        self.W_K = lecun_normal(keys[1], (key_size, size))

    def __call__(
        self, ys: Outputs, lengths: Lengths | None = None
    ) -> Float[Array, "*batch queries_size"]:
        """The pooled vectors, side by side.

        Args:
            ys: outputs of a sequence.
            lengths: valid steps of each sequence, as for `seqmem.unroll`; None is all.

        Raises:
            ValueError: where the lengths or the size do not fit.
        """
        steps, lengths = count_steps(ys, lengths)
        if ys.shape[-1] != self.W_K.shape[-1]:
            raise bad_input(
                f"ys has shape {ys.shape}: {ys.shape[-1]} entries in one output.",
                f"{self.W_K.shape[-1]}, the size of the HopfieldPooling, in the last axis.",
                "make the HopfieldPooling with the size of the outputs.",
            )
        wide = precision((ys, self.W_K))
        pool = as_precision(self, wide)
        valid = jnp.broadcast_to(steps < lengths, ys.shape[:-1])
        Y = jnp.where(valid[..., None], as_precision(ys, wide), 0)

        def retrieve(Y: Array, valid: Array) -> Array:
            X = Y @ pool.W_K.mT
            return (association(pool.queries, X, pool.beta, pool.num_updates, valid) @ Y).ravel()

        for _ in lengths.shape:
            retrieve = jax.vmap(retrieve, in_axes=(1, 1))
        return retrieve(Y, valid)


class HopfieldLayer(AbstractPointwiseCell):
    """A memory of learned patterns: each input retrieves from them.

        ξ = W_Q x_t
        ξ ← X softmax(β Xᵀ ξ)               n − 1 times
        y_t = V softmax(β Xᵀ ξ)

    Shapes: x (input,), ξ (key,), X (key, patterns), V (output, patterns), y (output,). Cost per
    step: O(key · input + patterns · (n · key + output)), none of it sequential.
    Source: Ramsauer et al. 2020, arXiv:2008.02217, equations 3 and 10, the layer HopfieldLayer with
    learned stored patterns. Differs: the norms of the patterns are left to the layer before it.

    Args:
        input_size: features of one input, > 0.
        output_size: features of one output, > 0.
        num_patterns: stored patterns, > 0.
        key_size: entries of a pattern, > 0.
        num_updates: n, > 0; 1 is attention.
        beta: β, > 0; None: 1/√key_size. A large one retrieves single patterns, a small one means.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size below 1, or a β that is not above 0.

    Example:
        >>> import jax, seqmem
        >>> low, high = jax.random.split(jax.random.key(0))
        >>> lookup = seqmem.layers.HopfieldLayer(5, 2, num_patterns=11, key_size=7, key=high)
        >>> net = seqmem.layers.Stack([seqmem.GRU(3, 5, key=low), lookup])
        >>> seqmem.unroll(net, None, jax.numpy.ones((13, 3)))[1].shape
        (13, 2)
    """

    W_Q: Float[Array, "key input"]
    X: Float[Array, "patterns key"]
    V: Float[Array, "patterns output"]
    num_updates: int = eqx.field(static=True)
    beta: float = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        output_size: int,
        *,
        num_patterns: int,
        key_size: int,
        num_updates: int = 1,
        beta: float | None = None,
        key: PRNGKeyArray,
    ):
        check_sizes("HopfieldLayer", input_size=input_size, output_size=output_size)
        check_sizes("HopfieldLayer", num_patterns=num_patterns, key_size=key_size)
        self.num_updates, self.beta = _check("HopfieldLayer", key_size, num_updates, beta)
        keys = jax.random.split(key, 3)
        self.W_Q = lecun_normal(keys[0], (key_size, input_size))
        self.X = normal(keys[1], (num_patterns, key_size))
        self.V = normal(keys[2], (num_patterns, output_size))

    @property
    def input_shape(self):
        return self.W_Q.shape[-1:]

    def project(self, x):
        return association(x @ self.W_Q.mT, self.X, self.beta, self.num_updates) @ self.V


def _check(owner: str, key_size: int, num_updates: int, beta: float | None) -> tuple[int, float]:
    """The number of updates and β."""
    check_count(owner, "num_updates", num_updates)
    if beta is None:
        return num_updates, 1 / math.sqrt(key_size)
    check_positive(owner, "beta", beta, remedy="leave it out for 1/√key_size.")
    return num_updates, float(beta)
