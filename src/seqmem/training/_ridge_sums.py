"""Ridge regression by sums over examples and steps."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from .._core.errors import bad_input
from ._least_squares import multiply, ridge_solution, triangular_factor


class RidgeSums(NamedTuple):
    """What ridge regression needs to know of any number of examples and steps.

        RᵀR = Σ d dᵀ        d = (s − s̄, y − ȳ) of one step of one example, R triangular

    It has the size of one matrix, so a loop over chunks of data of any length runs in bounded
    memory. R comes from a QR decomposition of the differences, not from their products, which
    would square the condition number: the states of a reservoir are nearly collinear, and in
    float32 their products lose the directions that tell most.

        sums = RidgeSums.zeros(num_states, num_targets)
        for states, targets in chunks:
            sums = sums.add(states, targets)
        readout = sums.solve(alpha)

    A chunk of r examples and steps costs O((r + n) n²) for n states and targets together, so
    chunks of n rows or more are best.

    Attributes:
        count: how many pairs of a state and a target were added.
        mean_state: s̄, their mean.
        mean_target: ȳ.
        R: the triangular factor, with the targets in its last rows and columns.

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
    R: Float[Array, "both both"]

    @staticmethod
    def zeros(num_states: int, num_targets: int, dtype: jnp.dtype | None = None) -> "RidgeSums":
        """The sums over nothing; `dtype` None is the default floating dtype of JAX."""
        dtype = jnp.result_type(float) if dtype is None else dtype
        both = num_states + num_targets
        shapes = ((), num_states, num_targets, (both, both))
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
        sizes = len(self.mean_state), len(self.mean_target)
        if (np.shape(states)[-1], np.shape(targets)[-1]) != sizes:
            raise bad_input(
                f"RidgeSums.add got states {np.shape(states)} and targets {np.shape(targets)}.",
                f"{sizes[0]} states and {sizes[1]} targets, as in sums.",
                "make the sums by RidgeSums.zeros(num_states, num_targets).",
            )
        return add_pairs(self, states, targets)

    def solve(self, alpha: float | Float[Array, ""]) -> eqx.nn.Linear:
        """The readout that minimises Σ ‖W s + b − y‖² + α ‖W‖².

        α = 0 is the least-squares solution of least norm: there, directions in which the states
        vary less than by rounding are left out. The first derivative by states, targets and α is
        exact, also where states repeat each other.

        Args:
            alpha: α >= 0, compared with sums, not with means, over examples and steps.

        Raises:
            ValueError: for an α below 0, and for a second derivative by states or targets.
        """
        if not isinstance(alpha, Tracer) and not alpha >= 0:
            raise bad_input(
                f"ridge regression got alpha={alpha}.",
                "the weight of ‖W‖², a number of at least 0.",
                "start with 1e-6, and choose the best on held-out data.",
            )
        return _linear(*_solve(self, jnp.asarray(alpha, self.R.dtype)))


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


@jax.jit
def add_pairs(sums: RidgeSums, states: Array, targets: Array) -> RidgeSums:
    """`sums` with those of more pairs, over all leading axes.

    Source: Chan, Golub & LeVeque 1983, The American Statistician 37(3), for the means and the
    weight of their difference.
    """
    dtype = sums.R.dtype
    S, Y = (jnp.asarray(rows, dtype).reshape(-1, rows.shape[-1]) for rows in (states, targets))
    added = len(S)
    count = sums.count + added
    mean_state, mean_target = S.sum(0) / max(added, 1), Y.sum(0) / max(added, 1)
    d_state, d_target = mean_state - sums.mean_state, mean_target - sums.mean_target
    share = added / jnp.maximum(count, 1)
    root = jax.lax.stop_gradient(jnp.sqrt(sums.count * share))
    differences = jnp.concatenate([S - mean_state, Y - mean_target], axis=1)
    between = root * jnp.concatenate([d_state, d_target])
    return RidgeSums(
        count,
        sums.mean_state + share * d_state,
        sums.mean_target + share * d_target,
        triangular_factor(jnp.concatenate([sums.R, differences, between[None]])),
    )


@jax.jit
def _solve(sums: RidgeSums, alpha: Array) -> tuple[Array, Array]:
    """(W, b)."""
    num_states = len(sums.mean_state)
    W = ridge_solution(sums.R[:, :num_states], sums.R[:, num_states:], alpha).T
    return W, sums.mean_target - multiply(W, sums.mean_state)


def _linear(W: Array, b: Array) -> eqx.nn.Linear:
    linear = eqx.filter_eval_shape(eqx.nn.Linear, W.shape[1], W.shape[0], key=jax.random.key(0))
    return eqx.tree_at(lambda linear: (linear.weight, linear.bias), linear, (W, b))
