"""Two cells over the same sequence, one from each end."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, PyTree, Shaped

from .._core.cell import AbstractCell, Output, State
from .._core.errors import bad_input
from .._core.method import AbstractMethod
from .._unroll import unroll


class Bidirectional(eqx.Module):
    """Two cells over the same sequence, one forward and one backward in time.

        y_t = (forward(x_1, ..., x_t), backward(x_t, ..., x_T))        T the sequence's length

    It is called as `seqmem.unroll` is, with the state of both. It is no cell, since it needs the
    future, so it has no single step and cannot stand in a `Stack`: a deep one is a loop over
    layers.

    Source: Schuster & Paliwal 1997, IEEE Transactions on Signal Processing 45(11). Differs: none.

    Args:
        forward: the cell that is run from the first step to the last.
        backward: the cell that is run from the last valid step to the first.

    Raises:
        ValueError: where one of them is no cell.

    Example:
        >>> import jax, seqmem
        >>> def layer(size, key):
        ...     forward, backward = jax.random.split(key)
        ...     return seqmem.layers.Bidirectional(
        ...         seqmem.LSTM(size, 5, key=forward), seqmem.LSTM(size, 5, key=backward)
        ...     )
        >>> low, high = jax.random.split(jax.random.key(0))
        >>> lengths = jax.numpy.array([7, 4])
        >>> ys = jax.numpy.ones((7, 2, 3))
        >>> for own in (layer(3, low), layer(10, high)):
        ...     states, ys = own(own.init_state(), ys, lengths=lengths)
        >>> ys.shape
        (7, 2, 10)
    """

    forward: AbstractCell
    backward: AbstractCell

    def __check_init__(self):
        both = self.forward, self.backward
        if not all(isinstance(cell, AbstractCell) for cell in both):
            raise bad_input(
                f"Bidirectional got {[type(cell).__name__ for cell in both]}.",
                "two cells.",
                "pass the cell that is run forward, then the one that is run backward.",
            )

    def init_state(self) -> tuple[State, State]:
        """The states before the first step of each cell."""
        return self.forward.init_state(), self.backward.init_state()

    def __call__(
        self,
        state: tuple[State, State],
        xs: PyTree[Shaped[Array, "time ..."]],
        *,
        lengths: Int[Array | np.ndarray, "*batch"] | None = None,
        resets: Bool[Array | np.ndarray, "time *batch"] | None = None,
        method: AbstractMethod | None = None,
        chunk: int | None = None,
    ) -> tuple[tuple[State, State], Output]:
        """Run both cells over all of time.

        Args:
            state: of the forward cell before the first step, and of the backward cell behind the
                last valid one.
            xs: this and all others as for `seqmem.unroll`.

        Returns:
            The final states of both: after the last valid step, and after the first. The outputs,
            those of the forward cell first in the last axis.

        Raises:
            ValueError: where an argument does not fit, before anything is run.
        """
        if not isinstance(state, tuple) or len(state) != 2:
            raise bad_input(
                f"state is a tree {jax.tree.structure(state)}.",
                "the states of both cells.",
                "start from init_state() of the Bidirectional.",
            )
        finals, shown = [], []
        for cell, own, reverse in zip(
            (self.forward, self.backward), state, (False, True), strict=True
        ):
            final, ys = unroll(
                cell,
                own,
                xs,
                lengths=lengths,
                resets=resets,
                reverse=reverse,
                method=method,
                remat_every=chunk,
            )
            finals.append(final)
            shown.append(ys)
        joined = jax.tree.map(lambda *both: jnp.concatenate(both, axis=-1), *shown)
        return tuple(finals), joined
