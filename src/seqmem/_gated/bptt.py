"""The gated family's backward rule: one product per step in the loop, the transpose of mix."""

import functools

import jax
import jax.numpy as jnp

from .._cell import over, project
from .._methods.backward_rule import BackwardRule, backward_rule, pace_of_products, pull_to
from .._precision import inexact
from .base import AbstractGatedCell, gate, mix


class GatedRule(BackwardRule):
    """Kept are the pre-activations z, so the loop computes no product again: at each step it pulls
    the cotangent through the gate at (s, z), entry by entry, and through the transpose of mix.
    """

    keeps = True
    pace = staticmethod(pace_of_products)

    def prepare(self, cell, state, drive):
        return mix(cell, state, drive)

    def finish(self, cell, state, kept):
        return gate(cell, state, kept)

    def linearise(self, cell, states, kept, x, batch_axes):
        # mix is affine: its transpose is the same everywhere, and no value here is computed.
        anywhere, one = jax.tree.map(lambda leaf: leaf[0], (states, x))

        def mixed(state):
            return over(lambda s, x: mix(cell, s, project(cell, x, s)), batch_axes)(state, one)

        def gated(state, z):
            return inexact(over(functools.partial(gate, cell), batch_axes)(state, z))

        def pull(here, d):
            d_state, d_z = pull_to(gated, d, *here)
            (d_mixed,) = pull_to(mixed, d_z, anywhere)
            return jax.tree.map(jnp.add, d_state, d_mixed), d_z

        return (states, kept), pull

    def pull_to_inputs(self, cell, states, kept, x, d, pulled, batch_axes):
        def gates(cell):
            step = over(lambda s, z: inexact(gate(cell, s, z)), 1 + batch_axes)
            return step(states, kept)

        def mixes(cell, x):
            step = over(lambda s, x: mix(cell, s, project(cell, x, s)), 1 + batch_axes)
            return step(states, x)

        (d_cell,) = pull_to(gates, d, cell)  # dead code unless the gates hold parameters
        d_cell_mixed, d_x = pull_to(mixes, pulled, cell, x)
        return jax.tree.map(jnp.add, d_cell, d_cell_mixed), d_x


@backward_rule.register
def _(cell: AbstractGatedCell) -> BackwardRule:
    return GatedRule()
