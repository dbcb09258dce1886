"""All states of s_t = A_t s_{t−1} + b_t at once, from s_0 = 0.

Blocks of steps run side by side: their maps, the states between them, then the states within. It is
never differentiated. A cut is a flag: a step before which nothing passes selects b_t, and never
multiplies by 0, since 0 · NaN is NaN.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .._core.cell import select

Map = tuple[Array, Array, Array | None]  # (A, b, cut): s ↦ b where cut, else A s + b


def dense_affine_states(
    A: Float[Array, "time n n"],
    b: Float[Array, "time n"],
    cut: Bool[Array, " time"] | None = None,
    *,
    reverse: bool = False,
    block: int = 16,
) -> Float[Array, "time n"]:
    """s_t = A_t s_{t−1} + b_t for all t, and s_t = b_t where the step is cut off.

    Args:
        A: the matrices.
        b: what is added.
        cut: where nothing passes from the step before.
        reverse: from the last step to the first: s_t = A_t s_{t+1} + b_t.
        block: steps that are run one after another; log₂(time / block) levels join the blocks.
    """
    time = len(b)
    count = -(-time // block)
    short = count * block - time

    def blocks(leaf: Array) -> Array:  # [step, block, ...]; what is missing is run last
        padding = [(short, 0) if reverse else (0, short)] + [(0, 0)] * (leaf.ndim - 1)
        return jnp.pad(leaf, padding).reshape(count, block, *leaf.shape[1:]).swapaxes(0, 1)

    here = jax.tree.map(blocks, (A, b, cut))
    first = jax.tree.map(lambda leaf: leaf[-1 if reverse else 0], here)
    others = jax.tree.map(lambda leaf: leaf[:-1] if reverse else leaf[1:], here)
    whole, _ = jax.lax.scan(
        lambda so_far, step: (compose(so_far, step), None), first, others, reverse=reverse
    )
    between = jax.lax.associative_scan(compose, whole, reverse=reverse)[1]
    edge = jnp.zeros_like(between[:1])
    starts = jnp.concatenate([between[1:], edge] if reverse else [edge, between[:-1]])

    def step(states: Array, maps: Map) -> tuple[Array, Array]:
        states = apply(maps, states)
        return states, states

    _, states = jax.lax.scan(step, starts, here, reverse=reverse)
    states = states.swapaxes(0, 1).reshape(count * block, *b.shape[1:])
    return states[short:] if reverse else states[:time]


def compose(first: Map, second: Map) -> Map:
    """`second` after `first`, for maps side by side."""
    (A, b, cut), (A_then, _, cut_then) = first, second
    joined = cut if cut_then is None else cut | cut_then  # pyright: ignore
    return A_then @ A, apply(second, b), joined


def apply(maps: Map, states: Array) -> Array:
    """The states behind maps side by side, from those before them."""
    A, b, cut = maps
    flags = None if cut is None else cut[:, None]
    return select(flags, b, (A @ states[..., None])[..., 0] + b)
