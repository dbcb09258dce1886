"""Kronecker-factored RTRL: the trace of each matrix as a random Kronecker product."""

from collections.abc import Hashable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, PyTree, UInt32

from .._core.cell import AbstractCell
from .._core.precision import as_precision, precision
from ._online_cell import AbstractOnlineCell, check_inner_cell, full_step, ravel_of
from ._reach import inputs_for, without_zero_arrays
from ._real_parameters import real_parameters, with_real_parameters
from ._traces import AbstractTraceForm, pull_rows
from ._uoro import bits_of, root_ratio

STEPS = 8  # at which it is seen which parameters are factors of matrix products


class Product(NamedTuple):
    """A random trace A ⊗ u of a matrix, [n, *rows, columns], whose mean is the exact one.

    Attributes:
        A: the factor of the state's entries and of the rows.
        u: the factor of the columns.
    """

    A: Float[Array, "n *rows"]
    u: Float[Array, " columns"]


class KroneckerTrace(AbstractTraceForm):
    """The trace as a key, and for each parameter a `Product` or the whole ∂v/∂p.

    Attributes:
        key: the key of the first signs, as `jax.random.key_data` returns it.
        impl: the kind of key.
        is_matrix: for each parameter, whether its trace is a `Product`.
    """

    key: UInt32[Array, " words"]
    impl: Hashable = eqx.field(static=True)
    is_matrix: tuple[bool, ...] = eqx.field(static=True)

    def start(self, initial, parameters):
        others = [
            p for p, is_matrix in zip(parameters, self.is_matrix, strict=True) if not is_matrix
        ]

        def of_others(others: list[Array]) -> Float[Array, " n"]:
            remaining = iter(others)
            pairs = zip(parameters, self.is_matrix, strict=True)
            return initial([p if is_matrix else next(remaining) for p, is_matrix in pairs])

        vector, (direct,) = pull_rows(of_others, jnp.eye, others)
        remaining, size, dtype = iter(direct), vector.size, vector.dtype
        traces = [
            Product(jnp.zeros((size, *p.shape[:-1]), dtype), jnp.zeros(p.shape[-1], dtype))
            if is_matrix
            else next(remaining)
            for p, is_matrix in zip(parameters, self.is_matrix, strict=True)
        ]
        return vector, (self.key, tuple(traces))

    def advance(self, step, parameters, vector, trace, x):
        key, traces = trace
        key = jax.random.fold_in(jax.random.wrap_key_data(key, impl=self.impl), bits_of(x))
        key, cotangent_key, sign_key = jax.random.split(key, 3)
        new, pull = jax.vjp(lambda p: step(p, vector), parameters)
        (pulled,) = pull(jax.random.normal(cotangent_key, new.shape, new.dtype))
        directions = [
            _direction(part) if is_matrix else None
            for part, is_matrix in zip(pulled, self.is_matrix, strict=True)
        ]

        def shifted_step(shifts: list[Array], vector: Float[Array, " n"]) -> Float[Array, " n"]:
            triples = zip(parameters, shifts, directions, strict=True)
            return step([p + (s if r is None else s[..., None] * r) for p, s, r in triples], vector)

        shifts = [
            jnp.zeros_like(p if r is None else p[..., 0])
            for p, r in zip(parameters, directions, strict=True)
        ]
        _, (direct, J) = pull_rows(shifted_step, jnp.eye, shifts, vector)
        signs = jax.random.rademacher(sign_key, (len(parameters),), vector.dtype)
        traces = tuple(map(_add, [J] * len(signs), traces, direct, directions, signs))
        return new, (jax.random.key_data(key), traces)

    def contract(self, d_vector, trace):
        def of_parameter(trace: Any) -> Array:
            if not isinstance(trace, Product):
                return jnp.tensordot(d_vector, trace, 1)
            return jnp.tensordot(d_vector, trace.A, 1)[..., None] * trace.u

        return list(map(of_parameter, trace[1]))


def _add(J: Array, trace: Any, direct: Array, direction: Array | None, sign: Array) -> Any:
    """The trace of a parameter, moved by J, and the direct derivative."""
    if direction is None:
        return jnp.tensordot(J, trace, 1) + direct
    A = jnp.tensordot(J, trace.A, 1)
    norm = jnp.linalg.norm
    old_scale = root_ratio(norm(A), norm(trace.u))
    new_scale = root_ratio(norm(direct), norm(direction))
    return Product(
        A / old_scale + sign * direct / new_scale,
        old_scale * trace.u + sign * new_scale * direction,
    )


def _direction(pulled: Float[Array, "*rows columns"]) -> Float[Array, " columns"]:
    """The row of the largest norm, of length 1; 0 where all of them are 0."""
    rows = pulled.reshape(-1, pulled.shape[-1])
    squares = jnp.square(rows).sum(1)
    largest = squares.max()
    return rows[squares.argmax()] / jnp.sqrt(jnp.where(largest > 0, largest, 1))


class KFRTRL(AbstractOnlineCell):
    """Kronecker-factored RTRL: the trace of each matrix is estimated by a Kronecker product whose
    mean is the exact trace; those of biases are exact.

        ∂s_t/∂W = D_t ⊗ r_t    directly, where W multiplies the vector r_t: x_t, or h_{t−1}
        e_t ≈ A_t ⊗ u_t        the whole derivative of s_t by W
        B_t = ∂s_t/∂s_{t−1} A_{t−1}
        A_t = B_t / ρ + ν D_t / ρ'           ρ  = √(‖B_t‖ / ‖u_{t−1}‖)
        u_t = ρ u_{t−1} + ν ρ' r_t           ρ' = √(‖D_t‖ / ‖r_t‖)

    with a fresh sign ν = ±1 for each matrix at every step. The mean over ν of every gradient is
    that of `RTRL`. Its variance is smaller than that of `UORO`, since all entries of the state
    share a sign. A parameter that multiplies no vector, or different vectors in different rows, as
    where a reset gate acts before the product, has its exact trace. Methods as of `RTRL`:
    `gradient` and `output_gradient`. The key is in the state, as that of `UORO`.

    Shapes: with n real entries in the state, A is [n, *rows] and u is [columns]; the trace of
    another parameter is [n, *parameter]. All are in `state.trace`. Cost per step: n times that of
    the step, and O(n² · rows).
    Source: Mujika, Meier & Steger 2018, arXiv:1805.10842, of which the abstract was read; the
    equations of A and u are as in the program of Marschall, Cho & Savin 2020, JMLR 21. Differs: a
    product for each matrix, where the paper has one for all matrices and biases; any cell, its
    derivatives by JAX.

    Args:
        cell: the cell; every leaf of its state is inexact.
        xs: inputs [steps, ...] at which it is read off derivatives which parameters are such
            matrices; None draws normal ones.
        key: random key for the signs.

    Raises:
        ValueError: where the state is not inexact, a part of the cell is computed from parameters,
            the parameters are traced, or the inputs cannot be drawn.

    Example:
        >>> import jax, seqmem
        >>> keys = jax.random.split(jax.random.key(0))
        >>> online = seqmem.gradients.KFRTRL(seqmem.GRU(3, 5, key=keys[0]), key=keys[1])
        >>> x = jax.numpy.ones(3)
        >>> state, y = online(online.init_state(), x)
        >>> online.output_gradient(state, x, 2 * y).U.shape
        (3, 5, 5)
    """

    cell: AbstractCell
    trace_form: KroneckerTrace

    def __init__(self, cell: AbstractCell, *, xs: PyTree | None = None, key: PRNGKeyArray):
        check_inner_cell("KFRTRL", cell)
        self.cell = cell
        rng = np.random.default_rng(0)
        inputs = inputs_for("KFRTRL", cell, xs, rng)
        is_matrix = _matrices(without_zero_arrays(cell, rng), inputs, rng)
        self.trace_form = KroneckerTrace(
            jax.random.key_data(key), jax.random.key_impl(key), is_matrix
        )


def _matrices(cell: AbstractCell, xs: PyTree, rng: np.random.Generator) -> tuple[bool, ...]:
    """Which parameters are matrices that multiply one vector: at random states, the derivatives of
    any two numbers by them are outer products with the same second factor. They do not reach the
    initial state.
    """
    ravel = ravel_of(cell)
    cell = as_precision(cell, precision(ravel.like))
    parameters = real_parameters(cell)
    steps = np.arange(STEPS) % len(jax.tree.leaves(xs)[0])
    xs = jax.tree.map(lambda leaf: leaf[steps], xs)
    vectors = jnp.asarray(rng.normal(size=(STEPS, ravel.size)), precision(ravel.like))
    sums = jnp.asarray(rng.normal(size=(2, ravel.size)), vectors.dtype)

    def initial(parameters: list[Array]) -> Array:
        return ravel.vector(with_real_parameters(cell, parameters).init_state())

    @jax.jit
    @jax.vmap
    def pulled_sums(vector: Array, x: PyTree) -> list[Array]:
        def step(parameters: list[Array]) -> Array:
            moved = with_real_parameters(cell, parameters)
            return ravel.vector(full_step(moved, ravel.state(vector), x))

        return pull_rows(step, lambda size: sums, parameters)[1][0]

    def is_matrix(at_start: Array, parts: Float[Array, "steps sums ..."]) -> bool:
        values = np.asarray(parts, np.float64)
        if parts.ndim < 4 or np.any(at_start) or not np.isfinite(values).all():
            return False
        rows = values.reshape(STEPS, -1, values.shape[-1])
        singular = np.linalg.svd(rows, compute_uv=False)
        tolerance = 1e3 * float(jnp.finfo(parts.dtype).eps)
        return bool((singular[:, 1:] <= tolerance * singular[:, :1]).all())

    at_start = pull_rows(initial, lambda size: sums, parameters)[1][0]
    return tuple(map(is_matrix, at_start, pulled_sums(vectors, xs)))
