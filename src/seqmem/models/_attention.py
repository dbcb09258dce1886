"""Attention over the outputs of an encoder."""

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

Values = Float[Array, "source *batch value"]
Lengths = Int[Array | np.ndarray, "*batch"] | None


class AttentionSource(NamedTuple):
    """The encoder outputs that a query attends to, batch axes in front.

    Attributes:
        keys: compared with the query.
        values: averaged by the attention weights; 0 at padding.
        valid: False at padding.
    """

    keys: Float[Array, "*batch source key"]
    values: Float[Array, "*batch source value"]
    valid: Bool[Array, "*batch source"]


class AbstractAttention(eqx.Module):
    """Attention: the context of a query q is the weighted mean of the encoder outputs h_j.

        e_j = score(q, h_j)
        a_j = exp(e_j) / Σ_i exp(e_i)    over the valid steps
        c = Σ_j a_j h_j

    `attend_to` computes the part that does not depend on the query, once per source; a call
    computes the rest. Padding is never read. Where no step is valid, the context is 0.

    A subclass writes `keys` and `scores`.

    Attributes:
        query_size: features of a query.
        value_size: features of one encoder output.
    """

    query_size: eqx.AbstractVar[int]
    value_size: eqx.AbstractVar[int]

    @abc.abstractmethod
    def keys(self, values: Float[Array, "... value"]) -> Float[Array, "... key"]:
        """The part of the score that depends on the encoder outputs alone."""

    @abc.abstractmethod
    def scores(
        self, query: Float[Array, "*queries query"], keys: Float[Array, "source key"]
    ) -> Float[Array, "*queries source"]:
        """The score e_j of each step of the source."""

    def attend_to(self, values: Values, *, lengths: Lengths = None) -> AttentionSource:
        """Prepare the encoder outputs of one source, or of a batch of them, for queries.

        Args:
            values: the encoder outputs, time first, as `seqmem.unroll` returns them.
            lengths: valid steps of each source.

        Raises:
            ValueError: where the sizes or the lengths do not fit.
        """
        if values.ndim < 2 or values.shape[-1] != self.value_size:
            raise bad_input(
                f"{type(self).__name__} got encoder outputs of shape {values.shape}.",
                f"[source, *batch, {self.value_size}], with value_size last.",
                "pass the outputs of the encoder, or make the attention with their size.",
            )
        time, *batch, _ = values.shape
        values = as_precision(jnp.moveaxis(values, 0, -2), precision(self))
        valid = jnp.ones((*batch, time), bool)
        if lengths is not None:
            check_lengths(lengths, time, tuple(batch))
            valid = jnp.arange(time) < jnp.asarray(lengths)[..., None]
        values = jnp.where(valid[..., None], values, 0)
        return AttentionSource(self.keys(values), values, valid)

    def __call__(
        self, query: Float[Array, "*queries query"], source: AttentionSource
    ) -> tuple[Float[Array, "*queries value"], Float[Array, "*queries source"]]:
        """The contexts and the attention weights of one or more queries to one source.

        Args:
            query: the queries.
            source: from `attend_to`, without batch axes.
        """
        scores = self.scores(as_precision(query, precision(self)), source.keys)
        weights = as_precision(jax.nn.softmax(scores, where=source.valid), precision(source.values))
        return as_precision((weights @ source.values, weights), precision(query))


class AdditiveAttention(AbstractAttention):
    """Additive (Bahdanau) attention: the score comes from a layer with one hidden tanh.

        e_j = vᵀ tanh(W q + U h_j)

    Shapes: q (query_size,), h_j and the context (value_size,). Cost of one query:
    O(query_size · hidden_size + source · (hidden_size + value_size)).
    Source: Bahdanau, Cho & Bengio 2015, arXiv:1409.0473, appendix A.1.2. Differs: none.

    Args:
        query_size: features of a query, > 0.
        value_size: features of one encoder output, > 0.
        hidden_size: units of the hidden layer, > 0.
        key: random key for the initial parameters.

    Raises:
        ValueError: for sizes below 1.

    Example:
        >>> import jax, jax.numpy as jnp, seqmem
        >>> attention = seqmem.models.AdditiveAttention(3, 5, 7, key=jax.random.key(0))
        >>> source = attention.attend_to(jnp.ones((11, 5)), lengths=jnp.array(2))
        >>> context, weights = attention(jnp.ones(3), source)
        >>> context.shape, weights.round(3).tolist()[:4]
        ((5,), [0.5, 0.5, 0.0, 0.0])
    """

    W: Float[Array, "hidden query"]
    U: Float[Array, "hidden value"]
    v: Float[Array, " hidden"]
    query_size: int = eqx.field(static=True)
    value_size: int = eqx.field(static=True)

    def __init__(self, query_size: int, value_size: int, hidden_size: int, *, key: PRNGKeyArray):
        check_sizes(
            "AdditiveAttention",
            query_size=query_size,
            value_size=value_size,
            hidden_size=hidden_size,
        )
        keys = jax.random.split(key, 3)
        self.W = lecun_normal(keys[0], (hidden_size, query_size))
        self.U = lecun_normal(keys[1], (hidden_size, value_size))
        self.v = lecun_normal(keys[2], (hidden_size,))
        self.query_size = query_size
        self.value_size = value_size

    def keys(self, values):
        return values @ self.U.mT

    def scores(self, query, keys):
        return jnp.tanh((query @ self.W.mT)[..., None, :] + keys) @ self.v


class DotAttention(AbstractAttention):
    """Multiplicative (Luong) attention: the score is a bilinear form.

        e_j = qᵀ W h_j

    Shapes: q (query_size,), h_j and the context (value_size,). Cost of one query:
    O(source · (query_size + value_size)); many queries are two matrix products.
    Source: Luong, Pham & Manning 2015, arXiv:1508.04025, the score called "general". Differs: none.

    Args:
        query_size: features of a query, > 0.
        value_size: features of one encoder output, > 0.
        key: random key for the initial parameters.

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
