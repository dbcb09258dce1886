"""One cell on trial: sequences made for it, every way to run them, and the loop that all must agree with."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jaxlib
import numpy as np
from jaxtyping import Array, PyTree

from .._cell import AbstractCell, project
from .._methods.base import AbstractMethod
from .._precision import as_precision, inexact, precision
from .._unroll import unroll
from .loop import Variation, first_state, loop, pulled, single_step, stacked, unstacked
from .verdict import LawBroken, NotJudged, furthest

# Different primes, so that no swapped axis hides; the last chunk and the last block are shorter.
TIME, BATCH, CHUNK = 7, 3, 3

WHOLE = np.full(BATCH, TIME)
SHORTER = np.array([TIME, 4, 0])
NONE = np.zeros((TIME, BATCH), bool)
SOME = NONE.copy()
# At the first step, inside, right behind the last valid step (t = 4 of the second), and far in the padding.
SOME[[2, 5, 0, 3, 4, 1], [0, 0, 1, 1, 1, 2]] = True

PLAIN = Variation("", WHOLE, NONE)
LENGTHS = Variation(" with lengths", SHORTER, NONE)
RESETS = Variation(" with resets", WHOLE, SOME)
BOTH = Variation(" with lengths and resets", SHORTER, SOME)


class Setting(NamedTuple):
    """One way to run a sequence."""

    method: AbstractMethod
    chunk: int | None = None
    reverse: bool = False
    bare: bool = False  # without lengths, resets and probes, from the initial state that all share

    def __str__(self) -> str:
        words = [repr(self.method)]
        if self.chunk is not None:
            words.append(f"chunk={self.chunk}")
        if self.reverse:
            words.append("reverse=True")
        return ", ".join(words)


def settings(methods: Sequence[AbstractMethod]) -> list[tuple[Setting, Setting]]:
    """Every method forward and backward in time, with and without chunks.

    Chunks of one step are compiled fastest; the second method, whose blocks are shorter than time, gets chunks
    that are longer than its blocks.
    """
    first = [
        (Setting(method), Setting(method, chunk=chunk, reverse=True))
        for method, chunk in zip(methods, (CHUNK, 5), strict=False)
    ]
    return first + [
        (Setting(method, chunk=1), Setting(method, reverse=True)) for method in methods[2:]
    ]


def evaluate(
    setting: Setting,
    cell: AbstractCell,
    state: PyTree,
    xs: PyTree,
    lengths: Array | None,
    resets: Array | None,
    probes: PyTree,
    cotangents: PyTree,
) -> dict[str, PyTree]:
    """Everything that `unroll` determines: outputs, final state, and the gradients of all there is."""

    def run(cell, state, xs, probes):
        return unroll(
            cell,
            cell.init_state() if setting.bare else state,
            xs,
            lengths=lengths,
            resets=resets,
            probes=probes,
            reverse=setting.reverse,
            method=setting.method,
            chunk=setting.chunk,
        )

    (final, ys), gradients = pulled(run, lambda _: cotangents, cell, state, xs, probes)
    return result(final, ys, *gradients)


def result(final, ys, d_cell, d_state, d_xs, d_probes=None) -> dict[str, PyTree]:
    """The keys are the words of a complaint."""
    return {
        "ys": ys,
        "final state": final,
        "gradient of the parameters": d_cell,
        "gradient of the state": d_state,
        "gradient of xs": d_xs,
        "gradient of the states": d_probes,
    }


@functools.cache
def compiled(fn: Callable, *static: int) -> Callable:
    """`fn` under jit, compiled in a hurry: the laws are about numbers, not about speed.

    Without optimisation XLA:CPU is several times faster, and up to jaxlib 0.11.0 also right where it is wrong
    with it (see `compiler_is_suspect`).
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
    """Whether this is an XLA known to compile plain loops wrongly: in float64 on the CPU, at tiny sizes."""
    version = tuple(int(part) for part in jaxlib.__version__.split(".")[:3])
    return jax.default_backend() == "cpu" and version < (0, 11, 1)


def normal(rng: np.random.Generator, like: Any) -> np.ndarray:
    """Normal numbers of a shape and dtype."""
    drawn = rng.normal(size=like.shape)
    if np.issubdtype(like.dtype, np.complexfloating):
        drawn = drawn + 1j * rng.normal(size=like.shape)
    return np.asarray(drawn).astype(like.dtype)


def tolerance(state: PyTree) -> float:
    """How far numbers may lie apart, relative to their size: a cell may insist on a float32 state."""
    return 1e-10 if precision(state) == np.float64 else 1e-4


class Trial:
    """A cell in float64 with sequences to run it on.

    Parameters that are 0 are moved a little, since a gradient that is multiplied by 0 tells nothing. States
    are such as the cell reaches by itself, different for each example.
    """

    def __init__(self, cell: AbstractCell, x: PyTree, methods: Sequence[AbstractMethod], seed: int):
        self.rng = np.random.default_rng(seed)
        self.cell = jax.tree.map(self._move, as_precision(cell, np.dtype(np.float64)))
        self.one = x
        self.methods = tuple(methods)
        self.both_ways = settings(methods)
        self.settings = [setting for both in self.both_ways for setting in both]
        self.xs = self.inputs(TIME, BATCH)
        self.state = self.reached(BATCH)
        shapes = jax.eval_shape(functools.partial(unroll, self.cell), self.state, self.xs)
        self.cotangents = jax.tree.map(self.normal, inexact_shapes(shapes))
        self.probes = jax.tree.map(
            lambda leaf: np.zeros((TIME, *leaf.shape), leaf.dtype), self.state
        )
        self.tolerance = tolerance(self.state)
        self._known: dict[Any, dict[str, PyTree]] = {}

    def inputs(self, *leading: int) -> PyTree:
        """Random inputs like the example: normal numbers, whole numbers up to the example's, coins."""

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
        for xs in unstacked(self.inputs(count, 2), 2):
            state = first_state(self.cell)
            for x in xs:
                state, _ = single_step(self.cell, state, x)
            states.append(state)
        return stacked(states)

    def random_state(self, scale: float) -> PyTree:
        """Any numbers in the shape of a state, complex ones off the axes; counters as the cell has them."""
        state = first_state(self.cell)
        return jax.tree.map(
            lambda leaf: scale * self.normal(leaf) if eqx.is_inexact_array(leaf) else leaf, state
        )

    def drive(self) -> PyTree:
        """The projection of a random input."""
        return project(self.cell, self.inputs(), first_state(self.cell))

    def normal(self, like: Any) -> np.ndarray:
        """Normal numbers of a shape and dtype."""
        return normal(self.rng, like)

    def disturb(self, leaf: Any) -> Any:
        """A parameter near by."""
        return leaf + 0.1 * self.normal(leaf) if eqx.is_inexact_array(leaf) else leaf

    def _move(self, leaf: Any) -> Any:
        if not eqx.is_inexact_array(leaf):
            return leaf
        leaf = np.asarray(leaf)
        return jnp.asarray(np.where(leaf == 0, 0.1 * self.normal(leaf), leaf))

    def run(self, setting: Setting, variation: Variation, **other: PyTree) -> dict[str, PyTree]:
        """What a setting makes of a variation; of other xs, state or cotangents where they are given."""
        key = setting, variation.name
        if not other and not jax.config.jax_disable_jit and key in self._known:
            return self._known[key]
        given = {"xs": self.xs, "state": self.state, "cotangents": self.cotangents} | other
        marks = (variation.lengths, variation.resets, self.probes)
        out = jax.tree.map(
            np.asarray,
            compiled(evaluate, 0)(
                setting,
                self.cell,
                None if setting.bare else given["state"],
                given["xs"],
                *((None, None, None) if setting.bare else marks),
                given["cotangents"],
            ),
        )
        if not other and not jax.config.jax_disable_jit:
            self._known[key] = out
        return out

    def loop(self, setting: Setting, variation: Variation, cell=None) -> dict[str, PyTree]:
        """What the Python loop makes of it."""
        key = "loop", setting.reverse, setting.bare, variation.name
        if cell is None and key in self._known:
            return self._known[key]
        out = looped(
            cell or self.cell,
            None if setting.bare else self.state,
            self.xs,
            variation,
            self.cotangents,
            reverse=setting.reverse,
        )
        if cell is None:
            self._known[key] = out
        return out

    def disturbed(self, setting: Setting, variation: Variation) -> dict[str, PyTree]:
        """∂L/∂s_t by disturbing the state at every step of the Python loop."""
        key = "disturbed", setting.reverse, variation.name
        if key not in self._known:
            out = looped(
                self.cell,
                self.state,
                self.xs,
                variation,
                self.cotangents,
                reverse=setting.reverse,
                probes=self.probes,
            )
            self._known[key] = {"gradient of the states": out["gradient of the states"]}
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
                    f"{how}, but only when compiled: XLA of jaxlib {jaxlib.__version__} is wrong here, "
                    "not the cell; jaxlib 0.11.1 or newer is right"
                )
        raise LawBroken(law, f"{how}; {where}")


def inexact_shapes(shapes: PyTree) -> PyTree:
    """The shapes of what can be differentiated; None elsewhere."""
    return jax.tree.map(
        lambda leaf: leaf if jnp.issubdtype(leaf.dtype, jnp.inexact) else None, shapes
    )


def without(out: dict[str, PyTree]) -> dict[str, PyTree]:
    """All but the gradients of the probes, which have a law of their own."""
    return {name: tree for name, tree in out.items() if name != "gradient of the states"}


def looped(
    cell: AbstractCell,
    state: PyTree,
    xs: PyTree,
    variation: Variation,
    cotangents: PyTree,
    *,
    reverse: bool,
    probes: PyTree = None,
) -> dict[str, PyTree]:
    """`evaluate` by the Python loop; a state of None is the initial one."""
    d_final, d_ys = cotangents

    def run(cell, states, xs, probes):
        states = [first_state(cell) for _ in xs] if states is None else states
        return loop(cell, states, xs, variation, reverse=reverse, probes=probes)

    def wanted(out):
        return unstacked(d_final, 1), [
            [None if y is None else d for y, d in zip(*both, strict=True)]
            for both in zip(out[1], unstacked(time_second(d_ys), 2), strict=True)
        ]

    def steps(tree: PyTree) -> list[list[PyTree]] | None:
        return None if tree is None else unstacked(time_second(tree), 2)

    states = None if state is None else unstacked(state, 1)
    (finals, outputs), (d_cell, d_states, d_xs, d_probes) = pulled(
        run, wanted, cell, states, steps(xs), steps(probes)
    )
    y = jax.eval_shape(single_step, cell, finals[0], steps(xs)[0][0])[1]
    nothing = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), y)
    return result(
        stacked(finals),
        over_time(outputs, nothing),
        d_cell,
        None if d_states is None else stacked(d_states),
        over_time(d_xs),
        None if d_probes is None else over_time(d_probes),
    )


def time_second(tree: PyTree) -> PyTree:
    """Time first to batch first, or back."""
    return jax.tree.map(lambda leaf: np.swapaxes(leaf, 0, 1), tree)


def over_time(sequences: list[list[PyTree]], nothing: PyTree = None) -> PyTree:
    """The steps of all sequences as arrays, time first; `nothing` where a step is None."""
    filled = [
        stacked([nothing if step is None else step for step in sequence]) for sequence in sequences
    ]
    return time_second(stacked(filled))
