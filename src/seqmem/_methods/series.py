"""`AbstractSeries`: layers one after another, each run over all of time by its own method."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from .._core.cell import project, readout, update
from .._core.container import AbstractContainerCell
from .._core.method import AbstractMethod
from .._core.perturbations import ZeroPerturbations, perturbation_values
from .._core.problem import Drive, Output, Problem, Solution, State, Stats
from .._core.timed import with_delta_t_of
from .layer_by_layer import COMPOSITE, method_of_part
from .readouts import outputs_of


class AbstractSeries(AbstractContainerCell):
    """Layers one after another: each gets the outputs of the one before, and the Δt of the first
    one's inputs where it takes one.

        s¹_t = update¹(s¹_{t−1}, project¹(x_t))        y¹_t = readout¹(s¹_t)
        s²_t = update²(s²_{t−1}, project²(y¹_t))       y²_t = readout²(s²_t)        ...

    The state is a tuple, one entry per layer.

    Attributes:
        layers: the first one first, of AbstractLayer; of AbstractCell where the series steps.
    """

    family = COMPOSITE

    layers: eqx.AbstractVar[tuple[Any, ...]]

    @property
    def input_shape(self) -> PyTree:
        return self.layers[0].input_shape

    @property
    def can_step(self) -> bool:
        return all(layer.can_step for layer in self.layers)

    def init_state(self) -> State:
        return tuple(layer.init_state() for layer in self.layers)

    def project(self, x: PyTree) -> Drive:
        return x

    def update(self, state: State, drive: Drive) -> State:
        new_states, x = [], drive
        for cell, cell_state in zip(self.layers, state, strict=True):
            cell_drive = project(cell, with_delta_t_of(drive, x, cell.input_shape), cell_state)
            new_states.append(update(cell, cell_state, cell_drive))
            x = readout(cell, new_states[-1], cell_drive)
        return tuple(new_states)

    def readout(self, state: State, drive: Drive) -> Output:
        x = drive
        for cell, cell_state in zip(self.layers, state, strict=True):
            x = with_delta_t_of(drive, x, cell.input_shape)
            x = readout(cell, cell_state, project(cell, x, cell_state))
        return x

    def run_parts(self, problem: Problem, methods: tuple[AbstractMethod | None, ...]) -> Solution:
        if problem.flags.perturbation is not None and self.can_step:
            return self._run_perturbed(problem, methods)
        x, stats, solutions = problem.inputs, None, []
        for index in range(len(self.layers)):
            solution = self._run_layer(problem, methods, index, x)
            x, stats = solution.outputs, worst_of(stats, solution.stats)
            solutions.append(solution)
        states = None
        if problem.return_states:
            states = tuple(solution.states for solution in solutions)
        return Solution(tuple(solution.state for solution in solutions), x, states, stats)

    def _run_perturbed(
        self, problem: Problem, methods: tuple[AbstractMethod | None, ...]
    ) -> Solution:
        """A perturbation is added to all states after the step: within the step no layer sees that
        of another, but the output is made of them all. A stack without a single step has no such
        order; there each layer passes its perturbation on to the layers above.
        """
        x, stats, finals, states = problem.inputs, None, [], []
        for index, cell in enumerate(self.layers):
            solution = self._run_layer(problem.replace(return_states=True), methods, index, x)
            perturbation = perturbation_values(problem.flags.perturbation)[index]
            unperturbed = jax.tree.map(jnp.subtract, solution.states, perturbation)
            x = with_delta_t_of(problem.inputs, x, cell.input_shape)
            x = outputs_of(cell, unperturbed, x, problem.batch_axes)
            stats = worst_of(stats, solution.stats)
            finals.append(solution.state)
            states.append(solution.states)
        outputs = outputs_of(self, tuple(states), problem.inputs, problem.batch_axes)
        return Solution(
            tuple(finals), outputs, tuple(states) if problem.return_states else None, stats
        )

    def _run_layer(
        self, problem: Problem, methods: tuple[AbstractMethod | None, ...], index: int, x: PyTree
    ) -> Solution:
        layer = self.layers[index]
        flags = problem.flags
        if isinstance(flags.perturbation, ZeroPerturbations):
            zeros = ZeroPerturbations(flags.perturbation.values[index])
            flags = flags._replace(perturbation=zeros)
        elif flags.perturbation is not None:
            flags = flags._replace(perturbation=flags.perturbation[index])
        method = method_of_part(layer, methods, index, len(self.layers))
        return method.run(
            problem.replace(
                cell=layer,
                init=problem.init[index],
                state=problem.state[index],
                inputs=with_delta_t_of(problem.inputs, x, layer.input_shape),
                flags=flags,
            )
        )


def worst_of(first: Stats | None, second: Stats | None) -> Stats | None:
    """The statistics of two runs that must both succeed."""
    if first is None or second is None:
        return second if first is None else first
    return Stats(
        first.converged & second.converged, jnp.maximum(first.iterations, second.iterations)
    )
