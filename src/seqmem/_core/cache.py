"""The cache of attention to all earlier tokens, and whether more tokens fit into it."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from .errors import bad_input
from .nodes import is_known, nodes


class Cache(NamedTuple):
    """The keys and values of the tokens of a sequence so far: the state of attention to all of
    them. Token j, counted from 0, has index j.

    Attributes:
        key: [*batch, capacity, heads, size].
        value: [*batch, capacity, heads, size].
        num_tokens: how many tokens came, [*batch]; it passes the capacity where tokens did not fit.
    """

    key: Float[Array, "*batch capacity heads size"]
    value: Float[Array, "*batch capacity heads size"]
    num_tokens: Int[Array, "*batch"]

    def write(self, index: Int[Array, "*steps"], key: Array, value: Array) -> "Cache":
        """The cache of one example with the tokens of some steps at `index`; those at the capacity
        or above it are dropped.
        """
        return self._replace(
            key=self.key.at[index].set(key, mode="drop"),
            value=self.value.at[index].set(value, mode="drop"),
        )


def check_caches(
    shapes: PyTree,
    state: PyTree,
    time: int,
    lengths: Any = None,
    mask: Any = None,
    resets: Any = None,
) -> None:
    """Refuse more tokens than fit into the caches of a state.

    Values that are traced, or on devices of other processes, are not known, and such a cache is
    taken for an empty one.

    Args:
        shapes: the shapes of one state.
        state: the state before the first step; None is the initial state.
        time: how many steps there are.
        lengths: this and all others as for `seqmem.unroll`.

    Raises:
        ValueError: for the first cache that is too small.
    """
    expected = nodes(shapes, Cache)
    if not expected or not isinstance(time, int):
        return
    tokens = _most_tokens(time, lengths, mask, resets)
    if tokens is None:
        return
    given = expected if state is None else nodes(state, Cache)
    for cache, shape in zip(given, expected, strict=True):
        capacity = shape.key.shape[-3]
        has_values = state is not None and resets is None and is_known(cache.num_tokens)
        before = np.asarray(cache.num_tokens) if has_values else np.zeros((), int)
        totals = before + tokens
        if totals.size and totals.max() > capacity:
            worst = totals.argmax()
            more, earlier = (np.broadcast_to(n, totals.shape).flat[worst] for n in (tokens, before))
            raise bad_input(
                f"{more} tokens for a cache of {capacity} tokens that has {earlier} already.",
                f"at most {capacity} tokens from the initial state, or from a reset, on.",
                "make the attention with a larger capacity, or begin again from init_state().",
            )


def _most_tokens(time: int, lengths: Any, mask: Any, resets: Any) -> np.ndarray | None:
    """The most valid steps between two resets, for each example; None where it is not known."""
    if not all(map(is_known, (lengths, mask, resets))):
        return None
    flags = [leaf for leaf in (mask, resets) if leaf is not None]
    batch_axes = flags[0].ndim - 1 if flags else np.ndim(lengths)
    steps = np.arange(time).reshape(-1, *[1] * batch_axes)
    valid = steps < (time if lengths is None else np.asarray(lengths))
    if mask is not None:
        valid = valid & np.asarray(mask)
    if resets is None:
        return valid.sum(0)
    resets = valid & np.asarray(resets)
    tokens = np.cumsum(np.broadcast_to(valid, resets.shape), 0)
    at_reset = np.maximum.accumulate(np.where(resets, tokens - 1, 0), 0)
    return (tokens - at_reset).max(0, initial=0)
