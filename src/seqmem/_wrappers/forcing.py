"""`with_forcing`: a cell whose state is pulled towards a given one before each step."""

from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from .._core.calls import makes_layer
from .._core.cell import AbstractCell, readout, update
from .._core.problem import State
from .wrapper import AbstractWrapper, WrappedCell


class Forced(NamedTuple):
    """An input, and a state that the step should start from.

    Attributes:
        x: the input of the cell.
        state: ŝ, the state to force, a tree like the cell's state, [time, *batch, ...].
        alpha: α in [0, 1] for each entry of it: 0 leaves the entry, 1 replaces it.
    """

    x: PyTree
    state: State
    alpha: PyTree


def force(state: State, target: State, alpha: PyTree) -> State:
    """(1 − α) ∘ s + α ∘ ŝ; whole numbers, such as a count of steps, stay."""

    def blend(s: Array, target: Array, alpha: Array) -> Array:
        if not jnp.issubdtype(s.dtype, jnp.inexact):
            return s
        alpha = alpha.astype(s.dtype)
        return (1 - alpha) * s + alpha * target.astype(s.dtype)

    return jax.tree.map(blend, state, target, alpha)


class Forcing(AbstractWrapper):
    name: ClassVar = "with_forcing"
    has_new_update = True
    has_new_gates = True
    has_affine_mix = False

    def input_shape(self, cell):
        one_state = jax.eval_shape(cell.init_state)
        shapes = jax.tree.map(lambda leaf: leaf.shape, one_state)
        return Forced(cell.input_shape, shapes, shapes)

    def project(self, cell, x):
        return x._replace(x=cell.project(x.x))

    def update(self, cell, state, drive):
        return update(cell, force(state, drive.state, drive.alpha), drive.x)

    def readout(self, cell, state, drive):
        return readout(cell, state, drive.x)


@makes_layer
def with_forcing(cell: AbstractCell) -> AbstractCell:
    """A cell with teacher forcing of its state: its inputs are `seqmem.Forced(x, state, alpha)`.

        s̃_{t−1} = (1 − α_t) ∘ s_{t−1} + α_t ∘ ŝ_t
        s_t = update(s̃_{t−1}, project(x_t))

    ŝ_t is what data say of the state before step t. With J the Jacobian of the cell's step, that of
    a forced step is J (1 − α), so α >= 1 − 1/‖J‖ keeps gradients over any time bounded although
    the system is chaotic.

    α has an entry for each entry of the state and each step, which makes one wrapper of several
    methods: generalised teacher forcing is a constant α in (0, 1]; sparse teacher forcing is 1 at
    every n-th step and 0 else; entries that data do not determine, and steps without data, have
    α = 0. Free-running it is with α = 0, or as the cell itself. `training.teacher_forced` makes ŝ
    and α from observations.

    A diagonal or block-diagonal cell keeps its family. A gated, window or fast-weight cell becomes
    unstructured. `seqmem.Newton` solves for all steps of a forced cell at once (GTF-DEER, Hess,
    Götz & Durstewitz 2026, arXiv:2605.12683, abstract read).

    Source: Doya 1992; Hess et al. 2023, arXiv:2306.04406, by their program,
    DurstewitzLab/GTF-shPLRNN (`tf_training/forcing.jl`); sparse forcing: Mikhaeil et al. 2022,
    arXiv:2110.07238. The papers' text was not read. Differs: the program forces the state after
    a step, this cell the one before it, which is the same run with ŝ and α a step later.

    Args:
        cell: a cell whose state holds real or complex numbers.

    Example:
        >>> import jax, jax.numpy as jnp, seqmem
        >>> cell = seqmem.with_forcing(seqmem.GRU(3, 5, key=jax.random.key(0)))
        >>> xs, targets = jnp.ones((7, 2, 3)), jnp.ones((7, 2, 5))
        >>> forced = seqmem.Forced(xs, targets, jnp.full((7, 2, 5), 0.1))
        >>> seqmem.unroll(cell, None, forced)[1].shape
        (7, 2, 5)
    """
    return WrappedCell(cell, Forcing())
