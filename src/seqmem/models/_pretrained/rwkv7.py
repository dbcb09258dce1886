"""RWKV-7: `RWKV7ForCausalLM` of flash-linear-attention at commit bc3b101, in whose layout RWKV-7 is
published on Hugging Face.
"""

from ...blocks.rwkv7_body import rwkv7_body
from ...blocks.rwkv7_cores import RWKV7Ranks
from ...interop.fla_rwkv7 import FIRST, UPPER
from ...interop.weight_table import same
from ...layers.norms import LayerNorm
from .._language_model import LanguageModel
from .fla import EMBEDDING, check_common, intermediate_size
from .layout import Config, Layout, Part, check_value, outer_part, tied_head

DEFAULTS = {
    "fuse_norm": True,
    "head_dim": 64,
    "hidden_act": "sqrelu",
    "hidden_ratio": 4,
    "intermediate_size": None,
    "norm_eps": 1e-5,
    "norm_first": True,
    "tie_word_embeddings": False,
}
NORM = (same("scale", "weight", "size"), same("shift", "bias", "size"))
FEED_FORWARD = (
    same("layers.0.mu", "x_k", "size"),
    same("layers.0.W_k", "key.weight", "hidden size"),
    same("layers.0.W_v", "value.weight", "size hidden"),
)


def make(config: Config, key) -> LanguageModel:
    size, num_layers = config["hidden_size"], config["num_hidden_layers"]
    check_common(config)
    check_value(config, "hidden_act", "sqrelu")
    check_value(config, "norm_bias", True)
    check_value(config, "value_dim", None, size, [size] * num_layers)
    ranks = RWKV7Ranks(
        w=config["decay_low_rank_dim"],
        a=config["a_low_rank_dim"],
        g=config["gate_low_rank_dim"],
        nu=config["v_low_rank_dim"],
    )
    eps = config["norm_eps"]
    body = rwkv7_body(
        size,
        intermediate_size(config, factor=1, multiple=32),
        num_layers=num_layers,
        num_heads=_num_heads(config),
        rank=ranks,
        eps=eps,
        key_eps=1e-6 if config["fuse_norm"] else 1e-24,  # there ‖k‖ or more than 10⁻¹²
        first_norm=_has_first_norm(config),
        key=key,
    )
    tied = config["tie_word_embeddings"]
    norm = LayerNorm(size, eps=eps)
    return LanguageModel(body, config["vocab_size"], norm=norm, tied=tied, key=key)


def parts(config: Config) -> list[Part]:
    parts = [outer_part(config, EMBEDDING), Part("norm", "model.norm.", NORM)]
    if _has_first_norm(config):
        parts.append(Part("body.layers.0", "model.layers.0.pre_norm.", NORM))
    heads = {"num_heads": _num_heads(config)}
    for index in range(config["num_hidden_layers"]):
        place = 2 * index + _has_first_norm(config)
        mixing = f"body.layers.{place}.layer.layers"
        feed_forward = f"body.layers.{place + 1}.layer.layer.layers"
        prefix = f"model.layers.{index}."
        norm, rows = (f"{mixing}.0.layer", UPPER.rows) if index else (f"{mixing}.0", FIRST.rows)
        parts.append(Part(norm, f"{prefix}attn_norm.", NORM))
        parts.append(Part(f"{mixing}.1", f"{prefix}attn.", rows, heads))
        parts.append(Part(f"{feed_forward}.0", f"{prefix}ffn_norm.", NORM))
        parts.append(Part(f"{feed_forward}.1", f"{prefix}ffn.", FEED_FORWARD))
    return parts


def _num_heads(config: Config) -> int:
    """The size of a head counts where there are both."""
    if config["head_dim"] is not None:
        return config["hidden_size"] // config["head_dim"]
    return config["num_heads"]


def _has_first_norm(config: Config) -> bool:
    return config["norm_first"]


RWKV7 = Layout("rwkv7", make, parts, tied_head, DEFAULTS)
