"""A mixture of experts: of many small networks each input passes a few."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from .._cells.initialisers import lecun_normal
from .._cells.pointwise import AbstractPointwiseCell
from .._core.errors import bad_input
from .._core.precision import as_precision, precision, state_dtype
from .._core.validation import check_sizes


class GatedMLP(eqx.Module):
    """W_d (silu(W_g x) ∘ W_u x), or several of them with an axis in front."""

    W_g: Float[Array, "*experts hidden size"]
    W_u: Float[Array, "*experts hidden size"]
    W_d: Float[Array, "*experts size hidden"]

    def __init__(self, *experts: int, size: int, hidden_size: int, key: PRNGKeyArray):
        keys = jax.random.split(key, 3)
        self.W_g, self.W_u = (
            _draw(each, (*experts, hidden_size, size)) for each in (keys[0], keys[1])
        )
        self.W_d = _draw(keys[2], (*experts, size, hidden_size))

    def __call__(self, x: Float[Array, "*lead size"]) -> Float[Array, "*lead size"]:
        return (jax.nn.silu(x @ self.W_g.mT) * (x @ self.W_u.mT)) @ self.W_d.mT


def _draw(key: PRNGKeyArray, shape: tuple[int, ...]) -> Array:
    """Matrices of one shape."""
    return lecun_normal(key, (math.prod(shape[:-1]), shape[-1])).reshape(shape)


class MixtureOfExperts(AbstractPointwiseCell):
    """A sum of the k experts that a router chooses for each input, and perhaps a shared one.

        p = softmax(W_r x)                                    one number for each expert
        w_e = p_e / Σ_{chosen} p_e, for the k largest p_e     or p_e itself
        y = Σ_{chosen} w_e f_e(x) + σ(w_s · x) f_s(x)
        f(x) = W_d (silu(W_g x) ∘ W_u x)

    p is computed in at least float32. Of equal p the first experts are chosen. What an expert
    that is not chosen computes reaches no output, and no gradient but that of its own weights, not
    even as NaN.

    All experts are computed for all inputs, one expert after another, so that a run needs the
    memory of one: exact and simple, and num_experts / k times the products that are needed.

    Shapes: x and y (size,), W_r (num_experts, size). Cost per step: O(num_experts · size ·
    expert_size + size · shared_size), none of it sequential.
    Source: Shazeer et al. 2017, arXiv:1701.06538 (not read); as Qwen3-Next in transformers 5.24.
    Differs: no loss that balances the experts.

    Args:
        size: features of one input and of one output, > 0.
        num_experts: experts, > 0.
        num_chosen: k, > 0, at most num_experts.
        expert_size: features of W_g x in an expert, > 0.
        shared_size: features of W_g x in the shared expert, > 0; None is no shared expert.
        normalised: whether the weights of the chosen experts are divided by their sum.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1, and for more chosen experts
            than there are.

    Example:
        >>> import jax, seqmem
        >>> experts = seqmem.layers.MixtureOfExperts(
        ...     5, num_experts=7, num_chosen=2, expert_size=3, key=jax.random.key(0)
        ... )
        >>> seqmem.unroll(experts, None, jax.numpy.ones((11, 5)))[1].shape
        (11, 5)
    """

    W_r: Float[Array, "experts size"]
    experts: GatedMLP
    shared: GatedMLP | None
    w_s: Float[Array, " size"] | None
    num_chosen: int = eqx.field(static=True)
    normalised: bool = eqx.field(static=True)

    def __init__(
        self,
        size: int,
        *,
        num_experts: int,
        num_chosen: int,
        expert_size: int,
        shared_size: int | None = None,
        normalised: bool = True,
        key: PRNGKeyArray,
    ):
        name = "MixtureOfExperts"
        check_sizes(name, size=size, num_experts=num_experts, num_chosen=num_chosen)
        check_sizes(name, expert_size=expert_size)
        if num_chosen > num_experts:
            raise bad_input(
                f"{name} got num_chosen={num_chosen} of num_experts={num_experts}.",
                "at most as many as there are.",
                "choose a smaller num_chosen.",
            )
        keys = jax.random.split(key, 4)
        self.W_r = lecun_normal(keys[0], (num_experts, size))
        self.experts = GatedMLP(num_experts, size=size, hidden_size=expert_size, key=keys[1])
        self.shared = self.w_s = None
        if shared_size is not None:
            check_sizes(name, shared_size=shared_size)
            self.shared = GatedMLP(size=size, hidden_size=shared_size, key=keys[2])
            self.w_s = lecun_normal(keys[3], (1, size))[0]
        self.num_chosen, self.normalised = num_chosen, normalised

    @property
    def input_shape(self):
        return self.W_r.shape[-1:]

    def project(self, x):
        weights, is_chosen = self._route(x)

        @jax.checkpoint
        def add(y: Array, expert: tuple[GatedMLP, Array, Array]) -> tuple[Array, None]:
            f, w, is_chosen = expert
            # 0, so that neither values nor derivatives overflow.
            safe = jnp.where(is_chosen, x, jnp.zeros_like(x))
            return y + w * jnp.where(is_chosen, f(safe), jnp.zeros_like(y)), None

        y, _ = jax.lax.scan(add, jnp.zeros_like(x), (self.experts, weights, is_chosen))
        if self.shared is None:
            return y
        return y + jax.nn.sigmoid(x @ self.w_s) * self.shared(x)

    def _route(self, x: Float[Array, " size"]) -> tuple[Array, Array]:
        """The weight of every expert, and which ones are chosen."""
        p = jax.nn.softmax(as_precision(x @ self.W_r.mT, state_dtype(x)))
        values, chosen = jax.lax.top_k(p, self.num_chosen)
        if self.normalised:
            values = values / values.sum()
        one_hot = jax.nn.one_hot(chosen, len(p), dtype=p.dtype)
        return as_precision(values @ one_hot, precision(x)), one_hot.sum(0) > 0
