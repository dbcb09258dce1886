"""The cell under test, with sequences drawn for it and the results of its runs."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jaxlib.version
import numpy as np
from jaxtyping import PyTree

from .._core.cell import AbstractCell, project
from .._core.method import AbstractMethod
from .._core.precision import as_precision
from .._core.problem import State
from .._core.timed import map_delta_t
from .._unroll import unroll
from .comparison import LawBroken, NotTested, largest_difference
from .compiler import compiled, compiler_is_suspect
from .draws import BATCH, TIME, inexact_shapes, normal, tolerance
from .reference_loop import SequenceFlags, initial_state, run_reference, stack, step, unstack
from .runs import RunOptions, StepInputs, Values, both_directions, evaluate


def has_other_path_with_states(cell: AbstractCell) -> bool:
    """Whether the family runs a cell in another way with perturbations or all states, so that runs
    with them do not test the usual path.
    """
    return cell.family.parallel is not None and cell.family.vjp_rule is None


class Subject:
    """A cell in float64 with sequences to run it on.

    Parameters that are 0 get small random values, since a gradient that is multiplied by 0 tests
    nothing. The states are reached by the cell itself, another one for each example.
    """

    def __init__(self, cell: AbstractCell, x: PyTree, methods: Sequence[AbstractMethod], seed: int):
        self.rng = np.random.default_rng(seed)
        self.cell = jax.tree.map(self._without_zeros, as_precision(cell, np.dtype(np.float64)))
        self.example = x
        self.methods = tuple(methods)
        self.both_directions = both_directions(methods)
        self.options = [options for pair in self.both_directions for options in pair]
        self.xs = self.inputs(TIME, BATCH)
        self.state = self.reached_states(BATCH)
        shapes = jax.eval_shape(functools.partial(unroll, self.cell), self.state, self.xs)
        d_state, d_outputs = jax.tree.map(self.normal, inexact_shapes(shapes))
        self.zero_states = jax.tree.map(
            lambda leaf: np.zeros((TIME, *leaf.shape), leaf.dtype), self.state
        )
        self.cotangents = Values(d_state, d_outputs, inexact_shapes(self.zero_states))
        self.tolerance = tolerance(self.state)
        self._results: dict[Any, dict[str, PyTree]] = {}

    def inputs(self, *leading: int) -> PyTree:
        """Random inputs like the example: normal, or integers up to its largest, or booleans; a Δt
        is at least 0.
        """

        def draw(leaf: Any) -> np.ndarray:
            leaf = np.asarray(leaf)
            shape = leading + leaf.shape
            if np.issubdtype(leaf.dtype, np.inexact):
                return self.normal(jax.ShapeDtypeStruct(shape, leaf.dtype))
            top = 2 if leaf.dtype == bool else 1 + int(np.max(leaf, initial=0))
            return self.rng.integers(0, top, shape).astype(leaf.dtype)

        xs = jax.tree.map(draw, as_precision(self.example, np.dtype(np.float64)))
        return map_delta_t(np.abs, xs)

    def reached_states(self, count: int) -> State:
        """States that the cell reaches in two steps, one for each of `count` examples."""
        states = []
        for xs in unstack(self.inputs(count, 2), count, 2):
            state = compiled(initial_state)(self.cell)
            for x in xs:
                state, _ = compiled(step)(self.cell, state, x)
            states.append(state)
        return stack(states)

    def random_state(self, scale: float) -> State:
        """Random numbers in the shape of a state; integers as in the initial state."""
        return jax.tree.map(
            lambda leaf: scale * self.normal(leaf) if eqx.is_inexact_array(leaf) else leaf,
            compiled(initial_state)(self.cell),
        )

    def drive(self) -> PyTree:
        """The projection of a random input."""
        return project(self.cell, self.inputs(), compiled(initial_state)(self.cell))

    def normal(self, like: Any) -> np.ndarray:
        """Normal numbers of a shape and dtype."""
        return normal(self.rng, like)

    def near(self, leaf: Any) -> Any:
        """A parameter plus a small random number."""
        return leaf + 0.1 * self.normal(leaf) if eqx.is_inexact_array(leaf) else leaf

    def _without_zeros(self, leaf: Any) -> Any:
        if not eqx.is_inexact_array(leaf):
            return leaf
        leaf = np.asarray(leaf)
        return jnp.asarray(np.where(leaf == 0, 0.1 * self.normal(leaf), leaf))

    def run(
        self,
        options: RunOptions,
        flags: SequenceFlags,
        *,
        with_states: bool = False,
        **changes: PyTree,
    ) -> dict[str, PyTree]:
        """The values and gradients of a run, with other `xs`, `state` or `cotangents` if given.

        Perturbations of 0 and all states are part of every run that they do not send another way.
        """
        with_states = with_states or not has_other_path_with_states(self.cell)
        with_states = with_states and options.has_flags
        options = options._replace(return_states=with_states)

        def compute() -> dict[str, PyTree]:
            args = {"xs": self.xs, "state": self.state, "cotangents": self.cotangents} | changes
            steps, cotangents = StepInputs(), args["cotangents"]
            if options.has_flags:
                zeros = self.zero_states if with_states else None
                steps = StepInputs(flags.lengths, flags.resets, perturbations=zeros)
            if not with_states:
                cotangents = cotangents._replace(states=None)
            state = args["state"] if options.has_flags else None
            results = compiled(evaluate, 0)(
                options, self.cell, state, args["xs"], steps, cotangents
            )
            return jax.tree.map(np.asarray, results)

        if changes or jax.config.jax_disable_jit:  # pyright: ignore
            return compute()
        return self._compute_once((options, flags.name, with_states), compute)

    def reference(
        self, options: RunOptions, flags: SequenceFlags, cotangents: Values | None = None
    ) -> dict[str, PyTree]:
        """The same by the Python loop."""

        def compute() -> dict[str, PyTree]:
            return run_reference(
                self.cell,
                self.state if options.has_flags else None,
                self.xs,
                flags,
                cotangents or self.cotangents,
                reverse=options.reverse,
            )

        if cotangents is not None:
            return compute()
        return self._compute_once(
            ("reference", options.has_flags, options.reverse, flags.name), compute
        )

    def _compute_once(
        self, key: Any, compute: Callable[[], dict[str, PyTree]]
    ) -> dict[str, PyTree]:
        if key not in self._results:
            self._results[key] = compute()
        return self._results[key]

    @functools.cached_property
    def halves(self) -> tuple[Callable, list[str]]:
        """A compiled function (cell, state, xs) that unrolls the halves of one sequence one after
        the other, and a list that grows when it is traced.
        """
        traces: list[str] = []

        def run(cell: AbstractCell, state: State, xs: PyTree) -> dict[str, PyTree]:
            traces.append("traced")
            parts = []
            for half in (slice(None, TIME // 2), slice(TIME // 2, None)):
                part = jax.tree.map(lambda leaf, half=half: leaf[half], xs)
                state, ys = unroll(cell, state, part, method=self.methods[0])
                parts.append(ys)
            ys = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)
            return {"ys": ys, "final state": state}

        return compiled.__wrapped__(run), traces

    def check_equal(
        self, law: str, compute: Callable[[], PyTree], expected: PyTree, message: str
    ) -> None:
        """Raise where the computed values differ from the expected ones.

        A compiler that is known to be wrong is ruled out first.
        """
        difference = largest_difference(compute(), expected, self.tolerance)
        if difference is None:
            return
        if compiler_is_suspect():
            with jax.disable_jit():
                is_right = largest_difference(compute(), expected, self.tolerance) is None
            if is_right:
                raise NotTested(
                    f"{message}, but only when compiled: the XLA of jaxlib "
                    f"{jaxlib.version.__version__} is "
                    "wrong here, not the cell; jaxlib 0.11.1 or newer is right"
                )
        raise LawBroken(law, f"{message}; {difference}")
