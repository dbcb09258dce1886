"""Sums over the runs of a loop."""

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
    """`lax.scan` of body(carry, x) -> (carry, parts, ys), with the parts summed in at least
    float32.
    """
    first = jax.tree.map(lambda leaf: leaf[0], xs)
    after, parts, _ = jax.eval_shape(body, carry, first)
    _check_carry(carry, after)

    def step(both: tuple[Carry, PyTree], x: PyTree) -> tuple[tuple[Carry, PyTree], PyTree]:
        carry, sums = both
        carry, parts, ys = body(carry, x)
        return (carry, jax.tree.map(lambda s, part: s + part.astype(s.dtype), sums, parts)), ys

    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, state_dtype(leaf)), parts)
    (carry, sums), ys = jax.lax.scan(step, (carry, zeros), xs)
    return carry, jax.tree.map(lambda s, part: s.astype(part.dtype), sums, parts), ys


def _check_carry(before: Carry, after: Any) -> None:
    def shapes(tree: PyTree) -> PyTree:
        return jax.tree.map(lambda leaf: (jnp.shape(leaf), str(jnp.result_type(leaf))), tree)

    if jax.tree.structure(before) != jax.tree.structure(after) or shapes(before) != shapes(after):
        raise bad_input(
            f"the state is {shapes(before)}, and the loss returns {shapes(after)}.",
            "a state that keeps its tree, shapes and dtypes from window to window.",
            "start from cell.init_state() with the batch axes in front of every leaf.",
        )
