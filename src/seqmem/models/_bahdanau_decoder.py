"""`BahdanauDecoder`: attention inside the recurrence."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from .._core.batching import PerExample, vmap_axes
from .._core.cell import AbstractCell, project, readout, update
from .._core.precision import precision
from .._core.problem import Drive, Output, State
from .._core.ravel import RealRavel
from .._core.shapes import vector_size
from .._unroll import solve
from ._attention import AbstractAttention, AttentionSource
from ._decoder import AbstractDecoder, attention_weights, check_query_size, per_example_source


class BahdanauDecoder(AbstractDecoder):
    """A decoder that attends with its previous state, before the state update.

        c_t = attention(s_{t−1})
        s_t = update(s_{t−1}, project([x_t; c_t]))
        y_t = (readout(s_t), c_t)

    The query is the whole state, all leaves in one vector. Attention is part of the recurrence, so
    it runs step by step; `LuongDecoder` is faster. The state of the attending cell is the cell's
    state and the context.

    Source: Bahdanau, Cho & Bengio 2015, arXiv:1409.0473, section 3.1. Differs: any cell.

    Args:
        cell: the cell; its input is a vector, the decoder input followed by the context.
        attention: its query_size is the size of the cell's state.

    Raises:
        ValueError: where these sizes differ.

    Example:
        >>> import jax, jax.numpy as jnp, seqmem
        >>> keys = jax.random.split(jax.random.key(0))
        >>> decoder = seqmem.models.BahdanauDecoder(
        ...     seqmem.GRU(3 + 5, 7, key=keys[0]),
        ...     seqmem.models.DotAttention(7, 5, key=keys[1]),
        ... )
        >>> cell = decoder.attend_to(jnp.ones((11, 2, 5)), lengths=jnp.array([11, 4]))
        >>> state, (ys, contexts) = seqmem.unroll(cell, None, jnp.ones((13, 2, 3)))
        >>> ys.shape, contexts.shape
        ((13, 2, 7), (13, 2, 5))
    """

    cell: AbstractCell
    attention: AbstractAttention

    def __check_init__(self):
        check_query_size("BahdanauDecoder", self.attention, self._query.size, "state")

    @property
    def _query(self) -> RealRavel:
        return RealRavel(jax.eval_shape(self.cell.init_state))

    def attend_to(self, source, *, lengths=None):
        prepared = self.attention.attend_to(source, lengths=lengths)
        return _AttendingCell(self, per_example_source(prepared))

    def extend_state(self, cell_state, batch=()):
        dtype = precision(jax.eval_shape(self.cell.init_state))
        return cell_state, jnp.zeros((*batch, self.attention.value_size), dtype)

    def weights(self, source, state, xs, *, lengths=None):
        cell = self.attend_to(source, lengths=lengths)
        states: Any = solve(cell, state, xs, return_states=True).states
        (cell_state, _), (cell_states, _) = state, states
        previous = jax.tree.map(
            lambda first, later: jnp.concatenate([first[None], later[:-1]]), cell_state, cell_states
        )
        queries = vmap_axes(self._query.vector, xs.ndim - 1)(previous)
        return attention_weights(self.attention, source, queries, lengths)


class _AttendingCell(AbstractCell):
    """The cell of a `BahdanauDecoder` that attends to one source."""

    decoder: BahdanauDecoder
    source: AttentionSource | PerExample

    @property
    def input_shape(self) -> tuple[int | None]:  # pyright: ignore
        size = vector_size(self.decoder.cell.input_shape)
        return (None if size is None else size - self.decoder.attention.value_size,)

    def init_state(self):
        return self.decoder.init_state()

    def project(self, x: PyTree) -> Drive:
        return x

    def update(self, state: State, drive: Drive) -> State:
        cell, (cell_state, _) = self.decoder.cell, state
        query = RealRavel(cell_state).vector(cell_state)
        context, _ = self.decoder.attention(query, self.source)  # pyright: ignore
        cell_drive = project(cell, jnp.concatenate([drive, context]), cell_state)
        return update(cell, cell_state, cell_drive), context

    def readout(self, state: State, drive: Drive) -> Output:
        cell, (cell_state, context) = self.decoder.cell, state
        cell_drive = project(cell, jnp.concatenate([drive, context]), cell_state)
        return readout(cell, cell_state, cell_drive), context
