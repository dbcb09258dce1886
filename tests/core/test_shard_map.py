"""Arrays that meet inside of `jax.shard_map` vary over the same axes of the mesh."""

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from seqmem._core.shard_map import match_varying_axes, varying_axes


def test_replicated_array_varies_as_the_share_that_it_meets():
    seen = []

    def meet(share, replicated):
        matched = match_varying_axes((share, replicated, 1.0))
        seen.extend(map(varying_axes, (replicated, *matched)))
        return share

    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    run = jax.shard_map(meet, mesh=mesh, in_specs=(P("data"), P()), out_specs=P("data"))
    jax.eval_shape(run, jnp.ones(2), jnp.ones(3))
    assert seen == [frozenset(), *[frozenset({"data"})] * 3]


def test_outside_of_shard_map_nothing_is_cast():
    tree = [jnp.ones(2), jnp.ones(3)]
    assert match_varying_axes(tree) is tree
