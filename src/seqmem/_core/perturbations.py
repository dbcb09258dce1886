"""A place for perturbations whose shapes nobody knows yet."""

from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import PyTree

from .cell import State
from .errors import bad_input


class Slot:
    """What `unroll` is handed for perturbations while their shapes are asked for: it notes them.

    A slot is a tree without leaves, so it may pass through jit. `slot["name"]` is a slot of its
    own, for a program that unrolls several cells.
    """

    def __init__(self):
        self.named: dict[Any, Slot] = {}
        self.shapes: State | None = None
        self.leading = 0

    def __getitem__(self, name: Any) -> "Slot":
        return self.named.setdefault(name, Slot())

    def note(self, shapes: State, leading: tuple[int, ...]) -> None:
        """The shapes of one step's state, and the axes [time, *batch] in front of them."""
        if self.shapes is not None:
            raise bad_input(
                "the same perturbations were handed to two unrolls.",
                "perturbations of its own for each.",
                'name them: pass perturbations["encoder"] to one and perturbations["decoder"] to the other.',
            )
        self.leading = len(leading)
        self.shapes = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leading + leaf.shape, leaf.dtype), shapes
        )

    def filled(self, make: Callable[[State, int], Any]) -> PyTree:
        """`make(shapes, number of leading axes)`, in a dict of names where names were used."""
        if self.named:
            return {name: slot.filled(make) for name, slot in self.named.items()}
        if self.shapes is None:
            raise bad_input(
                "the loss handed its perturbations to no unroll.",
                "a call seqmem.unroll(..., perturbations=perturbations) inside the loss.",
                "pass the keyword argument `perturbations` of the loss on to unroll.",
            )
        return make(self.shapes, self.leading)


jax.tree_util.register_pytree_node(Slot, lambda slot: ((), slot), lambda slot, _: slot)
