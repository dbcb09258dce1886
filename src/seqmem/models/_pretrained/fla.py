"""What the language models of flash-linear-attention at commit bc3b101 share: mixers and SwiGLU
layers that alternate, each with a norm before it and its input added.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax

from ...interop.weight_table import Row, same
from ...layers.gated_mlp import GatedMLP
from ...layers.norms import RMSNorm
from ...layers.residual import Residual
from ...layers.stack import Stack
from .._language_model import LanguageModel
from .layout import Config, Part, check_value, outer_part

DEFAULTS = {
    "allow_neg_eigval": False,
    "conv_size": 4,
    "hidden_act": "swish",
    "hidden_ratio": 4,
    "intermediate_size": None,
    "norm_eps": 1e-6,
    "tie_word_embeddings": False,
}
EMBEDDING = "model.embeddings.weight"
MLP = (
    same("W_g", "gate_proj.weight", "hidden size"),
    same("W_u", "up_proj.weight", "hidden size"),
    same("W_o", "down_proj.weight", "size hidden"),
)


def check_common(config: Config) -> None:
    """Refuse the options of all these models that there is no other form of.

    Raises:
        ValueError: for another value of one of them.
    """
    check_value(config, "attn", None)  # full attention in some of the layers
    check_value(config, "attnres_block_size", None)


def make_model(config: Config, make_mixer: Callable[[Any], Stack], key) -> LanguageModel:
    """A model with these mixers, each made of a key."""
    check_common(config)
    check_value(config, "hidden_act", "swish")
    size, eps = config["hidden_size"], config["norm_eps"]
    hidden_size = intermediate_size(config, factor=2 / 3, multiple=256)
    body_key, model_key = jax.random.split(key)
    layers = []
    for layer_key in jax.random.split(body_key, config["num_hidden_layers"]):
        mixer_key, mlp_key = jax.random.split(layer_key)
        for layer in (make_mixer(mixer_key), GatedMLP(size, hidden_size, key=mlp_key)):
            layers.append(Residual(Stack([RMSNorm(size, eps=eps), layer])))
    return LanguageModel(
        Stack(layers),
        config["vocab_size"],
        norm=RMSNorm(size, eps=eps),
        tied=config["tie_word_embeddings"],
        key=model_key,
    )


def model_parts(config: Config, rows: Sequence[Row], **known: int) -> list[Part]:
    """The parts of a model of `make_model`: `rows` are a mixer's, and `known` their sizes."""
    parts = [outer_part(config, EMBEDDING)]
    parts.append(Part("norm", "model.norm.", [same("scale", "weight", "size")]))
    norm = [same("scale", "weight", "size")]
    for index in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{index}."
        mixer, mlp = (f"body.layers.{2 * index + k}.layer.layers" for k in (0, 1))
        parts.append(Part(f"{mixer}.0", f"{prefix}attn_norm.", norm))
        parts.append(Part(f"{mixer}.1", f"{prefix}attn.", rows, known))
        parts.append(Part(f"{mlp}.0", f"{prefix}mlp_norm.", norm))
        parts.append(Part(f"{mlp}.1", f"{prefix}mlp.", MLP))
    return parts


def intermediate_size(config: Config, *, factor: float, multiple: int) -> int:
    """Features between the matrices of a feed-forward layer: where the config names none, the ratio
    times the factor, rounded up to a multiple.
    """
    if config["intermediate_size"] is not None:
        return config["intermediate_size"]
    ratio = config["hidden_ratio"]
    size = int(config["hidden_size"] * (4 if ratio is None else ratio) * factor)
    return multiple * math.ceil(size / multiple)


def beta_max(config: Config) -> float:
    """The largest β of a delta rule."""
    return 2.0 if config["allow_neg_eigval"] else 1.0
