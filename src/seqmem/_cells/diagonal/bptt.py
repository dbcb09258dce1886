"""The diagonal family's backward rule: the loop multiplies by a_t, and does nothing else."""

import jax
import jax.numpy as jnp

from ..._core.cell import update
from ..._methods.scan.vjp_rules import (
    BackwardRule,
    backward_rule,
    pace_of_entries,
    pull_through_block,
)
from ..._core.batching import each
from .base import AbstractDiagonalCell, affine_map


class DiagonalRule(BackwardRule):
    """Kept are the states. a_t looks at the input alone, so it is there for a block of steps at
    once, and λ_{t−1} = a_t ∘ λ_t is all that the loop over the steps is left with.
    """

    keeps = False
    pace = staticmethod(pace_of_entries)

    def prepare(self, cell, state, drive):
        return drive

    def finish(self, cell, state, kept):
        return update(cell, state, kept)

    def linearise(self, cell, states, kept, x, batch_axes):
        factors = each(lambda cell, s, u: affine_map(cell, u, s)[0], cell, batch_axes, time=True)(
            states, kept
        )
        return factors, lambda a, d: (jax.tree.map(jnp.multiply, a, d), None)

    def pull_to_inputs(self, cell, states, kept, x, d, pulled, batch_axes):
        return pull_through_block(cell, states, x, d, batch_axes)


@backward_rule.register
def _(cell: AbstractDiagonalCell) -> BackwardRule:
    return DiagonalRule()
