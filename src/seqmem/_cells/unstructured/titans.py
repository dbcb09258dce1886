import itertools
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.nn import sigmoid, silu
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ..._core.cell import AbstractCell
from ..._core.precision import state_dtype
from ..._core.step import select
from ..._core.validation import check_heads, check_sizes
from ..fast_weights.heads import per_head, unit
from ..initialisers import lecun_normal, uniform_log
from .ttt import product

MLP = tuple[Float[Array, "heads out in"], ...]  # the weights, from the layer of the keys on


class TitansState(NamedTuple):
    """The memory while it learns.

    Attributes:
        memory: M, the weights of the MLP of each head.
        momentum: S, like the memory.
        start: the memory at the start of the chunk, where gradients are taken; None for chunks of
            one step.
        step_count: the steps of the chunk so far, 1 to b, 0 before the first; None for chunks of
            one step.
    """

    memory: MLP
    momentum: MLP
    start: MLP | None
    step_count: Int[Array, ""] | None


class Titans(AbstractCell):
    """The long-term memory of Titans: an MLP that learns by gradient descent with momentum and
    forgetting while it reads.

        q_t = unit(SiLU(W_q x_t)),  k_t = unit(SiLU(W_k x_t)),  v_t = SiLU(W_v x_t)     of each head
        α_t = σ(W_α x_t + b_α),  η_t = σ(W_η x_t + b_η),  θ_t = σ(W_θ x_t + b_θ)
        S_t = η_t S_{t−1} − θ_t ∇ ‖M_{t'}(k_t) − v_t‖²          momentum, over all weights of M
        M_t = (1 − α_t) M_{t−1} + S_t,    y_t = M_t(q_t)
        M(x) = W_L GELU(... GELU(W_1 x))                        L layers

    Time is cut into chunks of b steps; t' is the last step before the chunk of t. For L = 1 and
    b = 1 the memory is linear in the state: `MomentumDeltaRule`, which runs in parallel.

    Shapes: x (input,), q, k and v (heads, size), α, η and θ (heads,), W_1 (heads, inner, size), W_L
    (heads, size, inner), y (hidden,) with hidden = heads · size; the state has M_t, S_t and, for b
    > 1, M_{t'} and the step in the chunk. Cost per step: O(hidden · (input + inner)), of
    which O(hidden · inner), for the memory, is sequential.
    Source: Behrouz, Zhong & Mirrokni 2024, arXiv:2501.00663, equations 11 to 16 and 18; SiLU and
    the norms of queries and keys as in section 4.4. Differs: several heads; they leave open the
    activation of M, taken from lucidrains' titans-pytorch, and how α, η and θ depend on x; α starts
    log-uniform on [0.001, 0.1], η at ½ and θ at 0.1; M_0 is a parameter. The convolutions, the
    output norm and the gate are left to the network around the cell.

    Args:
        input_size: features of one input, > 0.
        hidden_size: features of one output, a multiple of `num_heads`.
        num_heads: number of heads, > 0.
        num_layers: L, the layers of the memory, > 0.
        inner_size: features between two layers of the memory, > 0; None: four times the size of a
            head.
        mini_batch_size: b, the steps whose gradients are taken at the same memory, > 0.
        key: random key for the initial parameters.

    Raises:
        ValueError: where the heads do not divide the hidden size, or a size is below 1.
    """

    W_q: Float[Array, "hidden input"]
    W_k: Float[Array, "hidden input"]
    W_v: Float[Array, "hidden input"]
    W_alpha: Float[Array, "heads input"]
    W_eta: Float[Array, "heads input"]
    W_theta: Float[Array, "heads input"]
    b_alpha: Float[Array, " heads"]
    b_eta: Float[Array, " heads"]
    b_theta: Float[Array, " heads"]
    M_0: MLP
    mini_batch_size: int = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        num_heads: int,
        num_layers: int = 2,
        inner_size: int | None = None,
        mini_batch_size: int = 16,
        key: PRNGKeyArray,
    ):
        check_heads("Titans", hidden_size, num_heads)
        size = hidden_size // num_heads
        inner_size = 4 * size if inner_size is None else inner_size
        check_sizes(
            "Titans",
            input_size=input_size,
            num_layers=num_layers,
            inner_size=inner_size,
            mini_batch_size=mini_batch_size,
        )
        keys = jax.random.split(key, 3 + num_layers)
        self.W_q, self.W_k, self.W_v = lecun_normal(keys[0], (3, hidden_size, input_size))
        gates = lecun_normal(keys[1], (3, num_heads, input_size))
        self.W_alpha, self.W_eta, self.W_theta = gates
        log_forgotten = uniform_log(keys[2], (num_heads,), 1e-3, 1e-1)
        self.b_alpha = log_forgotten - jnp.log(-jnp.expm1(log_forgotten))
        self.b_eta, self.b_theta = jnp.zeros(num_heads), jnp.full(num_heads, -jnp.log(9.0))
        sizes = [size, *[inner_size] * (num_layers - 1), size]
        shapes = [(num_heads, rows, columns) for columns, rows in itertools.pairwise(sizes)]
        self.M_0 = tuple(map(lecun_normal, keys[3:], shapes))
        self.mini_batch_size = mini_batch_size

    @property
    def input_shape(self):
        return self.W_v.shape[-1:]

    def init_state(self):
        dtype = state_dtype(self.W_v)
        memory = tuple(W.astype(dtype) for W in self.M_0)
        momentum = tuple(map(jnp.zeros_like, memory))
        if self.mini_batch_size == 1:
            return TitansState(memory, momentum, None, None)
        start = tuple(map(jnp.copy, memory))
        return TitansState(memory, momentum, start, jnp.zeros((), jnp.int32))

    def project(self, x):
        heads = len(self.b_alpha)
        q, k, v = (per_head(silu(x @ W.mT), heads) for W in (self.W_q, self.W_k, self.W_v))
        gates = (self.W_alpha, self.b_alpha), (self.W_eta, self.b_eta), (self.W_theta, self.b_theta)
        alpha, eta, theta = (sigmoid(x @ W.mT + b)[:, None, None] for W, b in gates)
        return unit(q), unit(k), v, alpha, eta, theta

    def update(self, state, drive):
        _, k, v, alpha, eta, theta = drive
        memory, momentum, start, count = state
        if start is None:
            gradients = jax.grad(self.loss)(memory, k, v)
        else:
            is_full = count == self.mini_batch_size
            start, count = select(is_full, memory, start), jnp.where(is_full, 1, count + 1)
            gradients = jax.grad(self.loss)(start, k, v)
        momentum = tuple(
            eta * S - theta * gradient for S, gradient in zip(momentum, gradients, strict=True)
        )
        memory = tuple((1 - alpha) * M + S for M, S in zip(memory, momentum, strict=True))
        return TitansState(memory, momentum, start, count)

    def readout(self, state, drive):
        return self.recall(state.memory, drive[0]).ravel()

    def recall(self, memory: MLP, x: Float[Array, "heads size"]) -> Float[Array, "heads size"]:
        """M(x) of each head."""
        x = product(memory[0], x)
        for W in memory[1:]:
            x = product(W, jax.nn.gelu(x, approximate=False))
        return x

    def loss(self, memory: MLP, k: Array, v: Array) -> Float[Array, ""]:
        """‖M(k) − v‖², summed over the heads, which share no weights."""
        return jnp.sum((self.recall(memory, k) - v) ** 2)
