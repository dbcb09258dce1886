"""Fast weights by the kernels of jax-linear-attention for Hopper GPUs.

They multiply in bfloat16, sum in float32, and keep the matrices in float32. A step of theirs is, in
our letters, one of

    S_t = S_{t−1} diag(w_t) + v_t k_tᵀ                            w per head or per key channel
    S_t = S_{t−1} diag(w_t) (I − β_t k_t k_tᵀ) + β_t v_t k_tᵀ     a delta rule
    S_t = S_{t−1} diag(w_t) (I − (b_t ∘ k_t) k_tᵀ) + v_t k_tᵀ     with b per key channel

and a reset empties S. What only the values of writes tell is decided in the program: where the
kernels would lose digits, the run is in chunks.
"""

import functools
import importlib.metadata
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int

from ..._core.batching import vmap_batch
from ..._core.errors import bad_input
from ..._core.platform import current_platform
from ..._core.precision import as_precision, precision
from ..._core.problem import Problem, Solution
from .chunkwise.layout import Steps, project_writes
from .chunkwise.nonfinite import mask_writes
from .write import Memory, Write

PACKAGE, PACKAGE_VERSION, JAX_VERSION = "jax-linear-attention", "0.1.0", "0.11.2"
IMPLEMENTATION = "mosaic_gpu"
FACTORS = jnp.bfloat16  # of the products of the kernels
# The kernels sum the logarithms of decays over a chunk, and small differences lose their digits.
# At about −16 gradients are wrong by 3e-4 of their largest entry, a seventh of a rounding to
# bfloat16, and at −32 by 0.3 (tests/reference/linear_attention_kernels.py).
LEAST_LOG_DECAY = -16.0
LEAST_BETA, LEAST_SQUARE = 1e-6, 1e-12  # where β and the value before it are read off a write
LEAST_KEY, LARGEST_ERASE = 1e-30, 2.0  # where b is; the largest one that published rules have


class Operands(NamedTuple):
    """What a kernel reads, in the order in which steps are run.

    Attributes:
        query: q.
        key: k.
        value: v.
        log_decay: ln w of each head, or of each of its key channels; None is no decay.
        beta: β of each head, or b of each of its key channels; None removes nothing.
    """

    query: Float[Array, "batch time heads key"]
    key: Float[Array, "batch time heads key"]
    value: Float[Array, "batch time heads value"]
    log_decay: Float[Array, "batch time heads *key"] | None
    beta: Float[Array, "batch time heads *key"] | None

    @property
    def kind(self) -> str:
        """The name of the step in jax-linear-attention."""
        is_per_channel = self.log_decay is not None and self.log_decay.ndim == self.key.ndim
        if self.beta is None:
            return "gla" if is_per_channel else "simple_gla"
        if self.beta.ndim == self.key.ndim:
            return "gdn2"
        if self.log_decay is None:
            return "deltanet"
        return "kda" if is_per_channel else "gated_deltanet"


def solve_by_kernel(
    problem: Problem, kernel: Any, otherwise: Callable[[Problem], Solution]
) -> Solution:
    """The solution of a run of a fast-weight cell.

    Args:
        problem: the run, without perturbations, and none of its states is asked for.
        kernel: that of `Parallel`.
        otherwise: runs the problem where its values are not for the kernels.

    Raises:
        ValueError: where there is no kernel.
    """
    if kernel == "interpret":
        _check(problem, "kernel='interpret' is for diagonal cells")
    _check(problem, refusal_of_platform() or _refusal_of_run(problem))
    steps, extra = project_writes(problem)
    _check(problem, _refusal_of_write(problem, steps.write))

    def by_kernel() -> Solution:
        state, readings = _run(problem, steps)
        cell = as_precision(problem.cell, precision(problem.init))
        output = vmap_batch(
            lambda cell, *args: cell.output(*args), cell, problem.batch_axes, time=True
        )
        return Solution(state, output(readings, extra))

    is_exact = _is_exact(problem, jax.lax.stop_gradient(steps))
    return jax.lax.cond(is_exact, by_kernel, lambda: otherwise(problem))


def refusal_of_platform() -> str | None:
    """Why the kernels are not for this program, as a clause; None where they are."""
    if current_platform() != "gpu":
        return f"the kernels are for a GPU, and the program is traced for a {current_platform()}"
    try:
        version = importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return f"{PACKAGE} {PACKAGE_VERSION} is not installed"
    if (version, jax.__version__) != (PACKAGE_VERSION, JAX_VERSION):
        return (
            f"the kernels were tested with {PACKAGE} {PACKAGE_VERSION} and JAX {JAX_VERSION}, and "
            f"these are {version} and {jax.__version__}"
        )
    return None


def _refusal_of_run(problem: Problem) -> str | None:
    if problem.shares > 1:
        return "the batch is spread over devices, and a kernel runs on one"
    if not all(isinstance(size, int) for size in problem.batch):
        return "the size of its batch is not known"
    if precision(problem.cell) != FACTORS:
        return f"its parameters are {precision(problem.cell)}, and the kernels multiply bfloat16"
    if problem.init.log_scale is not None:
        return "its gains are exponential, and the kernels keep no running maximum"
    if problem.flags.reset is not None and not _starts_empty(problem.cell):
        return "a reset selects a state that may differ from 0, and the kernels empty theirs"
    return None


def _refusal_of_write(problem: Problem, write: Write) -> str | None:
    heads = problem.init.matrix.shape[:-2]
    if not problem.cell.reads_once:
        return "it reads its memory more than once"
    if write.key.ndim > write.query.ndim:
        return "a step writes several times"
    if write.reading is not None:
        return "its reading is transposed"
    if write.reads_before is not None:
        return "its query reads before the write"
    if math.prod(write.query.shape[-1 - len(heads) : -1]) > math.prod(heads):
        return "a step reads several times"
    if write.erase is not None:
        return "it removes values from another key than it writes"
    if write.log_momentum is not None:
        return "its writes have momentum"
    return None


def _check(problem: Problem, reason: str | None) -> None:
    if reason is not None:
        raise bad_input(
            f"Parallel(kernel=True) cannot run {type(problem.cell).__name__}: {reason}.",
            "a program for a Hopper GPU, a cell with parameters of bfloat16 that adds to its "
            "matrices or removes from the key that it writes, and "
            f"{PACKAGE} {PACKAGE_VERSION} (pip install 'seqmem[hopper]').",
            "use method=seqmem.Parallel(), which runs every fast-weight cell.",
        )


def _starts_empty(cell: Any) -> bool:
    """Whether the initial state is known to be 0, whatever the parameters are."""
    with jax.ensure_compile_time_eval():
        leaves = jax.tree.leaves(cell.init_state())
    return not any(isinstance(leaf, Tracer) or np.asarray(leaf).any() for leaf in leaves)


def _is_exact(problem: Problem, steps: Steps) -> Bool[Array, ""]:
    """Whether the numbers of the kernels are those of a loop up to rounding."""
    write = _write_of_kernel(problem, steps)
    fits = jnp.stack([jnp.isfinite(leaf).all() for leaf in write.arrays.values()]).all()
    if write.log_decay is not None:
        fits &= ((write.log_decay >= LEAST_LOG_DECAY) & (write.log_decay <= 0)).all()
    if write.remove is not None:
        has_beta = (_beta_of if problem.cell.is_delta_rule else _erase_gate_of)(write)[1]
        if steps.padding is not None:
            has_beta |= _to_kernel(problem, _with_head_axes(problem, steps.padding))
        fits &= has_beta.all()
    return fits


def _run(problem: Problem, steps: Steps) -> tuple[Memory, Float[Array, "time ... value"]]:
    """The final matrices and the readings."""
    matrix = problem.state.matrix
    heads, values, keys = _sizes(problem)
    state = matrix.reshape(-1, heads, values, keys)
    segments = None
    if steps.reset is not None:
        reset = _to_kernel(problem, _with_head_axes(problem, steps.reset))[:, :, 0, 0]
        segments = jnp.cumsum(reset.astype(jnp.int32), 1)
        state = jnp.where(reset[:, 0, None, None, None], 0, state)
    operands = _operands_of(problem.cell, _write_of_kernel(problem, steps))
    readings, state = _call(problem, operands, segments, state.mT)
    if problem.reverse:
        readings = jnp.flip(readings, 1)
    leading = (problem.time, *problem.batch, *problem.init.matrix.shape[:-1])
    readings = readings.swapaxes(0, 1).astype(matrix.dtype).reshape(leading)
    return Memory(state.mT.astype(matrix.dtype).reshape(matrix.shape)), readings


def _call(
    problem: Problem, operands: Operands, segments: Int[Array, "batch time"] | None, state: Array
) -> tuple[Array, Array]:
    """The readings [batch, time, heads, value] and the state [batch, heads, key, value]."""
    from jla import ops  # pyright: ignore[reportMissingImports]

    gates = {"g": operands.log_decay, "beta": operands.beta}
    if operands.kind == "gdn2":
        gates = gates | {"beta": None, "b": operands.beta, "w": jnp.ones_like(operands.value)}
    if operands.kind == "simple_gla" and operands.log_decay is None:
        gates["g"] = jnp.zeros(operands.key.shape[:3], state.dtype)
    try:
        return ops.linear_attention(
            operands.kind,
            *(leaf.astype(FACTORS) for leaf in operands[:3]),
            impl=IMPLEMENTATION,
            scale=1.0,
            initial_state=state,
            output_final_state=True,
            segment_ids=segments,
            **{name: gate for name, gate in gates.items() if gate is not None},
        )
    except ValueError as error:
        _check(problem, f"{PACKAGE} says: {error}")
        raise


def _operands_of(cell: Any, write: Write) -> Operands:
    """The operands of a write with [batch, time, heads] in front."""
    log_decay, value, beta = write.log_decay, write.value, None
    if write.remove is not None and cell.is_delta_rule:
        beta, has_beta = _beta_of(write)
        value, beta = value / beta, jnp.where(has_beta, beta, 0)[..., 0]
    elif write.remove is not None:
        beta, _ = _erase_gate_of(write)
        log_decay = jnp.broadcast_to(0.0 if log_decay is None else log_decay, beta.shape)
    if log_decay is not None and log_decay.shape[-1] < write.key.shape[-1]:
        log_decay = log_decay[..., 0]
    return Operands(write.query, write.key, value, log_decay, beta)


def _beta_of(write: Write) -> tuple[Float[Array, "*lead 1"], Bool[Array, "*lead 1"]]:
    """β of a delta rule, remove = β w ∘ k, and whether it can be read; where not, β is 1."""
    assert write.remove is not None
    key, remove = write.key, write.remove
    if write.log_decay is not None:
        key = jnp.exp(write.log_decay) * key
    square = jnp.sum(key * key, -1, keepdims=True)
    has_key = square >= LEAST_SQUARE
    beta = jnp.sum(remove * key, -1, keepdims=True) / jnp.where(has_key, square, 1)
    has_beta = has_key & (beta >= LEAST_BETA)
    return jnp.where(has_beta, beta, 1), has_beta


def _erase_gate_of(write: Write) -> tuple[Float[Array, "*lead key"], Bool[Array, "*lead 1"]]:
    """b of remove = b ∘ w ∘ k, and whether all of it can be read and is in range."""
    assert write.remove is not None
    key = write.key
    if write.log_decay is not None:
        key = jnp.exp(write.log_decay) * key
    has_key = jnp.abs(key) >= LEAST_KEY
    gate = jnp.where(has_key, write.remove / jnp.where(has_key, key, 1), 0)
    is_known = has_key & (gate >= 0) & (gate <= LARGEST_ERASE)
    return gate, is_known.all(-1, keepdims=True)


def _write_of_kernel(problem: Problem, steps: Steps) -> Write:
    """The writes, empty at padding, [batch, time, heads, channel]."""
    write = steps.write
    if steps.padding is not None:
        write = mask_writes(_with_head_axes(problem, steps.padding), write)
    return jax.tree.map(functools.partial(_to_kernel, problem), write)


def _to_kernel(problem: Problem, leaf: Array) -> Array:
    """[time, *batch, *heads, channel] as [batch, time, heads, channel], in the order of the run."""
    heads = problem.init.matrix.shape[:-2]
    leaf = jnp.broadcast_to(leaf, (problem.time, *problem.batch, *heads, leaf.shape[-1]))
    leaf = leaf.reshape(problem.time, -1, math.prod(heads), leaf.shape[-1]).swapaxes(0, 1)
    return jnp.flip(leaf, 1) if problem.reverse else leaf


def _with_head_axes(problem: Problem, flag: Bool[Array, "time *batch"]) -> Array:
    return flag.reshape(*flag.shape, *[1] * (problem.init.matrix.ndim - 1))


def _sizes(problem: Problem) -> tuple[int, int, int]:
    """Heads, and the sizes of their values and keys."""
    *heads, values, keys = problem.init.matrix.shape
    return math.prod(heads), values, keys
