"""Gradients of functions of trees, some of whose leaves cannot be differentiated."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
from jaxtyping import PyTree

from .._core.precision import keep_inexact, split_inexact


def values_and_vjp(
    fn: Callable, cotangents: Callable[[PyTree], PyTree], *args: Any
) -> tuple[PyTree, tuple[PyTree, ...]]:
    """`fn(*args)`, and the gradients of `args` for `cotangents(fn(*args))`."""
    differentiable, constant = split_inexact(args)

    def call(*differentiable: PyTree) -> tuple[PyTree, PyTree]:
        result = fn(*eqx.combine(differentiable, constant))
        return keep_inexact(result), result

    _, pull, result = jax.vjp(call, *differentiable, has_aux=True)
    return result, pull(cotangents(result))


def vjp(fn: Callable, cotangent: PyTree, *args: Any) -> tuple[PyTree, ...]:
    """The gradients of `args` for a cotangent of `fn(*args)`."""
    return values_and_vjp(fn, lambda _: cotangent, *args)[1]
