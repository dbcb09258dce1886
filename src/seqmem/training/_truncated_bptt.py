"""Truncated backpropagation through time."""

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .. import gradients
from .._core.errors import bad_input
from .._core.precision import split_inexact
from .._core.problem import State
from .._core.validation import check_count
from ._gradient import AbstractGradient, Carry, Gradient
from ._loss import check_loss
from ._past_strides import PastStrides
from ._segments import num_steps, slice_time, split_segments
from ._sums import scan_sums


@dataclasses.dataclass(frozen=True)
class TruncatedBPTT(AbstractGradient):
    """Truncated backpropagation through time: the state is carried from call to call, the gradient
    goes back at most `window` steps.

    Time is split into strides of k1 steps. With k2 = m k1 steps in a window,

        L = Σ_i L_i,    L_i the loss of stride i,    s_i the state before stride i
        g = Σ_i ∂L_i/∂θ,    s_{i−m+1} constant in the i-th term

    so the loss of every step counts once, and its gradient goes back at least k2 − k1 steps and at
    most k2. With k1 = k2, the default, windows do not overlap; with a window as long as the time, g
    is the whole gradient. There are four ways to start a sequence:

        carried state    pass `carry` of one call to the next
        reset            set `resets` in the batch, for `seqmem.unroll`, where a sequence begins: no
                         state and no gradient passes a reset
        learned state    resets, with a cell of `seqmem.with_learned_state`
        burn-in          a loss from `with_burn_in`

    Call it with one stride for each update of the parameters, or with more time for the sum over
    strides. As long as the parameters do not change, both give the same sum. For m > 1, the older
    strides of a window run again, with the current parameters.

    `seqmem.Scan(transform=gradients.Detach(k2))` truncates in the same places within one `unroll`,
    for any loss of all outputs; it needs memory for the whole time and constant parameters.

    Cost: m forward and m backward runs of a stride for each stride. Memory: that of one window,
    whatever the time.
    Source: Williams & Peng 1990, Neural Computation 2(4), doi:10.1162/neco.1990.2.4.490, BPTT(h;
    h') with h = k2, h' = k1; k1 and k2 are the letters of Sutskever 2013 (thesis, Toronto).
    Differs: k2 is a multiple of k1.

    Args:
        loss: function (model, state, batch) -> (total, weight, state): the sum of the loss over the
            steps and examples of a segment, the number of summed terms, and the state after it.
            With lengths, it takes those of the segment as the keyword `lengths`.
        window: k2, steps, > 0. `gradients.recommend_window` measures a sufficient one.
        stride: k1, steps, > 0; divides the window. None is the window.
        flow: whether to compute ‖∂L_i/∂s_t‖ for the steps of each stride. The loss then passes its
            keyword `perturbations` to `seqmem.unroll`, as for `gradients.value_grad_and_flow`.

    Raises:
        ValueError: for a window or stride below 1, a stride that does not divide the window, time
            that is no multiple of a stride shorter than the window, or another result of the loss.

    Example:
        >>> import jax, seqmem
        >>> from seqmem import training
        >>> def loss(cell, state, batch):
        ...     xs, targets = batch
        ...     state, ys = seqmem.unroll(cell, state, xs)
        ...     return ((ys - targets) ** 2).sum(), ys.size, state
        >>> cell = seqmem.GRU(3, 5, key=jax.random.key(0))
        >>> xs, targets = jax.numpy.ones((12, 2, 3)), jax.numpy.ones((12, 2, 5))
        >>> gradient = training.TruncatedBPTT(loss, window=4)
        >>> carry = gradient.init_carry(cell.init_state(2), (xs[:4], targets[:4]))
        >>> for t in range(0, 12, 4):                      # update the parameters in this loop
        ...     result = gradient(cell, carry, (xs[t : t + 4], targets[t : t + 4]))
        ...     carry = result.carry
        >>> result.mean_grads.W.shape, float(result.weight)
        ((3, 5, 3), 40.0)
    """

    loss: Callable
    window: int
    stride: int | None = None
    flow: bool = False

    def __post_init__(self):
        check_count("TruncatedBPTT", "window", self.window, remedy="choose one, such as 64.")
        if self.stride is None:
            return
        check_count("TruncatedBPTT", "stride", self.stride)
        if self.window % self.stride:
            raise bad_input(
                f"TruncatedBPTT got window={self.window}, stride={self.stride}.",
                "a stride of at most the window, that divides it.",
                "leave the stride out, or choose a window that is a multiple of it.",
            )

    @property
    def _stride(self) -> int:
        return self.window if self.stride is None else self.stride

    @property
    def _num_past(self) -> int:
        """m − 1: the strides of a window before its last."""
        return self.window // self._stride - 1

    def init_carry(self, state, batch, lengths=None) -> Carry:
        if not self._num_past:
            return state
        num_steps(batch, lengths, at_least=self._stride)
        stride = slice_time(batch, lengths, 0, self._stride)
        return PastStrides.empty(state, *stride, self._num_past)

    def state(self, carry) -> State:
        return carry.state if self._num_past else carry

    def batch_axes(self, carry) -> PyTree[int]:
        return carry.batch_axes() if self._num_past else jax.tree.map(lambda _: 0, carry)

    def __call__(self, model, carry, batch, lengths=None) -> Gradient:
        size = self._stride
        time = num_steps(batch, lengths)
        if self._num_past and time % size:
            raise bad_input(
                f"TruncatedBPTT(window={self.window}, stride={size}) got {time} time steps.",
                f"a multiple of the stride, {size}, since past strides run again.",
                "pad the time and pass lengths, or leave the stride out.",
            )
        if time <= size:
            return self._differentiate_stride(model, carry, batch, lengths)

        def body(carry: Carry, stride: PyTree) -> tuple[Carry, PyTree, PyTree]:
            result = self._differentiate_stride(model, carry, *stride)
            return result.carry, result.sums, result.norms

        strides = time // size
        carry, sums, norms = scan_sums(body, carry, split_segments(batch, lengths, strides, size))
        norms = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), norms)
        if time > strides * size:
            rest = slice_time(batch, lengths, strides * size, time)
            last = self._differentiate_stride(model, carry, *rest)
            carry, sums = last.carry, jax.tree.map(jnp.add, sums, last.sums)
            norms = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), norms, last.norms)
        total, weight, grads = sums
        return Gradient(total, weight, grads, carry, norms)

    def _differentiate_stride(self, model, carry, batch, lengths) -> Gradient:
        """The gradient of the loss of one stride, through its whole window."""
        carry = jax.lax.stop_gradient(carry)

        def run(model: PyTree, **perturbations) -> tuple[Float[Array, ""], Any]:
            state, oldest = carry, None
            if self._num_past:
                state, oldest = carry.rerun(lambda *stride: self._loss(model, *stride)[2])
            total, weight, state = self._loss(model, state, batch, lengths, **perturbations)
            return total, (weight, state, oldest)

        if self.flow:
            differentiated = gradients.value_grad_and_flow(run, has_aux=True)
            (total, (weight, state, oldest)), grads, flow = differentiated(model)
            is_flow = lambda leaf: isinstance(leaf, gradients.Flow)  # noqa: E731
            norms = jax.tree.map(lambda flow: flow.norm(), flow, is_leaf=is_flow)
        else:
            params, static = split_inexact(model)
            (total, (weight, state, oldest)), grads = jax.value_and_grad(
                lambda params: run(eqx.combine(params, static)), has_aux=True
            )(params)
            norms = None
        new_carry = carry.push(oldest, batch, lengths) if self._num_past else state
        return Gradient(total, weight, grads, new_carry, norms)

    def _loss(self, model, state, batch, lengths, **perturbations):
        """The checked result of the loss function for one stride."""
        options = perturbations if lengths is None else {"lengths": lengths, **perturbations}
        return check_loss(self.loss(model, state, batch, **options))
