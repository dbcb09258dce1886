from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.nn import sigmoid, softmax, softplus
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.cell import AbstractCell
from ..._core.precision import state_dtype
from ..._core.problem import State
from ..._core.validation import check_count, check_sizes
from ..initialisers import lecun_normal, normal
from .addressing import focus_by_content, sharpen, shift
from .controller import make_controller, step_controller


class NTMState(NamedTuple):
    """The state of an NTM.

    Attributes:
        controller: the state of the controller.
        output: [h; r], the output of the controller and what the heads read.
        memory: M, one row for each slot.
        read_weights: w of the heads that read.
        write_weights: w of the heads that write.
    """

    controller: State
    output: Float[Array, " hidden+reads"]
    memory: Float[Array, "slots size"]
    read_weights: Float[Array, "read_heads slots"]
    write_weights: Float[Array, "write_heads slots"]


class NTM(AbstractCell):
    """Neural Turing machine: heads of a controller read and write a memory of slots, which they
    find by content or by moving along.

        h_t = controller([x_t; r_{t−1}])
        k, β, g, s, γ and, of a head that writes, e, a from W h_t + b        of each head
        w^c(i) ∝ exp(β K[k, M(i)]),    K[u, v] = u · v / (‖u‖ ‖v‖)           by content
        w^g = g w^c + (1 − g) w_{t−1}                                       or from the last place
        w̃(i) = Σ_j w^g(j) s(i − j)                                          shifted, modulo slots
        w_t(i) = w̃(i)^γ / Σ_j w̃(j)^γ                                        sharpened
        M_t(i) = M_{t−1}(i) ∏ (1 − w_t(i) e) + Σ w_t(i) a                   of all heads that write
        r_t = Σ_i w_t(i) M_t(i)                                             of each head that reads
        y_t = [h_t; r_t]

    Heads that write are placed by the contents of M_{t−1}, heads that read by those of M_t.

    Shapes: x (input,), h (hidden,), k, r, e and a (slot,), s (2 max_shift + 1,), w (slots,), M
    (slots, slot), y (hidden + read heads · slot,). β > 0 (softplus), g in (0, 1) (sigmoid), s
    positive with the sum 1 (softmax), γ > 1 (1 + softplus), e in (0, 1) (sigmoid). Cost per step:
    O(hidden · (input + hidden + heads · slot) + heads · slots · slot), all of it sequential, with
    an LSTM as the controller.
    Source: Graves, Wayne & Danihelka 2014, arXiv:1410.5401, equations 1 to 9. Differs: the paper
    leaves the ranges of β, γ and k to the reader, here as in pytorch-ntm, and which memory the
    heads see; the output layer is left to the network around the cell; K is linear in vectors
    shorter than 10⁻³, where its derivative would grow without bound. M_0, r_0 and w_0 (the softmax
    of `w_0`) are parameters: M_0 starts at 10⁻⁶ everywhere, as in Collier & Beel 2018,
    arXiv:1807.08518, r_0 is normal with the standard deviation 0.01, and w_0 is (10, 0, ..., 0),
    with nearly all weight on the first slot, where the paper says "bias values".

    Args:
        input_size: features of one input, > 0.
        hidden_size: features of the controller's output, > 0.
        num_slots: rows of the memory, > 0.
        slot_size: features of one slot, > 0.
        num_read_heads: heads that read, > 0.
        num_write_heads: heads that write, > 0.
        max_shift: the most slots by which a head moves in a step, >= 0, with 2 max_shift <
            num_slots.
        controller: a cell from vectors of input_size + num_read_heads · slot_size to vectors of
            hidden_size; None: an LSTM.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size below 1, shifts beyond the memory, or a controller of other sizes.

    Example:
        >>> import jax, seqmem
        >>> keys = jax.random.split(jax.random.key(0))
        >>> cell = seqmem.NTM(3, 11, num_slots=7, slot_size=5, key=keys[0])
        >>> state, ys = seqmem.unroll(cell, None, jax.numpy.ones((13, 3)))
        >>> state.memory.shape, ys.shape
        ((7, 5), (13, 16))
        >>> gru = seqmem.GRU(3 + 5, 11, key=keys[1])
        >>> cell = seqmem.NTM(3, 11, num_slots=7, slot_size=5, controller=gru, key=keys[0])
    """

    controller: AbstractCell
    W_read: Float[Array, "read_heads read hidden"]
    b_read: Float[Array, "read_heads read"]
    W_write: Float[Array, "write_heads write hidden"]
    b_write: Float[Array, "write_heads write"]
    M_0: Float[Array, "slots size"]
    r_0: Float[Array, "read_heads size"]
    w_0: Float[Array, "heads slots"]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        num_slots: int,
        slot_size: int,
        num_read_heads: int = 1,
        num_write_heads: int = 1,
        max_shift: int = 1,
        controller: AbstractCell | None = None,
        key: PRNGKeyArray,
    ):
        check_sizes("NTM", input_size=input_size, hidden_size=hidden_size, slot_size=slot_size)
        check_sizes("NTM", num_read_heads=num_read_heads, num_write_heads=num_write_heads)
        check_count("NTM", "max_shift", max_shift, at_least=0)
        remedy = "take more slots, or a smaller max_shift."
        check_count("NTM", "num_slots", num_slots, at_least=2 * max_shift + 1, remedy=remedy)
        keys = jax.random.split(key, 4)
        sizes = input_size + num_read_heads * slot_size, hidden_size
        self.controller = make_controller("NTM", controller, sizes, keys[0])
        read = slot_size + 2 * max_shift + 4
        self.W_read = lecun_normal(keys[1], (num_read_heads, read, hidden_size))
        self.b_read = jnp.zeros((num_read_heads, read))
        write = read + 2 * slot_size
        self.W_write = lecun_normal(keys[2], (num_write_heads, write, hidden_size))
        self.b_write = jnp.zeros((num_write_heads, write))
        self.M_0 = jnp.full((num_slots, slot_size), 1e-6)
        self.r_0 = 0.01 * normal(keys[3], (num_read_heads, slot_size))
        self.w_0 = jnp.zeros((num_read_heads + num_write_heads, num_slots)).at[:, 0].set(10)

    @property
    def input_shape(self):
        return (self.controller.input_shape[0] - self.r_0.size,)

    def init_state(self):
        dtype = state_dtype(self.W_read)
        weights = softmax(self.w_0.astype(dtype))
        return NTMState(
            self.controller.init_state(),
            jnp.pad(self.r_0.ravel().astype(dtype), (self.W_read.shape[-1], 0)),
            self.M_0.astype(dtype),
            weights[: len(self.r_0)],
            weights[len(self.r_0) :],
        )

    def project(self, x):
        return x

    def update(self, state, drive):
        reads = state.output[self.W_read.shape[-1] :]
        controller, h = step_controller(self.controller, state.controller, drive, reads)
        size = self.M_0.shape[-1]
        e, a, place = jnp.split(h @ self.W_write.mT + self.b_write, [size, 2 * size], axis=-1)
        w_write = self.address(place, state.memory, state.write_weights)
        retention = jnp.prod(1 - w_write[:, :, None] * sigmoid(e)[:, None], axis=0)
        memory = state.memory * retention + w_write.mT @ a
        w_read = self.address(h @ self.W_read.mT + self.b_read, memory, state.read_weights)
        output = jnp.concatenate([h, (w_read @ memory).ravel()])
        return NTMState(controller, output, memory, w_read, w_write)

    def readout(self, state, drive):
        return state.output

    def address(
        self,
        place: Float[Array, "heads read"],
        memory: Float[Array, "slots size"],
        w: Float[Array, "heads slots"],
    ) -> Float[Array, "heads slots"]:
        """The weightings w_t of heads, from those of the step before."""
        size = memory.shape[-1]
        k, scalars, shifts = jnp.split(place, [size, size + 3], axis=-1)
        strength, gate, sharpness = scalars.mT
        content_weights = focus_by_content(k, softplus(strength), memory)
        g = sigmoid(gate)[:, None]
        w = shift(g * content_weights + (1 - g) * w, softmax(shifts))
        return sharpen(w, 1 + softplus(sharpness))
