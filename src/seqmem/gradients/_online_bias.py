"""How far the gradient of an online algorithm is from the full gradient."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from .._core.batching import vmap_batch
from .._core.cell import project, update
from .._core.errors import bad_input
from .._core.precision import keep_inexact, split_inexact
from .._core.shapes import leading_axes
from .._core.trees import tree_norm
from .._core.validation import check_count
from .._unroll import unroll
from ._kf_rtrl import KFRTRL
from ._online_cell import AbstractOnlineCell
from ._truncation_bias import bias_between
from ._uoro import UORO


class OnlineBias(NamedTuple):
    """How far an online gradient g' is from the full gradient g.

    Attributes:
        relative: ‖E g' − g‖ / ‖g‖, the bias.
        cosine: E ⟨g', g⟩ / (‖g'‖ ‖g‖), of one g' and not of their mean.
        variance: E ‖g' − E g'‖² / ‖g‖²; 0 for an algorithm that draws nothing.
    """

    relative: Float[Array, ""]
    cosine: Float[Array, ""]
    variance: Float[Array, ""]


def online_bias(loss: Callable, *, num_draws: int = 100) -> Callable:
    """The bias and the variance of an online gradient on a task of your own.

    Both gradients are those of the cell's parameters, which do not change during the run:
    g by backpropagation through time, g' = Σ_t `output_gradient` at step t, summed over the batch.

    Args:
        loss: (outputs, ...) -> the loss, of the outputs [time, *batch, ...] of the run and further
            arguments.
        num_draws: gradients that `UORO` and `KFRTRL` draw for the means E, >= 2; their bias of 0
            then shows up as √(variance / num_draws). The other algorithms draw nothing.

    Returns:
        A function of the online cell, its inputs and the further arguments of the loss, with a
        `key` for `UORO` and `KFRTRL`, that returns an `OnlineBias`.

    Raises:
        ValueError: for fewer than 2 draws, another object than an online cell, or one that draws
            without a key.

    Example:
        >>> import jax, seqmem
        >>> keys = jax.random.split(jax.random.key(0))
        >>> cell = seqmem.MinGRU(3, 5, key=keys[0])
        >>> xs = jax.random.normal(keys[1], (8, 3))
        >>> bias = seqmem.gradients.online_bias(lambda ys: (ys[-1] ** 2).sum())
        >>> float(bias(seqmem.gradients.SnAp(cell), xs).relative) < 1e-5  # the cell is diagonal
        True
    """
    check_count("online_bias", "num_draws", num_draws, at_least=2, remedy="pass an int.")

    def bias(
        online: AbstractOnlineCell, xs: PyTree, *args: Any, key: PRNGKeyArray | None = None
    ) -> OnlineBias:
        if not isinstance(online, AbstractOnlineCell):
            raise bad_input(
                f"online_bias got {type(online).__name__}.",
                "an online cell: RTRL, SnAp, EProp, RFLO, UORO or KFRTRL.",
                "wrap the cell, seqmem.gradients.SnAp(cell).",
            )
        if not isinstance(online, UORO | KFRTRL):
            return _bias(loss, online, xs, args, None)
        if key is None:
            raise bad_input(
                f"online_bias got {type(online).__name__} without a key.",
                "a random key for its draws.",
                "pass key=jax.random.key(0).",
            )
        keys = jax.random.key_data(jax.random.split(key, num_draws))
        return _bias(loss, online, xs, args, keys)

    return bias


@eqx.filter_jit
def _bias(loss: Callable, online: Any, xs: PyTree, args: tuple, keys: Array | None) -> OnlineBias:
    xs = jax.tree.map(jnp.asarray, xs)
    differentiable, constant = split_inexact(online.cell)

    def run(differentiable: PyTree) -> PyTree:
        return unroll(eqx.combine(differentiable, constant), None, xs)[1]

    ys, pull = jax.vjp(run, differentiable)
    d_ys = jax.grad(lambda ys: loss(ys, *args))(ys)
    (full,) = pull(d_ys)
    if keys is None:
        estimate = _online_gradient(online, xs, d_ys)
        return OnlineBias(*bias_between(estimate, full), jnp.zeros(()))

    def draw(sums: tuple[PyTree, Array, Array], key: Array):
        drawn = eqx.tree_at(lambda online: online.trace_form.key, online, key)
        estimate = _online_gradient(drawn, xs, d_ys)
        error = jax.tree.map(lambda g, f: (g - f) / len(keys), estimate, full)
        terms = error, bias_between(estimate, full).cosine, tree_norm(error) ** 2
        return jax.tree.map(jnp.add, sums, terms), None

    norm = tree_norm(full)
    zeros = jax.tree.map(jnp.zeros_like, (full, norm, norm))
    (error, cosine, squares), _ = jax.lax.scan(draw, zeros, keys)
    relative = tree_norm(error) / norm
    variance = (squares / norm**2 * len(keys) - relative**2) * len(keys) / (len(keys) - 1)
    return OnlineBias(relative, cosine / len(keys), variance)


def _online_gradient(online: AbstractOnlineCell, xs: PyTree, d_ys: PyTree) -> PyTree:
    """Σ of the gradients of all steps and examples."""
    batch = leading_axes(online.input_shape, xs)[1:]

    def step(online: Any, traced: PyTree, x: PyTree, d_y: PyTree) -> tuple[PyTree, PyTree]:
        traced = update(online, traced, project(online, x, traced))
        return traced, keep_inexact(online.output_gradient(traced, x, d_y))

    def add(carry: tuple[PyTree, PyTree], inputs: tuple[PyTree, PyTree]):
        traced, total = carry
        traced, gradients = vmap_batch(step, online, len(batch))(traced, *inputs)
        axes = tuple(range(len(batch)))
        return (traced, jax.tree.map(lambda sum, g: sum + g.sum(axes), total, gradients)), None

    zeros = jax.tree.map(jnp.zeros_like, keep_inexact(online.cell))
    return jax.lax.scan(add, (online.init_state(*batch), zeros), (xs, d_ys))[0][1]
