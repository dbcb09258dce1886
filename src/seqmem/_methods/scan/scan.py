"""One step after another."""

import dataclasses
from typing import Literal

import jax
from jaxtyping import PyTree

from ..._core.cell import AbstractCell, Inputs, Marks, State, advance, project, readout, select
from ..._core.batching import each
from ..._core.precision import as_precision, precision
from ..._core.method import AbstractMethod
from .bptt import unroll_with_bptt
from .gradient_transforms import AbstractGradientTransform, transformed


@dataclasses.dataclass(frozen=True)
class Scan(AbstractMethod):
    """One step after another: any cell, any platform, the least memory.

    Args:
        gradient: "bptt" has a backward pass of its own, which keeps the states and sums weight
            gradients once per block of steps. "autodiff" is JAX's, of a plain `lax.scan`: slower
            and larger, but it has forward mode too (`jax.jvp`, `jax.hessian`), where "bptt" raises
            JAX's own TypeError. Both can be differentiated again in reverse mode.
        recompute: keep only the states, and compute the pre-activations of a gated cell again in
            the backward pass: the leanest. Without it they are kept as well: the fastest. No effect
            on other families, nor with "autodiff".
        block: steps for which the backward pass linearises the cell at once; None chooses from the
            sizes.
        transform: what is done to the gradient between one step and the one before, such as
            `seqmem.gradients.ClipNorm(1.0)`. With it the gradient is no longer the loss's, on
            purpose, and the backward pass no longer linear, so no other method offers it.
    """

    gradient: Literal["bptt", "autodiff"] = "bptt"
    recompute: bool = False
    block: int | None = None
    transform: AbstractGradientTransform | None = None

    def __post_init__(self):
        from ..._core.errors import bad_input

        if self.gradient not in ("bptt", "autodiff"):
            raise bad_input(
                f"Scan(gradient={self.gradient!r}).",
                '"bptt" or "autodiff".',
                "choose one of the two; Scan() is the fast one.",
            )
        if self.block is not None and self.block < 1:
            raise bad_input(
                f"Scan(tile={self.block}).",
                "a number of steps, at least 1, or None.",
                "leave it out to have it chosen.",
            )

    @property
    def looks_at_borders(self) -> bool:
        return self.transform is not None

    def run(self, cell, init, state, inputs, *, batch_axes, reverse):
        if self.gradient == "bptt":
            return unroll_with_bptt(
                cell,
                init,
                state,
                inputs,
                batch_axes=batch_axes,
                reverse=reverse,
                recompute=self.recompute,
                block=self.block,
                transform=self.transform,
            )
        return plain_scan(
            cell,
            init,
            state,
            inputs,
            batch_axes=batch_axes,
            reverse=reverse,
            transform=self.transform,
        )


def plain_scan(
    cell: AbstractCell,
    init: State,
    state: State,
    inputs: Inputs,
    *,
    batch_axes: int,
    reverse: bool,
    transform: AbstractGradientTransform | None = None,
) -> tuple[State, PyTree]:
    """The definition, over time: `lax.scan` of the step, differentiated by JAX.

    The sum of a gradient over the steps is made in at least float32: the loop is handed wide
    parameters and narrows them itself.
    """
    own = precision(cell)
    wide = as_precision(cell, precision((cell, state)))

    def step(wide: AbstractCell, state: State, x: PyTree, marks: Marks) -> tuple[State, PyTree]:
        narrow = as_precision(wide, own)
        drive = project(narrow, x, state)
        if transform is not None:
            passed = transformed(transform, state, marks.border)
            state = select(marks.hold, state, passed)
        state = advance(narrow, init, state, drive, marks)
        return state, readout(narrow, state, drive)

    def body(state: State, inputs: Inputs) -> tuple[State, PyTree]:
        return each(step, wide, batch_axes)(state, inputs.x, inputs.marks)

    return jax.lax.scan(body, state, inputs, reverse=reverse)
