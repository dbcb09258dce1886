"""Mamba and Falcon Mamba: `MambaForCausalLM` and `FalconMambaForCausalLM` of Hugging Face
transformers.

    in_proj.weight = [W; U]    x_proj.weight = [V_Δ; W_B; W_C]
"""

import jax

from ...blocks.mamba import falcon_mamba_block, mamba_block
from ...interop._short_conv import short_conv
from ...interop.weight_table import Row, same
from ...layers.norms import RMSNorm
from ...layers.residual import Residual
from ...layers.stack import Stack
from .._language_model import LanguageModel
from .layout import Config, Layout, Part, alike, check_value

STATES = "state hidden"
DEFAULTS = {
    "conv_kernel": 4,
    "expand": 2,
    "layer_norm_epsilon": 1e-5,
    "state_size": 16,
    "tie_word_embeddings": True,
    "time_step_rank": "auto",
}


def make(config: Config, key) -> LanguageModel:
    check_value(config, "hidden_act", "silu")
    check_value(config, "use_bias", False)
    check_value(config, "use_conv_bias", True)
    size, eps, rank = config["hidden_size"], config["layer_norm_epsilon"], config["time_step_rank"]
    body_key, model_key = jax.random.split(key)
    sizes = {
        "state_size": config["state_size"],
        "rank": None if rank == "auto" else rank,
        "width": config["conv_kernel"],
    }
    if config["model_type"] == "falcon_mamba":
        block, sizes = falcon_mamba_block, sizes | {"eps": config["mixer_rms_eps"]}
    else:
        block = mamba_block

    def layer(key):
        mixer = block(size, int(config["expand"] * size), **sizes, key=key)
        return Residual(Stack([RMSNorm(size, eps=eps), mixer]))

    return LanguageModel(
        Stack(alike(layer, config["num_hidden_layers"], body_key)),
        config["vocab_size"],
        norm=RMSNorm(size, eps=eps),
        tied=config["tie_word_embeddings"],
        key=model_key,
    )


def mixer_rows(cell: str) -> list[Row]:
    """The rows of a mixer whose S6 stands at this path."""
    return [
        Row(
            {"layers.0.W": "hidden size", "layers.0.U": "hidden size"},
            {"in_proj.weight": "2*hidden size"},
        ),
        short_conv("layers.0.conv.w", {"conv1d.weight": "hidden 1 width"}),
        same("layers.0.conv.b", "conv1d.bias", "hidden"),
        Row(
            {f"{cell}.V_delta": "rank hidden", f"{cell}.W_B": STATES, f"{cell}.W_C": STATES},
            {"x_proj.weight": "rank+2*state hidden"},
        ),
        same(f"{cell}.W_delta", "dt_proj.weight", "hidden rank"),
        same(f"{cell}.b", "dt_proj.bias", "hidden"),
        same(f"{cell}.A_log", "A_log", "hidden state"),
        same(f"{cell}.D", "D", "hidden"),
        same("layers.1.W_o", "out_proj.weight", "size hidden"),
    ]


def parts(config: Config) -> list[Part]:
    rows = [
        same("E", "backbone.embeddings.weight", "tokens size"),
        same("norm.scale", "backbone.norm_f.weight", "size"),
    ]
    if not config["tie_word_embeddings"]:
        rows.append(same("V", "lm_head.weight", "tokens size"))
    parts = [Part("", "", rows)]
    is_normed = config["model_type"] == "falcon_mamba"
    mixer = mixer_rows("layers.1.cell.s6" if is_normed else "layers.1.cell")
    for index in range(config["num_hidden_layers"]):
        path, prefix = f"body.layers.{index}.layer.layers", f"backbone.layers.{index}."
        parts.append(Part(f"{path}.0", f"{prefix}norm.", [same("scale", "weight", "size")]))
        parts.append(Part(f"{path}.1", f"{prefix}mixer.", mixer))
    return parts


def ignored(config: Config) -> list[str]:
    return ["lm_head.weight"] if config["tie_word_embeddings"] else []


# As the class reads the files of github.com/state-spaces/mamba.
ALIASES = {"backbone.embedding.weight": "backbone.embeddings.weight"}
MAMBA = Layout("mamba", make, parts, ignored, DEFAULTS, ALIASES)
FALCON_MAMBA = Layout("falcon_mamba", make, parts, ignored, DEFAULTS | {"mixer_rms_eps": 1e-6})
