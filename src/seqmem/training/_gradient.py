"""The gradient of a loss over a segment of time: the record, and the interface of its methods."""

import abc
from typing import NamedTuple

import jax
from jaxtyping import Array, Float, Int, PyTree

from .._core.problem import State

Carry = PyTree


class Gradient(NamedTuple):
    """The loss of a segment of time and its gradient, as sums.

        L = total / weight,    ∂L/∂θ = (∂total/∂θ) / weight

    Sums are added over segments, micro-batches and devices, and divided once. The mean of the
    means is another number where sequences have different lengths.

    Attributes:
        total: sum of the loss over steps and examples.
        weight: number of summed terms, such as valid steps.
        grads: ∂total/∂θ for the inexact arrays of the model, None elsewhere.
        carry: the carry for the next segment.
        norms: ‖∂total/∂s_t‖ of every step, or a dict of them by the names of the perturbations.
            For each step, total is that of its stride. None unless asked for.
    """

    total: Float[Array, ""]
    weight: Float[Array, ""]
    grads: PyTree
    carry: Carry
    norms: PyTree[Float[Array, "time *batch"]] | None = None

    @property
    def sums(self) -> tuple[Float[Array, ""], Float[Array, ""], PyTree]:
        """total, weight and grads: the fields that are added."""
        return self.total, self.weight, self.grads

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
    """A method to differentiate a loss over a segment of time. A subclass is a frozen dataclass,
    and its methods are pure functions.
    """

    @abc.abstractmethod
    def __call__(
        self,
        model: PyTree,
        carry: Carry,
        batch: PyTree[Array, "..."],
        lengths: Int[Array, "*batch"] | None = None,
    ) -> Gradient:
        """The gradient of one segment of time.

        Args:
            model: a tree whose inexact arrays are differentiated.
            carry: from `init_carry`, or the `carry` of the previous segment's gradient.
            batch: arrays [time, *batch, ...]: inputs, targets, resets.
            lengths: valid steps of each sequence in this segment.
        """

    @abc.abstractmethod
    def init_carry(
        self,
        state: State,
        batch: PyTree[Array, "..."],
        lengths: Int[Array, "*batch"] | None = None,
    ) -> Carry:
        """The carry for the first segment.

        Args:
            state: the initial state of the cells, batch axes in front.
            batch: a first batch, for its shapes.
            lengths: the lengths of that batch, for their shape.
        """

    @abc.abstractmethod
    def state(self, carry: Carry) -> State:
        """The state of the cells in a carry."""

    @abc.abstractmethod
    def batch_axes(self, carry: Carry) -> PyTree[int]:
        """The batch axis of every leaf of a carry; leaves without axes have no example."""
