"""The tables of `accelerator`, made from its rows."""

import json
import pathlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ..common.records import Row, markdown_table, versions_text

UNKNOWN: Row = {
    "machine": "Unknown device",
    "platform": None,
    "versions": {"seqmem": "unknown"},
    "date": "date unknown",
}
LABELS = ("flags", "cell", "rule", "law", "what", "chunks", "measure", "sizes", "library")
LABELS += ("precision", "part")
PRECISIONS = (
    "float32: products in full precision. TF32: float32 with products in TF32. bfloat16: "
    "parameters and inputs of 16 bits; seqmem's states have 32. ms: queued calls, median of up to "
    "5 rounds. MiB: temporaries by XLA's own analysis."
)
PARTS = {"forward": "Forward", "gradient": "Forward with backward"}


def read_rows(path: pathlib.Path) -> list[Row]:
    """The rows of a file of JSON lines; none where there is no file. A line that was cut is left
    out.
    """
    rows = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


def record_of(rows: Sequence[Row], command: str) -> Row:
    """The rows with the provenance that they share: the device of the last one and its versions."""
    device = UNKNOWN | device_of(rows)
    slug = re.sub(r"[^a-z0-9]+", "-", device["machine"].lower()).strip("-")
    return {
        **device,
        "platform": "cpu" if device["platform"] == "cpu" else slug,
        "machines": list(dict.fromkeys(row["machine"] for row in rows if "machine" in row)),
        "command": command,
        "rows": list(rows),
    }


def device_of(rows: Iterable[Row]) -> Row:
    """What the last row that knows its device says of it."""
    known = [row for row in rows if "machine" in row]
    return {name: row[name] for row in known[-1:] for name in UNKNOWN}


def report(record: Mapping[str, Any]) -> str:
    """The record in Markdown."""
    rows = record["rows"]

    def of(section: str) -> list[Row]:
        return [row for row in rows if row["section"] == section and "failure" not in row]

    parts = [f"`{record['command']}`", f"{record['machine']}, {record['date']}."]
    if len(record["machines"]) > 1:
        parts.append(f"ROWS OF SEVERAL MACHINES: {', '.join(record['machines'])}.")
    if any(row.get("smoke") for row in rows):
        parts.append("A SMOKE RUN OF TINY SHAPES: its times say nothing.")
    parts += [versions_text(record), PRECISIONS, laws_note(of("laws"), rows)]
    parts += device_table(of("device"))
    parts += gated_tables(of("gated"))
    parts += diagonal_table(of("diagonal"))
    parts += fast_weight_table(of("fast_weights"))
    parts += flags_table(of("flags"))
    parts += norms_tables(of("gradient_norms"))
    parts += notes(rows)
    return "\n\n".join(parts)


def laws_note(laws: Sequence[Row], rows: Sequence[Row]) -> str:
    """Whether the device computes what float64 does, without which no time means anything."""
    laws = [row for row in laws if "law" in row]
    broken = [f"{row['law']} ({_number(row['error'])})" for row in laws if not row["holds"]]
    if broken:
        return f"EVERY TIME BELOW IS VOID: the device computes other numbers: {'; '.join(broken)}."
    missing = [row["law"] for row in rows if "law" in row and "failure" in row]
    if not laws:
        return "Whether the device computes the right numbers was not checked."
    largest = max(row["error"] for row in laws)
    text = "Outputs and gradients in float32 agree with float64 on the CPU, with relative errors "
    text += f"of at most {largest:.0e} in {len(laws)} of {len(laws) + len(missing)} checks."
    return text + (f" Not checked: {'; '.join(missing)}." if missing else "")


def device_table(rows: Sequence[Row]) -> list[str]:
    lines = [
        [
            row["what"],
            row["library"],
            _number(row["ms"]),
            _number(row.get("terabytes_per_second")),
            _number(row.get("microseconds_per_iteration")),
        ]
        for row in rows
        if "what" in row
    ]
    head = ["what", "library", "ms", "TB/s", "µs per iteration"]
    return _table("The device, float32:", head, lines, 2)


def gated_tables(rows: Sequence[Row]) -> list[str]:
    """A table for each part: a line per cell and shape, a column per library and precision."""
    tables = []
    for part, title in PARTS.items():
        tables += _pivot(
            f"{title}, ms; inputs as wide as the state:",
            [row for row in rows if row.get("part") == part],
            {
                "cell": lambda row: row["cell"],
                "T, B, H": lambda row: _sizes(row, 0, 1, 3),
            },
            lambda row: f"{row['library']} {row['precision']}",
        )
    return tables


def diagonal_table(rows: Sequence[Row]) -> list[str]:
    def line(row: Row) -> list[str]:
        share = row.get("share_of_copy")
        return [
            _sizes(row),
            row["chunks"],
            row["part"],
            *map(_number, (row["ms"], row["terabytes_per_second"])),
            "" if share is None else f"{share:.0%}",
            _number(row["MiB"]),
        ]

    head = ["T, B, channels", "way", "part", "ms", "TB/s", "of the copy", "MiB"]
    title = "A diagonal recurrence, float32; bytes are the least that can be moved:"
    return _table(title, head, [line(row) for row in rows if "chunks" in row], 3)


def fast_weight_table(rows: Sequence[Row]) -> list[str]:
    cases: dict[tuple[str, ...], dict[str, Row]] = {}
    for row in rows:
        if "rule" in row:
            key = (row["rule"], _sizes(row), row["library"], row["precision"])
            cases.setdefault(key, {})[row["part"]] = row
    lines = [
        [*key, *(_number(parts.get(part, {}).get(value)) for part in PARTS for value in VALUES)]
        for key, parts in cases.items()
    ]
    head = ["rule", "T, B, heads, channels", "library", "precision", "forward ms", "MiB"]
    return _table("Matrix memories:", [*head, "with backward ms", "MiB"], lines, 4)


VALUES = ("ms", "MiB")


def flags_table(rows: Sequence[Row]) -> list[str]:
    return _pivot(
        "seqmem's LSTM under flags of XLA, ms:",
        [row for row in rows if "part" in row],
        {"flags": lambda row: row["flags"]},
        lambda row: f"{_sizes(row, 0, 1, 3)}, {row['part']}",
    )


def norms_tables(rows: Sequence[Row]) -> list[str]:
    """Medians of each curve, by length and by lag."""
    titles = {
        "length": "Gradient of the mean loss with respect to all parameters, by length, float32:",
        "lag": "Gradient of the last loss with respect to the state, by lag, float32:",
    }
    tables = []
    for measure, title in titles.items():
        curves = [row for row in rows if row.get("measure") == measure]
        points = list(dict.fromkeys(point["x"] for row in curves for point in row["curve"]))
        lines = []
        for row in curves:
            medians = {point["x"]: point["median"] for point in row["curve"]}
            lines.append(
                [row["cell"], *(_number(medians.get(x)) for x in points), _number(row["ms"])]
            )
        tables += _table(title, ["cell", *map(str, points), "ms"], lines, 1)
    return tables


def notes(rows: Sequence[Row]) -> list[str]:
    """What did not run, and how long the sections took."""
    failures: dict[tuple[str, str], list[Row]] = {}
    seconds: dict[str, float] = {}
    for row in rows:
        if "failure" in row:
            failures.setdefault((row["section"], row["failure"]), []).append(row)
        if "seconds" in row:
            seconds[row["section"]] = max(row["seconds"], seconds.get(row["section"], 0.0))
    lines = [
        f"* {section}: {reason}{_cases(group)}." for (section, reason), group in failures.items()
    ]
    times = ", ".join(f"{section} {value:.0f}" for section, value in seconds.items())
    parts = ["What did not run:\n\n" + "\n".join(lines)] if lines else []
    return [*parts, f"Seconds of the sections: {times}."] if times else parts


def _cases(rows: Sequence[Row]) -> str:
    """What rows without a number are about, in brackets."""
    values = []
    for label in LABELS:
        texts = [_sizes(row) if label == "sizes" else row[label] for row in rows if label in row]
        if texts:
            values.append(" / ".join(dict.fromkeys(texts)))
    return f" ({'; '.join(values)})" if values else ""


def _pivot(
    title: str,
    rows: Sequence[Row],
    left: Mapping[str, Callable[[Row], str]],
    column: Callable[[Row], str],
) -> list[str]:
    """A table of milliseconds, with a line for each value of `left`."""
    columns = list(dict.fromkeys(map(column, rows)))
    lines: dict[tuple[str, ...], dict[str, str]] = {}
    for row in rows:
        key = tuple(text(row) for text in left.values())
        lines.setdefault(key, {})[column(row)] = _number(row["ms"])
    body = [[*key, *(cells.get(name, "") for name in columns)] for key, cells in lines.items()]
    return _table(title, [*left, *columns], body, len(left))


def _table(title: str, head: Sequence[str], lines: Sequence[Sequence[str]], left: int) -> list[str]:
    return [title, markdown_table(head, lines, left)] if lines else []


def _sizes(row: Row, *axes: int) -> str:
    sizes: Iterable[int] = [row["sizes"][axis] for axis in axes] if axes else row["sizes"]
    return ", ".join(map(str, sizes))


def _number(value: Any) -> str:
    """Three digits; what JSON has no number for is a string."""
    if value is None:
        return ""
    return value if isinstance(value, str) else f"{value:.3g}"
