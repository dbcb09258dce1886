"""`unroll`: a cell over a sequence. Axes, lengths, resets and chunks are settled here, once for
all methods.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, PyTree, Shaped

from ._core import arguments as _checks
from ._core.cell import AbstractCell, Inputs, Marks, Output, State, Zeros
from ._core.method import AbstractMethod
from ._methods.blocks import scan_blocks
from ._methods.default import default_method
from ._methods.report import Stats, over_time, run_with_report
from ._core.perturbations import Slot
from ._core.shard_map import varying_alike


def unroll(
    cell: AbstractCell,
    state: State,
    xs: PyTree[Shaped[Array, "time ..."]],
    *,
    lengths: Int[Array | np.ndarray, "*batch"] | None = None,
    resets: Bool[Array | np.ndarray, "time *batch"] | None = None,
    perturbations: State | Zeros | Slot | None = None,
    reverse: bool = False,
    method: AbstractMethod | None = None,
    chunk: int | None = None,
) -> tuple[State, Output]:
    """Run a cell over a sequence, or over a batch of sequences.

        s_t = update(s_{t−1}, project(x_t))
        y_t = readout(s_t, project(x_t))

    The numbers are those of `jax.lax.scan(lambda s, x: cell(s, x), state, xs)`, and so are all
    gradients, whatever the method. Works under jit, grad, vmap and inside a scan; it is jitted
    itself, so calling it outside of jit does not compile anew each time. Batch axes of `xs` cost
    less memory than `jax.vmap` around `unroll`, which keeps one gradient of the parameters per
    mapped example.

    Args:
        cell: the cell.
        state: the state before the first step that is run. Each leaf has the shape that
            `cell.init_state()` says, and is then shared by all examples, or the batch axes in
            front of it.
        xs: inputs. Axis 0 is time, the last `cell.input_axes` axes are one input, all between are
            batch.
        lengths: valid steps of each sequence, 0 <= length <= time (traced values are clamped).
            Outputs beyond are 0, the final state is the one after `length` steps, and whatever
            stands in the padding changes no bit of anything.
        resets: `resets[t]` says that x[t] begins a new sequence in time: the state before it is
            `cell.init_state()`. With `reverse`, the state before x[t−1] is. Nothing passes a reset
            but the sum of the parameters' gradients.
        perturbations: added to the state at each step: the gradient with respect to zeros of the states'
            shapes, [time, *batch, ...], is ∂L/∂s_t.
        reverse: run from the last valid step to the first; `ys[t]` stays beside `xs[t]`.
        method: how to spend the time; None is the best exact method for the cell.
        chunk: at most so many steps are kept for the backward pass at once: it keeps one state per
            chunk and runs the chunk again. Memory then grows as time/chunk + chunk.

    Returns:
        The final state, batch axes in front, and the outputs, [time, *batch, ...].

    Raises:
        ValueError: where an argument does not fit, before the cell is traced.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.GRU(3, 5, key=jax.random.key(0))
        >>> xs = jax.numpy.ones((7, 2, 3))                    # time, batch, input
        >>> state, ys = seqmem.unroll(cell, cell.init_state(), xs, lengths=jax.numpy.array([7, 4]))
        >>> state.shape, ys.shape
        ((2, 5), (7, 2, 5))
    """
    return _checked(cell, state, xs, lengths, resets, perturbations, reverse, method, chunk)[:2]


def solve(
    cell: AbstractCell,
    state: State,
    xs: PyTree[Shaped[Array, "time ..."]],
    *,
    lengths: Int[Array | np.ndarray, "*batch"] | None = None,
    resets: Bool[Array | np.ndarray, "time *batch"] | None = None,
    perturbations: State | Zeros | Slot | None = None,
    reverse: bool = False,
    method: AbstractMethod | None = None,
    chunk: int | None = None,
) -> tuple[State, Output, Stats]:
    """`seqmem.unroll`, and what the method has to tell about each sequence.

    Methods that cannot fail report success and no sweeps.

    Args:
        cell: this and all others as for `unroll`.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.GRU(3, 5, key=jax.random.key(0))
        >>> xs = jax.numpy.ones((7, 2, 3))
        >>> method = seqmem.Newton(max_iters=1, fallback=None)
        >>> _, _, report = seqmem.solve(cell, cell.init_state(), xs, method=method)
        >>> report.converged.tolist(), report.iterations.tolist()
        ([False, False], [1, 1])
    """
    *out, report = _checked(cell, state, xs, lengths, resets, perturbations, reverse, method, chunk)
    return *out, over_time(report, _checks.leading_axes(cell, xs)[1:])


def _checked(cell, state, xs, lengths, resets, perturbations, reverse, method, chunk):
    if isinstance(perturbations, Slot):
        perturbations.note(jax.eval_shape(cell.init_state), _checks.leading_axes(cell, xs))
        perturbations = None
    _checks.check_unroll(cell, state, xs, lengths, resets, perturbations, method, chunk)
    return _unroll(
        cell, state, xs, lengths, resets, perturbations, reverse=bool(reverse), method=method, remat_every=chunk
    )


@functools.partial(jax.jit, static_argnames=("reverse", "method", "chunk"))
def _unroll(cell, state, xs, lengths, resets, perturbations, *, reverse, method, chunk):
    time, *batch = _checks.leading_axes(cell, xs)
    init = cell.init_state()
    state = jax.tree.map(functools.partial(_give_batch, batch=tuple(batch)), init, state)

    method = method or default_method(cell)
    steps = method.clock.steps(time).reshape(-1, *[1] * len(batch))
    total = method.clock.total(time)
    hold = None
    if lengths is not None:
        hold = steps >= jnp.clip(lengths, 0, total)
        xs = _zero_where(hold, xs)
    if resets is not None:
        resets = jnp.asarray(resets)
        if hold is not None:
            resets = resets & ~hold
        if reverse:  # going back, what separates x[t] from x[t−1] is met before x[t−1]
            resets = method.clock.earlier(resets)

    border = None
    if method.looks_at_borders:  # going back, the step run first is the last, whose border is none
        border = jnp.broadcast_to((steps + int(reverse)) % max(total, 1), (time, *batch))
    inputs = Inputs(xs, Marks(resets, hold, perturbations, border))
    cell, init, state, inputs = varying_alike((cell, init, state, inputs))
    run = functools.partial(run_with_report, method, batch_axes=len(batch), reverse=reverse)
    if chunk is None or chunk >= time:
        state, ys, report = run(cell, init, state, inputs)
    else:
        remembered = jax.checkpoint(run)

        def body(state: State, inputs: Inputs, _: None) -> tuple[State, tuple[Output, Any]]:
            state, ys, report = remembered(cell, init, state, inputs)
            return state, (ys, report)

        state, (ys, report) = scan_blocks(body, state, inputs, chunk, time=time, reverse=reverse)
    return state, ys if hold is None else _zero_where(hold, ys), report


def _give_batch(init: Array, leaf: Array, *, batch: tuple[int, ...]) -> Array:
    leaf = jnp.asarray(leaf)
    return (
        leaf
        if leaf.shape[: len(batch)] == batch and leaf.ndim > jnp.ndim(init)
        else (jnp.broadcast_to(leaf, batch + leaf.shape))
    )


def _zero_where(hold: Bool[Array, "time *batch"], tree: PyTree) -> PyTree:
    def clear(leaf: Array) -> Array:
        flags = hold.reshape(hold.shape + (1,) * (leaf.ndim - hold.ndim))
        return jnp.where(flags, jnp.zeros_like(leaf), leaf)

    return jax.tree.map(clear, tree)
