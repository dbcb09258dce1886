"""Random-feedback local online learning."""

import math
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from .._core.cell import AbstractCell
from .._core.errors import bad_input
from .._core.shapes import is_shape
from ._cut_step import cut_step, cut_trace
from ._online_cell import AbstractOnlineCell, ravel_of
from ._traces import AbstractTraceForm


class RFLO(AbstractOnlineCell):
    """Random-feedback local online learning: a trace that leaks and does not recur, and a fixed
    matrix that brings the error to the units.

        e_t = ∂s_t/∂s_{t−1} |_z  e_{t−1} + ∂s_t/∂θ          z_t = mix(s_{t−1}, u_t)
        Δ_t = B ∂L_t/∂y_t  e_t + the derivative of the readout at step t

    For leaky units, h_t = (1 − 1/τ) h_{t−1} + φ(z_t)/τ, the trace decays by 1 − 1/τ: this is
    Murray's rule. The trace is that of `EProp`, so for other gated cells this is e-prop with random
    feedback, and with B the transpose of the readout's derivative it is `EProp`. B acts in
    `output_gradient` alone, where y is the output of the cell; `gradient` gets its ∂L_t/∂s_t from
    you. Weights of the readout have their exact gradient.

    Shapes and cost: as of `EProp`; B is [entries of the state, entries of the output].
    Source: Murray 2019, eLife 8, doi:10.7554/eLife.43299, of which the abstract and the
    introduction were read; the equations are those of leaky units above. Differs: any gated cell.

    Args:
        cell: a cell of the gated family.
        feedback: B; the state's entries are counted leaf after leaf. It is not trained.
        xs: as for `SnAp`.

    Raises:
        ValueError: for a feedback of another shape, and as for `EProp`.

    Example:
        >>> import jax, seqmem
        >>> keys = jax.random.split(jax.random.key(0))
        >>> cell = seqmem.RNN(3, 5, output_size=2, key=keys[0])
        >>> online = seqmem.gradients.RFLO(cell, jax.random.normal(keys[1], (5, 2)))
        >>> x = jax.numpy.ones(3)
        >>> state, y = online(online.init_state(), x)
        >>> online.output_gradient(state, x, 2 * y).U.shape
        (5, 5)
    """

    step: ClassVar = staticmethod(cut_step)

    cell: AbstractCell
    trace_form: AbstractTraceForm
    B: Float[Array, "entries outputs"]

    def __init__(
        self,
        cell: AbstractCell,
        feedback: Float[Array, "entries outputs"],
        *,
        xs: PyTree | None = None,
    ):
        self.cell = cell
        self.trace_form = cut_trace("RFLO", cell, xs)
        shapes = jax.tree.leaves(cell.output_shape, is_leaf=is_shape)
        expected = (ravel_of(cell).size, sum(map(math.prod, shapes)))
        if np.shape(feedback) != expected:
            raise bad_input(
                f"RFLO got a feedback of shape {np.shape(feedback)}.",
                f"{expected}, the entries of the state and those of the output.",
                "draw one, jax.random.normal(key, shape) / sqrt(entries of the output).",
            )
        self.B = jnp.asarray(feedback)

    @property
    def feedback(self) -> Float[Array, "entries outputs"]:  # pyright: ignore
        return jax.lax.stop_gradient(self.B)
