from collections.abc import Callable
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.core import Tracer
from jax.lax import stop_gradient
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.errors import bad_input
from ..._core.precision import state_dtype
from ..._core.validation import check_activation, check_sizes
from ..initialisers import normal, uniform
from ..spectral_radius import spectral_radius_of
from .family import AbstractGatedCell


class EchoState(AbstractGatedCell):
    """Echo state network: a fixed random RNN with leaky units, whose readout alone is trained.

        h_t = (1 − a) h_{t−1} + a φ(U h_{t−1} + W x_t + b)
        y_t = h_t

    U is random with a given share of zeros, scaled so that the largest modulus of its eigenvalues
    is the spectral radius. Below 1, and with |φ′| <= 1, the state usually forgets how it began.
    `seqmem.training.ridge_readout` and `fit_readout` solve for a linear readout in closed form.

    The weights are constants: their gradient is 0, while the gradient goes through them to the
    inputs and to layers below. An optimiser that decays weights would change them all the same:
    exclude them from it (`optax.masked`).

    Shapes: x (input,), h and y (hidden,). Cost per step: O(hidden · (input + hidden)), of which
    O(hidden²) is sequential; zeros of U are multiplied too.
    Source: Jaeger 2001, "The echo state approach to analysing and training recurrent neural
    networks", GMD report 148, doi:10.24406/publica-fhg-291111. The report was not read; the
    equation is that of `Reservoir` of reservoirpy (its "internal" form). Differs: from reservoirpy,
    W is dense, W and b are uniform, and there is no noise and no feedback from the output.

    Args:
        input_size: features of one input, > 0.
        hidden_size: units, > 0.
        spectral_radius: of U, > 0.
        sparsity: the probability that an entry of U is 0, in [0, 1).
        leak: a, in (0, 1]; 1 is a plain RNN, and smaller ones make slower units.
        input_scale: W is uniform in ± this, > 0.
        bias_scale: b is uniform in ± this, >= 0. With b = 0 and an odd φ such as tanh, −x gives −h.
        activation: φ, a function of an array, entry by entry; the identity makes a linear
            reservoir.
        key: random key for the weights.

    Raises:
        ValueError: for a size that is not a whole number of at least 1, a number outside of its
            range, an activation that is not a function, or a U so sparse that its spectral radius
            is 0.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.EchoState(3, 50, spectral_radius=0.9, sparsity=0.8, key=jax.random.key(0))
        >>> state, ys = seqmem.unroll(cell, None, jax.numpy.ones((7, 3)))
        >>> ys.shape
        (7, 50)
    """

    recurrent_weights: ClassVar = ("U",)

    W: Float[Array, "hidden input"]
    U: Float[Array, "hidden hidden"]
    b: Float[Array, " hidden"]
    leak: float = eqx.field(static=True)
    activation: Callable[[Array], Array] = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        spectral_radius: float = 0.9,
        sparsity: float = 0.0,
        leak: float = 1.0,
        input_scale: float = 1.0,
        bias_scale: float = 0.0,
        activation: Callable[[Array], Array] = jnp.tanh,
        key: PRNGKeyArray,
    ):
        check_sizes("EchoState", input_size=input_size, hidden_size=hidden_size)
        check_activation("EchoState", activation)
        _check_ranges(
            spectral_radius=(spectral_radius, spectral_radius > 0, "a number above 0"),
            sparsity=(sparsity, 0 <= sparsity < 1, "the share of zeros in U, 0 <= sparsity < 1"),
            leak=(leak, 0 < leak <= 1, "0 < leak <= 1"),
            input_scale=(input_scale, input_scale > 0, "a number above 0"),
            bias_scale=(bias_scale, bias_scale >= 0, "a number of at least 0"),
        )
        keys = jax.random.split(key, 3)
        U = _sparse_normal(keys[0], hidden_size, sparsity)
        radius = spectral_radius_of(U)
        if not isinstance(radius, Tracer) and not radius > 0:
            raise bad_input(
                f"EchoState drew {hidden_size} units with sparsity={sparsity} that form no loop.",
                "recurrent weights whose spectral radius is above 0.",
                "choose a smaller sparsity, more units, or another key.",
            )
        self.U = U * (spectral_radius / radius)
        self.W = uniform(keys[1], (hidden_size, input_size), -input_scale, input_scale)
        self.b = uniform(keys[2], (hidden_size,), -bias_scale, bias_scale)
        self.leak = leak
        self.activation = activation

    @property
    def input_shape(self):
        return self.W.shape[-1:]

    def init_state(self):
        return jnp.zeros(self.b.shape[-1], state_dtype(self.b))

    def project(self, x):
        W, b = stop_gradient((self.W, self.b))
        return x @ W.mT + b

    def mix(self, h, u):
        return h @ stop_gradient(self.U).mT + u

    def gate(self, h, z):
        return (1 - self.leak) * h + self.leak * self.activation(z)

    def readout(self, h, u):
        return h


def _sparse_normal(key: PRNGKeyArray, size: int, sparsity: float) -> Float[Array, "size size"]:
    """Normal entries, each of them 0 with the probability `sparsity`."""
    entry_key, mask_key = jax.random.split(key)
    is_zero = uniform(mask_key, (size, size), 0.0, 1.0) < sparsity
    return jnp.where(is_zero, 0, normal(entry_key, (size, size)))


def _check_ranges(**arguments: tuple[float, bool, str]) -> None:
    """Refuse the first number that is out of its range: (value, whether it is valid, the range)."""
    for name, (value, is_valid, valid_range) in arguments.items():
        if not is_valid:
            raise bad_input(
                f"EchoState got {name}={value!r}.", f"{valid_range}.", "choose it in this range."
            )
