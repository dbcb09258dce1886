"""The kernel of a run of `Parallel`: which one, and what stands in the way of it."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from ..._core.errors import bad_input
from ..._core.platform import current_platform
from ..._core.problem import Problem
from ..._core.shard_map import varying_axes
from ..recurrence import Schedule
from .kernel import AbstractKernel
from .states import states_by_kernel

# The versions of jax with which the Hopper kernel was compiled and interpreted.
HOPPER_VERSIONS = ("0.10.2", "0.11.2", "0.12.0.1")


def kernel_schedule(problem: Problem, method: Any) -> Schedule:
    """The schedule of a diagonal recurrence by the kernel that `method`, a `Parallel`, asks for.

    Raises:
        ValueError: where it cannot run.
    """
    reason = _refusal(problem, method.kernel)
    if reason is not None:
        raise bad_input(
            f"Parallel(kernel={method.kernel!r}) cannot run {type(problem.cell).__name__}: "
            f"{reason}.",
            "a program for a TPU or for an NVIDIA GPU of the Hopper generation, states of float32 "
            "or complex64, and a batch of known size on one device.",
            "use method=seqmem.Parallel(), or seqmem.Scan(), which run on every platform.",
        )
    return functools.partial(states_by_kernel, kernel_of(method.kernel), method.chunk_size)


def missing_kernel() -> str | None:
    """Why the platform that is traced for has no kernel, as a clause; None where it has one."""
    platform = current_platform()
    if platform == "cpu":
        return "there is no kernel for a CPU"
    if platform == "gpu" and jax.__version__ not in HOPPER_VERSIONS:
        return (
            f"the kernel for Hopper was tested with jax {', '.join(HOPPER_VERSIONS)}, and this "
            f"is jax {jax.__version__}"
        )
    return None


def _refusal(problem: Problem, kernel: Any) -> str | None:
    """Why the kernel cannot run, as a clause; None where it can."""
    is_interpreted = kernel == "interpret"
    reason = None if is_interpreted else missing_kernel()
    if reason is not None:
        return reason
    sizes = (problem.time, *problem.batch)
    if not all(isinstance(size, int) for size in sizes):
        return "the number of steps or the batch is symbolic"
    if problem.shares > 1:
        return "the batch is spread over devices, and a kernel runs on one"
    is_on_tpu = not is_interpreted and current_platform() == "tpu"
    if not is_on_tpu and any(map(varying_axes, jax.tree.leaves(problem.state))):
        return "inside of jax.shard_map it needs check_vma=False, but for the kernel for TPU"
    for leaf in jax.tree.leaves(problem.init):
        if not is_interpreted and leaf.dtype not in (jnp.float32, jnp.complex64):
            return f"its state is {leaf.dtype}"
    return None


def kernel_of(kernel: Any) -> AbstractKernel:
    """The kernel of the platform, or that for TPU by interpretation."""
    if kernel != "interpret" and current_platform() == "gpu":
        from .hopper import HopperKernel

        return HopperKernel()
    from .tpu import TPUKernel

    return TPUKernel(interpret=kernel == "interpret")
