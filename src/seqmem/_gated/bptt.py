"""The gated family's backward rule: all gates of a block linearised at once, one product per step
in the loop.
"""

import equinox as eqx
import jax
import jax.numpy as jnp

from .._cell import over, project
from .._methods.bptt import BackwardRule, backward_rule, pull_to
from .._precision import inexact, split
from .base import AbstractGatedCell, gate, mix


class GatedRule(BackwardRule):
    """Kept are the pre-activations z; the loop multiplies by the gates' derivatives and by the
    transpose of mix.
    """

    keeps = True

    def prepare(self, cell, state, drive):
        return mix(cell, state, drive)

    def finish(self, cell, state, kept):
        return gate(cell, state, kept)

    def linearise(self, cell, states, kept, x, batch_axes):
        def derivative(state, z):
            moving, still = split(state)
            return jax.vjp(lambda s, z: inexact(gate(cell, eqx.combine(s, still), z)), moving, z)[1]

        derivatives = over(derivative, 1 + batch_axes)(states, kept)

        # mix is affine, so its transpose is the same everywhere, and no value here is ever
        # computed.
        state, one = jax.tree.map(lambda leaf: leaf[0], (states, x))

        def mixed(state):
            step = over(lambda s, x: mix(cell, s, project(cell, x, s)), batch_axes)
            return step(state, one)

        def pull(derivative, d):
            d_state, d_z = over(lambda pull, d: pull(d), batch_axes)(derivative, d)
            (d_mixed,) = pull_to(mixed, d_z, state)
            return jax.tree.map(jnp.add, d_state, d_mixed), d_z

        return derivatives, pull

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
