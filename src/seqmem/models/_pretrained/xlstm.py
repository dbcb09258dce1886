"""xLSTM 7B: `xLSTMForCausalLM` of Hugging Face transformers.

Each block is two residual layers: a norm and `seqmem.blocks.xlstm_block`, then a norm and a SwiGLU
layer. Kernels, chunk sizes and dtypes of a config do not change what is computed; norms are
computed in at least float32 whatever `norm_reduction_force_float32` says.
"""

import jax

from ..._core.validation import check_divisor
from ...blocks.xlstm import xlstm_block
from ...interop.weight_table import Row, same
from ...interop.xlstm import TABLE
from ...layers.gated_mlp import GatedMLP
from ...layers.norms import RMSNorm
from ...layers.residual import Residual
from ...layers.stack import Stack
from .._language_model import LanguageModel
from .layout import Config, Layout, Part, check_value

DEFAULTS = {
    "vocab_size": 50304,
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_heads": 8,
    "norm_eps": 1e-6,
    "eps": 1e-6,
    "qk_dim_factor": 0.5,
    "v_dim_factor": 1.0,
    "ffn_proj_factor": 2.667,
    "ffn_round_up_to_multiple_of": 64,
    "gate_soft_cap": 15.0,
    "output_logit_soft_cap": 30.0,
    "weight_mode": "single",
}

KEYS, VALUES = "num_heads*key_size", "num_heads*value_size"
FUSED = (  # weight_mode="fused"
    Row(
        {
            "layers.0.W_q": f"{KEYS} input_size",
            "layers.0.W_k": f"{KEYS} input_size",
            "layers.0.W_v": f"{VALUES} input_size",
            "layers.0.W_g": f"{VALUES} input_size",
        },
        {"qkv_opreact.weight": f"2*{KEYS}+2*{VALUES} input_size"},
    ),
    Row(
        {"layers.0.W_i": "num_heads input_size", "layers.0.W_f": "num_heads input_size"},
        {"ifgate_preact.weight": "2*num_heads input_size"},
    ),
    Row(
        {"layers.0.b_i": "num_heads", "layers.0.b_f": "num_heads"},
        {"ifgate_preact.bias": "2*num_heads"},
    ),
    same("layers.0.scale", "multihead_norm.weight", VALUES),
    same("layers.0.W_o", "out_proj.weight", f"input_size {VALUES}"),
)
GATE_AND_VALUE = (
    same("W_g", "proj_up_gate.weight", "hidden size"),
    same("W_u", "proj_up.weight", "hidden size"),
)
FUSED_GATE_AND_VALUE = (
    Row({"W_g": "hidden size", "W_u": "hidden size"}, {"proj_up_gate_z.weight": "2*hidden size"}),
)


def make(config: Config, key) -> LanguageModel:
    size, norm_eps = config["hidden_size"], config["norm_eps"]
    check_value(config, "embedding_dim", None, size)
    check_value(config, "use_bias", False)
    check_value(config, "add_out_norm", True)
    check_value(config, "tie_word_embeddings", False)
    check_value(config, "weight_mode", "single", "fused")
    all_keys = int(size * config["qk_dim_factor"])
    check_divisor("xlstm", "num_heads", config["num_heads"], "all keys", all_keys)
    body_key, model_key = jax.random.split(key)

    def block(key):
        mixer_key, mlp_key = jax.random.split(key)
        mixer = xlstm_block(
            size,
            int(size * config["v_dim_factor"]),
            num_heads=config["num_heads"],
            key_size=all_keys // config["num_heads"],
            cap=config["gate_soft_cap"],
            eps=config["eps"],
            norm_eps=norm_eps,
            key=mixer_key,
        )
        mlp = GatedMLP(size, _mlp_size(config), key=mlp_key)
        return [Residual(Stack([RMSNorm(size, eps=norm_eps), layer])) for layer in (mixer, mlp)]

    keys = jax.random.split(body_key, _num_blocks(config))
    return LanguageModel(
        Stack([layer for key in keys for layer in block(key)]),
        config["vocab_size"],
        norm=RMSNorm(size, eps=norm_eps),
        logit_cap=config["output_logit_soft_cap"],
        key=model_key,
    )


def parts(config: Config) -> list[Part]:
    is_fused = config["weight_mode"] == "fused"
    mlp = (
        *(FUSED_GATE_AND_VALUE if is_fused else GATE_AND_VALUE),
        same("W_o", "proj_down.weight", "size hidden"),
    )
    norm = [same("scale", "weight", "size")]
    rows = [
        same("E", "backbone.embeddings.weight", "tokens size"),
        same("norm.scale", "backbone.out_norm.weight", "size"),
        same("V", "lm_head.weight", "tokens size"),
    ]
    parts = [Part("", "", rows)]
    for index in range(_num_blocks(config)):
        prefix = f"backbone.blocks.{index}."
        mixer_path, mlp_path = (f"body.layers.{2 * index + i}.layer.layers" for i in range(2))
        parts += [
            Part(f"{mixer_path}.0", f"{prefix}norm_mlstm.", norm),
            Part(f"{mixer_path}.1", f"{prefix}mlstm_layer.", FUSED if is_fused else TABLE.rows),
            Part(f"{mlp_path}.0", f"{prefix}norm_ffn.", norm),
            Part(f"{mlp_path}.1", f"{prefix}ffn.", mlp),
        ]
    return parts


def _num_blocks(config: Config) -> int:
    num_blocks = config.get("num_blocks")
    return config["num_hidden_layers"] if num_blocks is None else num_blocks


def _mlp_size(config: Config) -> int:
    """A whole multiple; where the size is no whole number it is not always rounded up."""
    multiple = config["ffn_round_up_to_multiple_of"]
    size = config["hidden_size"] * config["ffn_proj_factor"]
    return int((size + multiple - 1) // multiple) * multiple


XLSTM = Layout("xlstm", make, parts, defaults=DEFAULTS)
