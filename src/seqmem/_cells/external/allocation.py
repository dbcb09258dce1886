"""What a differentiable neural computer knows of its slots: which are free, and in which order they
were written.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

Slots = Float[Array, " slots"]


def update_usage(
    usage: Slots, w_write: Slots, w_read: Float[Array, "heads slots"], free: Float[Array, " heads"]
) -> Slots:
    """How much each slot is in use: more by the last write, less by the last reads whose heads free
    what they read.

        u_t = (u_{t−1} + w^w_{t−1} − u_{t−1} ∘ w^w_{t−1}) ∘ ∏_i (1 − f^i w^{r,i}_{t−1})
    """
    retention = jnp.prod(1 - free[:, None] * w_read, axis=0)
    return (usage + w_write - usage * w_write) * retention


def allocate(usage: Slots) -> Slots:
    """The weighting of free slots: the least used slot φ[1] first, and the next for what is left.

        a[φ[j]] = (1 − u[φ[j]]) ∏_{i<j} u[φ[i]],    φ in ascending order of u

    Slots of equal usage keep their order. The derivative is that of the equation for the order as
    it is.
    """
    order = jnp.argsort(usage)
    u = usage[order]
    products = jnp.concatenate([jnp.ones_like(u[:1]), jnp.cumprod(u)[:-1]])
    return jnp.zeros_like(usage).at[order].set((1 - u) * products, unique_indices=True)


def update_links(
    links: Float[Array, "slots slots"], precedence: Slots, w_write: Slots
) -> tuple[Float[Array, "slots slots"], Slots]:
    """The matrix L of links, L[i, j] near 1 where slot i was written right after slot j, and the
    precedence p, near 1 where the last write was.

        L_t[i, j] = (1 − w^w[i] − w^w[j]) L_{t−1}[i, j] + w^w[i] p_{t−1}[j],    L_t[i, i] = 0
        p_t = (1 − Σ_i w^w[i]) p_{t−1} + w^w
    """
    rows = w_write[:, None]
    links = (1 - rows - w_write) * links + rows * precedence
    is_self = jnp.eye(len(w_write), dtype=bool)
    return jnp.where(is_self, 0, links), (1 - jnp.sum(w_write)) * precedence + w_write
