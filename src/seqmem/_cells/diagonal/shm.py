import jax
import jax.numpy as jnp
from jax.nn import relu, sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from ..._core.validation import check_sizes
from ..initialisers import uniform, uniform_fan_in
from .family import AbstractDiagonalCell

# Rows of the matrix of θ in the code, on which its Glorot initialisation depends.
NUM_ROWS = 128


class SHM(AbstractDiagonalCell):
    """Stable Hadamard memory: a matrix that is multiplied entry by entry with a calibration matrix,
    which erases or strengthens, before a value is added under a key.

        k_t = unit(relu(W_k x_t)),  q_t = unit(relu(W_q x_t)),  unit(a) = a / (10⁻⁵ + Σ a)
        v_t = W_v x_t,  c_t = W_c x_t,  η_t = σ(w · x_t)
        M_t = M_{t−1} ∘ (1 + tanh(θ c_tᵀ)) + η_t v_t k_tᵀ
        y_t = M_t q_t

    An entry of the calibration is between 0 and 2, so a memory may also grow.

    Shapes: x (input,), y, k, q, v, c and θ (hidden,), M (hidden, hidden). Cost per step:
    O(hidden · (input + hidden)), of which O(hidden²) is sequential. The drive has 4 hidden entries;
    arrays as large as the memory exist within a step only.
    Source: Le et al. 2024, arXiv:2410.10132, as in the authors' code, thaihungle/SHM, from which
    the equations are taken; the paper itself was not read beyond its introduction. Differs: θ is
    one learned vector. The paper draws it at each step from the rows of a learned matrix; in the
    code (shm.py) the row is always the first, since a number from [0, 1) is rounded down. The layer
    norm before the cell and the projection after it are left to the network around it. At the
    start, as there, W and w are uniform in ±1/√input, and θ in ±√(6/(128 + hidden)), as a row of
    the matrix.

    Args:
        input_size: features of one input, > 0.
        hidden_size: rows and columns of the memory, > 0.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1.
    """

    W: Float[Array, "4 hidden input"]
    w: Float[Array, " input"]
    theta: Float[Array, " hidden"]

    def __init__(self, input_size: int, hidden_size: int, *, key: PRNGKeyArray):
        check_sizes("SHM", input_size=input_size, hidden_size=hidden_size)
        W_key, w_key, theta_key = jax.random.split(key, 3)
        self.W = uniform_fan_in(W_key, (4, hidden_size, input_size))
        self.w = uniform_fan_in(w_key, (input_size,))
        bound = (6 / (NUM_ROWS + hidden_size)) ** 0.5
        self.theta = uniform(theta_key, (hidden_size,), -bound, bound)

    @property
    def input_shape(self):
        return self.w.shape

    def init_state(self):
        size = self.theta.shape[-1]
        return jnp.zeros((size, size), state_dtype(self.w))

    def project(self, x):
        k, q, v, c = x @ self.W.mT
        return _unit(relu(k)), _unit(relu(q)), sigmoid(x @ self.w) * v, c

    def update(self, M, u):
        k, _, v, c = u
        return M * (1 + jnp.tanh(self.theta[:, None] * c)) + v[:, None] * k

    def readout(self, M, u):
        return M @ u[1]


def _unit(a: Float[Array, " hidden"]) -> Float[Array, " hidden"]:
    return a / (1e-5 + a.sum())
