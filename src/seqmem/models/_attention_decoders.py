"""Decoders that attend to a source: before the state is updated, or after it."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from .._cells.pointwise import AbstractPointwiseCell
from .._core.batching import PerExample
from .._core.cell import AbstractCell, project, readout, update
from .._core.errors import bad_input
from .._core.precision import precision
from .._core.problem import Drive, Output, State
from .._core.ravel import RealRavel
from .._core.shapes import vector_size
from .._unroll import solve, unroll
from ..layers.stack import Stack
from ._attention import AbstractAttention, Attended

Source = Float[Array, "source *batch value"]
Lengths = Int[Array | np.ndarray, "*batch"] | None


class BahdanauDecoder(eqx.Module):
    """A cell that attends with its last state, and whose update sees what was found.

        c_t = attention(s_{t−1})
        s_t = update(s_{t−1}, project([x_t; c_t]))
        y_t = (readout(s_t), c_t)

    `attend_to` a source it is a cell; its state holds the context too. Attention is part of the loop
    over time. Any cell may attend; the query is its state, all leaves in one vector.

    Source: Bahdanau, Cho & Bengio 2015, arXiv:1409.0473, section 3.1. Differs: the cell is any.

    Args:
        cell: whose inputs are vectors, of the input and then the context.
        attention: whose queries have as many entries as the cell's state.

    Raises:
        ValueError: where they have not.

    Example:
        >>> import jax, jax.numpy as jnp, seqmem
        >>> keys = jax.random.split(jax.random.key(0))
        >>> decoder = seqmem.models.BahdanauDecoder(
        ...     seqmem.GRU(3 + 5, 7, key=keys[0]),
        ...     seqmem.models.DotAttention(7, 5, key=keys[1]),
        ... )
        >>> source, lengths = jnp.ones((11, 2, 5)), jnp.array([11, 4])
        >>> cell = decoder.attend_to(source, lengths)
        >>> state, (ys, contexts) = seqmem.unroll(cell, cell.init_state(), jnp.ones((13, 2, 3)))
        >>> ys.shape, contexts.shape
        ((13, 2, 7), (13, 2, 5))
    """

    cell: AbstractCell
    attention: AbstractAttention

    def __check_init__(self):
        _check_query(self, RealRavel(jax.eval_shape(self.cell.init_state)).size, "state")

    def init_state(self) -> State:
        """That of the cell, and a context of 0."""
        zeros = jnp.zeros(self.attention.value_size, precision(self.cell.init_state()))
        return self.cell.init_state(), zeros

    def attend_to(self, source: Source, lengths: Lengths = None) -> AbstractCell:
        """The cell that attends to a source, or to one for each example of a batch.

        Args:
            source: the outputs of an encoder, time first.
            lengths: valid steps of each sequence.
        """
        return _AttendingBefore(self, _own(self.attention.attend_to(source, lengths)))

    def weights(
        self, cell: AbstractCell, state: State, xs: Float[Array, "time input"]
    ) -> Float[Array, "time source"]:
        """With which weights a cell that `attend_to` has made of one source looks at each of its steps.

        Args:
            cell: from `attend_to`.
            state: before the first step.
            xs: the inputs.
        """
        states = solve(cell, state, xs, return_states=True).states
        before = jax.tree.map(
            lambda one, all: jnp.concatenate([one[None], all[:-1]]), state, states
        )
        own, _ = before
        queries = jax.vmap(RealRavel(jax.eval_shape(self.cell.init_state)).vector)(own)
        return self.attention(queries, cell.attended)[1]  # pyright: ignore


class LuongDecoder(eqx.Module):
    """A cell, and attention with what it shows.

        y_t = readout(s_t)
        c_t = attention(y_t)
        shown: (y_t, c_t)

    `attend_to` a source it is a cell. The context does not enter the state, so the attention of all of
    time is matrix products behind the loop, and the cell keeps its family and its methods: the fast
    one of the two.

    Source: Luong, Pham & Manning 2015, arXiv:1508.04025, section 3.1. Differs: without "input
    feeding".

    Args:
        cell: that shows vectors.
        attention: whose queries have as many entries as those.

    Raises:
        ValueError: where they have not.

    Example:
        >>> import jax, jax.numpy as jnp, seqmem
        >>> keys = jax.random.split(jax.random.key(0))
        >>> decoder = seqmem.models.LuongDecoder(
        ...     seqmem.GRU(3, 7, key=keys[0]), seqmem.models.DotAttention(7, 5, key=keys[1])
        ... )
        >>> cell = decoder.attend_to(jnp.ones((11, 2, 5)), jnp.array([11, 4]))
        >>> state, (ys, contexts) = seqmem.unroll(cell, cell.init_state(), jnp.ones((13, 2, 3)))
        >>> ys.shape, contexts.shape
        ((13, 2, 7), (13, 2, 5))
    """

    cell: AbstractCell
    attention: AbstractAttention

    def __check_init__(self):
        size = vector_size(self.cell.input_shape)
        if size is not None:
            state = jax.eval_shape(self.cell.init_state)
            one = jax.ShapeDtypeStruct((size,), precision(self.cell))
            shown = jax.eval_shape(self.cell, state, one)[1]
            _check_query(self, shown.shape[-1], "output")

    def init_state(self) -> State:
        """That of the cell, and of the attention, which has none."""
        return self.cell.init_state(), ()

    def attend_to(self, source: Source, lengths: Lengths = None) -> AbstractCell:
        """The cell that attends to a source, or to one for each example of a batch.

        Args:
            source: the outputs of an encoder, time first.
            lengths: valid steps of each sequence.
        """
        attended = _own(self.attention.attend_to(source, lengths))
        return Stack([self.cell, _Attending(self.attention, attended)])

    def weights(
        self, cell: AbstractCell, state: State, xs: Float[Array, "time input"]
    ) -> Float[Array, "time source"]:
        """With which weights a cell that `attend_to` has made of one source looks at each of its steps.

        Args:
            cell: from `attend_to`.
            state: before the first step.
            xs: the inputs.
        """
        _, (ys, _) = unroll(cell, state, xs)
        return self.attention(ys, cell.layers[1].attended)[1]  # pyright: ignore


def _own(attended: Attended) -> Attended | PerExample:
    return PerExample(attended) if attended.valid.ndim > 1 else attended


def _check_query(own: BahdanauDecoder | LuongDecoder, size: int, what: str) -> None:
    if own.attention.query_size != size:
        raise bad_input(
            f"{type(own).__name__} got an attention with query_size={own.attention.query_size}.",
            f"{size}, the entries of the cell's {what}.",
            "make the attention with this size.",
        )


class _Attending(AbstractPointwiseCell):
    attention: AbstractAttention
    attended: Attended | PerExample

    def project(self, x: Array) -> tuple[Array, Array]:
        return x, self.attention(x, self.attended)[0]  # pyright: ignore


class _AttendingBefore(AbstractCell):
    decoder: BahdanauDecoder
    attended: Attended | PerExample

    @property
    def input_shape(self) -> tuple[int | None]:  # pyright: ignore
        size = vector_size(self.decoder.cell.input_shape)
        return (None if size is None else size - self.decoder.attention.value_size,)

    def init_state(self) -> State:
        return self.decoder.init_state()

    def project(self, x: PyTree) -> Drive:
        return x

    def update(self, state: State, drive: Drive) -> State:
        cell, (own, _) = self.decoder.cell, state
        query = RealRavel(own).vector(own)
        context, _ = self.decoder.attention(query, self.attended)  # pyright: ignore
        seen = project(cell, jnp.concatenate([drive, context]), own)
        return update(cell, own, seen), context

    def readout(self, state: State, drive: Drive) -> Output:
        cell, (own, context) = self.decoder.cell, state
        seen = project(cell, jnp.concatenate([drive, context]), own)
        return readout(cell, own, seen), context
