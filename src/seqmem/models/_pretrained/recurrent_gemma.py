"""RecurrentGemma: `RecurrentGemmaForCausalLM` of Hugging Face transformers.

Each block is two residual layers: a norm and `seqmem.blocks.griffin_block` or
`seqmem.SlidingWindowAttention`, then a norm and a GEGLU layer.

    Λ = −rg_lru.recurrent_param        W of the gates = the transposes of rg_lru.*_gate_weight

In training the class gives the embedding of its padding token, number 0, no gradient as an input;
here it is a token like the others.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from ..._cells.window.sliding_window_attention import SlidingWindowAttention
from ...blocks.griffin import griffin_block
from ...interop._named_shapes import Sizes
from ...interop._short_conv import short_conv
from ...interop.weight_table import Row, same
from ...layers.gated_mlp import GatedMLP
from ...layers.norms import ZeroCenteredRMSNorm
from ...layers.residual import Residual
from ...layers.stack import Stack
from .._language_model import LanguageModel
from .layout import Config, Layout, Part, check_value, outer_part, tied_head
from .rope import neighbours, rope_of

DEFAULTS = {
    "num_hidden_layers": 26,
    "vocab_size": 256000,
    "hidden_size": 2560,
    "intermediate_size": 3 * 2560,
    "num_attention_heads": 10,
    "attention_window_size": 2048,
    "conv1d_width": 4,
    "logits_soft_cap": 30.0,
    "rms_norm_eps": 1e-6,
    "block_types": ["recurrent", "recurrent", "attention"],
    "attention_bias": False,
    "tie_word_embeddings": True,
}

RECURRENT = (
    same("layers.0.W_x", "linear_x.weight", "hidden size"),
    same("layers.0.b_x", "linear_x.bias", "hidden"),
    same("layers.0.W_g", "linear_y.weight", "hidden size"),
    same("layers.0.b_g", "linear_y.bias", "hidden"),
    short_conv("layers.0.conv.w", {"conv_1d.weight": "hidden 1 width"}),
    same("layers.0.conv.b", "conv_1d.bias", "hidden"),
    Row(
        {"layers.1.Lambda": "hidden"},
        {"rg_lru.recurrent_param": "hidden"},
        to_ours=lambda parameter: -parameter,
        to_theirs=lambda Lambda: -Lambda,
    ),
    Row(
        {"layers.1.W": "2 heads block block"},
        {
            "rg_lru.recurrent_gate_weight": "heads block block",
            "rg_lru.input_gate_weight": "heads block block",
        },
        to_ours=lambda *gates: np.stack(gates).swapaxes(-2, -1),
        to_theirs=lambda W: W.swapaxes(-2, -1),
    ),
    Row(
        {"layers.1.b": "2 heads*block"},
        {"rg_lru.recurrent_gate_bias": "heads block", "rg_lru.input_gate_bias": "heads block"},
    ),
    same("layers.1.W_o", "linear_out.weight", "size hidden"),
    same("layers.1.b_o", "linear_out.bias", "size"),
)
MLP = (
    same("W_g", "gate_proj.weight", "hidden size"),
    same("b_g", "gate_proj.bias", "hidden"),
    same("W_u", "up_proj.weight", "hidden size"),
    same("b_u", "up_proj.bias", "hidden"),
    same("W_o", "down_proj.weight", "size hidden"),
    same("b_o", "down_proj.bias", "size"),
)


def make(config: Config, key) -> LanguageModel:
    size, num_heads = config["hidden_size"], config["num_attention_heads"]
    check_value(config, "hidden_activation", "gelu_pytorch_tanh")
    check_value(config, "attention_dropout", 0.0)
    check_value(config, "embeddings_scale_by_sqrt_dim", True)
    check_value(config, "head_dim", None, size // num_heads)
    for kind in config["block_types"]:
        check_value({**config, "block_types": kind}, "block_types", "recurrent", "attention")
    positions = _rope(config)
    norm = functools.partial(ZeroCenteredRMSNorm, size, eps=config["rms_norm_eps"])
    body_key, model_key = jax.random.split(key)

    def mixer(kind, key):
        if kind == "recurrent":
            width = config["conv1d_width"]
            return griffin_block(size, _lru_size(config), num_heads=num_heads, width=width, key=key)
        return SlidingWindowAttention(
            size,
            num_heads=num_heads,
            window=config["attention_window_size"],
            num_key_value_heads=config.get("num_key_value_heads"),
            positions=positions,
            bias=config["attention_bias"],
            output_bias=True,
            key=key,
        )

    def block(kind, key):
        mixer_key, mlp_key = jax.random.split(key)
        hidden_size = config["intermediate_size"] // 2
        mlp = GatedMLP(size, hidden_size, activation=jax.nn.gelu, bias=True, key=mlp_key)
        return [Residual(Stack([norm(), layer])) for layer in (mixer(kind, mixer_key), mlp)]

    kinds = _kinds(config)
    keys = jax.random.split(body_key, len(kinds))
    return LanguageModel(
        Stack([layer for kind, key in zip(kinds, keys, strict=True) for layer in block(kind, key)]),
        config["vocab_size"],
        norm=norm(),
        tied=config["tie_word_embeddings"],
        embedding_scale=float(np.asarray(size**0.5, jnp.bfloat16)),  # as theirs, in any precision
        logit_cap=config["logits_soft_cap"],
        key=model_key,
    )


def parts(config: Config) -> list[Part]:
    norm = [same("scale", "weight", "size")]
    parts = [outer_part(config, "model.embed_tokens.weight", "model.final_norm.weight")]
    for index, kind in enumerate(_kinds(config)):
        prefix = f"model.layers.{index}."
        mixer_path, mlp_path = (f"body.layers.{2 * index + i}.layer.layers" for i in range(2))
        mixer = RECURRENT if kind == "recurrent" else _attention_rows(config)
        parts += [
            Part(f"{mixer_path}.0", f"{prefix}temporal_pre_norm.", norm),
            Part(f"{mixer_path}.1", f"{prefix}temporal_block.", mixer),
            Part(f"{mlp_path}.0", f"{prefix}channel_pre_norm.", norm),
            Part(f"{mlp_path}.1", f"{prefix}mlp_block.", MLP),
        ]
    return parts


def _attention_rows(config: Config) -> list[Row]:
    head_size, rope = _head_size(config), _rope(config)

    def order(axis: str, sizes: Sizes) -> np.ndarray:
        return neighbours(sizes[axis] // head_size, head_size, rope)

    rows = []
    for name, axis, order_of in (
        ("q", "queries", functools.partial(order, "queries")),
        ("k", "keys", functools.partial(order, "keys")),
        ("v", "keys", None),
    ):
        theirs = f"{name}_proj"
        rows.append(
            Row({f"W_{name}": f"{axis} size"}, {f"{theirs}.weight": f"{axis} size"}, order=order_of)
        )
        if config["attention_bias"]:
            rows.append(Row({f"b_{name}": axis}, {f"{theirs}.bias": axis}, order=order_of))
    return [
        *rows,
        same("W_o", "o_proj.weight", "size queries"),
        same("b_o", "o_proj.bias", "size"),
    ]


def _kinds(config: Config) -> list[str]:
    kinds = config["block_types"]
    return [kinds[index % len(kinds)] for index in range(config["num_hidden_layers"])]


def _lru_size(config: Config) -> int:
    size = config.get("lru_width")
    return config["hidden_size"] if size is None else size


def _head_size(config: Config) -> int:
    return config["hidden_size"] // config["num_attention_heads"]


def _rope(config: Config):
    return rope_of(config, _head_size(config), fraction=0.5)


RECURRENT_GEMMA = Layout("recurrent_gemma", make, parts, tied_head, DEFAULTS)
