"""Perturbations: what is added to the state after each step, so that its gradient is ∂L/∂s_t."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
from jaxtyping import PyTree

from .errors import bad_input


class ZeroPerturbations(eqx.Module):
    """Perturbations that are known to be 0: only their gradient is wanted.

    A method that knows the gradient without adding the zeros leaves the addition out.
    """

    values: PyTree


def perturbation_values(perturbations: PyTree | ZeroPerturbations) -> PyTree:
    """The arrays of perturbations, in the tree of a state."""
    is_zero = isinstance(perturbations, ZeroPerturbations)
    return perturbations.values if is_zero else perturbations


class PerturbationRecorder:
    """A stand-in for perturbations of unknown shapes: `unroll` records in it what it needs.

    It is a tree without leaves, so it may pass through jit. `recorder["name"]` is a recorder of its
    own, for a program that unrolls several cells.
    """

    def __init__(self):
        self.children: dict[Any, PerturbationRecorder] = {}
        self.shapes: PyTree | None = None
        self.leading_axes = 0

    def __getitem__(self, name: Any) -> "PerturbationRecorder":
        return self.children.setdefault(name, PerturbationRecorder())

    def record(self, state: PyTree, leading: tuple[int, ...]) -> None:
        """Record the shapes of one state, and the axes (time, *batch) in front of them."""
        if self.shapes is not None:
            raise bad_input(
                "two unrolls got the same perturbations.",
                "one name for each unroll.",
                'pass perturbations["encoder"] to one and perturbations["decoder"] to the other.',
            )
        self.leading_axes = len(leading)
        self.shapes = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leading + leaf.shape, leaf.dtype), state
        )

    def map(self, make: Callable[[PyTree, int], Any]) -> PyTree:
        """`make(shapes, leading_axes)`, in a dict where names were used."""
        if self.children:
            return {name: child.map(make) for name, child in self.children.items()}
        if self.shapes is None:
            raise bad_input(
                "the loss passed its perturbations to no unroll.",
                "a call seqmem.unroll(..., perturbations=perturbations) inside the loss.",
                "pass the keyword argument `perturbations` of the loss on to unroll.",
            )
        return make(self.shapes, self.leading_axes)


jax.tree_util.register_pytree_node(
    PerturbationRecorder, lambda recorder: ((), recorder), lambda recorder, _: recorder
)
