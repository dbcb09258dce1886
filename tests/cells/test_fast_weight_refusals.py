"""Writes of fast weights that do not fit, and sizes that no cell can have."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from tests.helpers.given_writes import KINDS, GivenWrites, draw_cell, gentle
from tests.helpers.refusals import assert_refused

BAD = {
    "keys of another size": lambda w: w._replace(key=w.key[..., :-1]),
    "values of another size": lambda w: w._replace(value=w.value[..., :-1]),
    "too many heads": lambda w: w._replace(query=jnp.concatenate([w.query, w.query], 2)),
    "several queries": lambda w: w._replace(query=w.query[:, :, :, None]),
    "a decay of some channels": lambda w: w._replace(log_decay=w.key[..., :-1]),
    "a gain without a scale": lambda w: w._replace(log_gain=w.value[..., :1]),
    "a momentum without a matrix for it": lambda w: w._replace(log_momentum=w.value[..., :1]),
    "a rate of no momentum": lambda w: w._replace(momentum_rate=w.value[..., :1]),
    "a query of the key size that reads Sᵀ": lambda w: w._replace(reading=seqmem.Transposed()),
}


@pytest.mark.parametrize("method", [seqmem.Scan(), seqmem.Parallel()], ids=repr)
@pytest.mark.parametrize("bad", BAD)
def test_write_that_does_not_fit_is_refused(bad, method):
    cell, state, write = draw_cell(KINDS["delta rule"], gentle, time=3, batch=1, dtype=np.float32)
    write = BAD[bad](write)
    shapes = jax.tree.map(lambda leaf: (None,) * (leaf.ndim - 2), write)
    cell = GivenWrites(cell.learned, shapes)
    with pytest.raises(ValueError, match=r"(?s)writes .*Expected: .*What to do: "):
        seqmem.unroll(cell, state, write, method=method)


@pytest.mark.parametrize("other", ["remove", "erase", "several writes"])
def test_other_writes_with_a_query_that_reads_before_are_refused(other):
    cell, state, write = draw_cell(
        KINDS["reading before, decay per channel"], gentle, time=3, batch=1, dtype=np.float32
    )
    if other == "several writes":
        query = write.query
        write = jax.tree.map(lambda leaf: leaf[..., None, :], write)._replace(query=query)
    else:
        write = write._replace(**{other: write.key})
    cell = GivenWrites(cell.learned, jax.tree.map(lambda leaf: (None,) * (leaf.ndim - 2), write))
    with pytest.raises(ValueError, match=r"(?s), and reads before the write.*Expected: .*What to"):
        seqmem.unroll(cell, state, write)


def test_gain_with_momentum_is_refused():
    kind = KINDS["gated delta rule, momentum"]
    cell, _, write = draw_cell(kind, gentle, time=3, batch=1, dtype=np.float32)
    log_scale = jnp.zeros((*cell.learned.matrix.shape[:-2], 1))
    cell = GivenWrites(cell.learned._replace(log_scale=log_scale))
    write = write._replace(log_gain=write.value[..., :1], remove=None)
    assert_refused("GivenWrites writes ['key', 'log_decay', ", seqmem.unroll, cell, None, write)


IMPOSSIBLE = {
    "heads that do not divide": lambda key: seqmem.KDA(3, 7, num_heads=2, key=key),
    "no heads": lambda key: seqmem.RetNet(3, 6, num_heads=0, key=key),
    "groups that do not divide": lambda key: seqmem.SSD(
        3, 6, num_heads=3, key_size=5, num_groups=2, key=key
    ),
    "too strong": lambda key: seqmem.DeltaRule(3, 6, num_heads=2, beta_max=2.5, key=key),
    "too strong, decay per channel": lambda key: seqmem.KDA(
        3, 6, num_heads=2, beta_max=2.5, key=key
    ),
    "too strong, an erase gate": lambda key: seqmem.GatedDeltaRule2(
        3, 6, num_heads=2, beta_max=2.5, key=key
    ),
    "a layer that the model has not": lambda key: seqmem.LightningAttention(
        3, 6, num_heads=2, layer=2, num_layers=2, key=key
    ),
    "no rank": lambda key: seqmem.RWKV6(3, 6, num_heads=2, rank=0, key=key),
    "keys of size 0": lambda key: seqmem.Comba(3, 6, num_heads=2, key_size=0, key=key),
    "heads with momentum": lambda key: seqmem.MomentumDeltaRule(3, 7, num_heads=2, key=key),
    "no write": lambda key: seqmem.DeltaProduct(3, 6, num_heads=2, num_writes=0, key=key),
    "heads of Oja's rule": lambda key: seqmem.GatedOjaRule(3, 7, num_heads=2, key=key),
    "no key of Oja's rule": lambda key: seqmem.GatedOjaRule(3, 6, num_heads=2, key_size=0, key=key),
    "heads of slots": lambda key: seqmem.GSA(3, 7, num_heads=2, key=key),
    "no slot": lambda key: seqmem.GSA(3, 6, num_heads=2, num_slots=0, key=key),
    "no mean": lambda key: seqmem.ABC(3, 6, num_heads=2, num_slots=0, key=key),
    "heads of means": lambda key: seqmem.ABC(3, 7, num_heads=2, key=key),
    "bound of 1": lambda key: seqmem.HGRN2(3, 6, num_heads=2, lower_bound=1.0, key=key),
    "heads of an sLSTM": lambda key: seqmem.SLSTM(3, 7, num_heads=2, key=key),
}


@pytest.mark.parametrize("make", IMPOSSIBLE)
def test_impossible_sizes_are_refused(make):
    with pytest.raises(ValueError, match=r"(?s)Expected: .*What to do: "):
        IMPOSSIBLE[make](jax.random.key(0))
