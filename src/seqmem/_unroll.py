"""The door: `unroll` and `solve` turn their arguments into a `Problem` and hand it to a method."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, PyTree, Shaped

from ._core.arguments import (
    check_arrays,
    check_layer,
    check_lengths,
    check_mask_method,
    check_method,
    check_order,
    check_perturbations,
    check_step_flags,
)
from ._core.cache import check_caches
from ._core.calls import Call, refuse_misfits, unknown_remedy
from ._core.cell import AbstractLayer
from ._core.errors import bad_input
from ._core.method import AbstractMethod
from ._core.perturbations import PerturbationRecorder, ZeroPerturbations
from ._core.problem import Output, Solution, State
from ._core.shapes import leading_axes
from ._core.timed import check_timed
from ._methods.default import default_method
from ._methods.evaluate import Run, evaluate
from ._methods.remat import Remat


def _remedy(call: Call) -> str:
    """What to write in place of a call of `unroll` or `solve` that does not fit."""
    if call.unknown_names():
        return unknown_remedy(call)
    if len(call.args) > 3:
        return "pass cell, state and xs, and all others by their names, such as lengths=lengths."
    line = f"{RESULTS[call.name]} = seqmem.{call.name}"
    if "state" not in call.options:
        return f"write {line}(cell, None, xs), where None is the initial state."
    return f"write {line}(cell, state, xs)."


RESULTS = {"unroll": "state, ys", "solve": "solution"}


@refuse_misfits("unroll", _remedy)
def unroll(
    cell: AbstractLayer,
    state: State | None,
    xs: PyTree[Shaped[Array | np.ndarray, "time ..."]],
    *,
    lengths: Int[Array | np.ndarray, "*batch"] | Sequence[int] | int | None = None,
    mask: Bool[Array | np.ndarray, "time *batch"] | None = None,
    resets: Bool[Array | np.ndarray, "time *batch"] | None = None,
    perturbations: State | ZeroPerturbations | PerturbationRecorder | None = None,
    reverse: bool = False,
    method: AbstractMethod | None = None,
    remat_every: int | None = None,
) -> tuple[State, Output]:
    """Run a cell over a sequence, or over a batch of sequences.

        s_t = update(s_{t−1}, project(x_t))
        y_t = readout(s_t, project(x_t))

    The numbers are those of `jax.lax.scan(lambda s, x: cell(s, x), state, xs)`, and so are all
    gradients, whatever the method. It works under jit, vmap, reverse-mode differentiation and
    inside a scan, and is jitted itself. Batch axes of `xs` cost less memory than `jax.vmap` around
    `unroll`, which keeps one gradient of the parameters per mapped example.

    Forward mode (`jax.jvp`, `jax.jacfwd`, `jax.hessian`) works with `ReferenceScan()` for every
    cell, and with `Parallel()`. For Hessian-vector products, forward over reverse with
    `ReferenceScan()` is faster than reverse over reverse with `Scan()`.

    Args:
        cell: the cell, or a network of cells.
        state: the state before the first step that is run; None is `cell.init_state()`. Each leaf
            has the shape that `cell.init_state()` has, and is then shared by all examples, or the
            batch axes in front of it.
        xs: inputs. Axis 0 is time, the last axes are one input of `cell.input_shape`, all between
            are batch. NumPy arrays become JAX arrays, with JAX's rules for their dtypes.
        lengths: valid steps of each sequence, 0 <= length <= time (traced values are clamped). The
            steps after them are padding. Whole numbers of an integer dtype: a sum of a float mask
            is refused, since it may be 3.9999; write `mask.sum(0).astype(int)`.
        mask: `mask[t]` is False at padding, for padding that is not at the end. The result is that
            of the sequence without its padded steps. With `lengths`, both must allow a step.
        resets: `resets[t]` says that x[t] begins a new sequence in time: the state before it is
            `cell.init_state()`. With `reverse`, the state before x[t−1] is. Nothing passes a reset
            but the sum of the parameters' gradients.
        perturbations: added to the state after each step: the gradient with respect to zeros of
            the states' shapes, [time, *batch, ...], is ∂L/∂s_t.
        reverse: run from the last valid step to the first; `ys[t]` belongs to `xs[t]`.
        method: how the recurrence is evaluated; None picks the default of the cell's family on
            the platform that the program is traced for (`seqmem.target_platform`).
        remat_every: keep one state every so many steps for the backward pass, and compute the
            steps between again. Memory then grows as time/remat_every + remat_every. It is
            `seqmem.Remat` around the method, which can also keep the states on the host.

    Returns:
        The final state, batch axes in front, and the outputs, [time, *batch, ...]. At padded steps
        the state does not change, outputs are 0, and the values of the padding change no bit.

    Raises:
        ValueError: where an argument does not fit, before anything is run.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.GRU(3, 5, key=jax.random.key(0))
        >>> xs = jax.numpy.ones((7, 2, 3))                    # time, batch, input
        >>> state, ys = seqmem.unroll(cell, None, xs, lengths=[7, 4])
        >>> state.shape, ys.shape
        ((2, 5), (7, 2, 5))
    """
    run = Run(cell, state, xs, lengths, mask, resets, perturbations)
    solution = _solve(run, method, remat_every, reverse=reverse)
    return solution.state, solution.outputs


@refuse_misfits("solve", _remedy)
def solve(
    cell: AbstractLayer,
    state: State | None,
    xs: PyTree[Shaped[Array | np.ndarray, "time ..."]],
    *,
    lengths: Int[Array | np.ndarray, "*batch"] | Sequence[int] | int | None = None,
    mask: Bool[Array | np.ndarray, "time *batch"] | None = None,
    resets: Bool[Array | np.ndarray, "time *batch"] | None = None,
    perturbations: State | ZeroPerturbations | PerturbationRecorder | None = None,
    reverse: bool = False,
    method: AbstractMethod | None = None,
    remat_every: int | None = None,
    return_states: bool = False,
) -> Solution:
    """`seqmem.unroll` with the whole answer: on request every state, and how they were found.

    Args:
        cell: this and all others as for `seqmem.unroll`.
        return_states: whether the solution holds the state after every step. They are
            differentiable. A fast-weight cell then runs step by step, since `Parallel` never makes
            all its states.

    Returns:
        The final state, the outputs, the states (None unless asked for, 0 at padded steps) and
        `Stats` for each sequence: methods that cannot fail converge in 0 iterations.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.LSTM(3, 5, key=jax.random.key(0))
        >>> xs = jax.numpy.ones((7, 2, 3))
        >>> method = seqmem.Newton(max_iters=1, fallback=None)
        >>> solution = seqmem.solve(cell, None, xs, method=method, return_states=True)
        >>> solution.states.c.shape
        (7, 2, 5)
        >>> solution.stats.converged.tolist(), solution.stats.iterations.tolist()
        ([False, False], [1, 1])
    """
    run = Run(cell, state, xs, lengths, mask, resets, perturbations)
    return _solve(run, method, remat_every, reverse=reverse, return_states=return_states)


def _solve(
    run: Run,
    method: AbstractMethod | None,
    remat_every: int | None,
    *,
    reverse: bool,
    return_states: bool = False,
) -> Solution:
    run, method = _checked(run, method, remat_every)
    try:
        return evaluate(run, method, bool(reverse), bool(return_states))
    except (TypeError, NotImplementedError, jax.errors.InconclusiveDimensionOperation) as error:
        explanation = _explain(error, method)
        if explanation is None:
            raise
        raise explanation from error


def _explain(error: Exception, method: AbstractMethod) -> ValueError | None:
    """What the caller can do about an error of JAX; None for an error of another cause."""
    message = str(error)
    is_forward_mode = "forward-mode" in message and "custom_vjp" in message
    if is_forward_mode or "custom_lin" in message:
        return bad_input(
            f"forward-mode differentiation (jax.jvp, jax.jacfwd) of {method}.",
            "a method that JAX differentiates by itself.",
            "pass method=seqmem.ReferenceScan(), which has every mode.",
        )
    if "_DimExpr" in message or "Symbolic dimension" in message:
        return bad_input(
            f"a symbolic time in xs with {method}.",
            "a number of steps that is known when the program is traced.",
            "pass method=seqmem.ReferenceScan(), or make the batch alone symbolic.",
        )
    return None


def _checked(
    run: Run, method: AbstractMethod | None, remat_every: int | None
) -> tuple[Run, AbstractMethod]:
    """The arguments as arrays, and the method that runs them.

    Raises:
        ValueError: where one does not fit.
    """
    check_layer(run.cell)
    check_method(run.cell, method, remat_every)
    method = method or default_method(run.cell)
    if remat_every is not None:
        method = Remat(remat_every, method)
    run = run._replace(state=_as_arrays(run.state), inputs=_as_arrays(run.inputs))
    if isinstance(run.lengths, list | tuple | int):
        run = run._replace(lengths=np.asarray(run.lengths))
    check_arrays(
        state=run.state, xs=run.inputs, lengths=run.lengths, mask=run.mask, resets=run.resets
    )
    one_state = jax.eval_shape(lambda cell: cell.init_state(), run.cell)
    if run.cell.family.check is not None:
        run.cell.family.check(run.cell, one_state)
    check_order(run.cell, one_state, run.state, run.inputs)
    leading = leading_axes(run.cell.input_shape, run.inputs)
    if isinstance(run.perturbations, PerturbationRecorder):
        run.perturbations.record(one_state, leading)
        run = run._replace(perturbations=None)
    if run.perturbations is not None:
        check_perturbations(one_state, run.perturbations, leading)
    if run.lengths is not None:
        check_lengths(run.lengths, leading[0], leading[1:])
    if run.mask is not None:
        check_step_flags("mask", run.mask, leading)
        check_mask_method(method)
    if run.resets is not None:
        check_step_flags("resets", run.resets, leading)
    check_timed(run.inputs, run.lengths, run.mask)
    check_caches(one_state, run.state, leading[0], run.lengths, run.mask, run.resets)
    return run, method


def _as_arrays(tree: PyTree) -> PyTree:
    """NumPy arrays as JAX arrays; float64 becomes float32 unless JAX's x64 mode is on."""
    is_numpy = lambda leaf: isinstance(leaf, np.ndarray | np.generic)  # noqa: E731
    return jax.tree.map(lambda leaf: jnp.asarray(leaf) if is_numpy(leaf) else leaf, tree)
