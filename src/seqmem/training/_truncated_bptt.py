"""Truncated backpropagation through time, with the state carried."""

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from .. import gradients
from .._core.errors import bad_input
from .._core.precision import split
from .._core.problem import State
from .._core.step import select
from ._checks import check_loss, check_steps
from ._gradient import AbstractGradient, Carry, Gradient
from ._sums import scan_sums
from ._time import folded, of_time, part


class Window(eqx.Module):
    """What is carried where a window is longer than a stride: enough to run its beginning again.

    Attributes:
        state: before the first of the strides that are kept.
        past: their inputs, oldest first, each leaf [strides, stride, *batch, ...].
        lengths: their lengths, or None.
        filled: how many of them there are; the oldest are missing.
    """

    state: State
    past: PyTree[Array, "..."]
    lengths: Int[Array, "strides *batch"] | None
    filled: Int[Array, ""]


@dataclasses.dataclass(frozen=True)
class TruncatedBPTT(AbstractGradient):
    """Truncated backpropagation through time: the state goes on, the gradient goes `window` steps
    back.

    Time is cut into strides of k1 steps. With k2 = m k1 steps in a window,

        L = Σ_i L_i,    L_i the loss of stride i,    s_i the state before stride i
        g = Σ_i ∂L_i/∂θ    where s_{i−m+1} is held fixed

    so every step's loss is counted once, and its gradient goes at least k2 − k1 steps back and at
    most k2. With k1 = k2, the default, windows follow each other; with a window as long as the
    time, g is the whole gradient. Beginnings:

        carried      pass `carry` of one call on to the next
        new          set the batch's own `resets` where a sequence begins: what is before a reset
                     reaches nothing behind it, as in `seqmem.unroll`
        learned      the same, with a cell of `seqmem.with_learned_state`: every reset teaches it
        burnt in     a loss from `with_burn_in`

    Call it with one stride for each update of the parameters, or with more time at once for the
    sum. What is called in pieces gives the same as what is called at once, while the parameters are
    the same. Where m > 1, the older strides of a window are run again, with the parameters of now.

    `seqmem.Scan(transform=gradients.Detach(k2))` is the same cut within one `unroll`, for any loss
    of all outputs, and keeps what all of time needs; this keeps what a window needs, runs the cells
    by any method, and lets the parameters change between windows.

    Cost: a stride's gradient takes m forward and m backward runs of a stride. Memory: of one
    window, for any time.
    Source: Williams & Peng 1990, Neural Computation 2(4), BPTT(h; h') with h = k2, h' = k1; k1 and
    k2 are the letters of Sutskever 2013 (thesis, Toronto). Differs: k2 is a multiple of k1.

    Args:
        loss: a function (model, state, batch) -> (total, weight, state): the sum of the loss over
            the steps and examples of a part of the batch, over how much it is summed, and the
            states after it. Where lengths are given it takes them as the keyword `lengths`, counted
            from where its part begins.
        window: k2, in steps, such as `gradients.recommend_window` finds.
        stride: k1, a divisor of the window; None is the window.
        flow: whether ‖∂L_i/∂s_t‖ is wanted for the steps of each stride; the loss then hands its
            keyword `perturbations` to `seqmem.unroll`, as for `gradients.value_grad_and_flow`.

    Raises:
        ValueError: for a window below 1, a stride that does not divide it, time that is no multiple
            of a stride shorter than the window, or a loss of another kind.

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
        >>> state = jax.numpy.zeros((2, 5))
        >>> for t in range(0, 12, 4):                      # an update could stand in this loop
        ...     found = gradient(cell, state, (xs[t : t + 4], targets[t : t + 4]))
        ...     state = found.carry
        >>> found.mean_grads.W.shape, float(found.weight)
        ((3, 5, 3), 40.0)
    """

    loss: Callable
    window: int
    stride: int | None = None
    flow: bool = False

    def __post_init__(self):
        check_steps(f"TruncatedBPTT(window={self.window!r}).", self.window)
        came = f"TruncatedBPTT(window={self.window}, stride={self.stride!r})."
        if self.stride is not None:
            check_steps(came, self.stride)
            if self.window % self.stride:
                raise bad_input(
                    came,
                    "a stride of at most the window, that divides it.",
                    "leave the stride out, or take a multiple of it as the window.",
                )

    @property
    def _stride(self) -> int:
        return self.window if self.stride is None else self.stride

    @property
    def _kept(self) -> int:
        return self.window // self._stride - 1

    def begin(self, state, batch, lengths=None) -> Carry:
        if not self._kept:
            return state
        size = self._stride
        of_time(batch, lengths, at_least=size)

        def stacked(leaf: Any) -> Array:
            return jnp.repeat(jnp.asarray(leaf)[None], self._kept, 0)

        # What is missing is run too, and not taken: real inputs are as good as any.
        past, lengths = jax.tree.map(stacked, part(batch, lengths, 0, size))
        return Window(state, past, lengths, jnp.zeros((), jnp.int32))

    def state(self, carry) -> State:
        return carry.state if self._kept else carry

    def batch_axes(self, carry) -> PyTree[int]:
        if not self._kept:
            return jax.tree.map(lambda _: 0, carry)
        return Window(
            jax.tree.map(lambda _: 0, carry.state),
            jax.tree.map(lambda _: 2, carry.past),
            jax.tree.map(lambda _: 1, carry.lengths),
            0,  # pyright: ignore
        )

    def __call__(self, model, carry, batch, lengths=None) -> Gradient:
        size = self._stride
        time = of_time(batch, lengths, at_least=1)
        if self._kept and time % size:
            raise bad_input(
                f"{time} steps of time for TruncatedBPTT(window={self.window}, stride={size}).",
                f"a multiple of the stride, {size}: older strides are run again, all alike.",
                "pad the time and pass lengths, or leave the stride out.",
            )
        if time <= size:
            return self._of_one(model, carry, batch, lengths)

        def body(carry: Carry, here: PyTree) -> tuple[Carry, PyTree, PyTree]:
            found = self._of_one(model, carry, *here)
            return found.carry, found[:3], found.norms

        strides = time // size
        carry, sums, norms = scan_sums(body, carry, folded(batch, lengths, strides, size))
        norms = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), norms)
        if time == strides * size:
            return Gradient(*sums, carry, norms)  # pyright: ignore
        last = self._of_one(model, carry, *part(batch, lengths, strides * size, time))
        sums = jax.tree.map(jnp.add, sums, last[:3])
        norms = jax.tree.map(lambda *parts: jnp.concatenate(parts), norms, last.norms)
        return Gradient(*sums, last.carry, norms)  # pyright: ignore

    def _of_one(self, model, carry, batch, lengths) -> Gradient:
        """The gradient of one stride's loss, through all of its window."""
        carry = jax.lax.stop_gradient(carry)

        def run(model: PyTree, **perturbations) -> tuple[Float[Array, ""], Any]:
            state, second = self._run_again(model, carry) if self._kept else (carry, None)
            total, weight, after = self._of_part(model, state, batch, lengths, **perturbations)
            return total, (weight, after, second)

        if self.flow:
            differentiated = gradients.value_grad_and_flow(run, has_aux=True)
            (total, (weight, after, second)), grads, flow = differentiated(model)
            is_flow = lambda leaf: isinstance(leaf, gradients.Flow)  # noqa: E731
            norms = jax.tree.map(lambda flow: flow.norm(), flow, is_leaf=is_flow)
        else:
            moving, still = split(model)
            (total, (weight, after, second)), grads = jax.value_and_grad(
                lambda moving: run(eqx.combine(moving, still)), has_aux=True
            )(moving)
            norms = None
        if self._kept:
            after = self._moved_on(carry, second, batch, lengths)
        return Gradient(total, weight, grads, after, norms)

    def _of_part(self, model, state, batch, lengths, **perturbations):
        options = perturbations if lengths is None else {"lengths": lengths, **perturbations}
        return check_loss(self.loss(model, state, batch, **options))

    def _run_again(self, model, carry: Window) -> tuple[State, State]:
        """The states before the newest stride, and after the oldest that is kept."""

        def body(state: State, here: PyTree) -> tuple[State, State]:
            there, batch, lengths = here
            after = select(there, self._of_part(model, state, batch, lengths)[2], state)
            return after, after

        there = jnp.arange(self._kept, dtype=jnp.int32) >= self._kept - carry.filled
        state, states = jax.lax.scan(body, carry.state, (there, carry.past, carry.lengths))
        return state, jax.tree.map(lambda leaf: leaf[0], states)

    def _moved_on(self, carry: Window, second: State, batch, lengths) -> Window:
        """What the next stride is given: the newest inputs enter, the oldest leave."""

        def moved(past: Array, new: Array) -> Array:
            return jnp.concatenate([past[1:], jnp.asarray(new)[None]])

        return Window(
            second,
            jax.tree.map(moved, carry.past, batch),
            jax.tree.map(moved, carry.lengths, lengths),
            jnp.minimum(carry.filled + 1, self._kept),
        )
