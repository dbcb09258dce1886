"""The results of `conformance`, as sentences and as one table of all libraries."""

import json
import pathlib
from collections.abc import Mapping, Sequence

from seqmem._testing.ops.check_op import LAWS

from ..common.records import Row, markdown_table, versions_text
from .conformance_adapters.entry import Library

HEAD = ("library", "function", "hold", "not offered", "not promised, and seen", "broken")
# Laws that run a case twice, or with other inputs, so that the case by itself does not show them.
OTHER_INPUTS = ("splitting", "segments", "NaN across segments", "determinism")


def sentence(library: str, row: Row) -> str:
    """What was found of a function, in one line."""
    broken, unpromised = named(row, "broken"), named(row, "not promised")
    text = f"{library}, {row['function']}: {count(row)} laws hold"
    text += f"; broken: {', '.join(broken)}" if broken else ""
    return text + (f"; not promised, and seen: {', '.join(unpromised)}" if unpromised else "")


def named(row: Row, outcome: str) -> list[str]:
    """The laws with an outcome, in the order of `check_op`."""
    return [law for law in LAWS if row["laws"].get(law, {}).get("outcome") == outcome]


def count(row: Row) -> str:
    """How many laws hold, of those that are offered."""
    offered = len(row["laws"]) - len(named(row, "not offered"))
    return f"{len(named(row, 'holds'))} of {offered}"


def judged(row: Row, unpromised: Mapping[str, Mapping[str, str]]) -> Row:
    """A row in which a broken law that is not promised has the outcome "not promised". The keys of
    `unpromised` are parts of names of functions, then laws; its values are the reasons.
    """
    reasons: dict[str, str] = {}
    for part, laws in unpromised.items():
        reasons |= laws if part in row["function"] else {}
    laws = dict(row["laws"])
    for law in named(row, "broken"):
        if law in reasons and "case" in laws[law]:  # a call that raises is another matter
            laws[law] = laws[law] | {"outcome": "not promised", "reason": reasons[law]}
    return row | {"laws": laws}


def read_records(
    folder: pathlib.Path, platform: str, libraries: Mapping[str, Library]
) -> list[Row]:
    """The records that there are, in the order of the libraries, with their rows judged."""
    records = []
    for name, library in libraries.items():
        path = folder / f"conformance_{name}_{platform}.json"
        if path.exists():
            record = json.loads(path.read_text())
            rows = [judged(row, library.unpromised) for row in record["rows"]]
            records.append(record | {"rows": rows})
    return records


def markdown(records: Sequence[Row]) -> str:
    """A table with a line per function, the faults as reproducible lines, and the commands."""
    table = [_cells(record, row) for record in records for row in record["rows"]]
    broken = [line for record in records for line in _lines(record, "broken")]
    unpromised = [line for record in records for line in _lines(record, "not promised")]
    commands = [
        f"* {record['library']}: {_commands(record)}. {versions_text(record)} "
        f"{record['machine']}, {record['date']}."
        for record in records
    ]
    return "\n\n".join(
        [
            markdown_table(HEAD, table, left=len(HEAD)),
            "Broken:",
            "\n".join(broken) or "* none",
            "Not promised, and seen:",
            "\n".join(unpromised) or "* none",
            "Commands:",
            "\n".join(commands),
        ]
    )


def _commands(record: Row) -> str:
    return ", ".join(dict.fromkeys(f"`{row['command']}`" for row in record["rows"]))


def _cells(record: Row, row: Row) -> list[str]:
    lists = (named(row, outcome) for outcome in ("not offered", "not promised", "broken"))
    return [
        record["library"],
        row["function"],
        count(row),
        *(", ".join(laws) or "—" for laws in lists),
    ]


def _lines(record: Row, outcome: str) -> list[str]:
    """Each law with the outcome, and a line that repeats it."""
    lines = []
    for row in record["rows"]:
        op = f'op_of("{record["library"]}", "{row["function"]}")'
        for law in named(row, outcome):
            verdict = row["laws"][law]
            call = f"report_op({op})['{law}']"
            if "case" in verdict and law not in OTHER_INPUTS:
                call = f"run_case({op}, {verdict['case']})"
            reason = f" ({verdict['reason']})" if "reason" in verdict else ""
            name = f"{record['library']}, {row['function']}, {law}{reason}"
            lines.append(f"* {name}: {verdict['detail']}. `{call}`")
    return lines
