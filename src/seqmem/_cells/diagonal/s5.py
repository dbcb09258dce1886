import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, PRNGKeyArray

from ..._core.errors import bad_input
from ..._core.precision import state_dtype
from ..._core.validation import check_sizes
from ..initialisers import hippo_normal, lecun_normal, normal, uniform_log
from ..zero_order_hold import zero_order_hold
from .family import AbstractDiagonalCell


def real_and_imaginary(numbers: Complex[Array, "..."]) -> Float[Array, "2 ..."]:
    """Real and imaginary parts, along a new first axis."""
    return jnp.stack([numbers.real, numbers.imag])


class S5(AbstractDiagonalCell):
    """Simplified state space model (S5): one complex diagonal linear system for all inputs,
    discretised with time step Δ.

        Λ = Λ_re + i Λ_im,  Δ = exp(log_Δ),  B = B_re + i B_im,  C = C_re + i C_im
        s_t = exp(Λ ∘ Δ) ∘ s_{t−1} + Λ⁻¹ ∘ (exp(Λ ∘ Δ) − 1) ∘ (B x_t)      complex
        y_t = 2 Re(C s_t) + D ∘ x_t

    Each entry of s stands for a conjugate pair, hence the factor 2 and the real part.

    Shapes: x and y (input,), s, Λ and Δ (hidden,), B (hidden, input), C (input, hidden). Cost per
    step: O(input · hidden), of which O(hidden) is sequential.
    Source: Smith et al. 2023, arXiv:2208.04933, and their code, lindermanlab/S5. At the start Δ is
    log-uniform in [0.001, 0.1), D is standard normal, Λ are the eigenvalues of HiPPO-N (the normal
    part of HiPPO-LegS), and B and C are random matrices in the basis of its eigenvectors V: V* B
    and C V. Differs: the random matrices are normal, not truncated normal, and B has variance 1 /
    input, its fan-in, not 1 / (2 hidden), as the real and the imaginary part of C have. The real
    parts of Λ are unconstrained, as in the code without `clip_eigs`: an entry whose real part
    becomes positive grows from step to step.

    Args:
        input_size: features of one input and of one output, > 0.
        hidden_size: complex entries of the state, > 0; half of the paper's P.
        blocks: HiPPO-N matrices along the diagonal at the start, > 0, a divisor of hidden_size.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1, or blocks that do not
            divide hidden_size.
    """

    Lambda: Float[Array, "2 hidden"]
    B: Float[Array, "2 hidden input"]
    C: Float[Array, "2 input hidden"]
    D: Float[Array, " input"]
    log_delta: Float[Array, " hidden"]

    def __init__(self, input_size: int, hidden_size: int, *, blocks: int = 1, key: PRNGKeyArray):
        check_sizes("S5", input_size=input_size, hidden_size=hidden_size, blocks=blocks)
        if hidden_size % blocks:
            raise bad_input(
                f"S5 got hidden_size={hidden_size} and blocks={blocks}.",
                "blocks of equal size.",
                "choose blocks that divide hidden_size.",
            )
        keys = jax.random.split(key, 4)
        eigenvalues, V = hippo_normal(2 * hidden_size // blocks)
        V = jnp.asarray(np.kron(np.eye(blocks), V))
        self.Lambda = real_and_imaginary(jnp.asarray(np.tile(eigenvalues, blocks)))
        B = lecun_normal(keys[0], (2 * hidden_size, input_size))
        C = lecun_normal(keys[1], (2, input_size, 2 * hidden_size))
        self.B = real_and_imaginary(V.conj().mT @ B.astype(V.dtype))
        self.C = real_and_imaginary(jax.lax.complex(*C) @ V)
        self.D = normal(keys[2], (input_size,))
        self.log_delta = uniform_log(keys[3], (hidden_size,), 1e-3, 1e-1)

    @property
    def input_shape(self):
        return self.D.shape[-1:]

    def init_state(self):
        zeros = jnp.zeros(self.log_delta.shape[-1], state_dtype(self.D))
        return jax.lax.complex(zeros, zeros)

    def project(self, x):
        return x @ self.B[0].mT, x @ self.B[1].mT, self.D * x

    def update(self, s, u):
        return self.update_over(s, u, 1.0)

    def update_over(self, s, u, delta_t):
        Lambda = jax.lax.complex(*self.Lambda)
        decay, gain = zero_order_hold(Lambda, delta_t * jnp.exp(self.log_delta))
        return decay * s + gain * jax.lax.complex(*u[:2])

    def readout(self, s, u):
        return 2 * (s.real @ self.C[0].mT - s.imag @ self.C[1].mT) + u[2]
