"""Teacher forcing from observations, and how strong it has to be."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, PyTree

from .._core.batching import vmap_batch
from .._core.cell import AbstractCell
from .._core.errors import bad_input
from .._core.problem import State
from .._core.shapes import zeros_like_input
from .._unroll import solve
from .._wrappers.forcing import Forced, with_forcing
from ..dynamics._step_map import StepMap


def teacher_forced(
    cell: AbstractCell,
    xs: Float[Array, "time *batch n"],
    *,
    alpha: Float[Array, "*steps"] | float,
    observation: Float[Array, "n hidden"] | None = None,
    inputs: PyTree = None,
    **options: Any,
) -> Float[Array, "time-1 *batch n"]:
    """The predictions x̂_{t+1} of a cell under generalised teacher forcing by the observations x_t,
    for a loss against `xs[1:]`.

        ŝ_t = B⁺ x_t
        s̃_t = (1 − α) s_t + α ŝ_t,    s̃_1 = ŝ_1
        s_{t+1} = update(s̃_t, project(inputs_t)),    x̂_{t+1} = B s_{t+1}

    B is the observation matrix, and B⁺ its pseudo-inverse. Without B the first n entries of the
    state are the observed variables, and only these are forced; the others start from
    `cell.init_state()`. ŝ takes no gradient.

    α = 1 predicts one step at a time, as a feed-forward network would; α = 0 runs freely from
    the first observation. An α per step, [time − 1], makes other schedules: 1 at every n-th step
    and 0 else is sparse teacher forcing, with n near ln 2 / λ of the largest exponent λ per step.
    `forcing_alpha` computes an α from Jacobians.

    Source: Hess et al. 2023, arXiv:2306.04406, and Mikhaeil et al. 2022, arXiv:2110.07238, by their
    program, DurstewitzLab/GTF-shPLRNN (`tf_training/tfrecur.jl`). The papers' text was not read.

    Args:
        cell: a cell whose state is one vector, such as `seqmem.RNN` or `GRU`.
        xs: the observations; standardise them.
        alpha: α in [0, 1], one number or one for each step.
        observation: B, which may be a parameter; None is the first n entries of the state.
        inputs: inputs of the cell, [time, *batch, ...]; None is zeros.
        options: those of `seqmem.solve`, such as `method=seqmem.Newton()`.

    Raises:
        ValueError: for an α outside of [0, 1], fewer than two observations, a state that is no
            vector, or sizes that do not fit.

    Example:
        >>> import jax, jax.numpy as jnp, seqmem
        >>> from seqmem import training
        >>> cell = seqmem.RNN(1, 11, key=jax.random.key(0))
        >>> xs = jnp.sin(0.1 * jnp.arange(50.0))[:, None, None] * jnp.ones((2, 3))
        >>> def loss(cell):
        ...     return ((training.teacher_forced(cell, xs, alpha=0.1) - xs[1:]) ** 2).mean()
        >>> bool(jnp.isfinite(jax.grad(loss)(cell).U).all())
        True
    """
    data = _observed_states("teacher_forced", cell, xs, observation, inputs)
    alpha = _check_alpha(alpha, len(xs) - 1).astype(data.states.dtype)
    alphas = jnp.broadcast_to(alpha, (len(xs) - 1,)).at[0].set(1)
    alphas = alphas.reshape(-1, *[1] * (data.states.ndim - 1)) * data.is_forced
    forced = Forced(
        jax.tree.map(lambda leaf: leaf[:-1], data.inputs),
        data.states[:-1],
        jnp.broadcast_to(alphas, data.states[:-1].shape),
    )
    solution = solve(with_forcing(cell), None, forced, return_states=True, **options)
    states = jnp.asarray(solution.states)
    return states[..., : xs.shape[-1]] if observation is None else states @ observation.T


def forcing_alpha(
    cell: AbstractCell,
    xs: Float[Array, "time *batch n"],
    *,
    observation: Float[Array, "n hidden"] | None = None,
    inputs: PyTree = None,
) -> Float[Array, ""]:
    """The α at which the Jacobians of a forced run neither grow nor vanish, for adaptive teacher
    forcing.

        α = max(0, 1 − 1/σ),    σ = max over examples of exp((1/T) Σ_t ln ‖J(ŝ_t)‖)

    J(ŝ_t) is the Jacobian of a step at the state that the observations say, and ‖J‖ its spectral
    norm: the product of J (1 − α) over time then has at most the norm 1 on average. Entries that
    are not observed are those of `cell.init_state()`.

    A training loop begins with α = 1 and takes from time to time

        α ← estimate where that is above α, else γ α + (1 − γ) estimate,    γ = 0.999

    Source: Hess et al. 2023, arXiv:2306.04406, by their program, DurstewitzLab/GTF-shPLRNN, method
    `product_upper_bound` of `tf_training/alpha_estimation.jl`, its default. The paper's text was
    not read.

    Args:
        cell: a cell whose state is one vector.
        xs: observations, such as a batch of training.
        observation: as for `teacher_forced`.
        inputs: as for `teacher_forced`.

    Raises:
        ValueError: where `teacher_forced` raises one.

    Example:
        >>> import jax, jax.numpy as jnp, seqmem
        >>> cell = seqmem.RNN(1, 5, activation=lambda z: 4 * z, key=jax.random.key(0))
        >>> alpha = seqmem.training.forcing_alpha(cell, jnp.ones((7, 2, 3)))
        >>> round(float(alpha), 3)                                 # J is 4 U, and U is orthogonal
        0.75
    """
    data = _observed_states("forcing_alpha", cell, xs, observation, inputs)

    def log_norm(cell: AbstractCell, state: State, x: PyTree) -> Float[Array, ""]:
        step_map = StepMap.of(cell)
        jacobian = jax.jacfwd(step_map.map_at(state, x))(step_map.vector(state))
        return jnp.log(jnp.linalg.norm(jacobian, 2))

    init = cell.init_state()
    states = jnp.where(data.is_forced, data.states, init)
    log_norms = vmap_batch(log_norm, cell, xs.ndim - 2, time=True)(states, data.inputs)
    return jnp.maximum(0, 1 - jnp.exp(-log_norms.mean(0).max()))


class _Data(NamedTuple):
    """What the observations say of the states, which entries of them, and the inputs."""

    states: Float[Array, "time *batch hidden"]
    is_forced: Float[Array, " hidden"]
    inputs: PyTree


def _observed_states(
    owner: str, cell: AbstractCell, xs: Array, observation: Array | None, inputs: PyTree
) -> _Data:
    init = jax.eval_shape(cell.init_state)
    shapes = [leaf.shape for leaf in jax.tree.leaves(init)]
    if not isinstance(init, jax.ShapeDtypeStruct) or len(init.shape) != 1:
        raise bad_input(
            f"{owner} got a {type(cell).__name__} with a state of shapes {shapes}.",
            "a cell whose state is one vector.",
            "use an RNN or a GRU, or seqmem.with_forcing with states of your own.",
        )
    (hidden,), n = init.shape, jnp.shape(xs)[-1] if jnp.ndim(xs) else 0
    if jnp.ndim(xs) < 2 or len(xs) < 2 or n > hidden:
        raise bad_input(
            f"{owner} got observations of shape {jnp.shape(xs)} for a state of {hidden} entries.",
            "[time, *batch, n] with at least two steps, and n at most the size of the state.",
            "pass trajectories, or choose a larger hidden size.",
        )
    if observation is not None and jnp.shape(observation) != (n, hidden):
        raise bad_input(
            f"{owner} got an observation matrix of shape {jnp.shape(observation)}.",
            f"{(n, hidden)}: the observed variables and the size of the state.",
            "leave it out where the first entries of the state are the observed variables.",
        )
    xs = jnp.asarray(xs).astype(init.dtype)
    if observation is None:
        states = jnp.pad(xs, [(0, 0)] * (xs.ndim - 1) + [(0, hidden - n)])
        is_forced = (jnp.arange(hidden) < n).astype(init.dtype)
    else:
        states = jax.lax.stop_gradient(xs @ jnp.linalg.pinv(observation).T)
        is_forced = jnp.ones(hidden, init.dtype)
    if inputs is None:
        zeros = zeros_like_input(cell.input_shape, init.dtype)
        inputs = jax.tree.map(lambda x: jnp.zeros((*xs.shape[:-1], *x.shape), x.dtype), zeros)
    return _Data(states, is_forced, inputs)


def _check_alpha(alpha: Any, steps: int) -> Array:
    if jnp.shape(alpha) not in ((), (steps,)):
        raise bad_input(
            f"teacher_forced got alpha of shape {jnp.shape(alpha)}.",
            f"one number, or one for each of the {steps} predictions.",
            "leave out the last observation, which forces nothing.",
        )
    values = 0.0 if isinstance(alpha, Tracer) else np.asarray(alpha)  # traced ones are not known
    if not np.all((values >= 0) & (values <= 1)):
        raise bad_input(
            f"teacher_forced got alpha={alpha}.",
            "numbers in [0, 1].",
            "pass 1 to force the state fully, and 0 to let it run freely.",
        )
    return jnp.asarray(alpha)
