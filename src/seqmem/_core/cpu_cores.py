"""The cores of the CPU as devices of JAX."""

import os

import jax

from .errors import bad_input
from .validation import check_count


def use_cpu_cores(count: int | None = None) -> int:
    """Make every core of the CPU a device of JAX, before the first computation.

    XLA runs the loop of a recurrence on one core, however many there are. With one device per core,
    a batch that is spread over the devices by `seqmem.training.DataParallel` keeps all cores busy.
    It says nothing about accelerators: where JAX has one, `jax.devices()` are those.

    Args:
        count: how many devices; None is the number of cores that this process may use. More devices
            than cores simulate a larger machine.

    Returns:
        The number of devices.

    Raises:
        ValueError: for a count that is not a whole number of at least 1, and where JAX has started
            with another number of devices, which cannot be changed. The same number again is fine.

    Example:
        >>> import jax, seqmem
        >>> count = seqmem.use_cpu_cores(len(jax.devices("cpu")))    # usually without an argument
        >>> count == len(jax.devices("cpu"))
        True
    """
    if count is None:
        count = available_cores()
    check_count("use_cpu_cores", "count", count, remedy="leave it out to use every core.")
    try:
        jax.config.update("jax_num_cpu_devices", int(count))
    except RuntimeError as error:  # JAX has started
        started = len(jax.local_devices(backend="cpu"))
        if started != count:
            raise bad_input(
                f"use_cpu_cores got count={count} after JAX had started with {started} CPU "
                "devices.",
                "a call before the first computation, which fixes the number of devices.",
                "call seqmem.use_cpu_cores() right after the imports, or set the environment "
                f"variable JAX_NUM_CPU_DEVICES={count}.",
            ) from error
    return int(count)


def available_cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
