"""Lyapunov exponents along a driven trajectory, without a Jacobian in memory."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from .._core.arguments import check_run
from .._core.batching import vmap_batch
from .._core.cell import AbstractCell
from .._core.errors import bad_input
from .._core.problem import State
from .._core.shapes import leading_axes
from ._step_map import step_map


class LyapunovExponents(NamedTuple):
    """What `lyapunov_exponents` finds, batch axes in front."""

    exponents: Float[Array, "*batch k"]  # nats per step, in the order of the directions
    standard_errors: Float[Array, "*batch k"]  # from the means of chunks; NaN with fewer than 2
    participation: Float[Array, "*batch k"]  # share of the entries that take part in a direction
    state: State  # after the last step


def lyapunov_exponents(
    cell: AbstractCell,
    state: State,
    xs: PyTree,
    *,
    k: int | None = None,
    chunk: int = 1000,
    key: PRNGKeyArray,
) -> LyapunovExponents:
    """The growth rates of small differences between states, along the trajectory that `xs` drives.

        Q_t R_t = J_t Q_{t−1},    λ_i = (1/T) Σ_t ln |R_t,ii|,    J_t = ∂s_t/∂s_{t−1}

    with k orthonormal directions Q, pushed by `jax.jvp` and made orthonormal again at every step.
    They are the conditional exponents: the input is held fixed. All k = n of them add up to the
    mean of ln |det J_t|; the greatest is above 0 where the memory is chaotic, and e^λ is the factor
    per step by which a long gradient grows or fades. No Jacobian and no array over time is kept.
    With one key, the directions for a smaller k are the first of those for a larger.

    A direction that a step loses altogether, such as a unit of ReLU that is off, has the exponent
    −∞. Rounding shows −∞ or about ln ε per step, −16 in float32 and −36 in float64: what lies that
    far below the greatest exponents is noise.

    The participation of direction i is the mean of 1 / (n Σ_j q_ij⁴): 1 where all n entries take
    part alike, 1/n where it is one.

    Cost per step: k forward derivatives of a step and a QR of n × k.
    Source: Benettin, Galgani, Giorgilli & Strelcyn 1980, Meccanica 15; for recurrent networks
    Engelken, Wolf & Abbott 2023, Physical Review Research 5, 043044.

    Args:
        cell: the cell, with a real state of n floating point entries.
        state: the state before the first step. What comes before the attractor counts too: give it
            the state of an earlier run. While the directions find theirs, an error of order 1/time
            comes in that no earlier run removes.
        xs: the inputs, [time, *batch, ...]; a map without input takes inputs of size 0.
        k: how many of the leading exponents; None is all n.
        chunk: steps whose mean is one sample for the standard errors; a rest is counted in the
            exponents alone. Longer than the memory of the process, so that samples are independent;
            float32 loses digits where it is over about 10⁴.
        key: for the first directions.

    Raises:
        ValueError: for k out of 1 … n, a chunk below 1, no time, or a state that is complex or has
            no floating point entry.

    Example:
        >>> import jax, jax.numpy as jnp, seqmem
        >>> cell = seqmem.RNN(1, 3, activation=lambda z: z, key=jax.random.key(0))
        >>> found = seqmem.dynamics.lyapunov_exponents(
        ...     cell, cell.init_state(), jnp.zeros((50, 1)), key=jax.random.key(1)
        ... )
        >>> bool(jnp.allclose(found.exponents, 0, atol=1e-5))
        True
    """
    check_run(cell, state, xs)
    size, time = step_map(cell).size, leading_axes(cell, xs)[0]
    k = size if k is None else k
    whole = all(
        isinstance(number, int | np.integer) and not isinstance(number, bool)
        for number in (k, chunk)
    )
    if not whole or not 1 <= k <= size or chunk < 1 or not time:
        raise bad_input(
            f"lyapunov got k={k!r}, remat_every={chunk!r} and {time} steps.",
            f"1 to {size} exponents, a chunk and a time of at least one step.",
            "leave k out for all exponents of the state.",
        )
    return _lyapunov(cell, state, xs, key, k=int(k), remat_every=int(chunk))


@functools.partial(jax.jit, static_argnames=("k", "chunk"))
def _lyapunov(cell, state, xs, key, *, k, chunk):
    time, *batch = leading_axes(cell, xs)

    def push(flat, carry, x):
        state, frame, logs, shares = carry
        moved, here = flat.moved(state, x), flat.flat(state)
        pushed = jax.vmap(lambda q: jax.jvp(moved, (here,), (q,))[1], 1, 1)(frame)
        frame, triangle = jnp.linalg.qr(pushed)
        logs = logs + jnp.log(jnp.abs(jnp.diagonal(triangle)))
        shares = shares + 1 / (flat.size * (frame**4).sum(0))
        return (flat.step(state, x), frame, logs, shares), None

    def alone(cell: AbstractCell, state: State, xs: PyTree) -> LyapunovExponents:
        flat = step_map(cell)
        on = functools.partial(push, flat)

        def direction(place: Array) -> Array:
            own = jax.random.fold_in(key, place)
            return jax.random.normal(own, (flat.size,), flat.flat(state).dtype)

        frame, _ = jnp.linalg.qr(jax.vmap(direction, out_axes=1)(jnp.arange(k)))
        nothing = jnp.zeros(k, frame.dtype)
        chunks = time // chunk
        whole = jax.tree.map(lambda x: x[: chunks * chunk].reshape(chunks, chunk, *x.shape[1:]), xs)

        def run(carry, xs):  # sums begin anew in each chunk, so that they stay small and exact
            (state, frame, *sums), _ = jax.lax.scan(on, (*carry, nothing, nothing), xs)
            return (state, frame), sums

        carry, (logs, shares) = jax.lax.scan(run, (state, frame), whole)
        rest = jax.tree.map(lambda x: x[chunks * chunk :], xs)
        (state, _), (last_logs, last_shares) = run(carry, rest)
        spread = (logs / chunk).std(0, ddof=1) if chunks > 1 else jnp.full_like(nothing, jnp.nan)
        return LyapunovExponents(
            (logs.sum(0) + last_logs) / time,
            spread / max(chunks, 1) ** 0.5,
            (shares.sum(0) + last_shares) / time,
            state,
        )

    init = jax.eval_shape(cell.init_state)
    state = jax.tree.map(
        lambda leaf, own: jnp.broadcast_to(leaf, (*batch, *own.shape)), state, init
    )
    behind = jax.tree.map(lambda x: jnp.moveaxis(x, 0, len(batch)), xs)
    return vmap_batch(alone, cell, len(batch))(state, behind)
