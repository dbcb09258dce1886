"""A scan that sums a part of its results."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from .._core.errors import bad_input
from .._core.precision import state_dtype
from ._gradient import Carry


def scan_sums(
    body: Callable[[Carry, PyTree], tuple[Carry, PyTree, PyTree]], carry: Carry, xs: PyTree
) -> tuple[Carry, PyTree, PyTree]:
    """`jax.lax.scan` of body(carry, x) -> (carry, terms, y), which sums the terms and stacks the y.

    Sums are in at least float32, then rounded once to the dtypes of the terms.

    Raises:
        ValueError: where the body returns a carry of another tree, shape or dtype.
    """
    first = jax.tree.map(lambda leaf: leaf[0], xs)
    new_carry, terms, _ = jax.eval_shape(body, carry, first)
    _check_carry(carry, new_carry)

    def step(loop_state: tuple[Carry, PyTree], x: PyTree) -> tuple[tuple[Carry, PyTree], PyTree]:
        carry, sums = loop_state
        carry, terms, y = body(carry, x)
        sums = jax.tree.map(lambda total, term: total + term.astype(total.dtype), sums, terms)
        return (carry, sums), y

    zeros = jax.tree.map(lambda leaf: jnp.zeros_like(leaf, state_dtype(leaf)), terms)
    (carry, sums), ys = jax.lax.scan(step, (carry, zeros), xs)
    return carry, jax.tree.map(lambda total, term: total.astype(term.dtype), sums, terms), ys


def _check_carry(old: Carry, new: Any) -> None:
    def shapes(tree: PyTree) -> PyTree:
        return jax.tree.map(lambda leaf: (jnp.shape(leaf), str(jnp.result_type(leaf))), tree)

    if jax.tree.structure(old) != jax.tree.structure(new) or shapes(old) != shapes(new):
        raise bad_input(
            f"the state is {shapes(old)}, and the loss returns {shapes(new)}.",
            "a state with the same tree, shapes and dtypes after every segment.",
            "start from cell.init_state(*batch).",
        )
