"""Blocks of sizes that do not fit are refused."""

import jax
import pytest

from seqmem import blocks

KEY = jax.random.key(0)


@pytest.mark.parametrize(
    ("make", "came"),
    [
        (
            lambda: blocks.gated_delta_net_block(3, 10, num_heads=5, num_key_heads=2, key=KEY),
            "num_key_heads=2 for num_heads=5",
        ),
        (
            lambda: blocks.gated_delta_net_block(3, 4, num_heads=2, key_size=0, key=KEY),
            "key_size=0",
        ),
        (
            lambda: blocks.gated_delta_net_block(3, 4, num_heads=2, beta_max=3.0, key=KEY),
            "beta_max=3.0",
        ),
        (lambda: blocks.mamba2_block(3, 5, num_heads=2, key=KEY), "got 2 heads for a size of 5"),
        (
            lambda: blocks.mamba2_block(3, 6, num_heads=3, num_groups=2, key=KEY),
            "num_groups=2 for num_heads=3",
        ),
        (lambda: blocks.mamba2_block(0, 6, num_heads=3, key=KEY), "input_size=0"),
        (lambda: blocks.mamba_block(3, 0, key=KEY), "hidden_size=0"),
        (lambda: blocks.falcon_mamba_block(3, 4, rank=0, key=KEY), "rank=0"),
        (lambda: blocks.falcon_mamba_block(3, 4, eps=0.0, key=KEY), "eps=0.0"),
        (lambda: blocks.mamba3_block(3, 5, num_heads=2, key=KEY), "got 2 heads for a size of 5"),
        (
            lambda: blocks.mamba3_block(3, 6, num_heads=2, num_angles=2, key=KEY),
            "num_angles=2 for key_size=3",
        ),
        (lambda: blocks.mamba3_block(3, 6, num_heads=3, rank=0, key=KEY), "rank=0"),
        (
            lambda: blocks.mamba3_block(3, 6, num_heads=3, num_groups=2, key=KEY),
            "num_groups=2 for num_heads=3",
        ),
        (lambda: blocks.gla_block(3, 5, num_heads=2, key=KEY), "got 2 heads for a size of 5"),
        (lambda: blocks.gla_block(3, 4, num_heads=2, rank=0, key=KEY), "rank=0"),
        (lambda: blocks.mesa_net_block(3, 5, num_heads=2, key=KEY), "got 2 heads for a size of 5"),
        (lambda: blocks.mesa_net_block(3, 6, num_heads=2, width=0, key=KEY), "width=0"),
        (lambda: blocks.mesa_net_block(3, 6, num_heads=2, solver=30, key=KEY), "solver=30"),
        (lambda: blocks.gsa_block(3, 5, num_heads=2, key=KEY), "got 2 heads for a size of 5"),
        (lambda: blocks.gsa_block(3, 4, num_heads=2, num_slots=0, key=KEY), "num_slots=0"),
        (lambda: blocks.xlstm_block(3, 5, num_heads=2, key=KEY), "got 2 heads for a size of 5"),
        (lambda: blocks.griffin_block(3, 5, num_heads=2, key=KEY), "got 2 heads for a size of 5"),
        (lambda: blocks.griffin_block(0, 4, num_heads=2, key=KEY), "input_size=0"),
        (lambda: blocks.griffin_block(3, 4, num_heads=2, width=1, key=KEY), "width=1"),
        (lambda: blocks.xlstm_block(0, 4, num_heads=2, key=KEY), "input_size=0"),
        (
            lambda: blocks.gated_delta_net_2_block(3, 10, num_heads=5, num_key_heads=2, key=KEY),
            "num_key_heads=2 for num_heads=5",
        ),
        (
            lambda: blocks.gated_delta_net_2_block(3, 4, num_heads=2, beta_max=3.0, key=KEY),
            "beta_max=3.0",
        ),
        (lambda: blocks.comba_block(3, 5, num_heads=2, key=KEY), "got 2 heads for a size of 5"),
        (lambda: blocks.comba_block(3, 4, num_heads=2, key_size=0, key=KEY), "key_size=0"),
        (lambda: blocks.rwkv6_block(5, num_heads=2, key=KEY), "got 2 heads for a size of 5"),
        (lambda: blocks.rwkv6_block(4, num_heads=2, mix_rank=0, key=KEY), "mix_rank=0"),
        (
            lambda: blocks.preconditioned_gated_delta_net_block(
                3, 4, num_heads=2, beta_max=3.0, key=KEY
            ),
            "beta_max=3.0",
        ),
        (
            lambda: blocks.preconditioned_kda_block(3, 4, num_heads=2, key_size=0, key=KEY),
            "key_size=0",
        ),
        (
            lambda: blocks.lightning_attention_block(3, 4, num_heads=2, layer=1, key=KEY),
            "layer=1 of num_layers=1",
        ),
        (lambda: blocks.delta_net_block(3, 5, num_heads=2, key=KEY), "got 2 heads for a size of 5"),
        (lambda: blocks.delta_net_block(3, 4, num_heads=2, beta_max=3.0, key=KEY), "beta_max=3.0"),
        (lambda: blocks.kda_block(3, 5, num_heads=2, key=KEY), "got 2 heads for a size of 5"),
        (lambda: blocks.kda_block(3, 4, num_heads=2, key_size=0, key=KEY), "key_size=0"),
        (lambda: blocks.rwkv7_feed_forward_block(3, 0, key=KEY), "hidden_size=0"),
        (lambda: blocks.rwkv7_body(6, num_layers=0, num_heads=2, key=KEY), "num_layers=0"),
        (lambda: blocks.rwkv7_body(6, num_layers=1, num_heads=0, key=KEY), "num_heads=0"),
        (lambda: blocks.rwkv7_block(5, num_heads=2, key=KEY), "got 2 heads for a size of 5"),
        (
            lambda: blocks.rwkv7_block(6, num_heads=2, rank=0, first_layer=False, key=KEY),
            "rank=0",
        ),
    ],
)
def test_sizes_that_do_not_fit_are_refused(make, came):
    with pytest.raises(ValueError, match=r"(?s).+\n  Expected: .+\n  What to do: .+") as refusal:
        make()
    assert came in str(refusal.value)
