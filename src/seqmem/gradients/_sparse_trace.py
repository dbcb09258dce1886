"""The trace of those entries of a state that a parameter reaches."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ._reach import Masks, Reach
from ._traces import AbstractTraceForm, FullTrace, pull_rows


class SparseTrace(AbstractTraceForm):
    """∂v_i/∂p for the entries i that each entry of a parameter p may reach, [k, *p], for the
    largest number k of them.

    The direct derivatives of one step are pulled back for several entries of v at once, where no
    parameter feeds two of them. Entry n of v stands for none: its derivatives are 0.

    Attributes:
        entries: for each parameter, which entries i, [k, *p].
        row_of_entry: for each parameter, which pullback holds the direct derivative of that entry,
            [k, *p]; `num_rows` where it has none.
        rows: for each entry of v, the pullback that it is part of.
        num_rows: the number of pullbacks.
    """

    entries: tuple[Int[Array, "k ..."], ...]
    row_of_entry: tuple[Int[Array, "k ..."], ...]
    rows: Int[Array, " n"]
    num_rows: int = eqx.field(static=True)

    def start(self, initial, parameters):
        vector, (direct,) = pull_rows(initial, self._rows, parameters)
        return vector, tuple(map(_take, direct, self.row_of_entry))

    def advance(self, step, parameters, vector, trace, x):
        new, (direct,) = pull_rows(lambda p: step(p, vector), self._rows, parameters)
        _, (J,) = pull_rows(lambda v: step(parameters, v), jnp.eye, vector)
        J = jnp.pad(J, (0, 1))

        def of_parameter(entries: Any, rows: Any, old: Array, part: Array) -> Array:
            products = J[entries[:, None], entries[None]] * old  # [k, k, *p]
            return products.sum(1) + _take(part, rows)

        return new, tuple(map(of_parameter, self.entries, self.row_of_entry, trace, direct))

    def contract(self, d_vector, trace):
        d_vector = jnp.pad(d_vector, (0, 1))
        pairs = zip(self.entries, trace, strict=True)
        return [(d_vector[entries] * array).sum(0) for entries, array in pairs]

    def _rows(self, size: int) -> Float[Array, "rows n"]:
        return (self.rows == jnp.arange(self.num_rows, dtype=self.rows.dtype)[:, None]).astype(
            float
        )


def _take(pulled: Float[Array, "rows ..."], rows: Int[Array, "k ..."]) -> Float[Array, "k ..."]:
    zeros = jnp.zeros_like(pulled, shape=(1, *pulled.shape[1:]))
    return jnp.take_along_axis(jnp.concatenate([pulled, zeros]), rows, 0)


def sparse_trace(reach: Reach, masks: Masks) -> AbstractTraceForm:
    """The form that keeps the entries in `masks`: complete where these are all entries.

    Args:
        reach: of one step.
        masks: the entries that the trace keeps, those of `reach.direct` among them.
    """
    if all(mask.all() for mask in masks if mask.any()):
        return FullTrace()
    rows = _colours(reach.direct)
    num_rows = int(rows.max()) + 1
    entries, row_of_entry = [], []
    for mask, direct in zip(masks, reach.direct, strict=True):
        indices = np.argsort(~mask, axis=0, kind="stable")[: mask.sum(0).max(initial=0)]
        has_direct = np.take_along_axis(direct, indices, 0)
        row_of_entry.append(jnp.asarray(np.where(has_direct, rows[indices], num_rows), jnp.int32))
        is_reached = np.take_along_axis(mask, indices, 0)
        entries.append(jnp.asarray(np.where(is_reached, indices, len(rows)), jnp.int32))
    return SparseTrace(tuple(entries), tuple(row_of_entry), jnp.asarray(rows, jnp.int32), num_rows)


def _colours(masks: Masks) -> Int[np.ndarray, " n"]:
    """A number for each entry of the state, different for two that one parameter feeds."""
    conflicts: Bool[np.ndarray, "n n"] = np.zeros((len(masks[0]), len(masks[0])), bool)
    for mask in masks:
        flat = mask.reshape(len(mask), -1).astype(np.float32)
        conflicts |= flat @ flat.T > 0
    colours = np.full(len(conflicts), -1)
    for entry, neighbours in enumerate(conflicts):
        taken = set(colours[neighbours])
        colours[entry] = next(c for c in range(len(conflicts)) if c not in taken)
    return colours
