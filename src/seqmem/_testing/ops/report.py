"""What a check of a function found: one sentence per law."""

import dataclasses
from typing import Literal

from ..comparison import LawBroken
from .case import Case

Outcome = Literal["holds", "broken", "not offered"]


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What was found of one law.

    Attributes:
        law: the name of the law, one of those in `seqmem.testing.check_op`.
        outcome: "holds", "broken" or "not offered".
        detail: how it is broken, with the largest difference and its place, or why it is not
            offered.
        case: what shows that it is broken: `seqmem.testing.run_case(op, case)`.
    """

    law: str
    outcome: Outcome
    detail: str = ""
    case: Case | None = None

    def __str__(self) -> str:
        sentence = f"{self.law}: {self.outcome}"
        if self.detail:
            sentence += f", {self.detail}"
        if self.case is not None:
            sentence += f"\n    run_case(op, {self.case})"
        return sentence


@dataclasses.dataclass(frozen=True)
class OpReport:
    """The verdicts on one function, one for each law; `str(report)` has a sentence for each.

    Places are [time, sequence, head, channel] for arrays of steps, [sequence, ...] for states.
    """

    verdicts: tuple[Verdict, ...]

    def __getitem__(self, law: str) -> Verdict:
        """The verdict on a law.

        Raises:
            KeyError: for an unknown name.
        """
        for verdict in self.verdicts:
            if verdict.law == law:
                return verdict
        raise KeyError(law)

    def __str__(self) -> str:
        return "\n".join(map(str, self.verdicts))

    def laws(self, outcome: Outcome) -> tuple[str, ...]:
        """The names of all laws with an outcome."""
        return tuple(verdict.law for verdict in self.verdicts if verdict.outcome == outcome)

    def raise_if_broken(self) -> None:
        """Raise for the first law that is broken, with the sentences of all that are.

        Raises:
            LawBroken: if a law is broken.
        """
        broken = [verdict for verdict in self.verdicts if verdict.outcome == "broken"]
        if broken:
            first, *others = broken
            how = str(first).removeprefix(f"{first.law}: broken, ")
            raise LawBroken(first.law, "\n".join([how, *map(str, others)]))
