"""The rules of linear attention by their names."""

from ..._core.errors import bad_input
from .matrix_rules import RWKV7, AdditiveRule, DeltaRule, GatedDeltaRule2, Retention
from .mlstm_rule import MLSTM
from .rule import Rule

RULES: dict[str, Rule] = {
    rule.name: rule
    for rule in (
        DeltaRule("delta", {"beta": "head"}, rates=("beta",)),
        DeltaRule("gated_delta", {"g": "head", "beta": "head"}, "g", ("beta",)),
        DeltaRule("kda", {"g": "key", "beta": "head"}, "g", ("beta",)),
        GatedDeltaRule2("gdn2", {"g": "key", "b": "key", "w": "value"}, "g", ("b", "w")),
        AdditiveRule("gla", {"g": "key"}, "g"),
        AdditiveRule("simple_gla", {"g": "head"}, "g"),
        Retention("retention", {}),
        RWKV7(
            "rwkv7",
            {"w": "key", "a": "key", "b": "key"},
            rates=("v", "b"),
            no_strong_decay="the log-decay of RWKV-7 is at least −0.61",
        ),
        MLSTM("mlstm", {"i": "head", "f": "head"}, "f"),
    )
}


def rule_of(name: str) -> Rule:
    """The rule of a name.

    Raises:
        ValueError: for another name.
    """
    if name not in RULES:
        raise bad_input(
            f"KernelOp got rule={name!r}.",
            f"one of {', '.join(map(repr, RULES))}.",
            "take the rule whose equations your kernel computes; Mamba-2 is 'simple_gla' with "
            "v = Δ x, g = Δ A, k = B and q = C.",
        )
    return RULES[name]
