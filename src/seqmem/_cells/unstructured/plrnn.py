from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.cell import AbstractCell
from ..._core.precision import state_dtype
from ..._core.validation import check_sizes
from ..initialisers import lecun_normal, uniform
from ..matrices.sparse import Sparse
from ..matrices.structure import StructuredMatrix


class PLRNN(AbstractCell):
    """Piecewise-linear recurrent network: a linear memory of each unit, and rectified connections
    between units.

        z_t = A ∘ z_{t−1} + W relu(z_{t−1}) + C x_t + h        W with a diagonal of 0
        y_t = z_t

    Where no unit crosses 0 a step is linear, with the Jacobian diag(A) + W D, where D says which
    units are above 0: fixed points and cycles can be computed region by region.

    Shapes: x (input,), z, y, A and h (hidden,). Cost per step: O(hidden · (input + hidden)), of
    which O(hidden²) is sequential.
    Source: Durstewitz 2017, PLoS Computational Biology 13(6), doi:10.1371/journal.pcbi.1005542. The
    paper was not read; the equations are those of the author's later programs, such as
    DurstewitzLab/dendPLRNN. Differs: h was a threshold in the first one, DurstewitzLab/PLRNNstsp: W
    relu(z_{t−1} − h). No noise; it can be drawn by the caller and passed to `seqmem.unroll` as
    `perturbations`. At the start A is uniform in [0, ½) and W has about the norm ½, so that states
    are bounded.

    Args:
        input_size: features of one input, > 0.
        hidden_size: features of the state, > 0.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1.
    """

    recurrent_weights: ClassVar = ("W",)

    A: Float[Array, " hidden"]
    W: Float[Array, "hidden hidden"] | StructuredMatrix
    C: Float[Array, "hidden input"]
    h: Float[Array, " hidden"]

    def __init__(self, input_size: int, hidden_size: int, *, key: PRNGKeyArray):
        check_sizes("PLRNN", input_size=input_size, hidden_size=hidden_size)
        memory_key, recurrent_key, input_key = jax.random.split(key, 3)
        shape = (hidden_size, hidden_size)
        self.A = uniform(memory_key, (hidden_size,), 0.0, 0.5)
        self.W = StructuredMatrix(
            lecun_normal(recurrent_key, shape) / 4, Sparse(~np.eye(hidden_size, dtype=bool))
        )
        self.C = lecun_normal(input_key, (hidden_size, input_size))
        self.h = jnp.zeros(hidden_size)

    @property
    def input_shape(self):
        return self.C.shape[-1:]

    def init_state(self):
        return jnp.zeros(self.h.shape[-1], state_dtype(self.h))

    def project(self, x):
        return x @ self.C.mT + self.h

    def update(self, z, drive):
        return self.A * z + jax.nn.relu(z) @ self.W.mT + drive

    def readout(self, z, drive):
        return z
