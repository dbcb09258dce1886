"""How strongly the state of a diagonal cell depends on its eigenvalues: the curse of memory."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float, PyTree

from .._cells.diagonal.family import DIAGONAL, affine_map
from .._core.arguments import check_run
from .._core.batching import vmap_batch
from .._core.cell import AbstractCell, project, update
from .._core.errors import bad_input
from .._core.problem import State
from .._core.shapes import leading_axes
from .._core.validation import check_positive
from ..dynamics._trajectory import initial_states
from ._real_parameters import real_parameters, with_real_parameters


class EigenvalueSensitivity(NamedTuple):
    """The result of `eigenvalue_sensitivity`, one entry for each entry of the state.

    Attributes:
        eigenvalues: λ.
        measured: E[|∂s/∂λ|²], the mean over all steps and examples.
        white: what it is for white inputs of the same power: E[|b|²] (1 + |λ|²)/(1 − |λ|²)³.
        parameter_norm: ‖∂λ/∂θ‖, θ the real parameters of the cell.
        relative: ‖∂λ/∂θ‖ √(E[|∂s/∂λ|²] / E[|s|²]), the relative change of a state per change of the
            parameters, through its eigenvalue.
        is_dominated: where `relative` is above the threshold.
    """

    eigenvalues: Float[Array, "*unit"] | Complex[Array, "*unit"]
    measured: Float[Array, "*unit"]
    white: Float[Array, "*unit"]
    parameter_norm: Float[Array, "*unit"]
    relative: Float[Array, "*unit"]
    is_dominated: Bool[Array, "*unit"]

    def report(self) -> str:
        """A line for each unit that is dominated, the largest first, and how many there are."""
        relative = np.asarray(self.relative)
        is_dominated = np.asarray(self.is_dominated)
        lines = [f"{is_dominated.sum()} of {is_dominated.size} units are dominated by 1/(1 − |λ|²)"]
        order = np.argsort(-relative, axis=None)[: is_dominated.sum()]
        for unit in zip(*np.unravel_index(order, relative.shape), strict=True):
            name = ", ".join(map(str, unit))
            modulus = abs(np.asarray(self.eigenvalues)[unit])
            lines.append(
                f"unit {name}: |λ| = {modulus:.6f}, 1/(1 − |λ|²) = {1 / (1 - modulus**2):.3g}, "
                f"relative change {relative[unit]:.3g}, "
                f"{np.asarray(self.measured / self.white)[unit]:.3g} times that of white inputs"
            )
        return "\n".join(lines)


def eigenvalue_sensitivity(
    cell: AbstractCell, state: State | None, xs: PyTree, *, threshold: float = 10.0
) -> EigenvalueSensitivity:
    """How much each state of a diagonal linear cell changes with its eigenvalue, measured on inputs
    and compared with white ones.

        s_t = λ ∘ s_{t−1} + b_t,    d_t = ∂s_t/∂λ = λ ∘ d_{t−1} + s_{t−1}

    For white b of variance P,

        E[|s|²] = P/(1 − |λ|²),    E[|d|²] = P (1 + |λ|²)/(1 − |λ|²)³

    so as |λ| → 1 a state becomes more and more sensitive to λ, relative to its size like
    √2/(1 − |λ|²), although nothing explodes: long memories are hard to learn. Slow inputs make it
    worse. A good parametrisation has a ‖∂λ/∂θ‖ that shrinks like 1 − |λ|², as |λ| = exp(−exp(ν))
    has for the modulus. A unit is called dominated where the product is above the threshold, 10 by
    default: a step of 0.01 in its parameters then changes its state by a tenth. Only the way
    through λ counts, not what the same parameters do to b.

    Source: Zucchet & Orvieto 2024, arXiv:2405.21064, the curse of memory (section 2). The text was
    read in its introduction only; the equations are derived here, for complex λ too, and the
    threshold is ours.

    Args:
        cell: a diagonal cell with one array of states, whose λ does not depend on the input, such
            as `LRU`, `S4D`, `S5` or `RTU`.
        state: the state before the first step; None is `cell.init_state()`. ∂s/∂λ is 0 before the
            first step, so the run should be long against 1/(1 − |λ|).
        xs: the inputs, [time, *batch, ...].
        threshold: of the relative change, > 0.

    Raises:
        ValueError: for a cell of another family, λ that change along the run (gates), no step, or
            a threshold that is not above 0.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.LRU(3, 5, r_min=0.9, key=jax.random.key(0))
        >>> xs = jax.random.normal(jax.random.key(1), (1000, 3))
        >>> result = seqmem.gradients.eigenvalue_sensitivity(cell, None, xs)
        >>> result.measured.shape, result.report().splitlines()[0]
        ((5,), '3 of 5 units are dominated by 1/(1 − |λ|²)')
    """
    owner = "eigenvalue_sensitivity"
    check_positive(owner, "threshold", threshold, remedy="leave it out for 10.")
    check_run(cell, state, xs)
    if cell.family is not DIAGONAL or len(jax.tree.leaves(cell.init_state())) != 1:
        raise bad_input(
            f"{owner} got a {type(cell).__name__} of the family {cell.family.name!r}.",
            "a diagonal cell with one array of states, such as an LRU.",
            "in a network, apply it to the cells and their inputs.",
        )
    time, *batch = leading_axes(cell.input_shape, xs)
    if not time:
        raise bad_input(f"{owner} got no step.", "at least one step.", "pass longer inputs.")
    states = initial_states(cell, state, tuple(batch))
    moments, norms = _measure(cell, states, xs, batch_axes=len(batch))
    if not moments.is_constant.all():
        raise bad_input(
            f"{owner} got a {type(cell).__name__} whose λ changes along the run.",
            "a cell whose λ does not depend on the input.",
            "of a cell with gates, look at gradients.sensitivity.",
        )
    mean = jax.tree.map(lambda leaf: leaf.mean(tuple(range(len(batch)))), moments)
    (eigenvalues,) = jax.tree.leaves(jax.tree.map(lambda a: a[(0,) * len(batch)], moments.a))
    squares = jnp.square(jnp.abs(eigenvalues))
    white = mean.drive * (1 + squares) / (1 - squares) ** 3
    relative = norms * jnp.sqrt(mean.derivative / mean.state)
    return EigenvalueSensitivity(
        eigenvalues, mean.derivative, white, norms, relative, relative > threshold
    )


class _Moments(NamedTuple):
    """Means over the steps of |b|², |s|² and |∂s/∂λ|², λ, and whether it is that of every step."""

    drive: Array
    state: Array
    derivative: Array
    a: Array
    is_constant: Array


@functools.partial(jax.jit, static_argnames="batch_axes")
def _measure(
    cell: AbstractCell, states: State, xs: PyTree, *, batch_axes: int
) -> tuple[_Moments, Array]:
    first = jax.tree.map(lambda leaf: leaf[(0,) * (1 + batch_axes)], xs)
    moments = vmap_batch(_of_sequence, cell, batch_axes, in_axes=(0, 1))(states, xs)
    return moments, _parameter_norms(cell, first)


def _of_sequence(cell: AbstractCell, state: State, xs: PyTree) -> _Moments:
    (start,), structure = jax.tree.flatten(state)
    like = cell.init_state()

    def eigenvalues(x: PyTree) -> Array:
        return jax.tree.leaves(affine_map(cell, project(cell, x, like), like)[0])[0]

    a = eigenvalues(jax.tree.map(lambda leaf: leaf[0], xs))

    def advance(carry: Any, x: PyTree) -> tuple[Any, None]:
        s, d, sums, is_constant = carry
        (new,) = jax.tree.leaves(update(cell, structure.unflatten([s]), project(cell, x, like)))
        d = a * d + s
        squares = (jnp.square(jnp.abs(value)) for value in (new - a * s, new, d))
        sums = tuple(sum_ + square for sum_, square in zip(sums, squares, strict=True))
        is_constant = is_constant & (eigenvalues(x) == a).all()
        return (new, d, sums, is_constant), None

    zeros = jnp.zeros(start.shape, jnp.abs(start).dtype)
    carry = (start, jnp.zeros_like(start), (zeros, zeros, zeros), jnp.array(True))
    (_, _, sums, is_constant), _ = jax.lax.scan(advance, carry, xs)
    time = jax.tree.leaves(xs)[0].shape[0]
    drive, square, derivative = (sum_ / time for sum_ in sums)
    return _Moments(drive, square, derivative, a, is_constant)


def _parameter_norms(cell: AbstractCell, x: PyTree) -> Float[Array, "*unit"]:
    """‖∂λ/∂θ‖ of each unit, one unit at a time, so that no Jacobian is stored."""

    def eigenvalues(parameters: list[Array]) -> Float[Array, "part unit"]:
        other = with_real_parameters(cell, parameters)
        like = other.init_state()
        (a,) = jax.tree.leaves(affine_map(other, project(other, x, like), like)[0])
        return jnp.stack([a.real, a.imag]).reshape(2, -1)

    values, pull = jax.vjp(eigenvalues, real_parameters(cell))

    def square_of_unit(unit: Array) -> Array:
        total = jnp.zeros((), values.dtype)
        for part in range(2):
            (derivatives,) = pull(jnp.zeros_like(values).at[part, unit].set(1))
            total += sum(jnp.square(leaf).sum() for leaf in derivatives)
        return total

    squares = jax.lax.map(square_of_unit, jnp.arange(values.shape[1]))
    (state,) = jax.tree.leaves(jax.eval_shape(cell.init_state))
    return jnp.sqrt(squares).reshape(state.shape)
