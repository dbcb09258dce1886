"""Configs that make no model of their folder are refused."""

import json

import jax
import pytest

from seqmem.models import from_config, from_pretrained
from tests.helpers.pretrained_files import CONFIG, change
from tests.helpers.refusals import assert_refused


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"model_type": "gpt2"}, "model_type='gpt2'"),
        ({"model_type": ["mamba"]}, "one of ['delta_net', 'falcon_mamba'"),
        ({"hidden_size": -3}, "hidden_size=-3"),
        ({"hidden_size": 10**12}, "hidden_size=1000000000000"),
        ({"num_hidden_layers": 10**5}, "num_hidden_layers=100000"),
        ({"num_hidden_layers": 0}, "no layer"),
        ({"vocab_size": "eleven"}, "vocabulary_size='eleven'"),
        ({"vocab_size": None}, "vocabulary_size=None"),
        ({"conv_kernel": 2.5}, "width=2.5"),
        ({"expand": "two"}, "of which no model could be made"),
        ({"hidden_act": "gelu"}, "hidden_act='gelu'"),
        ({"hidden_size": 4}, "of shape"),
        ({"num_hidden_layers": 2}, "missing"),
        ({"tie_word_embeddings": False}, "['lm_head.weight'] missing"),
    ],
)
def test_refused_is_a_config_of_another_model(folder, entries, message):
    change(folder, **entries)
    assert message in assert_refused("", from_pretrained, folder)


def test_refused_is_a_config_without_a_size(folder):
    config = {name: value for name, value in CONFIG.items() if name != "hidden_size"}
    (folder / "config.json").write_text(json.dumps(config))
    came = f"In the folder {folder}: config.json has no 'hidden_size'"
    assert_refused(came, from_pretrained, folder)


def test_config_that_makes_no_model_is_refused():
    def make(config):
        return from_config(config, key=jax.random.key(0))

    assert_refused("from_config got a str", make, "folder")
    assert_refused("a config with model_type='None'", make, {})
    assert_refused("a config that JSON cannot hold", make, CONFIG | {"more": {1, 2}})
