"""Gated DeltaNet: `GatedDeltaNetForCausalLM` of flash-linear-attention at commit bc3b101."""

from ...blocks.gated_delta_net import gated_delta_net_block
from ...interop.fla_gated_delta_net import TABLE
from .._language_model import LanguageModel
from .fla import DEFAULTS, beta_max, make_model, model_parts
from .layout import Config, Layout, Part, check_value, tied_head


def make(config: Config, key) -> LanguageModel:
    check_value(config, "use_gate", True)
    check_value(config, "use_short_conv", True)

    def mixer(key):
        num_heads = config["num_v_heads"] or config["num_heads"]
        return gated_delta_net_block(
            config["hidden_size"],
            num_heads * int(config["head_dim"] * config["expand_v"]),
            num_heads=num_heads,
            num_key_heads=config["num_heads"],
            key_size=config["head_dim"],
            width=config["conv_size"],
            beta_max=beta_max(config),
            eps=config["norm_eps"],
            key=key,
        )

    return make_model(config, mixer, key)


def parts(config: Config) -> list[Part]:
    return model_parts(config, TABLE.rows, num_key_heads=config["num_heads"])


GATED_DELTANET = Layout("gated_deltanet", make, parts, tied_head, {**DEFAULTS, "num_v_heads": None})
