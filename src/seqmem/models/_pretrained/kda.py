"""Kimi delta attention: `KDAForCausalLM` of flash-linear-attention at commit bc3b101."""

from ...blocks.kda import kda_block
from ...interop.fla_kda import TABLE
from .._language_model import LanguageModel
from .fla import DEFAULTS, beta_max, make_model, model_parts
from .layout import Config, Layout, Part, check_value, tied_head


def make(config: Config, key) -> LanguageModel:
    check_value(config, "use_short_conv", True)
    check_value(config, "safe_gate", False)
    check_value(config, "lower_bound", None)
    check_value(config, "num_v_heads", None, config["num_heads"])

    def mixer(key):
        num_heads = config["num_heads"]
        return kda_block(
            config["hidden_size"],
            num_heads * int(config["head_dim"] * config["expand_v"]),
            num_heads=num_heads,
            key_size=config["head_dim"],
            width=config["conv_size"],
            beta_max=beta_max(config),
            eps=config["norm_eps"],
            key=key,
        )

    return make_model(config, mixer, key)


def parts(config: Config) -> list[Part]:
    return model_parts(config, TABLE.rows)


KDA = Layout("kda", make, parts, tied_head, DEFAULTS)
