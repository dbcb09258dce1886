"""One update of parameters by an optimiser of Optax."""

import jax
import optax
from jaxtyping import PyTree


def optimiser_step(
    optimiser: optax.GradientTransformation, grads: PyTree, opt_state: PyTree, params: PyTree
) -> tuple[PyTree, PyTree]:
    """The parameters and the optimiser's state after one update, under any rule of promotion.

    Optax's Adam takes a float to the power of an integer, which strict promotion forbids.
    """
    with jax.numpy_dtype_promotion("standard"):
        updates, opt_state = optimiser.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state
