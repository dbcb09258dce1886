"""What a gradient over a stretch of time is, in whatever way it is found."""

import abc
from typing import NamedTuple

import jax
from jaxtyping import Array, Float, Int, PyTree

from .._core.problem import State

Carry = PyTree


class Gradient(NamedTuple):
    """The loss of a stretch of time and its gradient, as sums.

        L = total / weight,    ∂L/∂θ = (∂total/∂θ) / weight

    Sums can be added over windows, micro-batches and devices, and divided once; the mean of means
    is another number where sequences have different lengths.

    Attributes:
        total: the sum of the loss.
        weight: over how much it is summed.
        grads: ∂total/∂θ for the inexact arrays of the model, None elsewhere.
        carry: what the next stretch of time starts from.
        norms: ‖∂total/∂s_t‖ where it was asked for, or a dict of them by the names of the perturbations;
            each is that of the total of its own window.
    """

    total: Float[Array, ""]
    weight: Float[Array, ""]
    grads: PyTree
    carry: Carry
    norms: PyTree[Float[Array, "time *batch"]] | None = None

    @property
    def value(self) -> Float[Array, ""]:
        """L; NaN where the weight is 0."""
        return self.total / self.weight

    @property
    def mean_grads(self) -> PyTree:
        """∂L/∂θ."""
        return self._over_weight(self.grads)

    @property
    def mean_norms(self) -> PyTree[Float[Array, "time *batch"]] | None:
        """‖∂L/∂s_t‖."""
        return self._over_weight(self.norms)

    def _over_weight(self, tree: PyTree) -> PyTree:
        return jax.tree.map(lambda leaf: leaf / self.weight.astype(leaf.dtype), tree)


class AbstractGradient(abc.ABC):
    """A way to differentiate a loss over a stretch of time. Subclasses are frozen dataclasses: pure
    functions of a model, what is carried, and a batch.
    """

    @abc.abstractmethod
    def __call__(
        self,
        model: PyTree,
        carry: Carry,
        batch: PyTree[Array, "..."],
        lengths: Int[Array, "*batch"] | None = None,
    ) -> Gradient:
        """The gradient of one stretch of time.

        Args:
            model: a tree, whose inexact arrays are differentiated.
            carry: from `begin`, or from the stretch before.
            batch: arrays with time first and the batch axes behind it: inputs, targets, resets.
            lengths: valid steps of each sequence in this stretch.
        """

    @abc.abstractmethod
    def begin(
        self,
        state: State,
        batch: PyTree[Array, "..."],
        lengths: Int[Array, "*batch"] | None = None,
    ) -> Carry:
        """What the first stretch starts from, given the states, batch axes in front.

        Args:
            state: of the cells.
            batch: a first batch, for its shapes.
            lengths: likewise.
        """

    @abc.abstractmethod
    def state(self, carry: Carry) -> State:
        """The cells' states in what is carried."""

    @abc.abstractmethod
    def batch_axes(self, carry: Carry) -> PyTree[int]:
        """Which axis of each leaf counts examples; leaves without axes are shared by all."""
