"""The search for a point where a map moves slowly, from one start: least squares, then Newton."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

NEWTON_STEPS = 5
Map = Callable[[Array], Array]


class Point(NamedTuple):
    """A point of the search and what the next step needs.

    Attributes:
        v: the point.
        r: r(v) = F(v) − v.
        A: ∂r/∂v.
    """

    v: Float[Array, " n"]
    r: Float[Array, " n"]
    A: Float[Array, "n n"]

    @property
    def q(self) -> Float[Array, ""]:
        """½‖r‖²."""
        return 0.5 * (self.r @ self.r)

    @property
    def gradient(self) -> Float[Array, " n"]:
        """∇q = Aᵀ r."""
        return self.r @ self.A


class _Search(NamedTuple):
    """The carry of the loop.

    Attributes:
        point: the best point so far.
        change: from it to the point that is tried next.
        predicted: how much the linear model says that the change lowers q.
        damping: μ.
        growth: the factor by which the next failure multiplies μ.
        step: steps of the descent so far.
        newton: 0 during the descent, else the number of the Newton step.
        is_done: whether the search has ended.
    """

    point: Point
    change: Float[Array, " n"]
    predicted: Float[Array, ""]
    damping: Float[Array, ""]
    growth: Float[Array, ""]
    step: Int[Array, ""]
    newton: Int[Array, ""]
    is_done: Bool[Array, ""]


def search(
    step: Map, start: Float[Array, " n"], *, max_steps: int | Array, newton_length: float | Array
) -> Point:
    """The point that a descent on q = ½‖F(v) − v‖² reaches, improved by Newton's method.

    The descent is that of Levenberg and Marquardt, (AᵀA + μ I) δ = −Aᵀ r, with Nielsen's rule for
    μ; q never grows. Then Newton's steps A δ = −r are taken as long as they lower q and are not
    longer than `newton_length`, so that a slow point stays one. Both evaluate and solve in one
    place of the program, which makes it a third as large.

    Args:
        step: F, a map of vectors.
        start: where the search begins.
        max_steps: of the descent.
        newton_length: the length of the longest Newton step.
    """
    size, one = len(start), jnp.ones((), start.dtype)
    nowhere = Point(start, jnp.full_like(start, jnp.inf), jnp.zeros((size, size), start.dtype))
    state = _Search(
        nowhere,
        change=jnp.zeros_like(start),
        predicted=one,
        damping=one,
        growth=one,
        step=jnp.asarray(0),
        newton=jnp.asarray(0),
        is_done=jnp.asarray(False),
    )
    advance = functools.partial(
        _advance, step, jnp.linalg.norm(start), max_steps=max_steps, newton_length=newton_length
    )
    return jax.lax.while_loop(lambda state: ~state.is_done, advance, state).point


def _advance(step: Map, length: Array, state: _Search, *, max_steps, newton_length) -> _Search:
    """Try the proposed point, and propose the next one."""
    old, identity = state.point, jnp.eye(len(state.change), dtype=state.change.dtype)
    v = old.v + state.change
    trial = Point(v, step(v) - v, jax.jacfwd(step)(v) - identity)
    change_length = jnp.linalg.norm(state.change)
    is_newton, is_first = state.newton > 0, state.step == 0
    is_better = (trial.q < old.q) & ~(is_newton & (change_length > newton_length))
    point = jax.tree.map(functools.partial(jnp.where, is_better), trial, old)

    ratio = (old.q - trial.q) / state.predicted
    cut = jnp.maximum(1 / 3, 1 - (2 * ratio - 1) ** 3)
    damping = state.damping * jnp.where(is_better, cut, state.growth)
    scale = jnp.maximum((point.A**2).sum(0).max(), jnp.finfo(v.dtype).tiny)
    damping = jnp.where(is_first, scale, damping)
    growth = jnp.where(is_better, jnp.full_like(damping, 2), 2 * state.growth)

    rounding = jnp.finfo(v.dtype).eps * jnp.maximum(length, jnp.linalg.norm(point.v))
    is_still = ~is_first & (change_length <= rounding)
    is_lost = ~jnp.isfinite(point.q)
    ends = is_newton | is_still | (state.step >= max_steps) | ~jnp.isfinite(damping)
    newton = jnp.where(ends, state.newton + 1, state.newton)
    is_done = (newton > NEWTON_STEPS) | (is_newton & ~is_better) | (point.q == 0) | is_lost

    gradient = point.gradient
    normal = point.A.T @ point.A + damping * identity
    change = jnp.linalg.solve(
        jnp.where(newton > 0, point.A, normal), -jnp.where(newton > 0, point.r, gradient)
    )
    predicted = 0.5 * (change @ (damping * change - gradient))
    return _Search(point, change, predicted, damping, growth, state.step + 1, newton, is_done)
