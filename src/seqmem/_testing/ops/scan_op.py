"""`ScanOp`: a function that runs a recurrence over time, compared with single steps."""

import dataclasses
import functools
from collections.abc import Callable
from typing import ClassVar

import equinox as eqx
import jax
import numpy as np
from jaxtyping import PyTree

from .arrays import cast_floating, draw_like, draw_near, is_array, keep_floating
from .case import Case
from .functions import Arguments, JaxRunner, NumpyFunction, NumpyRunner, Values, runner_of
from .layout import check_layout
from .op import AbstractOp, OpDraw, Results, check_op_fields
from .step_loop import run_steps


@dataclasses.dataclass(frozen=True, eq=False)
class ScanOp(AbstractOp):
    """A function that runs a recurrence over time and what it offers, for
    `seqmem.testing.check_op`.

    The function is called as `function(params, state, xs)`, with the arguments of `flags` by name,
    and returns `(ys, state)`. A state is a tree of arrays [batch, ...], whatever the layout.

    Attributes:
        function: the scan, of JAX arrays, or a `NumpyFunction`.
        params: the parameters; a tree, whose leaves need not all be arrays.
        state: the state of one sequence before its first step, also after a reset.
        x: one step of one sequence; what is drawn for a floating leaf is normal, and for integers
            at most the largest entry.
        step: the recurrence, `(params, state, x) -> (y, state)` of one step of one sequence in JAX;
            None: calls of the function with one step.
        layout: the first axes of xs and ys: T time, B batch, which may be left out for a function
            of one sequence, whose state has no batch axis either.
        flags: which of these arguments there are: `lengths` [batch], the valid steps; `resets`
            [time, batch], True where the state before a step is `state`; `segment_ids`, the same
            where they change; `cu_seqlens` [sequences + 1], for sequences joined in one, whose
            states are [sequences, ...].
        chunk_size: the steps that the function takes at once; None: 4, for the choice of lengths.
        any_length: whether the time need not be a multiple of `chunk_size`.
        dtypes: of params and xs that the function takes. The first is used by all laws but
            "dtypes".
        state_dtype: the dtype of states, which the function promises; None: the first of `dtypes`.

    Raises:
        ValueError: for an unknown layout, flag or dtype.
    """

    output_name: ClassVar = "ys"
    state_name: ClassVar = "state"
    step_names: ClassVar = ("xs",)
    initial_state: ClassVar = True
    final_state: ClassVar = True

    function: Callable | NumpyFunction
    params: PyTree
    state: PyTree
    x: PyTree
    step: Callable | None = None
    layout: str = "TB"
    flags: tuple[str, ...] = ()
    chunk_size: int | None = None
    any_length: bool = True
    dtypes: tuple[str, ...] = ("float32",)
    state_dtype: str | None = None

    def __post_init__(self):
        check_layout("ScanOp", "layout", self.layout, "TB", optional="B")
        check_op_fields(self)

    @property
    def has_reference(self):
        return self.step is not None

    def make_runner(self) -> NumpyRunner | JaxRunner:
        return runner_of(self.function, self._call, is_double=self.dtypes[0] == "float64")

    def _call(self, function: Callable, arguments: Arguments) -> Values:
        arguments = dict(arguments)
        static = eqx.filter(self.params, is_array, inverse=True)
        params = eqx.combine(arguments.pop("params"), static)
        return Values(*function(params, arguments.pop("state"), arguments.pop("xs"), **arguments))

    def draw(self, case: Case) -> OpDraw:
        rng = np.random.default_rng([case.seed, case.time, case.batch])
        xs = jax.tree.map(functools.partial(draw_like, rng, (case.time, case.batch)), self.x)
        state = self._empty(case.batch)
        if case.has_state:
            state = jax.tree.map(functools.partial(draw_near, rng), state)
        inputs = {
            "params": cast_floating(eqx.filter(self.params, is_array), self.dtype_of(case)),
            "state": cast_floating(state, self.dtype_of_state()),
            "xs": cast_floating(xs, self.dtype_of(case)),
        }
        one = jax.tree.map(lambda leaf: leaf[0], inputs["xs"])
        y = self._step_runner.evaluate(inputs | {"xs": one}, None)[0].outputs
        d_outputs = jax.tree.map(
            lambda leaf: rng.normal(size=(case.time, *leaf.shape)), keep_floating(y)
        )
        d_state = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), keep_floating(state))
        return OpDraw(inputs, Values(d_outputs, d_state))

    def _empty(self, batch: int) -> PyTree:
        return jax.tree.map(lambda leaf: np.stack([np.asarray(leaf)] * batch), self.state)

    @functools.cached_property
    def _step_runner(self) -> "StepRunner":
        return StepRunner(self)

    def to_function(self, inputs: Arguments, case: Case) -> Arguments:
        return self.flags_to_function(case) | {
            "params": inputs["params"],
            "state": self.state_to_function(inputs["state"], case),
            "xs": self.steps_to_function(inputs["xs"], case, "TB"),
        }

    def state_to_function(self, state: PyTree, case: Case) -> PyTree:
        if self._has_batch(case):
            return state
        return jax.tree.map(lambda leaf: leaf[0], state)

    def state_from_function(self, state: PyTree, case: Case) -> PyTree:
        if self._has_batch(case):
            return state
        return jax.tree.map(lambda leaf: np.asarray(leaf)[None], state)

    def state_to_carry(self, state: PyTree, case: Case) -> PyTree:
        return self.state_from_function(state, case)

    def _has_batch(self, case: Case) -> bool:
        return "B" in self.layout or case.flag == "cu_seqlens"

    def outputs_to_function(self, outputs: PyTree, case: Case) -> PyTree:
        return self.steps_to_function(outputs, case, "TB")

    def outputs_from_function(self, outputs: PyTree, case: Case) -> PyTree:
        return self.steps_from_function(outputs, case, "TB")

    def state_cotangents(self, cotangents: PyTree, state: PyTree, case: Case) -> PyTree:
        return self.state_to_function(cotangents, case)

    def gradients_from_function(self, gradients: Arguments, case: Case) -> Results:
        results: Results = {}
        if gradients.get("params") is not None:
            results["gradient of params"] = gradients["params"]
        if gradients.get("state") is not None:
            results["gradient of state"] = self.state_from_function(gradients["state"], case)
        if gradients.get("xs") is not None:
            xs = self.steps_from_function(gradients["xs"], case, "TB")
            results["gradient of xs"] = xs
        return results

    def expect(self, case: Case, draw: OpDraw) -> Results:
        empty = cast_floating(self._empty(case.batch), self.dtype_of_state())
        return run_steps(self._step_runner.evaluate, case, draw, empty)


class StepRunner:
    """One step of a batch: the `step` of an op in float64, or its function with one step."""

    def __init__(self, op: ScanOp):
        self.op = op
        self.runner = op.make_runner()
        if op.step is not None:
            self.runner = JaxRunner(functools.partial(self._step, op.step), is_double=True)

    def evaluate(
        self, arguments: Arguments, cotangents: Values | None
    ) -> tuple[Values, Arguments | None]:
        """Arrays have a batch and no time in front."""
        if self.op.step is not None:
            return self.runner.evaluate(cast_floating(arguments, "float64"), cotangents)
        op, case = self.op, Case(1, len(jax.tree.leaves(arguments["state"])[0]))
        inputs = arguments | {"xs": jax.tree.map(lambda leaf: leaf[None], arguments["xs"])}
        if cotangents is not None:
            d_outputs = jax.tree.map(lambda leaf: leaf[None], cotangents.outputs)
            cotangents = Values(
                op.outputs_to_function(d_outputs, case),
                op.state_to_function(cotangents.state, case),
            )
        values, gradients = self.runner.evaluate(op.to_function(inputs, case), cotangents)
        outputs = op.outputs_from_function(values.outputs, case)
        first = jax.tree.map(lambda leaf: leaf[0], outputs)
        values = Values(first, op.state_from_function(values.state, case))
        if gradients is None:
            return values, None
        named = op.gradients_from_function(gradients, case)
        d_xs = jax.tree.map(lambda leaf: leaf[0], named["gradient of xs"])
        return values, {
            "params": named["gradient of params"],
            "state": named["gradient of state"],
            "xs": d_xs,
        }

    def _step(self, step: Callable, arguments: Arguments) -> Values:
        static = eqx.filter(self.op.params, is_array, inverse=True)
        params = eqx.combine(arguments["params"], static)
        run = jax.vmap(lambda state, x: step(params, state, x))
        return Values(*run(arguments["state"], arguments["xs"]))
