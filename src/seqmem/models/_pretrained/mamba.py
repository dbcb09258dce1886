"""Mamba and Falcon Mamba: `MambaForCausalLM` and `FalconMambaForCausalLM` of Hugging Face
transformers.

    in_proj.weight = [W; U]    x_proj.weight = [V_Δ; W_B; W_C]
"""

from ...blocks.mamba import falcon_mamba_block, mamba_block
from ...interop._short_conv import short_conv
from ...interop.weight_table import Row, same
from .._language_model import LanguageModel
from .backbone import make_model, model_parts
from .layout import Config, Layout, Part, tied_head

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
    size, rank = config["hidden_size"], config["time_step_rank"]
    options = {
        "state_size": config["state_size"],
        "rank": None if rank == "auto" else rank,
        "width": config["conv_kernel"],
    }
    if config["model_type"] == "falcon_mamba":
        block, options = falcon_mamba_block, options | {"eps": config["mixer_rms_eps"]}
    else:
        block = mamba_block

    def mixer(key):
        return block(size, int(config["expand"] * size), **options, key=key)

    return make_model(config, mixer, key)


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
    is_normed = config["model_type"] == "falcon_mamba"
    return model_parts(config, mixer_rows("layers.1.cell.s6" if is_normed else "layers.1.cell"))


# As the class reads the files of github.com/state-spaces/mamba.
ALIASES = {"backbone.embedding.weight": "backbone.embeddings.weight"}
MAMBA = Layout("mamba", make, parts, tied_head, DEFAULTS, ALIASES)
FALCON_MAMBA = Layout("falcon_mamba", make, parts, tied_head, DEFAULTS | {"mixer_rms_eps": 1e-6})
