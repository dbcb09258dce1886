"""Softmax attention of some queries to some keys and values, of one example."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def attend(
    queries: Float[Array, "queries heads size"],
    keys: Float[Array, "keys shared size"],
    values: Float[Array, "keys shared size"],
    visible: Bool[Array, "queries keys"],
    bias: Float[Array, "heads queries keys"] | None,
) -> Float[Array, "queries heads size"]:
    """softmax(q · k + bias) v over the keys that are visible.

    Keys and values that are not finite are replaced by zeros in the products, and the outputs that
    see them become NaN: otherwise 0 · NaN would reach every output.

    Args:
        queries: grouped by the heads that they share, in order; scaled.
        keys: with their positions encoded, as the queries.
        values: one for each key.
        visible: which keys a query may see.
        bias: what is added to the products.
    """
    bad_queries = _is_nonfinite(queries)
    bad_keys = _is_nonfinite(keys) | _is_nonfinite(values)
    q = _zero_where(bad_queries, queries)
    k, v = (_zero_where(bad_keys, leaf) for leaf in (keys, values))
    grouped = q.reshape(len(q), k.shape[1], -1, q.shape[-1])
    products = jnp.einsum("tgrd,sgd->grts", grouped, k)
    if bias is not None:
        products = products + bias.reshape(products.shape)
    lowest = jnp.finfo(products.dtype).min  # not −∞: the queries after the last step see no key
    weights = jax.nn.softmax(jnp.where(visible, products, lowest))
    outputs = jnp.einsum("grts,sgd->tgrd", weights, v).reshape(queries.shape)
    bad_outputs = bad_queries | (visible & bad_keys).any(-1)
    return jnp.where(bad_outputs[:, None, None], jnp.nan, outputs)


def _is_nonfinite(vectors: Float[Array, "*steps heads size"]) -> Bool[Array, "*steps"]:
    return ~jnp.isfinite(vectors).all((-2, -1))


def _zero_where(flags: Bool[Array, "*steps"], vectors: Array) -> Array:
    return jnp.where(flags[..., None, None], jnp.zeros_like(vectors), vectors)
