"""Where new sequences begin, as `unroll` reads it: from ids, cumulative lengths or dones."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Int

from .errors import bad_input
from .validation import check_count


def resets_from_segments(
    segment_ids: Int[Array | np.ndarray, "time *batch"],
) -> Bool[Array, "time *batch"]:
    """Resets where the id of a segment changes, for sequences that stand one after another in time.

        resets[0] = True,    resets[t] = (segment_ids[t] ≠ segment_ids[t−1])

    Ids are only compared with the one before. The id of padding, in other libraries 0 or −1, is an
    id like any other: padding is a segment of its own. Pass `lengths` or `mask` to `unroll` to
    leave its steps out. Where x[0] continues a sequence of the chunk before, `resets[0]` must be
    set to False.

    Args:
        segment_ids: the id of the sequence that each step belongs to.

    Raises:
        ValueError: for ids that are not integers, or have no axis.

    Example:
        >>> import numpy as np, seqmem
        >>> seqmem.resets_from_segments(np.array([1, 1, 2, 2, 0])).tolist()
        [True, False, True, False, True]
    """
    ids = _as_array(segment_ids)
    if ids.ndim < 1 or not jnp.issubdtype(ids.dtype, jnp.integer):
        raise bad_input(
            f"resets_from_segments got segment_ids of {ids.dtype} and shape {ids.shape}.",
            "integers [time, *batch], one id for each step.",
            "cast them with astype(int); one id belongs to all features of a step.",
        )
    is_first = jnp.ones_like(ids[:1], bool)
    return jnp.concatenate([is_first, jnp.asarray(ids[1:] != ids[:-1])])


def resets_from_cu_seqlens(
    cu_seqlens: Int[Array | np.ndarray, " boundaries"] | list[int], length: int | None = None
) -> Bool[Array, " time"]:
    """Resets from cumulative lengths, as flash-attention and flash-linear-attention take them.

        sequence i = x[cu_seqlens[i] : cu_seqlens[i+1]],    resets[cu_seqlens[i]] = True

    A sequence of length 0 has no step and no reset. Steps after the last sequence are padding,
    which begins with a reset.

    Args:
        cu_seqlens: [0, l_1, l_1 + l_2, …], not decreasing. The last one may be repeated, so that
            arrays of one shape hold different numbers of sequences.
        length: steps in x, at least the last boundary; None is the last boundary, whose value must
            then be known. Under jit, pass it. Traced boundaries are not checked.

    Raises:
        ValueError: for boundaries that are not integers, do not begin with 0, decrease or lie
            beyond `length`; or for traced ones without `length`.

    Example:
        >>> import seqmem
        >>> seqmem.resets_from_cu_seqlens([0, 3, 5]).tolist()
        [True, False, False, True, False]
    """
    boundaries = _as_array(cu_seqlens)
    is_known = not isinstance(boundaries, Tracer)
    if boundaries.ndim != 1 or not jnp.issubdtype(boundaries.dtype, jnp.integer):
        raise bad_input(
            f"resets_from_cu_seqlens got {boundaries.dtype} of shape {boundaries.shape}.",
            "integers [0, l_1, l_1 + l_2, …] in one axis.",
            "pass np.cumsum([0, *lengths]); for a batch of rows, call it under jax.vmap.",
        )
    if length is None and not is_known:
        raise bad_input(
            "resets_from_cu_seqlens got traced boundaries and no length.",
            "a number of steps that is known when the program is traced.",
            "pass length=xs.shape[0].",
        )
    if is_known:
        _check_boundaries(np.asarray(boundaries))
    if length is None:
        length = int(boundaries[-1])
    check_count("resets_from_cu_seqlens", "length", length, at_least=0)
    if is_known and boundaries[-1] > length:
        raise bad_input(
            f"resets_from_cu_seqlens got length={length} and a last boundary of {boundaries[-1]}.",
            "sequences that end within the length.",
            "pass length=xs.shape[0], or cut the last sequences.",
        )
    return jnp.zeros(length, bool).at[jnp.asarray(boundaries)].set(True, mode="drop")


def resets_from_dones(
    dones: Bool[Array | np.ndarray, "time *batch"],
    previous: Bool[Array | np.ndarray, "*batch"] | bool = False,
) -> Bool[Array, "time *batch"]:
    """Resets from the ends of episodes: `dones[t]` says that an episode ended with step t, so
    x[t+1] begins a new one.

        resets[0] = previous,    resets[t] = dones[t−1]

        t            0   1   2   3
        x[t]         a₀  a₁  b₀  b₁      observations of two episodes, a and b
        dones[t]     0   1   0   0       the action at x[t] ended the episode
        resets[t]    0   0   1   0       x[t] begins an episode

    By default step 0 continues from the state that `unroll` is given. Where a rollout was cut into
    chunks, `previous` is `dones[-1]` of the chunk before.

    Args:
        dones: what `env.step` returned for the action at x[t]: terminated or truncated. Where the
            done that came with x[t] is stored instead, as in CleanRL, it is `resets` already.
        previous: whether the step before x[0] ended an episode, for each example or for all.

    Raises:
        ValueError: for dones that are not booleans, or `previous` of another shape.

    Example:
        >>> import numpy as np, seqmem
        >>> dones = np.array([False, True, False, False])
        >>> seqmem.resets_from_dones(dones).tolist()
        [False, False, True, False]
        >>> seqmem.resets_from_dones(dones, previous=True).tolist()
        [True, False, True, False]
    """
    dones, first = _as_array(dones), _as_array(previous)
    if dones.ndim < 1 or dones.dtype != jnp.bool_:
        raise bad_input(
            f"resets_from_dones got dones of {dones.dtype} and shape {dones.shape}.",
            "booleans [time, *batch].",
            "write terminated | truncated, or dones != 0 for numbers.",
        )
    if first.shape not in ((), dones.shape[1:]) or first.dtype != jnp.bool_:
        raise bad_input(
            f"resets_from_dones got previous of {first.dtype} and shape {first.shape}.",
            f"a boolean, or booleans of shape {dones.shape[1:]}.",
            "pass dones[-1] of the chunk before.",
        )
    first = jnp.broadcast_to(first, (1, *dones.shape[1:]))
    return jnp.concatenate([first, jnp.asarray(dones)])[: len(dones)]


def _as_array(values: Any) -> Any:
    return values if isinstance(values, jax.Array) else np.asarray(values)


def _check_boundaries(boundaries: np.ndarray) -> None:
    if not boundaries.size or boundaries[0] != 0 or (np.diff(boundaries) < 0).any():
        raise bad_input(
            f"resets_from_cu_seqlens got boundaries {boundaries.tolist()[:8]}"
            f"{' …' if boundaries.size > 8 else ''}.",
            "a first boundary of 0, and none below the one before.",
            "pass np.cumsum([0, *lengths]).",
        )
