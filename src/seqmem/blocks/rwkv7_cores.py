"""The second layers of `rwkv7_block`, which has their equations."""

from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jax.nn import sigmoid
from jaxtyping import Array, Float

from .._cells.fast_weights.family import AbstractFastWeightCell
from .._cells.fast_weights.heads import empty_memory, per_head
from .._cells.fast_weights.rwkv7 import generalised_delta_rule
from .._cells.fast_weights.write import Write
from .._cells.normalisation import layer_norm
from .token_shift import Mixed


class RWKV7Ranks(NamedTuple):
    """The ranks of the matrices that make w, a, g and ν in `rwkv7_block`."""

    w: int
    a: int
    g: int
    nu: int


class LowRank(eqx.Module):
    """x ↦ W f(V x) + b, where the matrix W V has a low rank."""

    V: Float[Array, "rank input"]
    W: Float[Array, "size rank"]
    b: Float[Array, " size"] | None

    def __call__(self, x: Float[Array, " input"], f: Any = lambda x: x) -> Float[Array, " size"]:
        y = f(x @ self.V.mT) @ self.W.mT
        return y if self.b is None else y + self.b


class RWKV7Core(AbstractFastWeightCell):
    """The second layer of `rwkv7_block` in the first layer of a model."""

    input_shape: ClassVar[Any] = Mixed._make([(None,)] * 6)

    W_r: Float[Array, "size input"]
    W_k: Float[Array, "size input"]
    W_v: Float[Array, "size input"]
    w: LowRank
    a: LowRank
    g: LowRank
    xi: Float[Array, " size"]
    alpha: Float[Array, " size"]
    rho: Float[Array, " size"]
    scale: Float[Array, " size"]
    shift: Float[Array, " size"]
    W_o: Float[Array, "output size"]
    num_heads: int = eqx.field(static=True)
    eps: float = eqx.field(static=True)
    key_eps: float = eqx.field(static=True)

    def init_state(self):
        size = len(self.xi) // self.num_heads
        return empty_memory(self.num_heads, size, size, self.W_o)

    def project_with_values(self, x: Mixed, v: Array, first_v: Array) -> tuple[Write, Any]:
        """`project` with the values v, passing on those of the first layer of the model."""
        r, k = x.r @ self.W_r.mT, x.k @ self.W_k.mT
        w, a = self.w(x.w, jnp.tanh), self.a(x.a)
        drive = r, k, v, w, a, self.xi, self.alpha, self.rho
        drive = (per_head(leaf, self.num_heads) for leaf in drive)
        write, bonus = generalised_delta_rule(*drive, eps=self.key_eps)
        return write, (bonus, self.g(x.g, sigmoid), first_v)

    def project(self, x):
        v = x.v @ self.W_v.mT
        return self.project_with_values(x, v, v)

    def output(self, reading, extra):
        bonus, gate, first_v = extra
        normed = self.scale * layer_norm(reading, self.eps).ravel() + self.shift
        return ((normed + bonus.ravel()) * gate) @ self.W_o.mT, first_v


class RWKV7UpperCore(AbstractFastWeightCell):
    """The second layer of `rwkv7_block(first_layer=False)`."""

    input_shape: ClassVar[Any] = (Mixed._make([(None,)] * 6), (None,))

    core: RWKV7Core
    nu: LowRank

    def init_state(self):
        return self.core.init_state()

    def project(self, x):
        x, first_v = x
        v = x.v @ self.core.W_v.mT
        v = v + (first_v - v) * sigmoid(self.nu(x.v))
        return self.core.project_with_values(x, v, first_v)

    def output(self, reading, extra):
        return self.core.output(reading, extra)
