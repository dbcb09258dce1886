"""The gated family: an affine map with the recurrent weights, then an elementwise function.

    z_t = mix(s_{t−1}, u_t)       affine in both; uses the recurrent weights
    s_t = gate(s_{t−1}, z_t)      elementwise

z are the pre-activations. The backward pass needs only z and the states. This is why `mix` takes
the drive: an LSTM then saves one array of four gates per step, not one from the input and one from
the state.
"""

import abc
import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from ..._core.batching import vmap_batch
from ..._core.cell import AbstractCell, project
from ..._core.family import Family, Law
from ..._core.platform import current_platform
from ..._core.precision import as_precision, keep_inexact, precision
from ..._core.problem import Drive, State
from ..._core.vjp_rule import AbstractVJPRule
from ..._methods.scan.forward import restore_matrices, transpose_matrices
from ..._methods.scan.vjp_rules import pull_to, tiles_of_products
from .jacobian import gate_jacobian_diagonal


def mix(cell: Any, state: State, drive: Drive, /) -> PyTree:
    """`cell.mix` in the parameters' precision, returned in the state's."""
    dtype = precision(cell)
    z = cell.mix(as_precision(state, dtype), as_precision(drive, dtype))
    return as_precision(z, precision(state))


def gate(cell: Any, state: State, z: PyTree, /) -> State:
    """`cell.gate` in the state's precision."""
    return as_precision(cell, precision(state)).gate(state, z)


@dataclasses.dataclass(frozen=True)
class GatedRule(AbstractVJPRule):
    """The pre-activations z are saved, so the backward loop recomputes no product: at each step it
    pulls the cotangent back through the gate at (s, z), entry by entry, and through the transpose
    of mix. On a CPU the loop returns ∂L/∂z. On accelerators that is computed again for a whole
    tile: XLA would write all unrolled steps into one more kernel, large and slow to compile.
    """

    saves_prepared = True
    is_gated = True

    def tile_sizes(self, batch, entries, platform):
        sizes = tiles_of_products(batch, entries, platform)
        is_single = batch == 1 and platform == "cpu" and jax.__version_info__ >= (0, 12)
        return sizes._replace(forward=1, unroll=1) if is_single else sizes

    def prepare(self, cell, state, drive, /):
        return mix(cell, state, drive)

    def finish(self, cell, state, saved, /):
        return gate(cell, state, saved)

    def linearise(self, tile):
        # mix is affine: its transpose is the same at every step, so step 0 stands for all.
        one_state, one_input = jax.tree.map(lambda leaf: leaf[0], (tile.states, tile.inputs))

        matrices = _held_outside(tile.cell, one_state, tile.batch_axes)

        def apply_mix(state: State) -> PyTree:
            return vmap_batch(_mix_input, matrices(), tile.batch_axes)(state, one_input)

        def apply_gate(state: State, z: PyTree) -> State:
            return keep_inexact(vmap_batch(gate, tile.cell, tile.batch_axes)(state, z))

        returns_d_z = current_platform() == "cpu"

        def pull(step: tuple[State, PyTree], d_state: State) -> tuple[State, PyTree]:
            d_state, d_z = pull_to(apply_gate, d_state, *step)
            (d_state_mix,) = pull_to(apply_mix, d_z, one_state)
            return jax.tree.map(jnp.add, d_state, d_state_mix), d_z if returns_d_z else None

        return (tile.states, tile.saved), pull

    def pull_to_inputs(self, tile, d_states, pulled):
        def gates(cell: AbstractCell, z: PyTree) -> State:
            run = vmap_batch(gate, cell, tile.batch_axes, time=True)
            return keep_inexact(run(tile.states, z))

        def mixes(cell: AbstractCell, inputs: PyTree) -> PyTree:
            return vmap_batch(_mix_input, cell, tile.batch_axes, time=True)(tile.states, inputs)

        # XLA removes the gradient of the gate's parameters where there are none.
        if pulled is None:
            d_cell, d_z = pull_to(gates, d_states, tile.cell, tile.saved)
        else:
            (d_cell,), d_z = (
                pull_to(lambda cell: gates(cell, tile.saved), d_states, tile.cell),
                pulled,
            )
        d_cell_mix, d_inputs = pull_to(mixes, d_z, tile.cell, tile.inputs)
        return jax.tree.map(jnp.add, d_cell, d_cell_mix), d_inputs


def _held_outside(cell: AbstractCell, state: State, batch_axes: int) -> Callable[[], AbstractCell]:
    """The cell for products in the backward loop, with its matrices transposed outside of the loop
    where XLA:CPU would transpose them in every step: for one vector and one matrix, without an axis
    of gates. With such an axis, or a batch, it is faster not to.
    """
    batch = jax.tree.leaves(state)[0].shape[:batch_axes]
    most_axes = max((jnp.ndim(leaf) for leaf in jax.tree.leaves(cell)), default=0)
    if math.prod(batch) != 1 or most_axes != 2:
        return lambda: cell
    transposed = transpose_matrices(cell)
    return lambda: restore_matrices(transposed)


def _mix_input(cell: AbstractCell, state: State, x: PyTree) -> PyTree:
    return mix(cell, state, project(cell, x, state))


def update_gated(cell: AbstractCell, state: State, drive: Drive) -> State:
    """update(s, u) = gate(s, mix(s, u)): mix in the parameters' precision, gate in the state's."""
    return gate(cell, state, mix(cell, state, drive))


def _jacobian_diagonal(cell: AbstractCell, init: State, x: PyTree) -> Callable:
    return gate_jacobian_diagonal(cell, init, project(cell, x, init), mix, gate)


def _functions(cell: Any, state: State, drive: Drive) -> dict[str, Callable[[], PyTree]]:
    z = mix(cell, state, drive)
    return {
        "mix(state, drive)": lambda: mix(cell, state, drive),
        "gate(state, z)": lambda: gate(cell, state, z),
    }


def _equations(cell: Any, draws: Any) -> Iterator[tuple[str, PyTree, PyTree]]:
    near, far = draws.random_state(1.0), draws.random_state(1000.0)
    drive, other = draws.drive(), draws.drive()
    for state in (near, far):
        yield (
            "update(s, u) = gate(s, mix(s, u))",
            cell.update(state, drive),
            cell.gate(state, cell.mix(state, drive)),
        )
    z, z_far = cell.mix(near, drive), cell.mix(far, other)
    for weight in (0.3, -1.7):

        def blend(a: PyTree, b: PyTree, weight: float = weight) -> PyTree:
            return jax.tree.map(lambda a, b: weight * a + (1 - weight) * b, a, b)

        yield (
            "mix is affine in s and in u: mix(a·s + (1−a)·s', a·u + (1−a)·u') = "
            "a·mix(s, u) + (1−a)·mix(s', u')",
            cell.mix(blend(near, far), blend(drive, other)),
            blend(z, z_far),
        )


GATED = Family(
    "gated",
    vjp_rule=GatedRule(),
    jacobian_diagonal=_jacobian_diagonal,
    update=update_gated,
    laws=(Law(_equations, _functions),),
)
"""The family of `AbstractGatedCell`: one recurrent product, followed by gates."""


class AbstractGatedCell(AbstractCell):
    """A cell with the promise `update(s, u) = gate(s, mix(s, u))`, `mix` affine in s and in u.

    With this promise the loop of the backward pass has one product per step, the transpose of
    `mix`, and the gradient of the weights is one product per tile. `gate` should be elementwise,
    without matrices. Write products as `h @ U.mT`, which is faster on a CPU than `U @ h`.
    """

    family = GATED

    @abc.abstractmethod
    def mix(self, state: State, drive: Drive, /) -> PyTree:
        """The pre-activations: affine in the state and in the drive."""

    @abc.abstractmethod
    def gate(self, state: State, z: PyTree, /) -> State:
        """The next state from the previous one and the pre-activations."""

    def update(self, state: State, drive: Drive, /) -> State:
        return self.gate(state, self.mix(state, drive))
