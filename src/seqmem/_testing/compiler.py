"""How the laws are compiled, and where the compiler itself is known to be wrong."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jaxlib.version


@functools.cache
def compiled(fn: Callable, *static: int) -> Callable:
    """`fn` under jit, compiled in a hurry: the laws are about numbers, not about speed.

    Without optimisation XLA:CPU is several times faster, and up to jaxlib 0.11.0 also right where
    it is wrong with it.
    """
    if jax.default_backend() == "cpu":
        hurry: dict[str, Any] = {"xla_backend_optimization_level": 0}
        for options in (hurry | {"xla_cpu_use_fusion_emitters": False}, hurry):
            try:
                jax.jit(lambda: 0, compiler_options=options)()
            except jax.errors.JaxRuntimeError:  # this XLA has no such option
                continue
            return jax.jit(fn, static_argnums=static, compiler_options=options)
    return jax.jit(fn, static_argnums=static)


def compiler_is_suspect() -> bool:
    """Whether this is an XLA:CPU known to compile plain loops of tiny sizes wrongly in float64."""
    version = tuple(int(part) for part in jaxlib.version.__version__.split(".")[:3])
    return jax.default_backend() == "cpu" and version < (0, 11, 1)
