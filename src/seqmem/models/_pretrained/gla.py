"""Gated linear attention: `GLAForCausalLM` of flash-linear-attention at commit bc3b101."""

from ...blocks.gla import gla_block
from ...interop.fla_gla import TABLE
from .._language_model import LanguageModel
from .fla import DEFAULTS, make_model, model_parts
from .layout import Config, Layout, Part, check_value, tied_head


def make(config: Config, key) -> LanguageModel:
    check_value(config, "use_output_gate", True)
    check_value(config, "use_short_conv", False)
    check_value(config, "feature_map", None)
    check_value(config, "clamp_min", None)
    check_value(config, "elementwise_affine", True)
    check_value(config, "fuse_norm", True)  # without it, the norm within the heads has another name
    check_value(config, "num_kv_heads", None, config["num_heads"])

    def mixer(key):
        return gla_block(
            config["hidden_size"],
            int(config["hidden_size"] * config["expand_v"]),
            num_heads=config["num_heads"],
            key_size=int(config["hidden_size"] * config["expand_k"]) // config["num_heads"],
            eps=config["norm_eps"],
            key=key,
        )

    return make_model(config, mixer, key)


def parts(config: Config) -> list[Part]:
    return model_parts(config, TABLE.rows, num_heads=config["num_heads"])


GLA = Layout("gla", make, parts, tied_head, DEFAULTS)
