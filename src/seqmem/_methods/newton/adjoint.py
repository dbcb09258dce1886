"""The backward pass of Newton's methods where the Jacobian is structured: all steps at once.

    λ_t = ∂L/∂s_t + J_{t+1}ᵀ λ_{t+1}

is one linear recurrence, which the structure solves as it solved those of the iterations.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ..._core.batching import vmap_axes, vmap_batch
from ..._core.cell import AbstractCell, project
from ..._core.jacobian import AbstractJacobian
from ..._core.problem import Problem, State, StepFlags
from ..._core.step import advance, select
from ..._core.vjp_rule import BackwardTile
from ..scan.forward import rule_of


@dataclasses.dataclass(frozen=True)
class ParallelAdjoint:
    """The steps of one tile of a backward pass, with the arguments and results of `backward_loop`.

    It takes as much memory as the Jacobians of the tile.
    """

    structure: AbstractJacobian

    def __call__(
        self, problem: Problem, steps: BackwardTile, carry: tuple, xs: tuple
    ) -> tuple[State, State, State, PyTree]:
        (d_last, d_init), (d_readout, flags) = carry, xs
        last, first = (0, -1) if problem.reverse else (-1, 0)
        cut = flags.reset

        def choose(flag: Array | None, if_true: State, if_false: State) -> State:
            run = vmap_axes(select, 1 + problem.batch_axes)
            return if_false if flag is None else run(flag, if_true, if_false)

        d_readout = jax.tree.map(lambda d, more: d.at[last].add(more), d_readout, d_last)
        d_states = self._solve(problem, self._jacobians(problem, steps, flags), d_readout, cut)
        zeros = jax.tree.map(jnp.zeros_like, d_states)
        d_updates = choose(flags.padding, zeros, d_states)
        linear, pull = rule_of(problem.cell).linearise(steps)
        d_starts, pulled = jax.vmap(pull)(linear, d_updates)
        if cut is not None:
            from_resets = choose(cut, d_starts, zeros)
            d_init = jax.tree.map(lambda d, more: d + more.sum(0), d_init, from_resets)
        d_before = choose(flags.padding, d_states, choose(cut, zeros, d_starts))
        return jax.tree.map(lambda leaf: leaf[first], d_before), d_init, d_updates, pulled

    def _jacobians(self, problem: Problem, steps: BackwardTile, flags: StepFlags) -> PyTree:
        """Of every step, [time, *batch, ...]: those of the update, and 1 in the padding."""

        def of_step(cell: AbstractCell, state: State, x: PyTree, padding: Array | None) -> PyTree:
            drive = project(cell, x, state)
            flags = StepFlags(padding=padding)
            return self.structure.linearise(
                lambda state: advance(cell, problem.init, state, drive, flags), state
            )[1]

        run = vmap_batch(of_step, problem.cell, problem.batch_axes, time=True)
        return run(steps.states, steps.inputs, flags.padding)

    def _solve(
        self, problem: Problem, jacobians: PyTree, d_readout: State, cut: Array | None
    ) -> State:
        """λ after every step."""

        def next_step(leaf: Array) -> Array:
            nothing = jnp.zeros_like(leaf[:1])
            parts = [nothing, leaf[:-1]] if problem.reverse else [leaf[1:], nothing]
            return jnp.concatenate(parts)

        def solve(jacobians: PyTree, residuals: State, cut: Array | None) -> State:
            return self.structure.solve(jacobians, residuals, cut, reverse=not problem.reverse)

        for _ in range(problem.batch_axes):
            solve = jax.vmap(solve, in_axes=1, out_axes=1)
        transposed = self.structure.transpose(jacobians)
        jacobians, cut = jax.tree.map(next_step, (transposed, cut))
        return solve(jacobians, d_readout, cut)
