"""Mamba-2: `Mamba2ForCausalLM` of Hugging Face transformers."""

import math

import jax

from ...blocks.mamba2 import mamba2_block
from ...interop.mamba2 import TABLE
from ...interop.weight_table import same
from ...layers.norms import RMSNorm
from ...layers.residual import Residual
from ...layers.stack import Stack
from .._language_model import LanguageModel
from .layout import Config, Layout, Part, alike, check_value


def make(config: Config, key) -> LanguageModel:
    check_value(config, "hidden_act", "silu")
    check_value(config, "use_bias", False)
    check_value(config, "use_conv_bias", True)
    check_value(config, "time_step_limit", [0.0, math.inf], (0.0, math.inf))
    size, eps = config["hidden_size"], config["layer_norm_epsilon"]
    body_key, model_key = jax.random.split(key)

    def layer(key):
        mixer = mamba2_block(
            size,
            config["num_heads"] * config["head_dim"],
            num_heads=config["num_heads"],
            key_size=config["state_size"],
            num_groups=config["n_groups"],
            width=config["conv_kernel"],
            eps=eps,
            key=key,
        )
        return Residual(Stack([RMSNorm(size, eps=eps), mixer]))

    return LanguageModel(
        Stack(alike(layer, config["num_hidden_layers"], body_key)),
        config["vocab_size"],
        norm=RMSNorm(size, eps=eps),
        tied=config["tie_word_embeddings"],
        key=model_key,
    )


def parts(config: Config) -> list[Part]:
    rows = [
        same("E", "backbone.embeddings.weight", "tokens size"),
        same("norm.scale", "backbone.norm_f.weight", "size"),
    ]
    if not config["tie_word_embeddings"]:
        rows.append(same("V", "lm_head.weight", "tokens size"))
    parts = [Part("", "", rows)]
    for index in range(config["num_hidden_layers"]):
        path, prefix = f"body.layers.{index}.layer.layers", f"backbone.layers.{index}."
        parts.append(Part(f"{path}.0", f"{prefix}norm.", [same("scale", "weight", "size")]))
        sizes = {"num_groups": config["n_groups"]}
        parts.append(Part(f"{path}.1", f"{prefix}mixer.", TABLE.rows, sizes))
    return parts


def ignored(config: Config) -> list[str]:
    return ["lm_head.weight"] if config["tie_word_embeddings"] else []


DEFAULTS = {
    "conv_kernel": 4,
    "layer_norm_epsilon": 1e-5,
    "tie_word_embeddings": False,
}
MAMBA2 = Layout("mamba2", make, parts, ignored, DEFAULTS)
