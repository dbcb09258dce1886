from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.nn import sigmoid, softplus
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.cell import AbstractCell
from ..._core.precision import state_dtype
from ..._core.timed import Timed
from ..._core.validation import check_sizes
from ..initialisers import uniform


class Synapses(NamedTuple):
    """A synapse from each unit or input to each unit.

    Attributes:
        w: its strength is softplus(w).
        mu: the potential at which it is half open.
        sigma: how fast it opens.
        erev: the potential that it pulls towards.
    """

    w: Float[Array, "source unit"]
    mu: Float[Array, "source unit"]
    sigma: Float[Array, "source unit"]
    erev: Float[Array, "source unit"]


class Neurons(NamedTuple):
    """The membranes of the units.

    Attributes:
        cm: the capacitance is softplus(cm).
        gleak: the conductance of the leak is softplus(gleak).
        vleak: the potential at rest.
    """

    cm: Float[Array, " unit"]
    gleak: Float[Array, " unit"]
    vleak: Float[Array, " unit"]


class Affine(NamedTuple):
    """w ∘ z + b."""

    w: Float[Array, " size"]
    b: Float[Array, " size"]


class LTC(AbstractCell):
    """Liquid time-constant network: a fully connected network of leaky neurons whose synapses open
    with the potential of the neuron before them, so that the time constant of a neuron depends on
    state and input.

        C dv/dt = G ∘ (v_leak − v) + Σ_j S_j(v_j) ∘ (E_j − v) + Σ_i S_i(x̂_i) ∘ (E_i − v)
        S_j(v) = softplus(w_j) ∘ σ(σ_j ∘ (v − μ_j)),  x̂ = w_in ∘ x_t + b_in
        C = softplus(cm),  G = softplus(gleak)

    over a time of Δt_t, in n = num_steps steps δ = Δt_t / n of the authors' fused solver, in which
    the synapses have the potentials before the step and v is that after it:

        I = G ∘ v_leak + Σ_j S_j ∘ E_j + Σ_i S_i ∘ E_i
        v ← (C ∘ v + δ I) / (C + δ (G + Σ_j S_j + Σ_i S_i))
        y_t = w_out ∘ v_t + b_out

    The input is `seqmem.Timed(x, delta_t)`. Where Δt is 0 the state stays as it is.

    Shapes: x (input,), Δt (), v and y (hidden,); a synapse's parameters are (input, hidden) and
    (hidden, hidden). Cost per step: O(hidden · (input + num_steps · hidden)), of which
    O(num_steps · hidden²) is sequential, each of them a sigmoid.
    Source: Hasani et al. 2020, arXiv:2006.04439, as in the authors' program, ncps, with
    `implicit_param_constraints`, from which the equations are taken; the paper's text was not read.
    Differs: numerator and denominator are multiplied by δ, so that Δt may be 0, and the 10⁻⁸ that
    ncps adds to the denominator is left out; softplus of the initial w, cm and gleak is uniform in
    the ranges in which ncps draws the parameters themselves, [0.001, 1) for w and gleak and [0.4,
    0.6) for cm; E is 1 or −1 with equal probability at the start. As there, v_leak starts uniform
    in [−0.2, 0.2), μ in [0.3, 0.8) and σ in [3, 8), and w_in and w_out are 1.

    Args:
        input_size: features of one input, > 0.
        hidden_size: neurons, > 0.
        num_steps: steps of the solver in each Δt, > 0.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1.

    Example:
        >>> import jax, jax.numpy as jnp, seqmem
        >>> cell = seqmem.LTC(3, 5, key=jax.random.key(0))
        >>> xs = seqmem.Timed(jnp.ones((7, 3)), jnp.linspace(0.1, 2, 7))
        >>> seqmem.unroll(cell, None, xs)[1].shape
        (7, 5)
    """

    neurons: Neurons
    synapses: Synapses
    sensory: Synapses
    input_map: Affine
    output_map: Affine
    num_steps: int = eqx.field(static=True)

    def __init__(self, input_size: int, hidden_size: int, *, num_steps: int = 6, key: PRNGKeyArray):
        check_sizes("LTC", input_size=input_size, hidden_size=hidden_size, num_steps=num_steps)
        keys = jax.random.split(key, 5)
        self.neurons = Neurons(
            _inverse_softplus(uniform(keys[0], (hidden_size,), 0.4, 0.6)),
            _inverse_softplus(uniform(keys[1], (hidden_size,), 0.001, 1.0)),
            uniform(keys[2], (hidden_size,), -0.2, 0.2),
        )
        self.synapses = _draw_synapses(keys[3], hidden_size, hidden_size)
        self.sensory = _draw_synapses(keys[4], input_size, hidden_size)
        self.input_map = Affine(jnp.ones(input_size), jnp.zeros(input_size))
        self.output_map = Affine(jnp.ones(hidden_size), jnp.zeros(hidden_size))
        self.num_steps = num_steps

    @property
    def input_shape(self):
        return Timed(self.input_map.b.shape[-1:], ())

    def init_state(self):
        return jnp.zeros(self.neurons.cm.shape[-1], state_dtype(self.neurons.cm))

    def project(self, x):
        current, conductance = _inflow(self.sensory, self.input_map.w * x.x + self.input_map.b)
        return current, conductance, x.delta_t / self.num_steps

    def update(self, v, u):
        sensory_current, sensory_conductance, delta = u
        C, G = softplus(self.neurons.cm), softplus(self.neurons.gleak)
        constant = G * self.neurons.vleak + sensory_current

        def step(v: Array, _: None) -> tuple[Array, None]:
            current, conductance = _inflow(self.synapses, v)
            numerator = C * v + delta * (constant + current)
            denominator = C + delta * (G + sensory_conductance + conductance)
            # Where neither C nor δ is a number with a square, nothing moves.
            stays = denominator < jnp.finfo(v.dtype).tiny ** 0.5
            return jnp.where(stays, v, numerator / jnp.where(stays, 1, denominator)), None

        return jax.lax.scan(step, v, length=self.num_steps)[0]

    def readout(self, v, u):
        return self.output_map.w * v + self.output_map.b


def _inflow(synapses: Synapses, v: Float[Array, " source"]) -> tuple[Array, Array]:
    """Σ_j S_j ∘ E_j and Σ_j S_j, for each unit."""
    S = softplus(synapses.w) * sigmoid(synapses.sigma * (v[:, None] - synapses.mu))
    return (S * synapses.erev).sum(0), S.sum(0)


def _draw_synapses(key: PRNGKeyArray, sources: int, units: int) -> Synapses:
    keys, shape = jax.random.split(key, 4), (sources, units)
    return Synapses(
        _inverse_softplus(uniform(keys[0], shape, 0.001, 1.0)),
        uniform(keys[1], shape, 0.3, 0.8),
        uniform(keys[2], shape, 3.0, 8.0),
        jnp.sign(uniform(keys[3], shape, -1.0, 1.0)),
    )


def _inverse_softplus(positive: Array) -> Array:
    return positive + jnp.log(-jnp.expm1(-positive))
