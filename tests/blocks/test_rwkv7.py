"""The blocks of RWKV-7: the ranks of their matrices, and the laws."""

import equinox as eqx
import jax
import numpy as np
import pytest

import seqmem
from seqmem import blocks, layers
from tests.helpers.laws import check_laws_of_time

KEY = jax.random.key(0)


def test_rwkv7_block_has_a_rank_for_each_of_its_matrices():
    ranks = blocks.RWKV7Ranks(w=2, a=3, g=5, nu=7)
    make = lambda ranks: blocks.rwkv7_block(  # noqa: E731
        6, num_heads=2, rank=ranks, first_layer=False, key=KEY
    )
    upper = eqx.filter_eval_shape(make, ranks).layers[1]
    parts = upper.core.w, upper.core.a, upper.core.g, upper.nu
    assert [part.V.shape[0] for part in parts] == [part.W.shape[1] for part in parts] == [*ranks]
    with pytest.raises(ValueError, match=r"(?s)a_rank=0.+\n  Expected: .+\n  What to do: "):
        make(ranks._replace(a=0))


@pytest.mark.slow
def test_rwkv7_body_keeps_every_law():
    cell = blocks.rwkv7_body(6, 5, num_layers=1, num_heads=3, rank=2, key=KEY)
    x = np.zeros(6, np.float32)
    report = seqmem.testing.check_cell(cell, x, methods=[layers.LayerByLayer()])
    assert set(report.values()) == {"holds"}


@pytest.mark.slow
def test_upper_rwkv7_block_keeps_the_laws_of_time():
    cell = blocks.rwkv7_block(6, num_heads=3, rank=5, first_layer=False, key=KEY)
    check_laws_of_time(cell, [layers.LayerByLayer()], (np.zeros(6, np.float32),) * 2)
