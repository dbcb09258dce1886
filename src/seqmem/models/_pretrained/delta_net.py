"""DeltaNet: `DeltaNetForCausalLM` of flash-linear-attention at commit bc3b101."""

from ...blocks.delta_net import delta_net_block
from ...interop.fla_delta_net import TABLE
from .._language_model import LanguageModel
from .fla import DEFAULTS, beta_max, make_model, model_parts
from .layout import Config, Layout, Part, check_value, tied_head


def make(config: Config, key) -> LanguageModel:
    check_value(config, "use_gate", False)
    check_value(config, "use_beta", True)
    check_value(config, "use_short_conv", True)
    check_value(config, "qk_norm", "l2")
    check_value(config, "qk_activation", "silu")

    def mixer(key):
        return delta_net_block(
            config["hidden_size"],
            int(config["hidden_size"] * config["expand_v"]),
            num_heads=config["num_heads"],
            key_size=int(config["hidden_size"] * config["expand_k"]) // config["num_heads"],
            width=config["conv_size"],
            beta_max=beta_max(config),
            eps=config["norm_eps"],
            key=key,
        )

    return make_model(config, mixer, key)


def parts(config: Config) -> list[Part]:
    return model_parts(config, TABLE.rows, num_heads=config["num_heads"])


DELTA_NET = Layout("delta_net", make, parts, tied_head, DEFAULTS)
