"""Mamba-2: `Mamba2ForCausalLM` of Hugging Face transformers."""

import math

from ...blocks.mamba2 import mamba2_block
from ...interop.mamba2 import TABLE
from .._language_model import LanguageModel
from .backbone import make_model, model_parts
from .layout import Config, Layout, Part, check_value, tied_head


def make(config: Config, key) -> LanguageModel:
    check_value(config, "time_step_limit", [0.0, math.inf], (0.0, math.inf))

    def mixer(key):
        return mamba2_block(
            config["hidden_size"],
            config["num_heads"] * config["head_dim"],
            num_heads=config["num_heads"],
            key_size=config["state_size"],
            num_groups=config["n_groups"],
            width=config["conv_kernel"],
            eps=config["layer_norm_epsilon"],
            key=key,
        )

    return make_model(config, mixer, key)


def parts(config: Config) -> list[Part]:
    return model_parts(config, TABLE.rows, num_groups=config["n_groups"])


DEFAULTS = {
    "conv_kernel": 4,
    "layer_norm_epsilon": 1e-5,
    "tie_word_embeddings": False,
}
MAMBA2 = Layout("mamba2", make, parts, tied_head, DEFAULTS)
