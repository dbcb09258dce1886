"""One cell on trial: sequences made for it, and the loop that every way to run them must equal."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jaxlib.version
import numpy as np
from jaxtyping import PyTree

from .._core.cell import AbstractCell, project
from .._core.method import AbstractMethod
from .._core.precision import as_precision, precision
from .._unroll import unroll
from .compiler import compiled, compiler_is_suspect
from .evaluate import Setting, both_ways, evaluate
from .loop import Variation, first, looped, stacked, step, unstacked
from .verdict import LawBroken, NotJudged, furthest

TIME, BATCH = 7, 3  # different primes, so that no swapped axis hides

WHOLE = np.full(BATCH, TIME)
SHORTER = np.array([TIME, 4, 0])
NONE = np.zeros((TIME, BATCH), bool)
SOME = NONE.copy()
# At the first step, inside, right behind the last valid step (t = 4 of the second sequence), and
# far in the padding.
SOME[[2, 5, 0, 3, 4, 1], [0, 0, 1, 1, 1, 2]] = True

PLAIN = Variation("", WHOLE, NONE)
LENGTHS = Variation(" with lengths", SHORTER, NONE)
RESETS = Variation(" with resets", WHOLE, SOME)
BOTH = Variation(" with lengths and resets", SHORTER, SOME)


def normal(rng: np.random.Generator, like: Any) -> np.ndarray:
    """Normal numbers of a shape and dtype."""
    drawn = rng.normal(size=like.shape)
    if np.issubdtype(like.dtype, np.complexfloating):
        drawn = drawn + 1j * rng.normal(size=like.shape)
    return np.asarray(drawn).astype(like.dtype)


def tolerance(state: PyTree) -> float:
    """How far numbers may lie apart, for their size: a cell may insist on a float32 state."""
    return 1e-10 if precision(state) in (None, np.float64) else 1e-4


def inexact_shapes(shapes: PyTree) -> PyTree:
    """The shapes of what can be differentiated; None elsewhere."""
    return jax.tree.map(
        lambda leaf: leaf if jnp.issubdtype(leaf.dtype, jnp.inexact) else None, shapes
    )


def runs_apart_with_perturbations(cell: AbstractCell) -> bool:
    """Whether the family runs a cell in another way where there are perturbations, so that laws
    without perturbations say nothing when tested with them.
    """
    return cell.family.parallel is not None and cell.family.vjp_rule is None


class Trial:
    """A cell in float64 with sequences to run it on.

    Parameters that are 0 are moved a little, since a gradient that is multiplied by 0 tells
    nothing. States are such as the cell reaches by itself, different for each example.
    """

    def __init__(self, cell: AbstractCell, x: PyTree, methods: Sequence[AbstractMethod], seed: int):
        self.rng = np.random.default_rng(seed)
        self.cell = jax.tree.map(self._move, as_precision(cell, np.dtype(np.float64)))
        self.one = x
        self.methods = tuple(methods)
        self.both_ways = both_ways(methods)
        self.settings = [setting for both in self.both_ways for setting in both]
        self.xs = self.inputs(TIME, BATCH)
        self.state = self.reached(BATCH)
        shapes = jax.eval_shape(functools.partial(unroll, self.cell), self.state, self.xs)
        self.cotangents = jax.tree.map(self.normal, inexact_shapes(shapes))
        self.perturbations = jax.tree.map(
            lambda leaf: np.zeros((TIME, *leaf.shape), leaf.dtype), self.state
        )
        self.tolerance = tolerance(self.state)
        self._known: dict[Any, dict[str, PyTree]] = {}

    def inputs(self, *leading: int) -> PyTree:
        """Random inputs like the example: normal, or whole numbers up to its largest, or coins."""

        def draw(leaf: Any) -> np.ndarray:
            leaf = np.asarray(leaf)
            shape = leading + leaf.shape
            if np.issubdtype(leaf.dtype, np.inexact):
                return self.normal(jax.ShapeDtypeStruct(shape, leaf.dtype))
            top = 2 if leaf.dtype == bool else 1 + int(np.max(leaf, initial=0))
            return self.rng.integers(0, top, shape).astype(leaf.dtype)

        return jax.tree.map(draw, as_precision(self.one, np.dtype(np.float64)))

    def reached(self, count: int) -> PyTree:
        """States that the cell reaches in two steps, one for each of so many examples."""
        states = []
        for xs in unstacked(self.inputs(count, 2), count, 2):
            state = compiled(first)(self.cell)
            for x in xs:
                state, _ = compiled(step)(self.cell, state, x, None)
            states.append(state)
        return stacked(states)

    def random_state(self, scale: float) -> PyTree:
        """Any numbers in the shape of a state, complex ones off the axes; counters as they are."""
        return jax.tree.map(
            lambda leaf: scale * self.normal(leaf) if eqx.is_inexact_array(leaf) else leaf,
            compiled(first)(self.cell),
        )

    def drive(self) -> PyTree:
        """The projection of a random input."""
        return project(self.cell, self.inputs(), compiled(first)(self.cell))

    def normal(self, like: Any) -> np.ndarray:
        """Normal numbers of a shape and dtype."""
        return normal(self.rng, like)

    def near(self, leaf: Any) -> Any:
        """A parameter not far from this one."""
        return leaf + 0.1 * self.normal(leaf) if eqx.is_inexact_array(leaf) else leaf

    def _move(self, leaf: Any) -> Any:
        if not eqx.is_inexact_array(leaf):
            return leaf
        leaf = np.asarray(leaf)
        return jnp.asarray(np.where(leaf == 0, 0.1 * self.normal(leaf), leaf))

    def run(
        self, setting: Setting, variation: Variation, *, perturbed: bool = False, **other: PyTree
    ) -> dict[str, PyTree]:
        """What a setting makes of a variation, where given of other xs, state or cotangents."""
        perturbed = perturbed or not runs_apart_with_perturbations(self.cell)

        def compute() -> dict[str, PyTree]:
            given = {"xs": self.xs, "state": self.state, "cotangents": self.cotangents} | other
            marks = (variation.lengths, variation.resets, self.perturbations if perturbed else None)
            out = compiled(evaluate, 0)(
                setting,
                self.cell,
                None if setting.bare else given["state"],
                given["xs"],
                *((None, None, None) if setting.bare else marks),
                given["cotangents"],
            )
            return jax.tree.map(np.asarray, out)

        if other or jax.config.jax_disable_jit:  # pyright: ignore
            return compute()
        return self._remembered((setting, variation.name, perturbed), compute)

    def loop(
        self, setting: Setting, variation: Variation, *, perturbed: bool = False
    ) -> dict[str, PyTree]:
        """What the Python loop makes of it."""
        return self._remembered(
            ("loop", setting.bare, setting.reverse, variation.name, perturbed),
            lambda: looped(
                self.cell,
                None if setting.bare else self.state,
                self.xs,
                variation,
                self.cotangents,
                reverse=setting.reverse,
                perturbations=self.perturbations if perturbed else None,
            ),
        )

    def _remembered(self, key: Any, compute: Callable[[], dict[str, PyTree]]) -> dict[str, PyTree]:
        if key not in self._known:
            self._known[key] = compute()
        return self._known[key]

    def agree(self, law: str, compute: Callable[[], PyTree], want: PyTree, how: str) -> None:
        """Raise where what is computed is not what is wanted; the compiler is asked first."""
        where = furthest(compute(), want, self.tolerance)
        if where is None:
            return
        if compiler_is_suspect():
            with jax.disable_jit():
                right = furthest(compute(), want, self.tolerance) is None
            if right:
                raise NotJudged(
                    f"{how}, but only when compiled: the XLA of jaxlib "
                    f"{jaxlib.version.__version__} is "
                    "wrong here, not the cell; jaxlib 0.11.1 or newer is right"
                )
        raise LawBroken(law, f"{how}; {where}")
