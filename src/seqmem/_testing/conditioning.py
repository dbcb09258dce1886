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


class Results(NamedTuple):
    """One array, as the run and the loops compute it: see `compare`."""

    name: str
    run: np.ndarray
    loop: np.ndarray
    loop_nudged: np.ndarray
    loop_single: np.ndarray


class Verdict(NamedTuple):
    """How one array of a run compares with the loop.

    Attributes:
        is_compared: whether the array counts as compared; otherwise it is skipped.
        excess: the largest difference, as a multiple of what rounding explains; 0 where the array
            agrees.
        difference: the end of a sentence; None where the array agrees.
    """

    is_compared: bool
    excess: float = 0.0
    difference: str | None = None


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
    names = [label(path) for path, _ in jax.tree.leaves_with_path(got)]
    single = want if single is None else single
    columns = names, arrays(got), arrays(want), arrays(want_nudged), arrays(single)
    results = [Results(*row) for row in zip(*columns, strict=True)]
    for name, run, loop, *_ in results:
        if run.shape != loop.shape:
            return Comparison(f"{name} has shape {run.shape}, not {loop.shape}", 0, 0)
    # A small number may be the difference of large ones, as in the derivative of a saturated gate,
    # and these the products of others.
    rounding = ROUNDINGS * eps * max(1.0, largest(want)) * max(1.0, largest_input)
    verdicts = [judge(result, eps, rounding) for result in results]
    compared = sum(verdict.is_compared for verdict in verdicts)
    worst = max(verdicts, key=lambda verdict: verdict.excess, default=Verdict(True))
    return Comparison(worst.difference, compared, len(verdicts) - compared)


def judge(results: Results, eps: float, rounding: float) -> Verdict:
    """The rule, for one array.

    * It is skipped where the loop is not finite, or where the run is finite and rounding errors may
      grow to more than a tenth of the largest entry.
    * It disagrees where an entry differs by more than rounding explains, or is NaN.
    * It agrees otherwise.

    In both cases it counts as compared only if rounding explains at most a tenth of the largest
    entry.

    Args:
        results: of the run and of the loops.
        eps: the precision of the run.
        rounding: the error of a run whose errors do not grow.
    """
    name, run, loop, loop_nudged, loop_single = results
    if not (np.isfinite(loop).all() and np.isfinite(loop_nudged).all()):
        return Verdict(is_compared=False)
    wide = np.result_type(loop, np.float64)
    run_wide, loop = run.astype(wide), loop.astype(wide)
    scale = np.abs(loop).max(initial=0.0)
    change = np.abs(loop_nudged - loop).max(initial=0.0)
    error = np.nan_to_num(np.abs(loop_single - loop), nan=0.0, posinf=0.0).max(initial=0.0)
    growth = ROUNDINGS * eps * (change / NUDGE) + ERRORS_OF_THE_LOOP * error * eps / EPS_OF_SINGLE
    explained = growth + rounding

    is_sensitive = scale > 0 and max(growth, change) > ILL_CONDITIONED * scale
    if is_sensitive and np.isfinite(run).all():
        return Verdict(is_compared=False)
    is_compared = bool(scale == 0 or explained <= ILL_CONDITIONED * scale)
    apart = np.abs(run_wide - loop)
    if not apart.size or apart.max() <= explained:  # NaN is larger than everything
        return Verdict(is_compared)

    place = np.unravel_index(np.argmax(apart), apart.shape)
    where = f" at {[int(i) for i in place]}" if place else ""
    return Verdict(
        is_compared,
        float(np.nan_to_num(apart[place] / explained, nan=np.inf)),
        f"{name}{where} is {run[place]:.9g} and not {loop[place]:.9g}; rounding explains "
        f"{explained:.2g}",
    )


def arrays(tree: PyTree) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


def largest(tree: PyTree) -> float:
    """The largest absolute value of the finite numbers of a tree."""
    leaves = [np.abs(leaf) for leaf in jax.tree.leaves(tree)]
    return max(float(leaf[np.isfinite(leaf)].max(initial=0.0)) for leaf in leaves)
