import equinox as eqx
import jax
import jax.numpy as jnp
from jax.nn import log_sigmoid, sigmoid, silu
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.validation import check_heads, check_sizes
from ..initialisers import lecun_normal, uniform_log
from .family import AbstractFastWeightCell
from .heads import empty_memory, per_head, unit
from .write import Write


class MomentumDeltaRule(AbstractFastWeightCell):
    """The delta rule by gradient descent with momentum and forgetting: Titans with a matrix as its
    memory.

        q_t = unit(SiLU(W_q x_t)),  k_t = unit(SiLU(W_k x_t)),  v_t = SiLU(W_v x_t)     of each head
        α_t = σ(W_α x_t + b_α),  η_t = σ(W_η x_t + b_η),  θ_t = σ(W_θ x_t + b_θ)
        M_t = η_t M_{t−1} − θ_t (S_{t−1} k_t − v_t) k_tᵀ            momentum, from the gradient of
        S_t = α_t S_{t−1} + M_t,    y_t = S_t q_t                   ½ ‖S_{t−1} k_t − v_t‖²

    Shapes: x (input,), q and k (heads, key), v (heads, value), α, η and θ (heads,), S and M (heads,
    value, key), y (hidden,) with hidden = heads · value; the state is [S M], side by side. Cost per
    step: O(input · hidden) for the projections, none of it sequential, and O(hidden · key) for the
    memory, sequential from chunk to chunk only.
    Source: Behrouz, Zhong & Mirrokni 2024, arXiv:2501.00663, equations 11 to 15 with M(k) = W k;
    SiLU and the norms of queries and keys as in section 4.4. Differs: their M is S here and their S
    is M, their α is 1 − α, and their loss is twice this one, so that this θ is twice theirs; they
    leave open how α, η and θ depend on x; 1 − α starts log-uniform on [0.001, 0.1], η and θ at ½;
    each gradient is taken at the memory of the step before, as with their chunks of one step. The
    convolutions, the output norm and the gate are left to the network around the cell.

    Args:
        input_size: features of one input, > 0.
        hidden_size: features of one output, a multiple of `num_heads`.
        num_heads: number of heads, > 0.
        key_size: features of the key of one head, > 0; None: as of its value.
        key: random key for the initial parameters.

    Raises:
        ValueError: where the heads do not divide the hidden size, or a size is below 1.
    """

    W_q: Float[Array, "keys input"]
    W_k: Float[Array, "keys input"]
    W_v: Float[Array, "hidden input"]
    W_alpha: Float[Array, "heads input"]
    W_eta: Float[Array, "heads input"]
    W_theta: Float[Array, "heads input"]
    b_alpha: Float[Array, " heads"]
    b_eta: Float[Array, " heads"]
    b_theta: Float[Array, " heads"]
    num_heads: int = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        num_heads: int,
        key_size: int | None = None,
        key: PRNGKeyArray,
    ):
        check_heads("MomentumDeltaRule", hidden_size, num_heads)
        key_size = hidden_size // num_heads if key_size is None else key_size
        check_sizes("MomentumDeltaRule", input_size=input_size, key_size=key_size)
        keys = jax.random.split(key, 4)
        self.W_q, self.W_k = lecun_normal(keys[0], (2, num_heads * key_size, input_size))
        self.W_v = lecun_normal(keys[1], (hidden_size, input_size))
        gates = lecun_normal(keys[2], (3, num_heads, input_size))
        self.W_alpha, self.W_eta, self.W_theta = gates
        log_forgotten = uniform_log(keys[3], (num_heads,), 1e-3, 1e-1)
        self.b_alpha = jnp.log(-jnp.expm1(log_forgotten)) - log_forgotten
        self.b_eta, self.b_theta = jnp.zeros(num_heads), jnp.zeros(num_heads)
        self.num_heads = num_heads

    @property
    def input_shape(self):
        return self.W_v.shape[-1:]

    def init_state(self):
        value_size, key_size = (len(W) // self.num_heads for W in (self.W_v, self.W_k))
        return empty_memory(self.num_heads, value_size, 2 * key_size, self.W_v)

    def project(self, x):
        q, k, v = (per_head(silu(x @ W.mT), self.num_heads) for W in (self.W_q, self.W_k, self.W_v))
        log_alpha = log_sigmoid(x @ self.W_alpha.mT + self.b_alpha)[:, None]
        log_eta = log_sigmoid(x @ self.W_eta.mT + self.b_eta)[:, None]
        theta = sigmoid(x @ self.W_theta.mT + self.b_theta)[:, None]
        k = unit(k)
        return Write(unit(q), k, theta * v, log_alpha, theta * k, log_momentum=log_eta), None

    def output(self, reading, extra):
        return reading.ravel()
