from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.nn import sigmoid, softmax, softplus
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.cell import AbstractCell
from ..._core.precision import state_dtype
from ..._core.problem import State
from ..._core.validation import check_sizes
from ..initialisers import lecun_normal
from .addressing import focus_by_content
from .allocation import allocate, update_links, update_usage
from .controller import make_controller, step_controller


class DNCState(NamedTuple):
    """The state of a DNC.

    Attributes:
        controller: the state of the controller.
        output: [h; r], the output of the controller and what the heads read.
        memory: M, one row for each slot.
        usage: u, how much each slot is in use, in [0, 1].
        links: L, where L[i, j] is near 1 if slot i was written right after slot j.
        precedence: p, near 1 for the slot that was written last.
        read_weights: w^r of the heads that read.
        write_weights: w^w of the head that writes.
    """

    controller: State
    output: Float[Array, " hidden+reads"]
    memory: Float[Array, "slots size"]
    usage: Float[Array, " slots"]
    links: Float[Array, "slots slots"]
    precedence: Float[Array, " slots"]
    read_weights: Float[Array, "heads slots"]
    write_weights: Float[Array, " slots"]


class DNC(AbstractCell):
    """Differentiable neural computer: a controller writes free slots of a memory, and reads by
    content or in the order of the writes.

        h_t = controller([x_t; r_{t−1}])
        k^w, β^w, e, v, g^a, g^w and, of each head, k, β, f, π from W h_t + b
        u_t = (u_{t−1} + w^w_{t−1} − u_{t−1} ∘ w^w_{t−1}) ∘ ∏ (1 − f w_{t−1})   over the heads
        a_t[φ[j]] = (1 − u_t[φ[j]]) ∏_{i<j} u_t[φ[i]]      φ: slots in ascending order of usage
        w^w_t = g^w (g^a a_t + (1 − g^a) C(M_{t−1}, k^w, β^w))
        M_t = M_{t−1} ∘ (1 − w^w_t eᵀ) + w^w_t vᵀ
        L_t[i, j] = (1 − w^w_t[i] − w^w_t[j]) L_{t−1}[i, j] + w^w_t[i] p_{t−1}[j],    L_t[i, i] = 0
        p_t = (1 − Σ_i w^w_t[i]) p_{t−1} + w^w_t
        w_t = π[1] L_tᵀ w_{t−1} + π[2] C(M_t, k, β) + π[3] L_t w_{t−1}      of each head
        r_t = M_tᵀ w_t
        y_t = [h_t; r_t]
        C(M, k, β)[i] ∝ exp(β K[k, M[i]]),    K[u, v] = u · v / (‖u‖ ‖v‖)

    Shapes: x (input,), h (hidden,), k, k^w, e, v and r (slot,), π (3,), u, a, p, w and w^w
    (slots,), M (slots, slot), L (slots, slots), y (hidden + read heads · slot,). β and β^w >= 1
    (1 + softplus), e, f, g^a and g^w in (0, 1) (sigmoid), π positive with the sum 1 (softmax). Cost
    per step: O(hidden · (input + hidden + heads · slot) + heads · slots · (slot + slots)), all of
    it sequential, with an LSTM as the controller.
    Source: Graves et al. 2016, Nature 538, doi:10.1038/nature20101; Methods, equations 1 and 2 and
    those without numbers. Differs: the matrices W_y and W_r of the output are left to the network
    around the cell; the interface has a bias; one LSTM is the controller unless another cell is
    given; K is linear in vectors shorter than 10⁻³, as every slot is before it is written.

    Args:
        input_size: features of one input, > 0.
        hidden_size: features of the controller's output, > 0.
        num_slots: rows of the memory, > 0.
        slot_size: features of one slot, > 0.
        num_read_heads: heads that read, > 0. One head writes.
        controller: a cell from vectors of input_size + num_read_heads · slot_size to vectors of
            hidden_size; None: an LSTM.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size below 1, or a controller of other sizes.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.DNC(3, 11, num_slots=7, slot_size=5, key=jax.random.key(0))
        >>> state, ys = seqmem.unroll(cell, None, jax.numpy.ones((13, 3)))
        >>> state.links.shape, ys.shape
        ((7, 7), (13, 16))
    """

    controller: AbstractCell
    W_read: Float[Array, "heads read hidden"]
    b_read: Float[Array, "heads read"]
    W_write: Float[Array, "write hidden"]
    b_write: Float[Array, " write"]
    num_slots: int = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        num_slots: int,
        slot_size: int,
        num_read_heads: int = 1,
        controller: AbstractCell | None = None,
        key: PRNGKeyArray,
    ):
        check_sizes("DNC", input_size=input_size, hidden_size=hidden_size, num_slots=num_slots)
        check_sizes("DNC", slot_size=slot_size, num_read_heads=num_read_heads)
        keys = jax.random.split(key, 3)
        sizes = input_size + num_read_heads * slot_size, hidden_size
        self.controller = make_controller("DNC", controller, sizes, keys[0])
        self.W_read = lecun_normal(keys[1], (num_read_heads, slot_size + 5, hidden_size))
        self.b_read = jnp.zeros((num_read_heads, slot_size + 5))
        self.W_write = lecun_normal(keys[2], (3 * slot_size + 3, hidden_size))
        self.b_write = jnp.zeros(3 * slot_size + 3)
        self.num_slots = num_slots

    @property
    def input_shape(self):
        heads, interface = self.b_read.shape
        return (self.controller.input_shape[0] - heads * (interface - 5),)

    def init_state(self):
        dtype, slots = state_dtype(self.W_read), self.num_slots
        heads, size = len(self.b_read), self.b_read.shape[-1] - 5
        output = (self.W_read.shape[-1] + heads * size,)
        shapes = output, (slots, size), (slots,), (slots, slots), (slots,), (heads, slots), (slots,)
        zeros = [jnp.zeros(shape, dtype) for shape in shapes]
        return DNCState(self.controller.init_state(), *zeros)

    def project(self, x):
        return x

    def update(self, state, drive):
        reads = state.output[self.W_read.shape[-1] :]
        controller, h = step_controller(self.controller, state.controller, drive, reads)
        size = state.memory.shape[-1]
        k, e, v, scalars = jnp.split(
            h @ self.W_write.mT + self.b_write, [size, 2 * size, 3 * size], axis=-1
        )
        keys, strengths, free, modes = jnp.split(
            h @ self.W_read.mT + self.b_read, [size, size + 1, size + 2], axis=-1
        )
        w_read = state.read_weights
        usage = update_usage(state.usage, state.write_weights, w_read, sigmoid(free[:, 0]))
        content_weights = focus_by_content(k[None], 1 + softplus(scalars[:1]), state.memory)[0]
        g_a, g_w = sigmoid(scalars[1:])
        w_write = g_w * (g_a * allocate(usage) + (1 - g_a) * content_weights)
        rows = w_write[:, None]
        memory = state.memory * (1 - rows * sigmoid(e)) + rows * v
        links, precedence = update_links(state.links, state.precedence, w_write)
        content_weights = focus_by_content(keys, 1 + softplus(strengths[:, 0]), memory)
        weightings = jnp.stack([w_read @ links, content_weights, w_read @ links.mT], axis=1)
        w_read = jnp.sum(softmax(modes)[:, :, None] * weightings, axis=1)
        output = jnp.concatenate([h, (w_read @ memory).ravel()])
        return DNCState(controller, output, memory, usage, links, precedence, w_read, w_write)

    def readout(self, state, drive):
        return state.output
