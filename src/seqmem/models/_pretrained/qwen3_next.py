"""Qwen3-Next: `Qwen3NextForCausalLM` of Hugging Face transformers.

Each block is two residual layers: a norm and `seqmem.blocks.gated_delta_net_block` or
`seqmem.CausalAttention`, then a norm and a mixture of experts or a SwiGLU layer.

    self_attn.q_proj.weight    for each head: its rows of W_q, then those of W_g

`layer_types` and `mlp_only_layers` choose among them. The cache of attention has room for
`max_position_embeddings` tokens: with a smaller number there a model has a smaller state. Weights
of the layers that predict several tokens ("mtp.*") are not read.
"""

import functools

import jax
import numpy as np

from ..._cells.attention.causal_attention import CausalAttention
from ...blocks.gated_delta_net import gated_delta_net_block
from ...interop._named_shapes import Sizes
from ...interop.qwen3_next import TABLE
from ...interop.weight_table import Row, same
from ...layers.gated_mlp import GatedMLP
from ...layers.mixture_of_experts import MixtureOfExperts
from ...layers.norms import ZeroCenteredRMSNorm
from ...layers.residual import Residual
from ...layers.stack import Stack
from .._language_model import LanguageModel
from .layout import Config, Layout, Part, check_value, outer_part, tied_head
from .rope import neighbours, rope_of

DEFAULTS = {
    "vocab_size": 151936,
    "hidden_size": 2048,
    "intermediate_size": 5632,
    "num_hidden_layers": 48,
    "num_attention_heads": 16,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False,
    "attention_bias": False,
    "head_dim": 256,
    "linear_conv_kernel_dim": 4,
    "linear_key_head_dim": 128,
    "linear_value_head_dim": 128,
    "linear_num_key_heads": 16,
    "linear_num_value_heads": 32,
    "decoder_sparse_step": 1,
    "moe_intermediate_size": 512,
    "shared_expert_intermediate_size": 512,
    "num_experts_per_tok": 10,
    "num_experts": 512,
    "norm_topk_prob": True,
    "full_attention_interval": 4,
}

LINEAR, FULL = "linear_attention", "full_attention"


def make(config: Config, key) -> LanguageModel:
    check_value(config, "hidden_act", "silu")
    check_value(config, "attention_dropout", 0.0)
    size, eps = config["hidden_size"], config["rms_norm_eps"]
    positions, kinds = _rope(config), _kinds(config)
    norm = functools.partial(ZeroCenteredRMSNorm, size, eps=eps)
    body_key, model_key = jax.random.split(key)

    def mixer(kind, key):
        if kind == LINEAR:
            num_heads = config["linear_num_value_heads"]
            return gated_delta_net_block(
                size,
                num_heads * config["linear_value_head_dim"],
                num_heads=num_heads,
                num_key_heads=config["linear_num_key_heads"],
                key_size=config["linear_key_head_dim"],
                width=config["linear_conv_kernel_dim"],
                eps=eps,
                key=key,
            )
        return CausalAttention(
            size,
            num_heads=config["num_attention_heads"],
            capacity=config["max_position_embeddings"],
            num_key_value_heads=config["num_key_value_heads"],
            head_size=config["head_dim"],
            positions=positions,
            norm_qk=True,
            gated=True,
            bias=config["attention_bias"],
            output_bias=config["attention_bias"],
            eps=eps,
            key=key,
        )

    def mlp(index, key):
        if not _has_experts(config, index):
            return GatedMLP(size, config["intermediate_size"], key=key)
        return MixtureOfExperts(
            size,
            num_experts=config["num_experts"],
            num_chosen=config["num_experts_per_tok"],
            expert_size=config["moe_intermediate_size"],
            shared_size=config["shared_expert_intermediate_size"],
            normalised=config["norm_topk_prob"],
            key=key,
        )

    def block(index, kind, key):
        mixer_key, mlp_key = jax.random.split(key)
        layers = mixer(kind, mixer_key), mlp(index, mlp_key)
        return [Residual(Stack([norm(), layer])) for layer in layers]

    keys = jax.random.split(body_key, len(kinds))
    blocks = [block(index, kind, keys[index]) for index, kind in enumerate(kinds)]
    return LanguageModel(
        Stack([layer for block in blocks for layer in block]),
        config["vocab_size"],
        norm=norm(),
        tied=config["tie_word_embeddings"],
        key=model_key,
    )


def parts(config: Config) -> list[Part]:
    norm = [same("scale", "weight", "size")]
    parts = [outer_part(config, "model.embed_tokens.weight", "model.norm.weight")]
    for index, kind in enumerate(_kinds(config)):
        prefix = f"model.layers.{index}."
        mixer_path, mlp_path = (f"body.layers.{2 * index + i}.layer.layers" for i in range(2))
        if kind == LINEAR:
            known = {"num_key_heads": config["linear_num_key_heads"]}
            mixer = Part(f"{mixer_path}.1", f"{prefix}linear_attn.", TABLE.rows, known)
        else:
            mixer = Part(f"{mixer_path}.1", f"{prefix}self_attn.", _attention_rows(config))
        mlp = _expert_rows(config) if _has_experts(config, index) else MLP
        parts += [
            Part(f"{mixer_path}.0", f"{prefix}input_layernorm.", norm),
            mixer,
            Part(f"{mlp_path}.0", f"{prefix}post_attention_layernorm.", norm),
            Part(f"{mlp_path}.1", f"{prefix}mlp.", mlp),
        ]
    return parts


def ignored(config: Config) -> list[str]:
    return ["mtp.*", *tied_head(config)]


def _attention_rows(config: Config) -> list[Row]:
    head_size, rope = config["head_dim"], _rope(config)

    def query_order(sizes: Sizes) -> np.ndarray:
        """The places of the rows of [W_q; W_g] in q_proj."""
        heads = np.arange(sizes["queries"] * 2).reshape(-1, 2, head_size)
        queries = heads[:, 0].ravel()[pairs_of(sizes["queries"])]
        return np.concatenate([queries, heads[:, 1].ravel()])

    def pairs_of(size: int) -> np.ndarray:
        return neighbours(size // head_size, head_size, rope)

    def rows(kind: str, tail: str) -> list[Row]:
        """Those of weights, or of biases."""
        ours, theirs = ("W", "weight") if kind == "weight" else ("b", "bias")
        return [
            Row(
                {f"{ours}_q": f"queries{tail}", f"{ours}_g": f"queries{tail}"},
                {f"q_proj.{theirs}": f"2*queries{tail}"},
                order=query_order,
            ),
            Row(
                {f"{ours}_k": f"keys{tail}"},
                {f"k_proj.{theirs}": f"keys{tail}"},
                order=lambda sizes: pairs_of(sizes["keys"]),
            ),
            same(f"{ours}_v", f"v_proj.{theirs}", f"keys{tail}"),
        ]

    norms = [
        Row(
            {f"n_{name}": "head"},
            {f"{name}_norm.weight": "head"},
            order=lambda sizes: pairs_of(sizes["head"]),
        )
        for name in "qk"
    ]
    matrices = [*rows("weight", " size"), same("W_o", "o_proj.weight", "size queries")]
    biases = [*rows("bias", ""), same("b_o", "o_proj.bias", "size")]
    return matrices + norms + (biases if config["attention_bias"] else [])


def _expert_rows(config: Config) -> list[Row]:
    names = (("W_g", "gate_proj", "inner size"), ("W_u", "up_proj", "inner size"))
    names += (("W_d", "down_proj", "size inner"),)
    rows = [same("W_r", "gate.weight", "experts size")]
    for ours, theirs, shape in names:
        of_experts = [f"experts.{index}.{theirs}.weight" for index in range(config["num_experts"])]
        rows += [
            Row({f"experts.{ours}": f"experts {shape}"}, dict.fromkeys(of_experts, shape)),
            same(
                f"shared.{ours}",
                f"shared_expert.{theirs}.weight",
                shape.replace("inner", "shared"),
            ),
        ]
    return [*rows, Row({"w_s": "size"}, {"shared_expert_gate.weight": "1 size"})]


MLP = [
    same("W_g", "gate_proj.weight", "hidden size"),
    same("W_u", "up_proj.weight", "hidden size"),
    same("W_o", "down_proj.weight", "size hidden"),
]


def _kinds(config: Config) -> list[str]:
    """The kind of each layer."""
    kinds, interval = config.get("layer_types"), config["full_attention_interval"]
    if kinds is None:
        count = config["num_hidden_layers"]
        kinds = [LINEAR if (index + 1) % interval else FULL for index in range(count)]
    for kind in kinds:
        check_value({**config, "layer_types": kind}, "layer_types", LINEAR, FULL)
    return kinds


def _has_experts(config: Config, index: int) -> bool:
    is_sparse = config["num_experts"] > 0 and (index + 1) % config["decoder_sparse_step"] == 0
    return is_sparse and index not in (config.get("mlp_only_layers") or [])


def _rope(config: Config):
    return rope_of(config, config["head_dim"], fraction=0.25)


QWEN3_NEXT = Layout("qwen3_next", make, parts, ignored, DEFAULTS)
