"""Language models of flash-linear-attention: the forms of them that there are, and those that there
are not. `test_pretrained.py` compares them with the classes of that library.
"""

import json

import jax
import pytest

from seqmem.models import from_config
from seqmem.models._pretrained import fla

from ..helpers.pretrained import ROOT

OPTIONS = {
    "gated_deltanet": {"use_gate": False, "use_short_conv": False, "attn": {"layers": [1]}},
    "gla": {
        "use_output_gate": False,
        "use_short_conv": True,
        "feature_map": "relu",
        "clamp_min": -3.0,
        "elementwise_affine": False,
        "fuse_norm": False,
        "num_kv_heads": 1,
        "hidden_act": "powlu",
    },
    "delta_net": {
        "use_gate": True,
        "use_beta": False,
        "use_short_conv": False,
        "qk_norm": "sum",
        "qk_activation": "elu",
        "attnres_block_size": 2,
    },
    "kda": {"use_short_conv": False, "safe_gate": True, "lower_bound": -5.0, "num_v_heads": 6},
    "rwkv7": {"hidden_act": "relu", "norm_bias": False, "value_dim": 12, "attn": {"layers": [1]}},
}


@pytest.mark.parametrize(
    ("model_type", "name"), [(key, name) for key, options in OPTIONS.items() for name in options]
)
def test_config_of_another_form_is_refused(model_type, name):
    config = json.loads((ROOT / model_type / "config.json").read_text())
    with pytest.raises(
        ValueError, match=rf"^a config of .+ with {name}=.+\n  Expected: {name} in .+\n  What to do"
    ):
        from_config(config | {name: OPTIONS[model_type][name]}, key=jax.random.key(0))


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"hidden_size": 2048, "hidden_ratio": 4, "intermediate_size": None}, 5632),
        ({"hidden_size": 1024, "hidden_ratio": None, "intermediate_size": None}, 2816),
        ({"hidden_size": 1024, "hidden_ratio": 4, "intermediate_size": 700}, 700),
    ],
)
def test_feed_forward_size_is_a_multiple_of_256_where_the_config_names_none(config, expected):
    assert fla.intermediate_size(config, factor=2 / 3, multiple=256) == expected
