"""Fixed and slow points of a cell under a constant input."""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Int, PRNGKeyArray, PyTree

from .._core.arguments import check_run
from .._core.batching import per_example_parts
from .._core.cell import AbstractCell
from .._core.errors import bad_input
from .._core.problem import State
from .._core.shapes import leading_axes
from .._core.validation import check_count, check_positive
from ._point_search import search
from ._state_vectors import axes_of_states, state_vectors
from ._step_map import StepMap

TOLERANCES = {32: 1e-10, 64: 1e-20}  # of q, by the bits of a state's entry
ENTRIES_AT_ONCE = 2**22  # of the Jacobians of the starts that are searched side by side
FIRST_STEPS = 40  # then the few starts that need more go on without the others


class FixedPoints(NamedTuple):
    """The result of `fixed_points`: distinct points by increasing q, as arrays of NumPy.

    Attributes:
        states: in the tree of the cell's state.
        vectors: the same as vectors, see `state_vectors`.
        q: ½‖F(s, x) − s‖².
        gradient_norm: ‖∇q‖.
        is_fixed: whether q is at most the tolerance.
        is_slow: whether the point is not fixed, but a minimum of q: ‖∇q‖ is small in relation to
            ‖F − s‖. Neither holds of a point where the search ended early.
        counts: how many of the starts ended at the point.
        start_distance: how far the nearest start is. A point far from all of them may be one that
            no trajectory comes near, such as a state beyond the range of a saturated gate.
    """

    states: State
    vectors: Float[np.ndarray, "points n"]
    q: Float[np.ndarray, " points"]
    gradient_norm: Float[np.ndarray, " points"]
    is_fixed: Bool[np.ndarray, " points"]
    is_slow: Bool[np.ndarray, " points"]
    counts: Int[np.ndarray, " points"]
    start_distance: Float[np.ndarray, " points"]

    @property
    def converged(self) -> Bool[np.ndarray, " points"]:
        """Whether the search reached a fixed or a slow point."""
        return self.is_fixed | self.is_slow

    def select(self, which: Any) -> "FixedPoints":
        """Some of the points, by booleans or indices: `points.select(points.is_fixed)`."""
        return FixedPoints(*jax.tree.map(lambda leaf: leaf[which], tuple(self)))


def fixed_points(
    cell: AbstractCell,
    x: PyTree,
    states: State,
    *,
    noise: float = 0.0,
    tolerance: float | None = None,
    gradient_tolerance: float = 1e-3,
    distance: float = 1e-3,
    max_steps: int = 200,
    key: PRNGKeyArray | None = None,
) -> FixedPoints:
    """States that a cell leaves as they are, or nearly so, while its input is x.

        q(s) = ½ ‖F(s, x) − s‖²

    is minimised from every start by the method of Levenberg and Marquardt, then by Newton's method
    for F(s, x) = s. A minimum with q = 0 is a fixed point, another one a slow point. Points closer
    than `distance` are one. Starts whose q is not finite are dropped.

    A point that is not stable is found as well as a stable one, but only from starts near it: take
    starts from trajectories, `solve(..., return_states=True).states`, with some noise. Use float64
    (`jax.enable_x64`) and a cell cast to it: in float32 q is rounded at about n · 10⁻¹⁵ |s|².

    Cost: O(n³) per start and step. Starts are searched side by side, as many as have Jacobians of
    4 million entries; those that need more than 40 steps go on without the others. Points are
    sorted and merged on the host, so this is no function for jit.

    Source: Sussillo & Barak 2013, "Opening the black box", Neural Computation 25(3),
    doi:10.1162/NECO_a_00409, for q and its minima (of the paper only the abstract was read; q is as
    in Golub & Sussillo 2018, JOSS 3(31), 1003). Differs: the method of descent.

    Args:
        cell: a cell whose state has real floating point entries only.
        x: one input, without time and batch.
        states: the starts, a tree like `cell.init_state()` with any axes in front.
        noise: standard deviation of normal noise that is added to every entry of the starts.
        tolerance: the largest q of a fixed point, > 0; None is 10⁻²⁰ for float64, 10⁻¹⁰ for
            float32.
        gradient_tolerance: the largest ‖∇q‖ / ‖F − s‖ of a slow point, > 0.
        distance: Euclidean, in units of the state, > 0.
        max_steps: of the descent, >= 1.
        key: random key for the noise.

    Raises:
        ValueError: for arguments out of range, a state with complex, integer or no entries, a
            `PerExample` in the cell, more than one input, no start, or noise without a key.

    Example:
        >>> import equinox as eqx, jax, jax.numpy as jnp, seqmem
        >>> cell = seqmem.RNN(1, 1, key=jax.random.key(0))  # h' = tanh(2 h)
        >>> cell = eqx.tree_at(lambda cell: cell.U, cell, jnp.array([[2.0]]))
        >>> starts = jnp.linspace(-1, 1, 8)[:, None]
        >>> points = seqmem.dynamics.fixed_points(cell, jnp.zeros(1), starts)
        >>> [f"{abs(h):.4f}" for h in sorted(points.vectors[:, 0])]
        ['0.9575', '0.0000', '0.9575']
    """
    leading = axes_of_states(cell, states)
    size = StepMap.of(cell).size
    _check_cell(cell)
    check_run(cell, None, jax.tree.map(lambda leaf: np.asarray(leaf)[None], x))
    _check_one_input(cell, x)
    _check_settings(noise, key, max_steps, math.prod(leading))
    for name, value in (("gradient_tolerance", gradient_tolerance), ("distance", distance)):
        check_positive("fixed_points", name, value, remedy="leave it out for 1e-3.")
    starts = state_vectors(cell, states).reshape(-1, size)
    if tolerance is None:
        tolerance = TOLERANCES[jnp.finfo(starts.dtype).bits]
    check_positive("fixed_points", "tolerance", tolerance, remedy="leave it out.")
    if key is not None:
        starts += noise * jax.random.normal(key, starts.shape, starts.dtype)
    find = functools.partial(_search_all, cell, jax.tree.map(jnp.asarray, x), distance)
    measure = functools.partial(_classify, tolerance, gradient_tolerance)
    ends = find(starts, min(max_steps, FIRST_STEPS))
    rest = np.flatnonzero(np.isfinite(ends.q) & ~np.logical_or(*measure(ends)))
    if rest.size and max_steps > FIRST_STEPS:
        # Some of them twice, so that few sizes of this program are compiled.
        rest = np.resize(rest, 2 ** math.ceil(math.log2(rest.size)))
        later_ends = find(ends.vectors[rest], max_steps - FIRST_STEPS)
        for leaf, new in zip(ends, later_ends, strict=True):
            leaf[rest] = new
    indices, counts = _merge(ends, distance)
    ends = _Endpoints(*(leaf[indices] for leaf in ends))
    gaps = [np.linalg.norm(np.asarray(starts) - v, axis=1) for v in ends.vectors]
    return FixedPoints(
        _as_states(cell, ends.vectors),
        *ends,
        *measure(ends),
        counts,
        np.array([np.nanmin(gap) for gap in gaps], ends.q.dtype),
    )


class _Endpoints(NamedTuple):
    """Where searches ended, one entry per search."""

    vectors: Float[np.ndarray, "searches n"]
    q: Float[np.ndarray, " searches"]
    gradient_norm: Float[np.ndarray, " searches"]


def _classify(
    tolerance: float, gradient_tolerance: float, ends: _Endpoints
) -> tuple[Bool[np.ndarray, " searches"], Bool[np.ndarray, " searches"]]:
    """Which are fixed, and which are slow."""
    is_fixed = ends.q <= tolerance
    is_flat = ends.gradient_norm <= gradient_tolerance * np.sqrt(2 * ends.q)
    return is_fixed, ~is_fixed & is_flat


def _as_states(cell: AbstractCell, vectors: Float[np.ndarray, "points n"]) -> State:
    """Vectors in the tree of the state, cut on the host in the order of `ravel_pytree`."""
    leaves, tree = jax.tree.flatten(jax.eval_shape(cell.init_state))
    cuts = np.cumsum([leaf.size for leaf in leaves])[:-1]
    parts = zip(leaves, np.split(vectors, cuts, axis=1), strict=True)
    return tree.unflatten(
        [part.reshape(-1, *leaf.shape).astype(leaf.dtype) for leaf, part in parts]
    )


def _search_all(
    cell: AbstractCell, x: PyTree, length: float, starts: ArrayLike, max_steps: int
) -> _Endpoints:
    """Searches from all starts, in groups; the last start stands for those that fill a group."""
    starts = jnp.asarray(starts)
    count, size = starts.shape
    group = min(count, max(1, ENTRIES_AT_ONCE // size**2))
    filled = jnp.concatenate([starts, jnp.repeat(starts[-1:], -count % group, 0)])
    groups = filled.reshape(-1, group, size)
    ends = _search_groups(cell, x, groups, max_steps=max_steps, length=length)
    return _Endpoints(*(np.array(leaf)[:count] for leaf in ends))


@jax.jit
def _search_groups(cell, x, groups, *, max_steps, length):
    step = StepMap.of(cell).map_at(cell.init_state(), x)

    def of_one(start):
        point = search(step, start, max_steps=max_steps, newton_length=length)
        return point.v, point.q, jnp.linalg.norm(point.gradient)

    ends = jax.lax.map(jax.vmap(of_one), groups)
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), ends)


def _merge(ends: _Endpoints, distance: float) -> tuple[list[int], Int[np.ndarray, " points"]]:
    """The indices of distinct points by increasing q, and how many of the searches are at each."""
    vectors, q = ends.vectors, ends.q
    indices: list[int] = []
    counts: list[int] = []
    for index in np.argsort(q, kind="stable"):
        if not np.isfinite(q[index]):
            continue
        gaps = np.linalg.norm(vectors[indices] - vectors[index], axis=-1)
        if len(gaps) and gaps.min() <= distance:
            counts[gaps.argmin()] += 1
        else:
            indices.append(int(index))
            counts.append(1)
    return indices, np.array(counts, int)


def _check_cell(cell: AbstractCell) -> None:
    """Refuse parts that differ between examples, and an entry of the state that the search cannot
    move, such as a counter.
    """
    if per_example_parts(cell):
        raise bad_input(
            f"fixed_points got a {type(cell).__name__} with a PerExample.",
            "a cell with one value for all examples.",
            "replace the PerExample by the value of one example.",
        )
    init = jax.eval_shape(cell.init_state)
    dtypes = {str(leaf.dtype) for leaf in jax.tree.leaves(init)}
    if not all(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in jax.tree.leaves(init)):
        raise bad_input(
            f"fixed_points got a {type(cell).__name__}, whose state has entries of "
            f"{', '.join(sorted(dtypes))}.",
            "a state with real floating point entries only.",
            "write a cell without the other entries: a state that counts has no fixed point.",
        )


def _check_one_input(cell: AbstractCell, x: PyTree) -> None:
    leading = leading_axes(cell.input_shape, jax.tree.map(lambda leaf: np.asarray(leaf)[None], x))
    if leading != (1,):
        raise bad_input(
            f"fixed_points got inputs with the axes {leading[1:]} in front.",
            f"one input of shape {cell.input_shape}, without time and batch.",
            "call it once for each input.",
        )


def _check_settings(
    noise: float, key: PRNGKeyArray | None, max_steps: int, num_starts: int
) -> None:
    check_count("fixed_points", "max_steps", max_steps, remedy="leave it out for 200.")
    if not num_starts:
        raise bad_input(
            "fixed_points got no state to start from.",
            "at least one.",
            "pass the states of a trajectory, or cell.init_state().",
        )
    if not noise >= 0 or bool(noise) != (key is not None):
        raise bad_input(
            f"fixed_points got noise={noise!r} and {'no' if key is None else 'a'} key.",
            "a number above 0 with a key, or neither.",
            "pass key=jax.random.key(0), or leave the noise out.",
        )
