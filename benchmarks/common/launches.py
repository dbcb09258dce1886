"""How often a program of XLA:GPU launches work on the device, read from its optimised HLO.

Every operation that is not free is one launch: a fusion, a call of a library, a copy. Loops count
as often as they run, so their trip counts must be known to the compiler.
"""

import dataclasses
import re
from collections import Counter

# Operations that take no time on the device.
FREE = {
    "add-dependency",
    "after-all",
    "bitcast",
    "constant",
    "get-tuple-element",
    "opt-barrier",
    "parameter",
    "partition-id",
    "replica-id",
    "tuple",
}
HEADER = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{\s*$")
OPERATION = re.compile(r"^\s+(?:ROOT )?%?[\w.\-]+ = (.*)$")
OPENING, CLOSING = "([{", ")]}"


@dataclasses.dataclass
class Loop:
    """A loop of a program, or the program as a loop of one trip.

    Attributes:
        trips: how often its body runs each time.
        kinds: the launches of one trip by kind, without those of inner loops.
        inner: the loops of its body.
    """

    trips: int
    kinds: Counter[str] = dataclasses.field(default_factory=Counter)
    inner: list["Loop"] = dataclasses.field(default_factory=list)

    @property
    def launches(self) -> int:
        """The launches of all trips."""
        return self.trips * (self.kinds.total() + sum(loop.launches for loop in self.inner))

    def outline(self) -> str:
        """The loop as trips * (launches + inner loops): "1 * (13 + 128 * (24))"."""
        parts = [str(self.kinds.total()), *(loop.outline() for loop in self.inner)]
        return f"{self.trips} * ({' + '.join(parts)})"


def count_launches(hlo: str) -> Loop:
    """The launches of a program.

    Args:
        hlo: the text of the compiled program (`compiled.as_text()`).

    Raises:
        ValueError: for a loop whose trip count is not known.
    """
    computations, entry = _computations(hlo)
    return _count(computations, entry, 1)


def _computations(hlo: str) -> tuple[dict[str, list[str]], str]:
    """The operations of every computation, and the name of the first that runs."""
    computations: dict[str, list[str]] = {}
    entry, operations = "", []
    for line in hlo.splitlines():
        header = HEADER.match(line)
        if header:
            operations = computations.setdefault(header[2], [])
            entry = header[2] if header[1] else entry
        elif operation := OPERATION.match(line):
            operations.append(operation[1])
    return computations, entry


def _count(computations: dict[str, list[str]], name: str, trips: int) -> Loop:
    loop = Loop(trips)
    for operation in computations[name]:
        opcode = _opcode(operation)
        if opcode == "while":
            count = re.search(r'"known_trip_count":\{"n":"(\d+)"', operation)
            if count is None:
                raise ValueError(f"a loop with an unknown trip count: {operation[:200]}")
            loop.inner.append(_count(computations, _called(operation, "body")[0], int(count[1])))
        elif opcode == "call":
            part = _count(computations, _called(operation, "to_apply")[0], 1)
            loop.kinds += part.kinds
            loop.inner += part.inner
        elif opcode == "conditional":
            names = _called(operation, "branch_computations|true_computation|false_computation")
            branches = [_count(computations, name, 1) for name in names]
            loop.kinds["conditional"] += 1
            loop.inner.append(max(branches, key=lambda branch: branch.launches))
        elif opcode not in FREE and not opcode.endswith(("-done", "-update")):
            loop.kinds[_kind(opcode, operation)] += 1
    return loop


def _opcode(operation: str) -> str:
    """The name that stands between the type of the result, which may be nested, and "("."""
    depth = 0
    for position, character in enumerate(operation):
        depth += (character in OPENING) - (character in CLOSING)
        if character == " " and not depth:
            return operation[position + 1 :].partition("(")[0]
    raise ValueError(f"no operation: {operation[:200]}")


def _called(operation: str, attribute: str) -> list[str]:
    found = re.findall(rf"\b(?:{attribute})=\{{?([^,}}]*(?:, %[^,}}]*)*)", operation)
    return [name.strip().lstrip("%") for names in found for name in names.split(",")]


def _kind(opcode: str, operation: str) -> str:
    """What is launched, in more detail for fusions and for calls of a library."""
    patterns = {"fusion": r'"fusion_backend_config":\{"kind":"([^"]+)"|kind=k(\w+)'}
    patterns["custom-call"] = r'custom_call_target="([^"]+)"'
    match = re.search(patterns[opcode], operation) if opcode in patterns else None
    return f"{opcode} {next(filter(None, match.groups()))}" if match else opcode
