"""The gated family's backward rule: one product per step in the loop, the transpose of mix."""

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from ..._core.cell import State, project
from ..._methods.scan.vjp_rules import BackwardRule, backward_rule, pace_of_products, pull_to
from ..._core.batching import each
from ..._core.precision import inexact
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
            return each(_mixed, cell, batch_axes)(state, one)

        def gated(state, z):
            return inexact(each(gate, cell, batch_axes)(state, z))

        def pull(here, d):
            d_state, d_z = pull_to(gated, d, *here)
            (d_mixed,) = pull_to(mixed, d_z, anywhere)
            return jax.tree.map(jnp.add, d_state, d_mixed), d_z

        return (states, kept), pull

    def pull_to_inputs(self, cell, states, kept, x, d, pulled, batch_axes):
        def gates(cell):
            return inexact(each(gate, cell, batch_axes, time=True)(states, kept))

        def mixes(cell, x):
            return each(_mixed, cell, batch_axes, time=True)(states, x)

        (d_cell,) = pull_to(gates, d, cell)  # dead code unless the gates hold parameters
        d_cell_mixed, d_x = pull_to(mixes, pulled, cell, x)
        return jax.tree.map(jnp.add, d_cell, d_cell_mixed), d_x


def _mixed(cell: AbstractGatedCell, state: State, x: PyTree) -> PyTree:
    return mix(cell, state, project(cell, x, state))


@backward_rule.register
def _(cell: AbstractGatedCell) -> BackwardRule:
    return GatedRule()
