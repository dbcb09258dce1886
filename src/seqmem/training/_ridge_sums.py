"""Ridge regression by sums over examples and steps."""

import functools
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.lax import Precision
from jaxtyping import Array, Float

from .._core.errors import bad_input


class RidgeSums(NamedTuple):
    """What ridge regression needs to know of any number of examples and steps.

    The sums are of differences from the means, so that few digits cancel. They have the size of one
    matrix, so a loop over chunks of data of any length runs in bounded memory. They square the
    condition number of the states, so float64 pays where states are nearly collinear.

        sums = RidgeSums.zeros(num_states, num_targets)
        for states, targets in chunks:
            sums = sums.add(states, targets)
        readout = sums.solve(alpha)

    Attributes:
        count: how many pairs of a state and a target were added.
        mean_state: s̄, their mean.
        mean_target: ȳ.
        states: Σ (s − s̄) (s − s̄)ᵀ.
        targets: Σ (s − s̄) (y − ȳ)ᵀ.

    Example:
        >>> import jax.numpy as jnp
        >>> from seqmem import training
        >>> states = jnp.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, 0.0]])
        >>> targets = states @ jnp.array([[2.0], [3.0]]) + 1
        >>> sums = training.RidgeSums.zeros(2, 1).add(states[:1], targets[:1])
        >>> readout = sums.add(states[1:], targets[1:]).solve(0.0)
        >>> [round(float(w), 3) for w in readout.weight[0]], round(float(readout.bias[0]), 3)
        ([2.0, 3.0], 1.0)
    """

    count: Float[Array, ""]
    mean_state: Float[Array, " states"]
    mean_target: Float[Array, " targets"]
    states: Float[Array, "states states"]
    targets: Float[Array, "states targets"]

    @staticmethod
    def zeros(num_states: int, num_targets: int, dtype: jnp.dtype | None = None) -> "RidgeSums":
        """The sums over nothing; `dtype` None is the default floating dtype of JAX."""
        dtype = jnp.result_type(float) if dtype is None else dtype
        shapes = ((), num_states, num_targets, (num_states, num_states), (num_states, num_targets))
        return RidgeSums(*(jnp.zeros(shape, dtype) for shape in shapes))

    def add(
        self,
        states: Float[Array | np.ndarray, "*rows states"],
        targets: Float[Array | np.ndarray, "*rows targets"],
    ) -> "RidgeSums":
        """These sums with those of more pairs: every leading axis is summed over.

        Raises:
            ValueError: where the leading axes differ, or the sizes are not those of the sums.
        """
        check_pairs("RidgeSums.add", states, targets)
        if (np.shape(states)[-1], np.shape(targets)[-1]) != self.targets.shape:
            raise bad_input(
                f"RidgeSums.add got states {np.shape(states)} and targets {np.shape(targets)}.",
                f"{self.targets.shape[0]} states and {self.targets.shape[1]} targets, as in sums.",
                "make the sums by RidgeSums.zeros(num_states, num_targets).",
            )
        return merge(self, sums_of(states, targets, self.states.dtype))

    def solve(self, alpha: float | Float[Array, ""]) -> eqx.nn.Linear:
        """The readout that minimises Σ ‖W s + b − y‖² + α ‖W‖².

        Directions in which the states vary less than by rounding are left out, so α = 0 is the
        least-squares solution of least norm.

        Args:
            alpha: α >= 0, compared with sums, not with means, over examples and steps.

        Raises:
            ValueError: for an α below 0.
        """
        if not isinstance(alpha, Tracer) and not alpha >= 0:
            raise bad_input(
                f"ridge regression got alpha={alpha}.",
                "the weight of ‖W‖², a number of at least 0.",
                "start with 1e-6, and choose the best on held-out data.",
            )
        return _linear(*_solve(self, jnp.asarray(alpha, self.states.dtype)))


def check_pairs(owner: str, states: Any, targets: Any) -> None:
    """Refuse states and targets that are not one vector each for the same examples and steps.

    Raises:
        ValueError: where an axis other than the last one differs.
    """
    shapes = np.shape(states), np.shape(targets)
    if not all(shapes) or shapes[0][:-1] != shapes[1][:-1]:
        raise bad_input(
            f"{owner} got states {shapes[0]} and targets {shapes[1]}.",
            "[time, *batch, states] and [time, *batch, targets], with the same time and batch.",
            "give each step of each example a vector of targets; one number is a vector of size 1.",
        )


@functools.partial(jax.jit, static_argnums=2)
def sums_of(states: Array, targets: Array, dtype: Any) -> RidgeSums:
    """The sums over all leading axes."""
    S, Y = (jnp.asarray(rows, dtype).reshape(-1, rows.shape[-1]) for rows in (states, targets))
    count = len(S)
    mean_state, mean_target = S.sum(0) / max(count, 1), Y.sum(0) / max(count, 1)
    S = S - mean_state
    return RidgeSums(
        jnp.asarray(count, dtype),
        mean_state,
        mean_target,
        _product(S.T, S),
        _product(S.T, Y - mean_target),
    )


@jax.jit
def merge(a: RidgeSums, b: RidgeSums) -> RidgeSums:
    """The sums over the pairs of both.

    Source: Chan, Golub & LeVeque 1983, The American Statistician 37(3), for the variance.
    """
    count = a.count + b.count
    share = b.count / jnp.maximum(count, 1)
    d_state, d_target = b.mean_state - a.mean_state, b.mean_target - a.mean_target
    weight = a.count * share
    return RidgeSums(
        count,
        a.mean_state + share * d_state,
        a.mean_target + share * d_target,
        a.states + b.states + weight * jnp.outer(d_state, d_state),
        a.targets + b.targets + weight * jnp.outer(d_state, d_target),
    )


@jax.jit
def _solve(sums: RidgeSums, alpha: Array) -> tuple[Array, Array]:
    """(W, b), by the eigenvalues of the sums: states are nearly collinear, and rounding may leave
    no Cholesky factor.
    """
    eigenvalues, Q = jnp.linalg.eigh(sums.states)
    rounding = jnp.finfo(sums.states.dtype).eps * len(Q) * eigenvalues[-1]
    is_used = eigenvalues + alpha > rounding
    inverse = jnp.where(is_used, 1 / jnp.where(is_used, eigenvalues + alpha, 1), 0)
    W = _product(Q * inverse, _product(Q.T, sums.targets)).T
    return W, sums.mean_target - _product(W, sums.mean_state)


def _product(A: Array, B: Array) -> Array:
    """A B with all digits, also where the platform rounds factors by default."""
    return jnp.matmul(A, B, precision=Precision.HIGHEST)


def _linear(W: Array, b: Array) -> eqx.nn.Linear:
    linear = eqx.filter_eval_shape(eqx.nn.Linear, W.shape[1], W.shape[0], key=jax.random.key(0))
    return eqx.tree_at(lambda linear: (linear.weight, linear.bias), linear, (W, b))
