"""Linear readouts in closed form: of given states, and of a cell, chunk by chunk."""

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from .._core.arguments import check_run
from .._core.cell import AbstractLayer
from .._core.errors import bad_input
from .._core.precision import state_dtype
from .._core.problem import State
from .._core.shapes import leading_axes, tree_names
from .._core.validation import check_count
from .._methods.segments import scan_segments, segment_size
from .._unroll import unroll
from ..dynamics._trajectory import initial_states
from ._ridge_sums import RidgeSums, add_pairs, check_pairs


def ridge_readout(
    states: Float[Array | np.ndarray, "time *batch states"],
    targets: Float[Array | np.ndarray, "time *batch targets"],
    washout: int = 0,
    alpha: float | Float[Array, ""] = 1e-6,
) -> eqx.nn.Linear:
    """The linear readout of given states, in closed form: ridge regression over examples and time.

        min Σ_t ‖W s_t + b − y_t‖² + α ‖W‖²    over the steps t after the washout

    For sequences whose states do not fit into memory, `fit_readout` runs the cell chunk by chunk,
    and `RidgeSums` serves loops of your own.

    Cost: O(time · batch · states²) for a QR decomposition, O(states³) for the solution.

    Args:
        states: the states, or any features, of all steps.
        targets: what to read out of them.
        washout: steps at the start of each sequence that are left out, since there the state still
            depends on where it began.
        alpha: α >= 0, compared with sums, not with means, over examples and steps.

    Returns:
        `eqx.nn.Linear` from a state to a target. `seqmem.layers.Map(readout)` is a layer.

    Raises:
        ValueError: where states and targets differ in time and batch, for a washout that leaves no
            step, or an α below 0.

    Example:
        >>> import jax, seqmem
        >>> from seqmem import training
        >>> xs = jax.random.normal(jax.random.key(0), (300, 4, 1))
        >>> cell = seqmem.EchoState(1, 30, input_scale=0.1, key=jax.random.key(1))
        >>> states = seqmem.unroll(cell, None, xs)[1]
        >>> previous = jax.numpy.roll(xs, 1, axis=0)  # the task: the input of the step before
        >>> readout = training.ridge_readout(states, previous, washout=50, alpha=1e-6)
        >>> net = seqmem.layers.Stack([cell, seqmem.layers.Map(readout)])
        >>> _, ys = seqmem.unroll(net, None, xs)
        >>> bool(jax.numpy.mean((ys - previous)[50:] ** 2) < 0.01)  # of a variance of 1
        True
    """
    check_pairs("ridge_readout", states, targets)
    time = np.shape(states)[0]
    _check_washout("ridge_readout", washout, time)
    states, targets = jnp.asarray(states), jnp.asarray(targets)
    zeros = RidgeSums.zeros(states.shape[-1], targets.shape[-1], state_dtype(states))
    return add_pairs(zeros, states[washout:], targets[washout:]).solve(alpha)


def fit_readout(
    cell: AbstractLayer,
    state: State | None,
    xs: PyTree,
    targets: Float[Array | np.ndarray, "time *batch targets"],
    *,
    washout: int = 0,
    alpha: float | Float[Array, ""] = 1e-6,
    chunk_size: int = 256,
) -> tuple[eqx.nn.Linear, State]:
    """The linear readout of a cell's outputs by `ridge_readout`, without keeping all outputs.

    The cell runs over one chunk after another, and of each chunk only sums are kept. So memory,
    except for inputs and targets, is that of `chunk_size` steps, whatever the length of the
    sequence.

    Cost besides the run: O((rows + n) n²) for each chunk, with n outputs and targets and rows =
    chunk_size · batch, so a chunk of n rows or more is best.

    Args:
        cell: the cell, or a network of cells, whose outputs are vectors, such as
            `seqmem.EchoState`. Its parameters are not changed.
        state: the state before the first step; None is `cell.init_state()`.
        xs: the inputs, [time, *batch, ...].
        targets: what to read out of the outputs.
        washout: steps at the start that are left out.
        alpha: α >= 0, compared with sums, not with means, over examples and steps.
        chunk_size: steps whose outputs are in memory at once, about, >= 1.

    Returns:
        The readout, and the state after the last step, from which a forecast can go on.

    Raises:
        ValueError: where inputs and targets differ in time and batch, for a washout that leaves no
            step, an α below 0, or a chunk size below 1.

    Example:
        >>> import jax, seqmem
        >>> from seqmem import training
        >>> xs = jax.random.normal(jax.random.key(0), (300, 4, 1))
        >>> cell = seqmem.EchoState(1, 30, input_scale=0.1, key=jax.random.key(1))
        >>> previous = jax.numpy.roll(xs, 1, axis=0)
        >>> readout, state = training.fit_readout(cell, None, xs, previous, washout=50)
        >>> readout.weight.shape, state.shape
        ((1, 30), (4, 30))
    """
    check_run(cell, state, xs)
    check_count("fit_readout", "chunk_size", chunk_size, remedy="leave it out for 256.")
    time, *batch = leading_axes(cell.input_shape, xs)
    _check_washout("fit_readout", washout, time)
    state = initial_states(cell, state, tuple(batch))
    outputs = _check_outputs(cell, state, xs, targets)
    xs, targets = jax.tree.map(jnp.asarray, (xs, targets))
    zeros = RidgeSums.zeros(outputs.shape[-1], targets.shape[-1], state_dtype(outputs))
    sums, state = _sums_of_run(
        cell, state, xs, targets, zeros, washout=washout, chunk_size=chunk_size
    )
    return sums.solve(alpha), state


def _check_washout(owner: str, washout: Any, time: int) -> None:
    check_count(owner, "washout", washout, at_least=0, remedy="pass 0 to use every step.")
    if washout >= time:
        raise bad_input(
            f"{owner} got washout={washout} for sequences of {time} steps.",
            "a washout that is shorter than the sequences.",
            "pass longer sequences or a shorter washout.",
        )


def _check_outputs(cell: AbstractLayer, state: State, xs: PyTree, targets: Any) -> jax.Array:
    """The outputs, as shapes, where each is a vector that has a target."""
    _, outputs = jax.eval_shape(lambda cell, xs: unroll(cell, state, xs), cell, xs)
    if not hasattr(outputs, "shape") or outputs.ndim != np.ndim(targets):
        raise bad_input(
            f"fit_readout got a cell with outputs {tree_names(outputs)}.",
            f"one vector for each of the targets, which are {np.shape(targets)}.",
            "put a layer that makes one vector of the outputs behind the cell: seqmem.layers.Map.",
        )
    check_pairs("fit_readout", outputs, targets)
    return outputs


@functools.partial(jax.jit, static_argnames=("washout", "chunk_size"))
def _sums_of_run(
    cell: AbstractLayer,
    state: State,
    xs: PyTree,
    targets: Array,
    sums: RidgeSums,
    *,
    washout: int,
    chunk_size: int,
) -> tuple[RidgeSums, State]:
    """`sums` with those of the outputs after the washout, and the state after the last step."""

    def wash_out(state: State, segment: tuple) -> tuple[State, None]:
        return unroll(cell, state, segment[0])[0], None

    def add_chunk(carry: tuple, segment: tuple) -> tuple[tuple, None]:
        (state, sums), ((xs, targets), _) = carry, segment
        state, outputs = unroll(cell, state, xs)
        return (state, add_pairs(sums, outputs, targets)), None

    def in_chunks(body: Any, carry: PyTree, sequence: PyTree) -> PyTree:
        time = jax.tree.leaves(sequence)[0].shape[0]
        return scan_segments(body, carry, sequence, segment_size(time, chunk_size))[0]

    if washout:
        state = in_chunks(wash_out, state, jax.tree.map(lambda leaf: leaf[:washout], xs))
    rest = jax.tree.map(lambda leaf: leaf[washout:], (xs, targets))
    state, sums = in_chunks(add_chunk, (state, sums), rest)
    return sums, state
