import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, PRNGKeyArray

from ..._core.errors import bad_input
from ..._core.precision import state_dtype
from ..initialisers import hippo_normal, lecun_normal, uniform_log
from .family import AbstractDiagonalCell


def in_parts(numbers: Complex[Array, "..."]) -> Float[Array, "2 ..."]:
    """Real and imaginary parts."""
    return jnp.stack([numbers.real, numbers.imag])


class S5(AbstractDiagonalCell):
    """Simplified structured state space: one complex state for all inputs, which moves as a linear
    system in continuous time would, diagonalised and looked at in steps of Δ.

        Λ = Λ_re + i Λ_im,  Δ = exp(log_Δ),  B = B_re + i B_im,  C = C_re + i C_im
        s_t = exp(Λ ∘ Δ) ∘ s_{t−1} + Λ⁻¹ ∘ (exp(Λ ∘ Δ) − 1) ∘ (B x_t)      complex
        y_t = 2 Re(C s_t) + D ∘ x_t

    The real system has two states for each entry of s, which stands for itself and its conjugate.

    Shapes: x and y (input,), s, Λ and Δ (hidden,), B (hidden, input), C (input, hidden). Cost per
    step: O(input · hidden), of which O(hidden) is sequential.
    Source: Smith et al. 2023, arXiv:2208.04933, and their code, lindermanlab/S5. At the start log Δ
    is uniform, Λ are the eigenvalues of HiPPO-N (the normal part of HiPPO-LegS), and B and C are
    random matrices turned into the basis of its eigenvectors V: V* B and C V. Differs from the code
    in these: they are normal and not truncated, and B, before it is turned, has variance 1 / input,
    its fan-in, and not 1 / (2 hidden). The real parts of Λ are as free as in the code without
    `clip_eigs`: an entry where one is pushed above 0 grows from step to step.

    Args:
        input_size: entries of one input and of one output, > 0.
        hidden_size: entries of the state, complex, > 0; half of what the paper calls P.
        blocks: HiPPO-N matrices along the diagonal at the start, > 0; they divide hidden_size.
        key: for the initial parameters.

    Raises:
        ValueError: for blocks that do not divide hidden_size.
    """

    Lambda: Float[Array, "2 hidden"]
    B: Float[Array, "2 hidden input"]
    C: Float[Array, "2 input hidden"]
    D: Float[Array, " input"]
    log_delta: Float[Array, " hidden"]
    input_shape: tuple[int, ...] = eqx.field(static=True)  # pyright: ignore
    hidden_size: int = eqx.field(static=True)

    def __init__(self, input_size: int, hidden_size: int, *, blocks: int = 1, key: PRNGKeyArray):
        if blocks < 1 or hidden_size % blocks:
            raise bad_input(
                f"S5 got hidden_size={hidden_size} and blocks={blocks}.",
                "at least one block, and as many states in each.",
                "choose blocks that divide hidden_size.",
            )
        keys = jax.random.split(key, 4)
        eigenvalues, V = hippo_normal(2 * hidden_size // blocks)
        V = jnp.asarray(np.kron(np.eye(blocks), V))
        self.Lambda = in_parts(jnp.asarray(np.tile(eigenvalues, blocks)))
        B = lecun_normal(keys[0], (2 * hidden_size, input_size))
        C = lecun_normal(keys[1], (2, input_size, 2 * hidden_size))
        self.B = in_parts(V.conj().mT @ B.astype(V.dtype))
        self.C = in_parts(jax.lax.complex(*C) @ V)
        self.D = jax.random.normal(keys[2], (input_size,))
        self.log_delta = uniform_log(keys[3], (hidden_size,), 1e-3, 1e-1)
        self.input_shape = (input_size,)
        self.hidden_size = hidden_size

    def init_state(self):
        zeros = jnp.zeros(self.hidden_size, state_dtype(self.D))
        return jax.lax.complex(zeros, zeros)

    def project(self, x):
        return x @ self.B[0].mT, x @ self.B[1].mT, self.D * x

    def update(self, s, u):
        Lambda = jax.lax.complex(*self.Lambda)
        turn = jax.lax.complex(*(self.Lambda * jnp.exp(self.log_delta)))  # Λ ∘ Δ
        seen = jax.lax.complex(*u[:2])
        return jnp.exp(turn) * s + jnp.expm1(turn) / Lambda * seen

    def readout(self, s, u):
        return 2 * (s.real @ self.C[0].mT - s.imag @ self.C[1].mT) + u[2]
