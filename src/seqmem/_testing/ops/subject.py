"""The function under test, with its results and the expected ones."""

import contextlib
import dataclasses
import functools
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from ..comparison import FLOOR, largest_difference
from .arrays import in_float64
from .case import Case
from .functions import Arguments, Values
from .op import AbstractOp, Results

# Where single steps in float64 give 0, a function in float32 may have five roundings of 1.
FLOAT32_FLOOR = 5e-3


class NotOffered(Exception):  # noqa: N818
    """A law on what a function does not offer, with the reason."""


class Broken(Exception):  # noqa: N818
    """A broken law: how, and the case that shows it."""

    def __init__(self, case: Case, how: str):
        super().__init__(how)
        self.case = case


class OpSubject:
    """An op with a runner, and the results of its runs."""

    def __init__(self, op: AbstractOp, seed: int, long_time: int):
        self.op, self.seed = op, seed
        self.chunk = op.chunk_size or 4
        self.long_time = self.chunk * -(-long_time // self.chunk)
        self.runner = op.make_runner()
        self.batch = 2 if "B" in op.layout else 1
        self.draw = functools.cache(op.draw)
        self.results = functools.cache(self.evaluate)
        self.wrong_gradients: set[str] = set()
        self.expected = functools.cache(lambda case: op.expect(case, self.draw(case)))

    def case(self, time: int | None = None, **changes: Any) -> Case:
        """A case of this op: two chunks with an initial state, where there is one."""
        fields = {"batch": self.batch, "has_state": self.op.initial_state, "seed": self.seed}
        return Case(2 * self.chunk if time is None else time, **fields | changes)

    def evaluate(
        self, case: Case, inputs: Arguments | None = None, cotangents: Values | None = None
    ) -> Results:
        """All that the function returns, and its gradients, with other inputs or cotangents of
        their shapes if given.
        """
        op, draw = self.op, self.draw(case)
        arguments = op.to_function(draw.inputs if inputs is None else inputs, case)
        d_outputs, d_state = draw.cotangents if cotangents is None else cotangents
        d_outputs = op.outputs_to_function(_without_padding(d_outputs, case), case)
        if d_state is not None:
            state = self.runner.evaluate(arguments, None)[0].state if op.scales_state else None
            d_state = op.state_cotangents(d_state, state, case)
        values, gradients = self.runner.evaluate(arguments, Values(d_outputs, d_state))
        outputs = op.outputs_from_function(values.outputs, case)
        results: Results = {op.output_name: _without_padding(outputs, case)}
        if op.final_state:
            results["final state"] = op.state_from_function(values.state, case)
        if gradients is not None:
            results |= op.gradients_from_function(gradients, case)
        return results

    def state_after(self, case: Case, inputs: Arguments) -> PyTree:
        """The final state, to start another call from."""
        values, _ = self.runner.evaluate(self.op.to_function(inputs, case), None)
        return self.op.state_to_carry(values.state, case)

    def difference(self, case: Case, *, only: str = "") -> str | None:
        """How far the results of a case are from what is expected, as the end of a sentence; None
        if they match. `only` is how the names of the compared results begin. Gradients that the law
        of gradients has found wrong are left out.
        """
        names = [name for name in self.results(case) if name.startswith(only)]
        return self.compare(case, [name for name in names if name not in self.wrong_gradients])

    def compare(self, case: Case, names: list[str]) -> str | None:
        """The same for the results of these names."""
        got, expected = self.results(case), self.expected(case)
        return largest_difference(
            in_float64({name: got[name] for name in names}),
            in_float64({name: expected[name] for name in names}),
            self.op.tolerance(case),
            floor=FLOAT32_FLOOR if self.op.dtype_of(case) == "float32" else FLOOR,
        )

    def check(self, cases: list[Case], how: str, *, only: str = "") -> None:
        """Compare the results of cases with what is expected.

        Raises:
            Broken: where they differ, with the smallest case that was found.
        """
        for case in cases:
            difference = self.difference(case, only=only)
            if difference is not None:
                smallest, difference = self._smaller(case, difference, only)
                raise Broken(smallest, f"{how}; {difference}")

    def _smaller(self, case: Case, difference: str, only: str) -> tuple[Case, str]:
        """A case of fewer steps that shows a difference too, with that difference."""
        if case.flag is None and self.op.any_length:
            for time in range(1, min(case.time, 4)):
                smaller = dataclasses.replace(case, time=time)
                with contextlib.suppress(Exception):  # the larger case is reported
                    smaller_difference = self.difference(smaller, only=only)
                    if smaller_difference is not None:
                        return smaller, smaller_difference
        return case, difference


def _without_padding(outputs: PyTree, case: Case) -> PyTree:
    """Outputs with 0 at the padding, where a function may return anything."""
    if case.lengths is None:
        return outputs

    def mask(leaf: np.ndarray) -> np.ndarray:
        is_padding = case.is_padding.reshape(case.is_padding.shape + (1,) * (leaf.ndim - 2))
        return np.where(is_padding, np.zeros_like(leaf), leaf)

    return jax.tree.map(mask, outputs)
