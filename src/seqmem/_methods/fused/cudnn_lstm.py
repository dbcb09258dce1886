"""cuDNN's LSTM, by `jax.experimental.rnn`, on the parameters of a cell that is an LSTM.

cuDNN shows h of every step, and c of the last one alone. Its lengths begin at 1, and it runs
forwards.
"""

import functools
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.experimental import rnn
from jaxtyping import Array, Float, Int, PyTree

from ..._core.precision import as_precision
from ..._core.problem import Problem, Solution
from .loops import with_derivative_of

# Of the factors of products. HIGH is tensorfloat32 whatever `jax_default_matmul_precision` says.
PRECISIONS = {
    "float32": jax.lax.Precision.HIGHEST,
    "tensorfloat32": jax.lax.Precision.HIGH,
}


class Operands(NamedTuple):
    """What cuDNN reads and has gradients of, batch first.

    Attributes:
        x: inputs.
        h: h before the first step that is run.
        c: c before it.
        weights: W, U and two biases, of which the second is 0, in a row.
    """

    x: Float[Array, "batch time input"]
    h: Float[Array, "1 batch hidden"]
    c: Float[Array, "1 batch hidden"]
    weights: Float[Array, " entries"]


class Sizes(NamedTuple):
    """How cuDNN is called: the arguments of `rnn.lstm` after its arrays, in their order."""

    input: int
    hidden: int
    layers: int
    dropout: float
    is_bidirectional: bool
    precision: jax.lax.Precision


def is_lstm(problem: Problem) -> bool:
    """Whether the step of the cell is that of an LSTM, W, U and b its parameters, traced."""
    leaves = jax.tree.leaves(eqx.filter(problem.cell, eqx.is_array))
    state = jax.tree.leaves(problem.init)
    inputs = jax.tree.leaves(problem.inputs)
    if not state or len(inputs) != 1 or not inputs[0].ndim:
        return False
    units, features = state[0].size, inputs[0].shape[-1]
    shapes = [(4, units, features), (4, units, units), (4, units), (units,), (units,)]
    if [leaf.shape for leaf in (*leaves, *state)] != shapes:
        return False
    cell, init = as_precision((problem.cell, problem.init), jnp.dtype(jnp.float32))
    x = jax.ShapeDtypeStruct((features,), jnp.float32)
    arrays, static = eqx.partition(cell, eqx.is_array)

    def step(arrays: PyTree, state: PyTree, x: Array) -> list[Array]:
        return jax.tree.leaves(eqx.combine(arrays, static)(state, x))

    def step_of_lstm(arrays: PyTree, state: PyTree, x: Array) -> list[Array]:
        W, U, b = jax.tree.leaves(arrays)
        h, c = jax.tree.leaves(state)
        u = x @ W.mT + b
        i, f, g, o = h @ U.mT + u
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return [h, c, h]

    try:
        jaxprs = [str(jax.make_jaxpr(fn)(arrays, init, x)) for fn in (step, step_of_lstm)]
    except (TypeError, ValueError):
        return False
    return jaxprs[0] == jaxprs[1]


def refusal(problem: Problem, precision: str | None) -> str | None:
    """Why cuDNN cannot run a problem whose cell is an LSTM, as a clause; None where it can."""
    dtypes = {jnp.dtype(leaf.dtype) for leaf in jax.tree.leaves((problem.cell, problem.init))}
    narrow = sorted(str(dtype) for dtype in dtypes - {jnp.dtype(jnp.float32)})
    if narrow:
        return f"cuDNN's LSTM is for parameters and a state of float32, not {narrow[0]}"
    if precision not in PRECISIONS:
        return f"cuDNN's LSTM multiplies 'float32' or 'tensorfloat32', not {precision!r}"
    if problem.flags.reset is not None:
        return "cuDNN's LSTM has no resets"
    if problem.flags.perturbation is not None or problem.return_states:
        return "cuDNN's LSTM does not show c of every step, nor its gradient"
    if not all(isinstance(size, int) for size in problem.batch):
        return "cuDNN's LSTM is for a batch whose size is known"
    return _refusal_of_device()


def solve(problem: Problem, precision: str) -> Solution:
    """The solution of a problem with one batch axis."""
    time, (batch,) = problem.time, problem.batch
    steps = jnp.arange(time)[:, None]
    padding = problem.flags.padding
    lengths = jnp.full(batch, time) if padding is None else jnp.sum(~padding, 0)
    # A sequence of no step runs one, of zeros, whose results are not selected.
    run_lengths = jnp.maximum(lengths, 1).astype(jnp.int32)
    # Back to front within the valid steps, padding where it was; it is its own inverse.
    turn = jnp.where(steps < run_lengths, run_lengths - 1 - steps, steps)[..., None]

    def in_order(leaf: Float[Array, "time batch features"]) -> Float[Array, "time batch features"]:
        return jnp.take_along_axis(leaf, turn, 0) if problem.reverse else leaf

    W, U, b = jax.tree.leaves(eqx.filter(problem.cell, eqx.is_array))
    weights = [W.ravel(), U.ravel(), b.ravel(), jnp.zeros(b.size, b.dtype)]
    h, c = jax.tree.leaves(problem.state)
    x = in_order(problem.inputs.astype(W.dtype))
    operands = Operands(x.swapaxes(0, 1), h[None], c[None], jnp.concatenate(weights))
    sizes = Sizes(W.shape[-1], W.shape[-2], 1, 0.0, False, PRECISIONS[precision])
    results: Any = _run(sizes, operands, run_lengths)
    outputs, *final = results
    outputs = in_order(outputs.swapaxes(0, 1))
    leaves = [
        jnp.where((lengths > 0)[:, None], new[0], old)
        for new, old in zip(final, (h, c), strict=True)
    ]
    return Solution(jax.tree.structure(problem.state).unflatten(leaves), outputs)


def _refusal_of_device() -> str | None:
    """What stands in the way on this machine: JAX asks cuDNN for sizes while it traces."""
    if jax.default_backend() != "gpu":
        return "cuDNN's LSTM is traced on a machine with a GPU, and this one has none"
    if "rocm" in jax.local_devices()[0].client.platform_version:
        return "cuDNN is for GPUs of NVIDIA"
    return None


Results = tuple[Array, Array, Array]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _run(sizes: Sizes, operands: Operands, lengths: Int[Array, " batch"]) -> Results:
    """h of every step, and h and c after the last one."""
    return _run_forward(sizes, operands, lengths)[0]


def _run_forward(
    sizes: Sizes, operands: Operands, lengths: Int[Array, " batch"]
) -> tuple[Results, PyTree]:
    results, residuals = _forward(sizes, operands, lengths)
    return results, (operands, lengths, residuals)


def _run_backward(sizes: Sizes, saved: PyTree, d_results: Results) -> tuple[Operands, None]:
    operands, lengths, residuals = saved
    return _backward(sizes, operands, lengths, residuals, d_results), None


_run.defvjp(_run_forward, _run_backward)


def _forward(sizes: Sizes, operands: Operands, lengths: Array) -> tuple[Results, PyTree]:
    """The results, and what cuDNN keeps for its backward pass."""

    @jax.custom_batching.sequential_vmap
    def by_kernel(operands: Operands, lengths: Array) -> tuple[Results, PyTree]:
        return rnn.lstm_fwd(*operands, lengths, *sizes)

    def by_reference(operands: Operands, lengths: Array) -> tuple[Results, PyTree]:
        residuals = jax.eval_shape(by_kernel, operands, lengths)[1]
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), residuals)
        return _reference(sizes, operands, lengths), zeros

    return with_derivative_of(by_reference, by_kernel, operands, lengths)


def _backward(
    sizes: Sizes, operands: Operands, lengths: Array, residuals: PyTree, d_results: Results
) -> Operands:

    @jax.custom_batching.sequential_vmap
    def by_kernel(
        operands: Operands, lengths: Array, residuals: PyTree, d_results: Results
    ) -> Operands:
        return Operands(*rnn.lstm_bwd(*sizes, residuals, d_results)[: len(operands)])

    def by_reference(
        operands: Operands, lengths: Array, residuals: PyTree, d_results: Results
    ) -> Operands:
        run = functools.partial(_reference, sizes, lengths=lengths)
        return jax.vjp(run, operands)[1](d_results)[0]

    return with_derivative_of(by_reference, by_kernel, operands, lengths, residuals, d_results)


def _reference(sizes: Sizes, operands: Operands, lengths: Array) -> Results:
    """The results without cuDNN, for derivatives that it has not."""
    weights = rnn.unpack_lstm_weights(
        operands.weights, sizes.input, sizes.hidden, sizes.layers, sizes.is_bidirectional
    )
    return rnn.lstm_ref(*operands[:3], *weights, lengths, *sizes[:-1])
