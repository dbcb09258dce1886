"""From one sequence of tokens to another."""

import functools
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .._cells.initialisers import lecun_normal
from .._core.batching import vmap_axes
from .._core.cell import AbstractCell
from .._core.errors import bad_input
from .._core.precision import as_precision, precision
from .._core.problem import State
from .._core.ravel import RealRavel
from .._core.validation import check_rate, check_sizes
from .._unroll import unroll
from .._wrappers.masks import dropout_mask
from ..layers.bidirectional import Bidirectional
from ..layers.embedding import looked_up
from ._attention_decoders import BahdanauDecoder, LuongDecoder

Ids = Int[Array | np.ndarray, "time *batch"]
Lengths = Int[Array | np.ndarray, "*batch"] | None


class EncoderDecoder(eqx.Module):
    """A source is read, and a target is told from what is left of it, one token after another.

        s, h_1 … h_n = encoder(√d E_{x_1}, …, √d E_{x_n})           E: source tokens, of d entries
        s_0 = tanh(B s)
        s_t, (y_t, c_t) = decoder(s_{t−1}, √d F_{z_{t−1}})          F: target tokens; over h
        ln P(z_t | z_{<t}, x) = log_softmax(F tanh(C [y_t; c_t] + b) + a)

    Without attention there is no c_t, and all of the source is in s_0. `decoder` is a cell,
    `BahdanauDecoder` or `LuongDecoder`.

    Source: Sutskever, Vinyals & Le 2014, arXiv:1409.3215; Bahdanau, Cho & Bengio 2015,
    arXiv:1409.0473. Differs: cells and attention are any; the vectors F of the target are those of
    the logits too, as in Press & Wolf 2017, arXiv:1608.05859.

    Args:
        encoder: a cell, or two.
        decoder: whose inputs are vectors of `size` entries, after which comes the context of
            `BahdanauDecoder`.
        tokens: how many the source has, and how many the target.
        size: d, entries of the vector of a token, > 0.
        key: for the initial parameters.
        dropout: the share of entries of the vectors, and of what is before the logits, that are
            left out where a key is given, 0 <= dropout < 1.

    Raises:
        ValueError: where a size is none.

    Example:
        >>> import jax, jax.numpy as jnp, seqmem
        >>> from seqmem.layers import LuongDecoder, Bidirectional, DotAttention, EncoderDecoder
        >>> keys = jax.random.split(jax.random.key(0), 5)
        >>> encoder = Bidirectional(seqmem.GRU(3, 5, key=keys[0]), seqmem.GRU(3, 5, key=keys[1]))
        >>> attention = DotAttention(7, 10, key=keys[2])
        >>> decoder = LuongDecoder(seqmem.GRU(3, 7, key=keys[3]), attention)
        >>> model = EncoderDecoder(encoder, decoder, (11, 13), 3, key=keys[4])
        >>> source, lengths = jnp.ones((6, 2), int), jnp.array([6, 4])
        >>> model(source, lengths, target=jnp.ones((8, 2), int)).shape
        (8, 2, 13)
        >>> step, state = model.begin(source[:, 0], lengths[0])
        >>> found = seqmem.decoding.greedy(step, state, begin=1, end=2, max_length=9)
    """

    encoder: AbstractCell | Bidirectional
    decoder: AbstractCell | BahdanauDecoder | LuongDecoder
    E: Float[Array, "source_tokens size"]
    F: Float[Array, "target_tokens size"]
    B: Float[Array, "decoder encoder"]
    C: Float[Array, "size shown"]
    b: Float[Array, " size"]
    a: Float[Array, " target_tokens"]
    dropout: float = eqx.field(static=True)

    def __init__(
        self,
        encoder: AbstractCell | Bidirectional,
        decoder: AbstractCell | BahdanauDecoder | LuongDecoder,
        tokens: tuple[int, int],
        size: int,
        *,
        key: PRNGKeyArray,
        dropout: float = 0.0,
    ):
        source_tokens, target_tokens = tokens
        check_sizes(
            "EncoderDecoder", source_tokens=source_tokens, target_tokens=target_tokens, size=size
        )
        check_rate("EncoderDecoder", dropout)
        keys = jax.random.split(key, 4)
        self.encoder = encoder
        self.decoder = decoder
        self.E = lecun_normal(keys[0], (source_tokens, size))
        self.F = lecun_normal(keys[1], (target_tokens, size))
        one = jax.ShapeDtypeStruct((1, size), self.F.dtype)
        last, values = jax.eval_shape(functools.partial(_read, encoder), one)
        self.B = lecun_normal(keys[2], (RealRavel(self._own).size, RealRavel(last).size))
        shown = jax.eval_shape(
            lambda xs, values: _read(_decoder_over(decoder, values, None), xs)[1], one, values
        )
        entries = sum(leaf.shape[-1] for leaf in jax.tree.leaves(shown))
        self.C = lecun_normal(keys[3], (size, entries))
        self.b = jnp.zeros(size)
        self.a = jnp.zeros(target_tokens)
        self.dropout = dropout

    @property
    def _own(self) -> State:
        """The state of the decoder's cell, without what it needs to attend."""
        decoder = self.decoder
        return jax.eval_shape(
            decoder.init_state if isinstance(decoder, AbstractCell) else decoder.cell.init_state
        )

    def encode(
        self,
        source: Ids,
        lengths: Lengths = None,
        *,
        key: PRNGKeyArray | None = None,
    ) -> tuple[AbstractCell, State]:
        """The decoder's cell over a source, and the state that it begins from."""
        xs = self._dropped(self._vectors(self.E, source), key)
        last, values = _read(self.encoder, xs, lengths)
        axes = source.ndim - 1
        like = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[axes:], leaf.dtype), last)
        summary = as_precision(vmap_axes(RealRavel(like).vector, axes)(last), precision(self.B))
        own = vmap_axes(RealRavel(self._own).state, axes)(jnp.tanh(summary @ self.B.mT))
        cell = _decoder_over(self.decoder, values, lengths)
        if isinstance(self.decoder, AbstractCell):
            return cell, own
        _, rest = self.decoder.init_state()
        batch = source.shape[1:]
        return cell, (own, jax.tree.map(lambda x: jnp.broadcast_to(x, (*batch, *x.shape)), rest))

    def __call__(
        self,
        source: Ids,
        lengths: Lengths,
        target: Ids,
        *,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "time *batch target_tokens"]:
        """The logits of each token that comes after one of the target, which is read as it is
        ("teacher forcing").

        Args:
            source: the tokens to read, time first.
            lengths: valid steps of each source.
            target: a beginning, and then the tokens before the one that is asked for.
            key: for dropout; without one there is none.
        """
        keys = (None,) * 3 if key is None else jax.random.split(key, 3)
        cell, state = self.encode(source, lengths, key=keys[0])
        xs = self._dropped(self._vectors(self.F, target), keys[1])
        _, shown = unroll(cell, state, xs)
        return self._logits(shown, keys[2])

    def begin(
        self, source: Int[Array | np.ndarray, " time"], length: Int[Array, ""] | None = None
    ) -> tuple[Callable, State]:
        """What the functions of `seqmem.decoding` want, of one source: a step, which is a tree, and
        the state it begins from. `jax.vmap` serves a batch.
        """
        if np.ndim(source) != 1:
            raise bad_input(
                f"begin got a source of shape {np.shape(source)}.",
                "one sequence of tokens, (time,).",
                "map it over a batch: jax.vmap(translate, in_axes=(1, 0))(source, lengths).",
            )
        cell, state = self.encode(source, length)
        return eqx.Partial(self.step, cell), state

    def step(
        self, cell: AbstractCell, state: State, token: Int[Array, ""]
    ) -> tuple[State, Float[Array, " target_tokens"]]:
        """One step of a decoder's cell over one source: the new state, and the next logits."""
        state, shown = cell(state, self._vectors(self.F, token))
        return state, self._logits(shown, None)

    def alignment(
        self, source: Int[Array, " time"], target: Int[Array, " steps"]
    ) -> Float[Array, "steps time"]:
        """The weights with which each step of a target looks at one source.

        Raises:
            ValueError: where the decoder does not attend.
        """
        if isinstance(self.decoder, AbstractCell):
            raise bad_input(
                f"alignment of a decoder that is a {type(self.decoder).__name__}.",
                "one that attends to the source.",
                "make the model with LuongDecoder or BahdanauDecoder.",
            )
        cell, state = self.encode(source)
        return self.decoder.weights(cell, state, self._vectors(self.F, target))

    def _vectors(self, E: Float[Array, "tokens size"], ids: Ids) -> Float[Array, "... size"]:
        return E.shape[-1] ** 0.5 * looked_up(E, ids)

    def _logits(self, shown: State, key: PRNGKeyArray | None) -> Float[Array, "... target_tokens"]:
        leaves = as_precision(jax.tree.leaves(shown), precision(self.C))
        features = jnp.tanh(jnp.concatenate(leaves, -1) @ self.C.mT + self.b)
        return self._dropped(features, key) @ self.F.mT + self.a

    def _dropped(self, x: Float[Array, "..."], key: PRNGKeyArray | None) -> Float[Array, "..."]:
        if key is None or not self.dropout:
            return x
        return x * dropout_mask(key, self.dropout, x.shape, x.dtype)


def _read(network: AbstractCell | Bidirectional, xs: Array, lengths: Lengths = None):
    if isinstance(network, AbstractCell):
        return unroll(network, network.init_state(), xs, lengths=lengths)
    return network(network.init_state(), xs, lengths=lengths)


def _decoder_over(decoder, values: Array, lengths: Lengths) -> AbstractCell:
    return decoder if isinstance(decoder, AbstractCell) else decoder.attend_to(values, lengths)
