"""The devices that a job trains on: every core of a CPU, or every accelerator."""

from typing import Any

import jax

import seqmem
from seqmem import training
from seqmem._core.errors import bad_input


def devices_for(batch: int, count: int | None) -> training.DataParallel:
    """So many devices, or all of them, which share a batch. To be called before JAX computes.

    Raises:
        ValueError: where there are fewer devices, or they do not divide the batch.
    """
    seqmem.use_cpu_cores(count)
    devices = jax.devices()[:count]
    if count is not None and count > len(devices):
        raise bad_input(
            f"--devices {count} on a machine with {len(devices)}.",
            f"at most {len(devices)} devices.",
            "leave the option out to use all of them.",
        )
    if batch % len(devices):
        divisor = max(n for n in range(1, len(devices)) if batch % n == 0)
        raise bad_input(
            f"{len(devices)} devices for a batch of {batch}.",
            "a number of devices that divides the batch.",
            f"add --devices {divisor}.",
        )
    return training.DataParallel(devices)


def on_first_device(tree: Any) -> Any:
    """A tree whose arrays are on one device, for evaluation without a share for each."""
    return jax.device_put(tree, jax.devices()[0])
