"""One run of a cell over sequences, in plain data, compared with the loop of single steps."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from .._core.cell import AbstractCell
from .._core.method import AbstractMethod
from .._core.precision import as_precision
from .._core.shapes import zeros_like_input
from .._core.timed import map_delta_t
from .._methods.newton.iteration import AbstractNewton
from .comparison import LawBroken
from .compiler import compiled
from .conditioning import Comparison, compare, largest, nudged
from .draws import inexact_shapes, normal
from .reference_loop import SequenceFlags, initial_state, run_reference, stack, step, unstack
from .runs import RunOptions, StepInputs, Values, evaluate, without_states
from .trees import with_nan

PER_STEP = ("ys", "gradient of xs")
PER_SEQUENCE = ("final state", "gradient of the state")
LARGE = float(np.finfo(np.float32).max) ** 0.5  # its square is infinite in float32
EXTREME_ROUNDING = 100.0  # how much more rounding is allowed where numbers are extreme


class Numbers(NamedTuple):
    """All numbers of a run, for a flat batch."""

    cell: AbstractCell
    state: PyTree
    xs: PyTree
    cotangents: Values


@dataclasses.dataclass(frozen=True)
class SequenceRun:
    """One run of a cell, in plain data, so that it can be drawn, printed, and made smaller.

    `check` compares its outputs, final state and gradients with a loop of single steps in float64.
    Padding holds NaN. Random numbers come from `seed`.

    Attributes:
        cell: the cell.
        method: the method; None is the default.
        time: steps.
        batch: batch axes.
        lengths: valid steps of each example, or None. Examples are numbered as in the flat batch.
        padding: the masked steps as ((t, example), ...), or None for a run without a mask.
        resets: the steps with a reset as ((t, example), ...), or None.
        reverse, remat_every: as for `seqmem.unroll`.
        has_state: whether the run starts from states that the cell reaches in two steps, one for
            each example, or from `cell.init_state()`.
        dtype: of parameters, inputs and state.
        param_scale, param_noise: every parameter p becomes scale · p + noise · normal.
        input_scale: the standard deviation of the inputs.
        seed: of all random numbers.
        x: an example of an input, for a cell whose `input_shape` leaves sizes open.
    """

    cell: AbstractCell
    method: AbstractMethod | None = None
    time: int = 5
    batch: tuple[int, ...] = ()
    lengths: tuple[int, ...] | None = None
    padding: tuple[tuple[int, int], ...] | None = None
    resets: tuple[tuple[int, int], ...] | None = None
    reverse: bool = False
    remat_every: int | None = None
    has_state: bool = False
    dtype: str = "float64"
    param_scale: float = 1.0
    param_noise: float = 0.0
    input_scale: float = 1.0
    seed: int = 0
    x: Any = None

    def check(self) -> Comparison:
        """Compare the run with the loop.

        Returns:
            How many arrays were compared, and how many could not be.

        Raises:
            LawBroken: where an array differs by more than rounding explains.
            ValueError: where seqmem refuses the run.
        """
        with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"):
            comparison = self._compare()
        if comparison.difference is not None:
            raise LawBroken("agreement", f"{comparison.difference}\n{self.lines()}")
        return comparison

    def lines(self, cell: str | None = None) -> str:
        """The run as a program; `cell` is the code that makes the cell, if it is known."""
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        values = [(name, getattr(self, name)) for name in defaults if name != "cell"]
        options = [
            f"{name}={'seqmem.' if name == 'method' else ''}{value!r}"
            for name, value in values
            if value != defaults[name]
        ]
        return "\n".join(
            [
                "import jax, jax.numpy as jnp, seqmem, seqmem.testing",
                f"cell = {cell or f'...  # {type(self.cell).__name__}'}",
                f"run = seqmem.testing.SequenceRun({', '.join(['cell', *options])})",
                "run.check()",
            ]
        )

    @property
    def count(self) -> int:
        """Examples of the flat batch."""
        return int(np.prod(self.batch, dtype=int))

    @property
    def is_extreme(self) -> bool:
        """Whether the numbers are so large that an exponential function overflows in float32."""
        return self.param_scale > 3 or self.param_noise > 1 or self.input_scale > 30

    def flags(self) -> SequenceFlags:
        """The lengths, resets and mask of the flat batch."""
        lengths = np.full(self.count, self.time) if self.lengths is None else self.lengths
        resets = np.zeros((self.time, self.count), bool)
        mask = np.ones((self.time, self.count), bool)
        for array, places, value in ((resets, self.resets, True), (mask, self.padding, False)):
            for place in places or ():
                array[place] = value
        return SequenceFlags("", np.asarray(lengths, int), resets, mask)

    def _compare(self) -> Comparison:
        rng, dtype, flags = np.random.default_rng(self.seed), jnp.dtype(self.dtype), self.flags()
        numbers = self._draw(rng, dtype)
        cell, state, xs, cotangents = numbers
        near_cell, near_state, near_xs = nudged(rng, (cell, state, xs))
        nudged_numbers = Numbers(near_cell, near_state, near_xs, cotangents)
        wants = self._run_loop(numbers, flags), self._run_loop(nudged_numbers, flags)
        numbers_in_dtype = as_precision(numbers, dtype)
        got = self._evaluate(numbers_in_dtype, flags)
        eps = float(jnp.finfo(dtype).eps)
        if self.is_extreme:
            eps *= EXTREME_ROUNDING
        if isinstance(self.method, AbstractNewton):
            # Newton's methods find a state to within a rounding of its largest entry.
            eps *= max(1.0, largest(wants[0]["final state"]))
        size = largest((cell, xs))
        comparison = compare(got, *wants, eps, largest_input=size)
        if comparison.difference is None:
            return comparison
        # Parameters of 0 need not be valid, such as a share of time in which a gate is open.
        no_parameters = self.param_scale == 0 and not self._has_finite_steps(numbers, flags)
        is_infinite = self.is_extreme and not self._has_finite_steps(numbers_in_dtype, flags)
        if no_parameters or is_infinite:
            return Comparison(None, 0, len(jax.tree.leaves(got)))
        single = self._run_loop(as_precision(numbers, jnp.dtype("float32")), flags)
        may_overflow = dtype == jnp.float32 and (self.is_extreme or largest(wants) > LARGE)
        return compare(got, *wants, eps, single, largest_input=size, may_overflow=may_overflow)

    def _run_loop(self, numbers: Numbers, flags: SequenceFlags) -> dict[str, PyTree]:
        cell, state, xs, cotangents = numbers
        return without_states(
            run_reference(cell, state, xs, flags, cotangents, reverse=self.reverse)
        )

    def _is_padding(self, flags: SequenceFlags) -> np.ndarray:
        assert flags.mask is not None
        return ~(flags.mask & (np.arange(self.time)[:, None] < flags.lengths))

    def _has_finite_steps(self, numbers: Numbers, flags: SequenceFlags) -> bool:
        """Whether steps with x = 0 in place of padding are finite, as a cell promises for numbers
        that are not extreme. A run computes them and drops their results, where the loop leaves
        them out.
        """
        is_step = ~self._is_padding(flags)

        def without_padding(leaf: Any) -> np.ndarray:
            leaf = np.asarray(leaf)
            mask = is_step.reshape(is_step.shape + (1,) * (leaf.ndim - 2))
            return np.where(mask, leaf, np.zeros_like(leaf))

        lengths = np.full_like(flags.lengths, self.time)
        numbers = numbers._replace(xs=jax.tree.map(without_padding, numbers.xs))
        results = self._run_loop(
            numbers, flags._replace(lengths=lengths, mask=np.ones_like(is_step))
        )
        return all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(results))

    def _draw(self, rng: np.random.Generator, dtype: jnp.dtype) -> Numbers:
        """Numbers in float64 that are numbers of another dtype."""
        rounded = functools.partial(_rounded, dtype=dtype)
        cell = rounded(self._draw_parameters(rng))
        xs = rounded(self._draw_inputs(rng, self.time))
        state = rounded(self._reach_states(rng, cell)) if self.has_state else None
        shapes = jax.eval_shape(step, cell, compiled(initial_state)(cell), _first(xs))
        d_state, d_ys = inexact_shapes(shapes)
        cotangents = Values(
            self._normal(rng, d_state, self.count), self._normal(rng, d_ys, self.time, self.count)
        )
        return Numbers(cell, state, xs, rounded(cotangents))

    def _draw_parameters(self, rng: np.random.Generator) -> AbstractCell:
        def draw(leaf: Any) -> Any:
            if not jnp.issubdtype(leaf.dtype, jnp.inexact):
                return leaf
            return jnp.asarray(self.param_scale * leaf + self.param_noise * normal(rng, leaf))

        return jax.tree.map(draw, as_precision(self.cell, jnp.dtype("float64")))

    def _draw_inputs(self, rng: np.random.Generator, time: int) -> PyTree:
        x = self.x if self.x is not None else zeros_like_input(self.cell.input_shape, np.float64)

        def draw(leaf: Any) -> np.ndarray:
            leaf, shape = np.asarray(leaf), (time, self.count, *np.shape(leaf))
            if np.issubdtype(leaf.dtype, np.inexact):
                return self.input_scale * normal(rng, jax.ShapeDtypeStruct(shape, leaf.dtype))
            largest = 1 if leaf.dtype == bool else int(np.max(leaf, initial=0))
            return rng.integers(0, largest + 1, shape).astype(leaf.dtype)

        return map_delta_t(np.abs, jax.tree.map(draw, x))

    def _reach_states(self, rng: np.random.Generator, cell: AbstractCell) -> PyTree:
        """The states that the cell reaches in two steps, one for each example."""
        inputs = self._draw_inputs(rng, 2)
        states = []
        for example in range(self.count):
            state = compiled(initial_state)(cell)
            for x in unstack(jax.tree.map(lambda leaf, i=example: leaf[:, i], inputs), 2):
                state, _ = compiled(step)(cell, state, x)
            states.append(state)
        return stack(states)

    def _normal(self, rng: np.random.Generator, shapes: PyTree, *leading: int) -> PyTree:
        def draw(leaf: Any) -> np.ndarray:
            return normal(rng, jax.ShapeDtypeStruct((*leading, *leaf.shape), leaf.dtype))

        return jax.tree.map(draw, shapes)

    def _evaluate(self, numbers: Numbers, flags: SequenceFlags) -> dict[str, PyTree]:
        """The run by `seqmem.solve`, with the batch axes flattened again."""
        cell, state, xs, cotangents = numbers
        is_padding = self._is_padding(flags)
        if is_padding.any():
            xs = with_nan(xs, is_padding)
        batched = functools.partial(self._reshape, first=1, last=2, sizes=self.batch)
        steps = StepInputs(
            None if self.lengths is None else flags.lengths.reshape(self.batch),
            None if self.resets is None else batched(flags.resets),
            None if self.padding is None else batched(flags.mask),
        )
        options = RunOptions(
            self.method,  # pyright: ignore
            self.remat_every,
            self.reverse,
            has_flags=self.has_state,
        )
        cotangents = Values(
            self._reshape(cotangents.state, 0, 1, self.batch), batched(cotangents.outputs)
        )
        state = None if state is None else self._reshape(state, 0, 1, self.batch)
        results = compiled(evaluate, 0)(options, cell, state, batched(xs), steps, cotangents)
        results = jax.tree.map(np.asarray, without_states(results))
        axes = len(self.batch)
        for name in PER_STEP:
            results[name] = self._reshape(results[name], 1, 1 + axes, (self.count,))
        for name in PER_SEQUENCE:
            results[name] = self._reshape(results[name], 0, axes, (self.count,))
        return results

    @staticmethod
    def _reshape(tree: PyTree, first: int, last: int, sizes: tuple[int, ...]) -> PyTree:
        """A tree whose axes from `first` to before `last` are `sizes`."""
        return jax.tree.map(
            lambda leaf: np.reshape(leaf, (*leaf.shape[:first], *sizes, *leaf.shape[last:])), tree
        )


def _rounded(tree: PyTree, dtype: jnp.dtype) -> PyTree:
    """float64 numbers that are numbers of another dtype."""
    return as_precision(as_precision(tree, dtype), jnp.dtype("float64"))


def _first(xs: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: leaf[0, 0], xs)
