"""`EncoderDecoder`: sequence to sequence."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .._cells.initialisers import lecun_normal
from .._core.batching import vmap_axes
from .._core.cell import AbstractCell, AbstractLayer
from .._core.errors import bad_input
from .._core.precision import as_precision, precision
from .._core.problem import State
from .._core.ravel import RealRavel
from .._core.validation import check_rate, check_sizes
from .._unroll import unroll
from .._wrappers.masks import dropout_mask
from ..layers.embedding import looked_up
from ._attention import Lengths, Values
from ._decoder import AbstractDecoder, PlainDecoder

Tokens = Int[Array | np.ndarray, "time *batch"]


class EncoderDecoder(eqx.Module):
    """A sequence-to-sequence model: an encoder reads the source, a decoder predicts the target.

        s, h_1 … h_n = encoder(√d E_{x_1}, …, √d E_{x_n})       E: source embeddings of d features
        s_0 = tanh(B s)
        s_t, (y_t, c_t) = decoder(s_{t−1}, √d F_{z_{t−1}})      F: target embeddings
        ln P(z_t | z_{<t}, x) = log_softmax(F tanh(C [y_t; c_t] + b) + a)

    c_t is the attention context over h. Without attention there is no c_t, and the decoder knows
    the source from s_0 alone.

    Source: Sutskever, Vinyals & Le 2014, arXiv:1409.3215; Bahdanau, Cho & Bengio 2015,
    arXiv:1409.0473. Differs: any cells and attention; the target embeddings F are also the output
    matrix, as in Press & Wolf 2017, arXiv:1608.05859.

    Args:
        encoder: a cell, or any other layer that `seqmem.unroll` runs, such as
            `seqmem.layers.Bidirectional` or `seqmem.layers.deep(...)`. Its inputs are vectors of
            `embedding_size` features.
        decoder: a cell, `LuongDecoder` or `BahdanauDecoder`, for the same inputs; the cell of a
            `BahdanauDecoder` gets the context after them.
        vocabulary_sizes: tokens of the source, and of the target, > 0.
        embedding_size: d, features of a token's embedding, > 0.
        dropout: the rate, 0 <= dropout < 1, for the embeddings and for the features before the
            logits; it applies where a call gets a key.
        key: random key for the initial parameters.

    Raises:
        ValueError: for sizes below 1, a dropout rate outside of [0, 1), or where the encoder or
            the decoder is something else.

    Example:
        >>> import jax, jax.numpy as jnp, seqmem
        >>> from seqmem.layers import Bidirectional
        >>> from seqmem.models import DotAttention, EncoderDecoder, LuongDecoder
        >>> keys = jax.random.split(jax.random.key(0), 5)
        >>> encoder = Bidirectional(seqmem.GRU(3, 5, key=keys[0]), seqmem.GRU(3, 5, key=keys[1]))
        >>> attention = DotAttention(7, 10, key=keys[2])
        >>> decoder = LuongDecoder(seqmem.GRU(3, 7, key=keys[3]), attention)
        >>> model = EncoderDecoder(encoder, decoder, (11, 13), 3, key=keys[4])
        >>> source, lengths = jnp.ones((6, 2), int), jnp.array([6, 4])
        >>> model(source, jnp.ones((8, 2), int), lengths=lengths).shape
        (8, 2, 13)
        >>> step, state = model.start_decoding(source[:, 0], lengths=lengths[0])
        >>> decoded = seqmem.decoding.greedy(step, state, begin=1, end=2, max_length=9)
    """

    encoder: AbstractLayer
    decoder: AbstractDecoder
    E: Float[Array, "source_tokens embedding"]
    F: Float[Array, "target_tokens embedding"]
    B: Float[Array, "decoder encoder"]
    C: Float[Array, "embedding features"]
    b: Float[Array, " embedding"]
    a: Float[Array, " target_tokens"]
    dropout: float = eqx.field(static=True)

    def __init__(
        self,
        encoder: AbstractLayer,
        decoder: AbstractCell | AbstractDecoder,
        vocabulary_sizes: tuple[int, int],
        embedding_size: int,
        *,
        dropout: float = 0.0,
        key: PRNGKeyArray,
    ):
        source_tokens, target_tokens = vocabulary_sizes
        check_sizes(
            "EncoderDecoder",
            source_tokens=source_tokens,
            target_tokens=target_tokens,
            embedding_size=embedding_size,
        )
        check_rate("EncoderDecoder", dropout)
        if isinstance(decoder, AbstractCell):
            decoder = PlainDecoder(decoder)
        if not isinstance(encoder, AbstractLayer) or not isinstance(decoder, AbstractDecoder):
            raise bad_input(
                f"EncoderDecoder got a {type(encoder).__name__} and a {type(decoder).__name__}.",
                "a cell or another layer as encoder; a cell, LuongDecoder or BahdanauDecoder as "
                "decoder.",
                "pass instances, the encoder first.",
            )
        keys = jax.random.split(key, 4)
        self.encoder = encoder
        self.decoder = decoder
        self.E = lecun_normal(keys[0], (source_tokens, embedding_size))
        self.F = lecun_normal(keys[1], (target_tokens, embedding_size))
        xs = jax.ShapeDtypeStruct((1, embedding_size), self.F.dtype)
        final, values = jax.eval_shape(lambda xs: unroll(encoder, None, xs), xs)
        _, outputs = jax.eval_shape(
            lambda xs, values: unroll(self.decoder.attend_to(values), None, xs), xs, values
        )
        features = sum(leaf.shape[-1] for leaf in jax.tree.leaves(outputs))
        self.B = lecun_normal(keys[2], (self._decoder_ravel.size, RealRavel(final).size))
        self.C = lecun_normal(keys[3], (embedding_size, features))
        self.b = jnp.zeros(embedding_size)
        self.a = jnp.zeros(target_tokens)
        self.dropout = dropout

    def __call__(
        self,
        source: Tokens,
        target: Tokens,
        *,
        lengths: Lengths = None,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "time *batch target_tokens"]:
        """The logits of the token after each token of `target` (teacher forcing).

        Args:
            source: source tokens, time first.
            target: target tokens, a begin token first; without the last token.
            lengths: valid steps of each source.
            key: random key for dropout; None turns dropout off.
        """
        keys = (None,) * 3 if key is None else jax.random.split(key, 3)
        cell, state = self.encode(source, lengths=lengths, key=keys[0])
        xs = self._drop(self._embed(self.F, target), keys[1])
        _, outputs = unroll(cell, state, xs)
        return self._logits(outputs, keys[2])

    def encode(
        self, source: Tokens, *, lengths: Lengths = None, key: PRNGKeyArray | None = None
    ) -> tuple[AbstractCell, State]:
        """The decoder cell that attends to a source, and its state before the first step.

        Args:
            source: this, lengths and key as for a call.
            lengths: see there.
            key: see there.
        """
        values, state = self._encode(source, lengths, key)
        return self.decoder.attend_to(values, lengths=lengths), state

    def start_decoding(
        self, source: Int[Array | np.ndarray, " time"], *, lengths: Int[Array, ""] | None = None
    ) -> tuple[Callable, State]:
        """The step and the state that the functions of `seqmem.decoding` take, for one source.

        The step is a pytree: its arrays, such as the encoder outputs, are arguments of the compiled
        program. For a batch, map with `jax.vmap`.

        Args:
            source: source tokens of one sequence.
            lengths: its valid steps.

        Raises:
            ValueError: for a batch.
        """
        if np.ndim(source) != 1:
            raise bad_input(
                f"start_decoding got a source of shape {np.shape(source)}.",
                "one sequence of tokens, (time,).",
                "map over the batch: jax.vmap(translate, in_axes=(1, 0))(source, lengths).",
            )
        cell, state = self.encode(source, lengths=lengths)
        return eqx.Partial(self.step, cell), state

    def step(
        self, cell: AbstractCell, state: State, token: Int[Array, ""]
    ) -> tuple[State, Float[Array, " target_tokens"]]:
        """One step of the decoder for one source: the next state, and the logits of the next token.

        Args:
            cell: the decoder cell, from `encode`.
            state: its state.
            token: the previous target token.
        """
        state, outputs = cell(state, self._embed(self.F, token))
        return state, self._logits(outputs, None)

    def alignment(
        self, source: Tokens, target: Tokens, *, lengths: Lengths = None
    ) -> Float[Array, "target_time *batch source_time"]:
        """The attention weights over the source, for the prediction after each target token.

        Args:
            source: this, target and lengths as for a call.
            target: see there.
            lengths: see there.

        Raises:
            ValueError: for a decoder without attention.
        """
        values, state = self._encode(source, lengths, None)
        xs = self._embed(self.F, target)
        return self.decoder.weights(values, state, xs, lengths=lengths)

    def _encode(
        self, source: Tokens, lengths: Lengths, key: PRNGKeyArray | None
    ) -> tuple[Values, State]:
        """The encoder outputs, and the decoder state before the first step."""
        xs = self._drop(self._embed(self.E, source), key)
        final, values = unroll(self.encoder, None, xs, lengths=lengths)
        batch = source.shape[1:]
        encoder_ravel = RealRavel(jax.eval_shape(self.encoder.init_state))
        summary = vmap_axes(encoder_ravel.vector, len(batch))(final)
        summary = as_precision(summary, precision(self.B))
        vector = jnp.tanh(summary @ self.B.mT)
        cell_state = vmap_axes(self._decoder_ravel.state, len(batch))(vector)
        return values, self.decoder.extend_state(cell_state, batch)

    @property
    def _decoder_ravel(self) -> RealRavel:
        return RealRavel(jax.eval_shape(self.decoder.cell.init_state))

    def _embed(self, E: Float[Array, "tokens size"], tokens: Tokens) -> Float[Array, "... size"]:
        return E.shape[-1] ** 0.5 * looked_up(E, tokens)

    def _logits(
        self, outputs: State, key: PRNGKeyArray | None
    ) -> Float[Array, "... target_tokens"]:
        leaves = as_precision(jax.tree.leaves(outputs), precision(self.C))
        features = jnp.tanh(jnp.concatenate(leaves, -1) @ self.C.mT + self.b)
        return self._drop(features, key) @ self.F.mT + self.a

    def _drop(self, x: Float[Array, "..."], key: PRNGKeyArray | None) -> Float[Array, "..."]:
        if key is None or not self.dropout:
            return x
        return x * dropout_mask(key, self.dropout, x.shape, x.dtype)
