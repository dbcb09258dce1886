"""`Stack`: layers on top of each other."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from .._core.batching import per_example_parts
from .._core.cell import AbstractLayer, project, readout, update
from .._core.container import AbstractContainerCell
from .._core.errors import bad_input
from .._core.method import AbstractMethod
from .._core.perturbations import ZeroPerturbations, perturbation_values
from .._core.problem import Drive, Output, Problem, Solution, State, Stats
from .._core.shapes import is_shape
from .._methods.layer_by_layer import COMPOSITE, method_of_part
from .._methods.readouts import outputs_of


class Stack(AbstractContainerCell):
    """Layers on top of each other: each gets the outputs of the one below.

        s¹_t = update¹(s¹_{t−1}, project¹(x_t))        y¹_t = readout¹(s¹_t)
        s²_t = update²(s²_{t−1}, project²(y¹_t))       y²_t = readout²(s²_t)        ...

    A stack of cells is a cell: it steps, and every law holds for it. A stack with a layer that
    needs the future, such as `seqmem.layers.Bidirectional`, can only be unrolled. The state is a
    tuple, one entry per layer. `unroll` runs it layer by layer, each by its own default method;
    `method=seqmem.layers.LayerByLayer(...)` chooses them, any other method runs the stack as one
    cell.

    Args:
        layers: from the bottom up, at least one.

    Raises:
        ValueError: without a layer, where something else stands among them, or where an output
            does not fit the next layer's input.

    Example:
        >>> import jax, seqmem
        >>> low, high = jax.random.split(jax.random.key(0))
        >>> stack = seqmem.layers.Stack([seqmem.LSTM(3, 7, key=low), seqmem.GRU(7, 5, key=high)])
        >>> state, ys = seqmem.unroll(stack, None, jax.numpy.ones((11, 3)))
        >>> ys.shape
        (11, 5)
    """

    family = COMPOSITE

    layers: tuple[Any, ...]  # of AbstractLayer; of AbstractCell where the stack steps

    def __init__(self, layers: Sequence[AbstractLayer]):
        for layer in layers:
            if not isinstance(layer, AbstractLayer):
                raise bad_input(
                    f"Stack got a {type(layer).__name__} among its layers.",
                    "cells, or other layers.",
                    "wrap a function in seqmem.layers.Map(...)."
                    if callable(layer)
                    else "pass a list of cells.",
                )
        if not layers:
            raise bad_input("Stack got no layer.", "one layer or more.", "pass a list of cells.")
        self.layers = tuple(layers)
        for index, (below, above) in enumerate(itertools.pairwise(layers)):
            _check_sizes(index, below, above)

    @property
    def input_shape(self) -> PyTree:
        return self.layers[0].input_shape

    @property
    def can_step(self) -> bool:
        return all(layer.can_step for layer in self.layers)

    @property
    def output_shape(self) -> PyTree:
        has_single_step = self.can_step and not per_example_parts(self)
        return super().output_shape if has_single_step else self.layers[-1].output_shape

    def init_state(self) -> State:
        return tuple(layer.init_state() for layer in self.layers)

    def project(self, x: PyTree) -> Drive:
        return x

    def update(self, state: State, drive: Drive) -> State:
        new_states, x = [], drive
        for cell, cell_state in zip(self.layers, state, strict=True):
            cell_drive = project(cell, x, cell_state)
            new_states.append(update(cell, cell_state, cell_drive))
            x = readout(cell, new_states[-1], cell_drive)
        return tuple(new_states)

    def readout(self, state: State, drive: Drive) -> Output:
        x = drive
        for cell, cell_state in zip(self.layers, state, strict=True):
            x = readout(cell, cell_state, project(cell, x, cell_state))
        return x

    def map_first(self, change: Callable[[Any], Any]) -> "Stack":
        first, *above = self.layers
        return Stack([change(first), *above])

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
                inputs=x,
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


def _check_sizes(index: int, below: AbstractLayer, above: AbstractLayer) -> None:
    """Refuse an output that does not fit the next layer's input, where both are known."""
    if None in jax.tree.leaves(below.input_shape, is_leaf=lambda node: node is None):
        return
    expected = jax.tree.leaves(above.input_shape, is_leaf=is_shape)
    try:
        shape = below.output_shape
    except ValueError:
        if per_example_parts(below):  # a single step, from which the shape follows, is refused
            return
        raise
    given = jax.tree.leaves(shape, is_leaf=is_shape)
    if len(expected) == 1 and len(given) == 1:
        fits = len(expected[0]) == len(given[0]) and all(
            size in (None, n) for size, n in zip(expected[0], given[0], strict=True)
        )
        if not fits:
            raise bad_input(
                f"Stack got layer {index}, a {type(below).__name__} with output_shape {shape}, "
                f"below layer {index + 1}, a {type(above).__name__} with input_shape "
                f"{above.input_shape}.",
                "layers whose sizes fit.",
                "change the size of one of them, or put a seqmem.layers.Map between them.",
            )
