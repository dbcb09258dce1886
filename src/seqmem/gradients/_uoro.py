"""Unbiased online recurrent optimisation: a random rank-one estimate of the trace."""

from collections.abc import Hashable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree, UInt32

from .._core.cell import AbstractCell
from .._core.trees import tree_norm
from ._online_cell import AbstractOnlineCell, check_inner_cell
from ._traces import AbstractTraceForm


class RankOne(NamedTuple):
    """A random trace a bᵀ whose mean is the exact one.

    Attributes:
        key: the random key of the next signs, as `jax.random.key_data` returns it.
        a: the factor of the state's entries.
        b: the factor of the parameters.
    """

    key: UInt32[Array, " words"]
    a: Float[Array, " n"]
    b: tuple[Array, ...]


class RankOneTrace(AbstractTraceForm):
    """The trace as a `RankOne`.

    Attributes:
        key: the key of the first signs, as `jax.random.key_data` returns it.
        impl: the kind of key.
    """

    key: UInt32[Array, " words"]
    impl: Hashable = eqx.field(static=True)

    def start(self, initial, parameters):
        vector, pull = jax.vjp(initial, parameters)
        key, signs = self._draw_signs(self._wrap(self.key), vector)
        (b,) = pull(signs)
        scale = root_ratio(tree_norm(b), tree_norm(signs))
        return vector, RankOne(key, scale * signs, tuple(part / scale for part in b))

    def advance(self, step, parameters, vector, trace, x):
        new, moved = jax.jvp(lambda v: step(parameters, v), (vector,), (trace.a,))
        _, pull = jax.vjp(lambda p: step(p, vector), parameters)
        key = jax.random.fold_in(self._wrap(trace.key), bits_of(x))
        key, signs = self._draw_signs(key, new)
        (direct,) = pull(signs)
        old_scale = root_ratio(tree_norm(trace.b), tree_norm(moved))
        new_scale = root_ratio(tree_norm(direct), tree_norm(signs))
        a = old_scale * moved + new_scale * signs
        pairs = zip(trace.b, direct, strict=True)
        b = tuple(old / old_scale + part / new_scale for old, part in pairs)
        return new, RankOne(key, a, b)

    def contract(self, d_vector, trace):
        return [jnp.vdot(d_vector, trace.a) * part for part in trace.b]

    def _wrap(self, key: UInt32[Array, " words"]) -> PRNGKeyArray:
        return jax.random.wrap_key_data(key, impl=self.impl)

    def _draw_signs(
        self, key: PRNGKeyArray, like: Float[Array, " n"]
    ) -> tuple[UInt32[Array, " words"], Float[Array, " n"]]:
        key, sign_key = jax.random.split(key)
        return jax.random.key_data(key), jax.random.rademacher(sign_key, like.shape, like.dtype)


class UORO(AbstractOnlineCell):
    """Unbiased online recurrent optimisation: the trace is estimated by a product of two vectors
    whose mean is the exact trace.

        e_t ≈ a_t b_tᵀ
        a_t = ρ ∂s_t/∂s_{t−1} a_{t−1} + ρ' ν        ρ  = √(‖b_{t−1}‖ / ‖∂s_t/∂s_{t−1} a_{t−1}‖)
        b_t = b_{t−1} / ρ + νᵀ ∂s_t/∂θ / ρ'         ρ' = √(‖νᵀ ∂s_t/∂θ‖ / ‖ν‖)

    with a fresh vector ν of signs ±1 at every step. The mean over ν of every gradient is that of
    `RTRL`; a single one is far from it, the more so the larger the state. ρ and ρ' make the
    variance small; each is 1 where one of its norms is 0. Methods as of `RTRL`: `gradient` and
    `output_gradient`.

    The key is in the state, and the bits of the inputs are mixed into it, so that examples of a
    batch and sequences after a reset have signs of their own unless their inputs are the same. For
    signs that differ there too, put keys into `state.trace.key`, as `jax.random.key_data` returns
    them; with batch axes it has one per example.

    Shapes: a is [entries of the state], b as the parameters; both are in `state.trace`. Cost per
    step: a few times that of the step.
    Source: Tallec & Ollivier 2018, arXiv:1702.05043, of which the abstract and the introduction
    were read; the equations are derived from the rank-one estimate Σ_i x_i y_iᵀ = E (Σ ν_i x_i)
    (Σ ν_i y_i)ᵀ. Differs: ρ and ρ' without a small constant; derivatives by JAX.

    Args:
        cell: the cell; every leaf of its state is inexact.
        key: random key for the signs.

    Raises:
        ValueError: where the state is not inexact, or a part of the cell is computed from
            parameters.

    Example:
        >>> import jax, seqmem
        >>> keys = jax.random.split(jax.random.key(0))
        >>> online = seqmem.gradients.UORO(seqmem.GRU(3, 5, key=keys[0]), key=keys[1])
        >>> x = jax.numpy.ones(3)
        >>> state, y = online(online.init_state(), x)
        >>> online.output_gradient(state, x, 2 * y).U.shape
        (3, 5, 5)
    """

    cell: AbstractCell
    trace_form: RankOneTrace

    def __init__(self, cell: AbstractCell, *, key: PRNGKeyArray):
        check_inner_cell("UORO", cell)
        self.cell = cell
        self.trace_form = RankOneTrace(jax.random.key_data(key), jax.random.key_impl(key))


def root_ratio(numerator: Float[Array, ""], denominator: Float[Array, ""]) -> Float[Array, ""]:
    """The root of the ratio, without a derivative: 1 where it is not a number above 0."""
    numerator, denominator = map(jax.lax.stop_gradient, (numerator, denominator))
    is_usable = (numerator > 0) & (denominator > 0)
    ratio = numerator / jnp.where(is_usable, denominator, 1)
    return jnp.sqrt(jnp.where(is_usable, ratio, 1))


def bits_of(x: PyTree) -> UInt32[Array, ""]:
    """A number that differs between inputs, as a rule."""

    def of_leaf(leaf: Array) -> Array:
        if jnp.iscomplexobj(leaf):
            return of_leaf(leaf.real) + 3 * of_leaf(leaf.imag)
        if jnp.issubdtype(leaf.dtype, jnp.floating):
            leaf = jax.lax.bitcast_convert_type(leaf.astype(jnp.float32), jnp.uint32)
        return leaf.astype(jnp.uint32).sum(dtype=jnp.uint32)

    return sum(map(of_leaf, jax.tree.leaves(x)), jnp.zeros((), jnp.uint32))
