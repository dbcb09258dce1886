"""What Mamba, Falcon Mamba and Mamba-2 share in Hugging Face transformers: layers of a norm and a
mixer, whose input is added.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jaxtyping import PRNGKeyArray

from ...interop.weight_table import Row, same
from ...layers.norms import RMSNorm
from ...layers.residual import Residual
from ...layers.stack import Stack
from .._language_model import LanguageModel
from .layout import Config, Part, alike, check_value, outer_part


def make_model(
    config: Config, make_mixer: Callable[[PRNGKeyArray], Any], key: PRNGKeyArray
) -> LanguageModel:
    """A model with these mixers, each made of a key."""
    check_value(config, "hidden_act", "silu")
    check_value(config, "use_bias", False)
    check_value(config, "use_conv_bias", True)
    size, eps = config["hidden_size"], config["layer_norm_epsilon"]
    body_key, model_key = jax.random.split(key)

    def layer(key: PRNGKeyArray) -> Residual:
        return Residual(Stack([RMSNorm(size, eps=eps), make_mixer(key)]))

    return LanguageModel(
        Stack(alike(layer, config["num_hidden_layers"], body_key)),
        config["vocab_size"],
        norm=RMSNorm(size, eps=eps),
        tied=config["tie_word_embeddings"],
        key=model_key,
    )


def model_parts(config: Config, rows: Sequence[Row], **known: int) -> list[Part]:
    """The parts of a model of `make_model`: `rows` are a mixer's, and `known` their sizes."""
    parts = [outer_part(config, "backbone.embeddings.weight", "backbone.norm_f.weight")]
    for index in range(config["num_hidden_layers"]):
        path, prefix = f"body.layers.{index}.layer.layers", f"backbone.layers.{index}."
        parts.append(Part(f"{path}.0", f"{prefix}norm.", [same("scale", "weight", "size")]))
        parts.append(Part(f"{path}.1", f"{prefix}mixer.", rows, known))
    return parts
