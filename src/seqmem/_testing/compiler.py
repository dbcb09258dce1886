"""Quick compilation of the laws, and compilers that are known to be wrong."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jaxlib.version


@functools.cache
def compiled(fn: Callable, *static: int) -> Callable:
    """`fn` under jit, compiled quickly: the laws judge numbers, not speed.

    Without optimisation XLA:CPU compiles several times faster, and avoids a fault of jaxlib up to
    0.11.0.
    """
    if jax.default_backend() == "cpu":
        quick: dict[str, Any] = {"xla_backend_optimization_level": 0}
        for options in (quick | {"xla_cpu_use_fusion_emitters": False}, quick):
            if _has_options(tuple(options.items())):
                return jax.jit(fn, static_argnums=static, compiler_options=options)
    return jax.jit(fn, static_argnums=static)


@functools.cache
def _has_options(options: tuple[tuple[str, Any], ...]) -> bool:
    """Whether this XLA knows the options."""
    try:
        jax.jit(lambda: 0, compiler_options=dict(options))()
    except jax.errors.JaxRuntimeError:
        return False
    return True


def compiler_is_suspect() -> bool:
    """Whether this is an XLA:CPU known to compile plain loops of tiny sizes wrongly in float64."""
    version = tuple(int(part) for part in jaxlib.version.__version__.split(".")[:3])
    return jax.default_backend() == "cpu" and version < (0, 11, 1)
