"""The gated family: one product with the state per step, and everything else a function of each
unit.

    z_t = mix(s_{t−1}, u_t)       affine in both; holds the recurrent weights
    s_t = gate(s_{t−1}, z_t)      everything else

z are the pre-activations. They are all that the backward pass needs beside the states, which is
why `mix` takes the drive: an LSTM then keeps one array of four gates per step, not one from the
input and one from the state.
"""

import abc

from jaxtyping import PyTree

from ..._core.cell import AbstractCell, Drive, State, update
from ..._core.precision import as_precision, precision


class AbstractGatedCell(AbstractCell):
    """A cell with the promise `update(s, u) = gate(s, mix(s, u))`, `mix` affine in s and in u.

    The promise lets the sequential loop of the backward pass have one product per step, the
    transpose of `mix`, and lets weight gradients be one product per block. `gate` should hold no
    matrix: its derivatives are taken entry by entry. Write products as `h @ U.mT`, which is faster
    on a CPU than `U @ h`.
    """

    @abc.abstractmethod
    def mix(self, state: State, drive: Drive, /) -> PyTree:
        """The pre-activations: affine in the state and in the drive."""

    @abc.abstractmethod
    def gate(self, state: State, z: PyTree, /) -> State:
        """The next state from the previous one and the pre-activations."""

    def update(self, state: State, drive: Drive, /) -> State:
        return self.gate(state, self.mix(state, drive))


def mix(cell: AbstractGatedCell, state: State, drive: Drive) -> PyTree:
    """`cell.mix` in the parameters' precision, returned in the state's."""
    own = precision(cell)
    z = cell.mix(as_precision(state, own), as_precision(drive, own))
    return as_precision(z, precision(state))


def gate(cell: AbstractGatedCell, state: State, z: PyTree) -> State:
    """`cell.gate` in the state's precision."""
    return as_precision(cell, precision(state)).gate(state, z)


@update.register
def _(cell: AbstractGatedCell, state: State, drive: Drive) -> State:
    return gate(cell, state, mix(cell, state, drive))
