"""What the decoders accept."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, PyTree

from .._core.errors import bad_input
from .._core.problem import State


def check_count(name: str, value: Any) -> None:
    """Raise a `ValueError` unless `value` is a whole number, at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise bad_input(
            f"{name}={value!r}.",
            "a whole number, at least 1.",
            "choose one; it is part of the compiled program.",
        )


def check_number(name: str, value: Any, fits: Any, expected: str, remedy: str) -> None:
    """Raise a `ValueError` unless `fits(value)`; a traced value is not looked at."""
    if not isinstance(value, Tracer) and not fits(float(value)):
        raise bad_input(f"{name}={value!r}.", expected, remedy)


def check_step(step: Any, state: State, begin: Array, end: Array) -> None:
    """Raise a `ValueError` where a step does not give back what it is given."""
    for name, token in (("begin", begin), ("end", end)):
        if token.shape or token.dtype != jnp.int32:
            raise bad_input(
                f"{name} is {token.dtype} of shape {token.shape}.",
                "the id of one token: these functions are of one sequence.",
                "map them over a batch, jax.vmap(lambda state: greedy(step, state, ...))(states).",
            )
    found = jax.eval_shape(step, state, begin)
    if not isinstance(found, tuple) or len(found) != 2:
        raise bad_input(
            f"the step returned a {type(found).__name__}.",
            "a tuple (state, logits).",
            "return the state first, as a cell does.",
        )
    after, logits = found
    if _kinds(after) != _kinds(state):
        raise bad_input(
            f"the step turned a state of {_kinds(state)[1]} into one of {_kinds(after)[1]}.",
            "the same tree, shapes and dtypes.",
            "give back every leaf as it came in; what never changes belongs into the step.",
        )
    fine = hasattr(logits, "ndim") and logits.ndim == 1 and logits.shape[0] > 0
    if not fine or not jnp.issubdtype(logits.dtype, jnp.floating):
        raise bad_input(
            f"the step returned logits {logits}.",
            "one real number for each token, of shape (tokens,).",
            "write the step for one sequence without batch axes.",
        )


def _kinds(tree: PyTree) -> tuple:
    leaves, structure = jax.tree.flatten(jax.eval_shape(lambda: tree))
    return structure, [(leaf.shape, leaf.dtype) for leaf in leaves]
