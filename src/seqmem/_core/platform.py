"""The platform that a program is traced for: schedules differ between a CPU and an accelerator."""

import contextlib
from typing import Literal, get_args

import jax

from .errors import bad_input

Platform = Literal["cpu", "gpu", "tpu"]

NAMES: dict[str, Platform] = {name: name for name in get_args(Platform)}
NAMES |= {"cuda": "gpu", "rocm": "gpu"}
# Part of the keys of jit's caches, so that a program is traced again for another platform.
TARGET = jax.make_user_context(None)


def target_platform(name: str) -> contextlib.AbstractContextManager[None]:
    """Trace programs for another platform than the one that JAX would run them on.

    A cell's default method and the tiles of `seqmem.Scan` are chosen for the platform when a
    program is traced: that of `jax.config.jax_default_device`, or else `jax.default_backend()`.
    Inside of this context it is `name`. The numbers are the same up to rounding. It is for programs
    that are exported or compiled ahead of time, and for arrays on a device that is not the default.

    Args:
        name: "cpu", "gpu" or "tpu"; "cuda" and "rocm" are "gpu".

    Raises:
        ValueError: for another name.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.MinGRU(3, 5, key=jax.random.key(0))
        >>> run = jax.jit(lambda xs: seqmem.unroll(cell, None, xs)[1])
        >>> with seqmem.target_platform("cuda"):
        ...     program = jax.export.export(run, platforms=["cuda"])(jax.numpy.ones((7, 3)))
        >>> program.platforms
        ('cuda',)
    """
    if not isinstance(name, str) or name not in NAMES:
        raise bad_input(
            f"target_platform got {name!r}.",
            f"one of {', '.join(map(repr, NAMES))}.",
            "name the platform that the program will run on, or leave the context out.",
        )
    return TARGET(NAMES[name])


def current_platform() -> Platform:
    """The platform that a program is traced for now.

    Of an accelerator that is neither, the host launches every operation too: it counts as a GPU.
    """
    if TARGET.value is not None:
        return TARGET.value
    device = jax.config.jax_default_device  # pyright: ignore
    name = jax.default_backend() if device is None else getattr(device, "platform", device)
    return NAMES.get(name, "gpu")
