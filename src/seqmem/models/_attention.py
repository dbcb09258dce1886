"""Attention over what an encoder has shown."""

import abc
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from .._cells.initialisers import lecun_normal
from .._core.arguments import check_lengths
from .._core.errors import bad_input
from .._core.precision import as_precision, precision
from .._core.validation import check_sizes


class Attended(NamedTuple):
    """What is attended to, of one sequence; batch axes stand in front.

    Attributes:
        keys: of each step, what a query is compared with.
        values: what is looked up; 0 in the padding.
        valid: which steps there are.
    """

    keys: Float[Array, "*batch source key"]
    values: Float[Array, "*batch source value"]
    valid: Bool[Array, "*batch source"]


class AbstractAttention(eqx.Module):
    """A context, which is the mean of an encoder's outputs h_j, weighted by how well a query q fits
    each.

        e_j = score(q, h_j)
        a_j = exp(e_j) / Σ_i exp(e_i)    over the valid steps
        c = Σ_j a_j h_j

    `attend_to` computes what does not depend on the query, once; calling it is the rest. Padding is
    never read, and where no step is valid the context is 0.
    """

    query_size: eqx.AbstractVar[int]
    value_size: eqx.AbstractVar[int]

    @abc.abstractmethod
    def keys(self, values: Float[Array, "... value"]) -> Float[Array, "... key"]:
        """What a query is compared with."""

    @abc.abstractmethod
    def scores(
        self, query: Float[Array, "*queries query"], keys: Float[Array, "source key"]
    ) -> Float[Array, "*queries source"]:
        """How well each step fits."""

    def attend_to(
        self,
        values: Float[Array, "source *batch value"],
        lengths: Int[Array | np.ndarray, "*batch"] | None = None,
    ) -> Attended:
        """What `seqmem.unroll` has shown of a source, as something to attend to.

        Args:
            values: the outputs, time first.
            lengths: valid steps of each sequence.

        Raises:
            ValueError: where the sizes or the lengths do not fit.
        """
        if values.ndim < 2 or values.shape[-1] != self.value_size:
            raise bad_input(
                f"{type(self).__name__} over values of shape {values.shape}.",
                f"[source, *batch, {self.value_size}], its value_size last.",
                "pass the outputs of the encoder, or make the attention with their size.",
            )
        time, *batch, _ = values.shape
        values = as_precision(jnp.moveaxis(values, 0, -2), precision(self))
        valid = jnp.ones((*batch, time), bool)
        if lengths is not None:
            check_lengths(lengths, time, tuple(batch))
            valid = jnp.arange(time) < jnp.asarray(lengths)[..., None]
        values = jnp.where(valid[..., None], values, 0)
        return Attended(self.keys(values), values, valid)

    def __call__(
        self, query: Float[Array, "*queries query"], attended: Attended
    ) -> tuple[Float[Array, "*queries value"], Float[Array, "*queries source"]]:
        """The contexts of some queries to one sequence, and the weights in them.

        Args:
            query: the queries.
            attended: from `attend_to`, without batch axes.
        """
        scores = self.scores(as_precision(query, precision(self)), attended.keys)
        weights = as_precision(
            jax.nn.softmax(scores, where=attended.valid), precision(attended.values)
        )
        return as_precision((weights @ attended.values, weights), precision(query))


class AdditiveAttention(AbstractAttention):
    """A layer of `size` units sees query and step, and a score is what they add up to.

        e_j = vᵀ tanh(W q + U h_j)

    Shapes: q (query_size,), h and context (value_size,). Cost of one query:
    O(query_size · size + source · (size + value_size)).
    Source: Bahdanau, Cho & Bengio 2015, arXiv:1409.0473, appendix A.1.2. Differs: none.

    Args:
        query_size: entries of a query, > 0.
        value_size: entries of one output of the encoder, > 0.
        size: units, > 0.
        key: for the initial parameters.

    Raises:
        ValueError: for sizes below 1.

    Example:
        >>> import jax, jax.numpy as jnp, seqmem
        >>> attention = seqmem.models.AdditiveAttention(3, 5, 7, key=jax.random.key(0))
        >>> attended = attention.attend_to(jnp.ones((11, 5)), jnp.array(2))
        >>> context, weights = attention(jnp.ones(3), attended)
        >>> context.shape, weights.round(3).tolist()[:4]
        ((5,), [0.5, 0.5, 0.0, 0.0])
    """

    W: Float[Array, "size query"]
    U: Float[Array, "size value"]
    v: Float[Array, " size"]
    query_size: int = eqx.field(static=True)
    value_size: int = eqx.field(static=True)

    def __init__(self, query_size: int, value_size: int, size: int, *, key: PRNGKeyArray):
        check_sizes("AdditiveAttention", query_size=query_size, value_size=value_size, size=size)
        keys = jax.random.split(key, 3)
        self.W = lecun_normal(keys[0], (size, query_size))
        self.U = lecun_normal(keys[1], (size, value_size))
        self.v = lecun_normal(keys[2], (size,))
        self.query_size = query_size
        self.value_size = value_size

    def keys(self, values):
        return values @ self.U.mT

    def scores(self, query, keys):
        return jnp.tanh((query @ self.W.mT)[..., None, :] + keys) @ self.v


class DotAttention(AbstractAttention):
    """A score is the product of the query and what a matrix makes of a step.

        e_j = qᵀ W h_j

    Shapes: q (query_size,), h and context (value_size,). Cost of one query:
    O(source · (query_size + value_size)), all of it in two matrix products for many queries.
    Source: Luong, Pham & Manning 2015, arXiv:1508.04025, the score called "general". Differs: none.

    Args:
        query_size: entries of a query, > 0.
        value_size: entries of one output of the encoder, > 0.
        key: for the initial parameters.

    Raises:
        ValueError: for sizes below 1.

    Example:
        >>> import jax, jax.numpy as jnp, seqmem
        >>> attention = seqmem.models.DotAttention(3, 5, key=jax.random.key(0))
        >>> contexts, weights = attention(jnp.ones((13, 3)), attention.attend_to(jnp.ones((11, 5))))
        >>> contexts.shape, weights.shape
        ((13, 5), (13, 11))
    """

    W: Float[Array, "query value"]
    query_size: int = eqx.field(static=True)
    value_size: int = eqx.field(static=True)

    def __init__(self, query_size: int, value_size: int, *, key: PRNGKeyArray):
        check_sizes("DotAttention", query_size=query_size, value_size=value_size)
        self.W = lecun_normal(key, (query_size, value_size))
        self.query_size = query_size
        self.value_size = value_size

    def keys(self, values):
        return values @ self.W.mT

    def scores(self, query, keys):
        return query @ keys.mT
