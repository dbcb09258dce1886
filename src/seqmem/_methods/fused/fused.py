"""`Fused`: each of the two loops over time is one kernel."""

import dataclasses
import functools
import math
from typing import Any, Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ..._core.cell import AbstractCell
from ..._core.errors import bad_input
from ..._core.method import AbstractMethod
from ..._core.parametrization import evaluate_parametrizations
from ..._core.platform import current_platform
from ..._core.precision import keep_inexact, precision, split_inexact
from ..._core.problem import Problem, Solution
from ..._core.shapes import leading_axes
from ..._core.shard_map import varying_axes
from ..readouts import has_known_time, has_steps, outputs_of, solve_without_steps
from ..scan.backward import Residuals, pull_back
from . import hopper_limits
from .loops import Kernels, cotangents_by_kernel, states_by_kernel
from .parts import NotFusableError, take_apart

Precision = Literal["float32", "tensorfloat32", "bfloat16"]
Choice = Literal["Pallas for TPU", "Mosaic GPU for Hopper", "cuDNN"]
TPU, HOPPER, CUDNN = get_args(Choice)


@dataclasses.dataclass(frozen=True)
class Fused(AbstractMethod):
    """One kernel for all of time, and one for the backward pass: gated cells on TPU and Hopper.

    The kernels keep the recurrent matrix and the state in fast memory. They replace the two loops
    of `seqmem.Scan` and nothing else: the projection of the inputs before them, and the gradients
    of the weights after them, are products over all of time. They hold for every cell whose `mix`
    is one fixed product of one part of the state, and whose `gate` treats all units alike: both are
    read off the cell, so a cell of your own has them too.

    Lengths, masks, resets, a given state, `reverse`, perturbations and second derivatives in
    reverse mode are those of `Scan`.

    A GPU must be an NVIDIA H100 or H200, the hidden size a multiple of 64, and the version of JAX
    one that the kernels were tested with. One multiprocessor holds all matrices: an LSTM of up to
    128 units with products of bfloat16, 64 with tensorfloat32.

    Where this does not hold, cuDNN runs an LSTM with parameters of float32 on any NVIDIA GPU
    (`jax.experimental.rnn`), in "float32" or "tensorfloat32"; `kernel` says which kernel it is.
    cuDNN has no resets, no perturbations and no `return_states`. Every call waits for the GPU,
    `jax.vmap` makes one call per example, and JAX cannot trace it on a machine without a GPU.

    No time was measured on an accelerator, so no default method uses it.

    Args:
        precision: of the factors of products where the parameters are float32: "bfloat16",
            "float32" on a TPU or by cuDNN, or "tensorfloat32" (10 bits of a significand) on a GPU;
            it must be given for such a cell. Elsewhere factors are as precise as the parameters.
            Sums are float32.
        interpret: run the kernels as ordinary operations, slowly and on any platform, for tests:
            True those for a TPU, parameters of the interpreter of Mosaic GPU those for a GPU.

    Raises:
        ValueError: where a run is not possible, with what stands in its way: see `refusal`.

    Example:
        >>> import jax, jax.numpy as jnp, seqmem
        >>> cell = seqmem.GRU(3, 5, key=jax.random.key(0))
        >>> method = seqmem.Fused(precision="float32", interpret=True)
        >>> _, ys = seqmem.unroll(cell, None, jnp.ones((7, 3)), method=method)
        >>> bool(jnp.allclose(ys, seqmem.unroll(cell, None, jnp.ones((7, 3)))[1], atol=1e-6))
        True
        >>> print(method.refusal(seqmem.MGU(3, 5, key=jax.random.key(0)), jnp.ones((7, 3))))
        its family, 'unstructured', does not promise one product followed by gates
    """

    precision: Precision | None = None
    interpret: Any = False

    def __post_init__(self):
        if self.precision is not None and self.precision not in get_args(Precision):
            raise bad_input(
                f"Fused got precision={self.precision!r}.",
                "'float32', 'tensorfloat32' or 'bfloat16'.",
                "leave it out for a cell with 16-bit parameters.",
            )

    def refusal(self, cell: AbstractCell, xs: PyTree) -> str | None:
        """Why `unroll(cell, None, xs, method=self)` would be refused, as a clause; None where it
        would run.
        """
        try:
            self._choose(_problem_of(cell, xs))
        except NotFusableError as error:
            return str(error)
        return None

    def kernel(self, cell: AbstractCell, xs: PyTree) -> str:
        """The kernel that `unroll(cell, None, xs, method=self)` would run: "Pallas for TPU",
        "Mosaic GPU for Hopper" or "cuDNN".

        Raises:
            ValueError: where the run would be refused.
        """
        return self._checked_choice(_problem_of(cell, xs))

    def run(self, problem: Problem) -> Solution:
        if not has_steps(problem):
            return solve_without_steps(problem)
        choice = self._checked_choice(problem)
        one_batch = _with_one_batch_axis(problem)
        if choice == CUDNN:
            from . import cudnn_lstm

            solution: Any = cudnn_lstm.solve(one_batch, str(self.precision))
        else:
            solution = _fused(self._kernels(problem), *split_inexact(one_batch))
        return _with_batch_axes(solution, problem)

    def _checked_choice(self, problem: Problem) -> Choice:
        try:
            return self._choose(problem)
        except NotFusableError as error:
            raise bad_input(
                f"Fused cannot run {type(problem.cell).__name__}: {error}.",
                "a gated cell such as seqmem.LSTM on a TPU or a Hopper GPU, an LSTM of float32 on "
                "another GPU of NVIDIA, or interpret=True.",
                "use method=seqmem.Scan(), which runs every cell on every platform; for a network, "
                "seqmem.layers.LayerByLayer with a method for each layer.",
            ) from None

    def _kernels(self, problem: Problem) -> Kernels:
        """The factors of products have the precision of the parameters, or the one asked for."""
        own = precision(problem.cell)
        is_narrowed = own == jnp.float32 and self.precision == "bfloat16"
        products = jnp.bfloat16 if is_narrowed else own
        return Kernels(products, self.interpret, self._is_hopper())

    def _is_hopper(self) -> bool:
        """Whether the kernels are those for a Hopper GPU."""
        if self.interpret:
            return hopper_limits.is_interpreter(self.interpret)
        return current_platform() == "gpu"

    def _choose(self, problem: Problem) -> Choice:
        """The kernel for a problem.

        Raises:
            NotFusableError: where no kernel can run it.
        """
        if not self.interpret and current_platform() == "cpu":
            raise NotFusableError("there is no kernel for a CPU")
        if problem.shares > 1:
            raise NotFusableError("the batch is spread over devices, and a kernel runs on one")
        arrays = filter(eqx.is_array, jax.tree.leaves((problem.state, problem.inputs)))
        if any(map(varying_axes, arrays)):
            raise NotFusableError("inside of jax.shard_map it needs check_vma=False")
        if not has_known_time(problem):
            raise NotFusableError("the number of steps is not known")
        if 0 in problem.batch:
            raise NotFusableError("the batch has no example")
        try:
            self._check_kernels(problem)
        except NotFusableError as error:
            if self.interpret or not self._is_hopper() or not self._is_for_cudnn(problem, error):
                raise
            return CUDNN
        return HOPPER if self._is_hopper() else TPU

    def _check_kernels(self, problem: Problem) -> None:
        """Refuse what the kernels for a TPU or a Hopper GPU cannot run."""
        if self._is_hopper() and (refusal := hopper_limits.refusal(self.interpret)):
            raise NotFusableError(refusal)
        parts = take_apart(problem)
        self._check_precision(precision(problem.cell))
        self._kernels(problem).tile_sizes(parts, problem.time, math.prod(problem.batch))

    def _is_for_cudnn(self, problem: Problem, error: NotFusableError) -> bool:
        """Whether cuDNN runs the problem in place of a kernel; False for a cell that is no LSTM.

        Raises:
            NotFusableError: where the cell is an LSTM, with both reasons.
        """
        from . import cudnn_lstm

        if not cudnn_lstm.is_lstm(problem):
            return False
        refusal = cudnn_lstm.refusal(problem, self.precision)
        if refusal is not None:
            raise NotFusableError(f"{error}; {refusal}") from None
        return True

    def _check_precision(self, own: Any) -> None:
        if own == jnp.float64 and not self.interpret:
            raise NotFusableError("its parameters are float64, which a TPU does not multiply")
        if own == jnp.float32 and self.precision is None:
            raise NotFusableError("its parameters are float32, and no precision is given")
        if own != jnp.float32:
            return
        if self.precision == "float32" and self._is_hopper():
            raise NotFusableError(
                "the tensor cores of a GPU do not multiply float32: precision='tensorfloat32' or "
                "'bfloat16' is for them"
            )
        if self.precision == "tensorfloat32" and not self._is_hopper():
            raise NotFusableError("precision='tensorfloat32' is for the tensor cores of a GPU")


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _fused(kernels: Kernels, differentiable: PyTree, constant: PyTree) -> Solution:
    return _fused_forward(kernels, differentiable, constant)[0]


def _fused_forward(
    kernels: Kernels, differentiable: PyTree, constant: PyTree
) -> tuple[Solution, Residuals]:
    problem: Problem = eqx.combine(differentiable, constant)
    state, states, z = states_by_kernel(kernels, problem)
    outputs = outputs_of(problem.cell, states, problem.inputs, 1)
    solution = Solution(state, outputs, states if problem.return_states else None)
    return solution, Residuals(differentiable, constant, states, z)


def _fused_backward(
    kernels: Kernels, residuals: Residuals, d_solution: Solution
) -> tuple[PyTree, None]:
    loop = functools.partial(cotangents_by_kernel, kernels)
    time = len(jax.tree.leaves(residuals.states)[0])
    return pull_back(residuals, outputs_of, keep_inexact(d_solution), loop, time), None


_fused.defvjp(_fused_forward, _fused_backward)


def _problem_of(cell: AbstractCell, xs: PyTree) -> Problem:
    """The problem of `unroll(cell, None, xs)`, with a state of shapes alone."""
    cell = evaluate_parametrizations(cell)
    _, *batch = leading_axes(cell.input_shape, xs)
    init = jax.eval_shape(cell.init_state)
    state = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((*batch, *leaf.shape), leaf.dtype), init)
    return Problem(cell, cell.init_state(), state, xs, batch_axes=len(batch))


def _with_one_batch_axis(problem: Problem) -> Problem:
    """The same run with its batch axes as one, or with a batch of one."""
    axes, size = problem.batch_axes, math.prod(problem.batch)
    merge = functools.partial(_reshape_axes, axes=axes, batch=(size,))
    inputs, flags = jax.tree.map(functools.partial(merge, start=1), problem.steps)
    state = jax.tree.map(functools.partial(merge, start=0), problem.state)
    return problem.replace(inputs=inputs, flags=flags, state=state, batch_axes=1)


def _with_batch_axes(solution: Solution, problem: Problem) -> Solution:
    """A solution with one batch axis, with the axes of the problem."""
    split = functools.partial(_reshape_axes, axes=1, batch=problem.batch)
    over_time = jax.tree.map(functools.partial(split, start=1), (solution.outputs, solution.states))
    state = jax.tree.map(functools.partial(split, start=0), solution.state)
    return Solution(state, *over_time)


def _reshape_axes(leaf: Array, *, start: int, axes: int, batch: tuple[int, ...]) -> Array:
    """`leaf` with some of its axes in place of `axes` axes from `start` on."""
    return leaf.reshape(*leaf.shape[:start], *batch, *leaf.shape[start + axes :])
