"""Kernels of other projects for the rules of `fast_weights`, where they can be imported.

Their arrays are [batch, time, heads, channels], their decays [batch, time, heads] or one for each
channel too.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..peers import torch_device
from .section import CannotRunError

KINDS = {"retention": "simple_gla", "GLA": "gla", "gated delta": "gated_deltanet", "KDA": "kda"}
PER_CHANNEL = ("GLA", "KDA")  # a decay per channel; the others have one per head
DELTA_RULES = ("gated delta", "KDA")
MILD = 0.1  # log-decays are so small, since some kernels divide by products of decays


class Shape(NamedTuple):
    time: int
    batch: int
    num_heads: int
    size: int


def pallas_program(rule: str, shape: Shape) -> tuple[Callable[..., jax.Array], tuple[Any, ...]]:
    """jax-linear-attention's function, and random arguments."""
    from jla.ops import linear_attention

    platform = jax.devices()[0].platform
    if platform != "gpu":
        raise CannotRunError(f"jax-linear-attention's kernels are for Hopper, not for a {platform}")
    time, batch, num_heads, size = shape
    keys = jax.random.split(jax.random.key(0), 5)
    q, k, v = (jax.random.normal(key, (batch, time, num_heads, size)) for key in keys[:3])
    k = k / jnp.linalg.norm(k, axis=-1, keepdims=True)
    decays = (batch, time, num_heads, *((size,) if rule in PER_CHANNEL else ()))
    gates = {"g": -MILD * jax.nn.softplus(jax.random.normal(keys[3], decays))}
    if rule in DELTA_RULES:
        gates["beta"] = jax.nn.sigmoid(jax.random.normal(keys[4], (batch, time, num_heads)))

    def forward(arrays: tuple[Any, ...]) -> jax.Array:
        q, k, v, gates = arrays
        # By name: the default may fall back on a scan in plain JAX.
        return linear_attention(KINDS[rule], q, k, v, impl="mosaic_gpu", scale=1.0, **gates)[0]

    return forward, ((*(array.astype(jnp.bfloat16) for array in (q, k, v)), gates),)


def fla_calls(rule: str, shape: Shape) -> dict[str, Callable[[], Any]]:
    """fla's function of a rule, forward and with the gradient of the mean square."""
    if torch_device() != "cuda":
        raise CannotRunError("fla's Triton kernels are for GPUs, and this is a cpu")
    import torch
    from fla.ops.gated_delta_rule import chunk_gated_delta_rule
    from fla.ops.gla import chunk_gla
    from fla.ops.kda import chunk_kda
    from fla.ops.simple_gla import chunk_simple_gla

    time, batch, num_heads, size = shape
    function = {
        "retention": chunk_simple_gla,
        "GLA": chunk_gla,
        "gated delta": chunk_gated_delta_rule,
        "KDA": chunk_kda,
    }[rule]

    def normal(*sizes: int) -> Any:
        return torch.randn(batch, time, num_heads, *sizes, device="cuda")

    softplus, normalize = torch.nn.functional.softplus, torch.nn.functional.normalize
    q, k, v = normal(size), normalize(normal(size), dim=-1), normal(size)
    arrays = [array.to(torch.bfloat16) for array in (q, k, v)]
    arrays.append(-MILD * softplus(normal(size) if rule in PER_CHANNEL else normal()))
    if rule in DELTA_RULES:
        arrays.append(torch.sigmoid(normal()).to(torch.bfloat16))
    for array in arrays:
        array.requires_grad_()

    def forward() -> Any:
        with torch.no_grad():
            return function(*arrays, scale=1.0)[0]

    def gradient() -> Any:
        return torch.autograd.grad(function(*arrays, scale=1.0)[0].square().mean(), arrays)

    return {"forward": forward, "gradient": gradient}
