"""Comparison of a run with the loop where rounding errors may grow: chaotic cells, extreme numbers.

How much rounding errors may grow is measured: the loop runs a second time, from parameters, inputs
and a state that are changed by a relative ε. An error of one rounding in the run may grow as much
as these changes did. Numbers inside of a step may be larger than all that goes in and out. So where
a run differs by more, the loop runs in float32 too: the run may be as wrong as that, times the
ratio of the precisions.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from .comparison import label

NUDGE = 1e-10  # relative change of the second run
ROUNDINGS = 1e4  # roundings that an entry may have behind it
ERRORS_OF_THE_LOOP = 10.0  # as many errors of the loop in float32
EPS_OF_SINGLE = float(np.finfo(np.float32).eps)
ILL_CONDITIONED = 0.1  # a relative error that may be rounding tells nothing


class Comparison(NamedTuple):
    """How a run compares with the loop.

    Attributes:
        difference: the end of a sentence; None where nothing differs by more than rounding.
        leaves: how many arrays were compared.
        skipped: how many could not be: rounding alone may change them by more than a tenth, or does
            so in the loop, or the loop itself is not finite.
    """

    difference: str | None
    leaves: int
    skipped: int


def nudged(rng: np.random.Generator, tree: PyTree) -> PyTree:
    """A tree whose numbers are changed by a relative `NUDGE`, up or down."""

    def nudge(leaf: Any) -> Any:
        if not jnp.issubdtype(leaf.dtype, jnp.inexact):
            return leaf
        leaf = np.asarray(leaf)
        return leaf * (1 + NUDGE * rng.choice([-1.0, 1.0], leaf.shape))

    return jax.tree.map(nudge, tree)


def compare(
    got: PyTree,
    want: PyTree,
    want_nudged: PyTree,
    eps: float,
    single: PyTree = None,
    *,
    largest_input: float = 1.0,
    may_overflow: bool = False,
) -> Comparison:
    """A run against the loop.

    Args:
        got: the results of the run.
        want: those of the loop, in float64.
        want_nudged: those of the loop from nudged numbers.
        eps: the precision of the run.
        single: those of the loop in float32, which may explain a difference.
        largest_input: the largest number among parameters and inputs.
        may_overflow: whether NaN in `single` explains all differences of a run in float32.
    """
    if jax.tree.structure(got) != jax.tree.structure(want):
        structures = jax.tree.structure(got), jax.tree.structure(want)
        return Comparison(f"the tree is {structures[0]} instead of {structures[1]}", 0, 0)
    if may_overflow and not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(single)):
        return Comparison(None, 0, len(jax.tree.leaves(want)))
    # A small number may be the difference of large ones, as in the derivative of a saturated gate,
    # and these the products of others.
    floor = max(1.0, largest(want)) * max(1.0, largest_input)
    leaves = skipped = 0
    worst: tuple[float, str] | None = None
    rows = zip(
        jax.tree.leaves_with_path(got),
        jax.tree.leaves(want),
        jax.tree.leaves(want_nudged),
        jax.tree.leaves(want if single is None else single),
        strict=True,
    )
    for (path, one), other, other_nudged, in_single in rows:
        one, other, other_nudged = (np.asarray(leaf) for leaf in (one, other, other_nudged))
        if one.shape != other.shape:
            return Comparison(f"{label(path)} has shape {one.shape}, not {other.shape}", leaves, 0)
        if not (np.isfinite(other).all() and np.isfinite(other_nudged).all()):
            skipped += 1
            continue
        wide = np.result_type(other, np.float64)
        other = other.astype(wide)
        scale = np.abs(other).max(initial=0.0)
        growth = np.abs(other_nudged - other).max(initial=0.0) / NUDGE
        error = np.nan_to_num(np.abs(in_single - other), nan=0.0, posinf=0.0).max(initial=0.0)
        explained = ROUNDINGS * eps * growth + ERRORS_OF_THE_LOOP * error * eps / EPS_OF_SINGLE
        allowed = explained + ROUNDINGS * eps * floor
        is_sensitive = max(explained, growth * NUDGE) > ILL_CONDITIONED * scale
        if scale > 0 and is_sensitive and np.isfinite(one).all():
            skipped += 1
            continue
        tells = bool(scale == 0 or allowed <= ILL_CONDITIONED * scale)
        leaves, skipped = leaves + tells, skipped + (not tells)
        apart = np.abs(one.astype(wide) - other)
        if not apart.size or apart.max() <= allowed:  # NaN is larger than everything
            continue
        place = np.unravel_index(np.argmax(apart), apart.shape)
        ratio = float(np.nan_to_num(apart[place] / allowed, nan=np.inf))
        if worst is None or ratio > worst[0]:
            where = f" at {[int(i) for i in place]}" if place else ""
            worst = (
                ratio,
                f"{label(path)}{where} is {one[place]:.9g} and not {other[place]:.9g}; rounding "
                f"explains {allowed:.2g}",
            )
    return Comparison(worst and worst[1], leaves, skipped)


def largest(tree: PyTree) -> float:
    """The largest absolute value of the finite numbers of a tree."""
    leaves = [np.abs(leaf) for leaf in jax.tree.leaves(tree)]
    return max(float(leaf[np.isfinite(leaf)].max(initial=0.0)) for leaf in leaves)
