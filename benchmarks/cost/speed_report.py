"""The tables of `speed`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..common.machine import load_note
from ..common.records import Row, markdown_table, versions_text
from ..common.timing import geometric_mean
from .peers import OURS, PEERS, SHARDED, Sizes


def peer_means(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """For each cell, the geometric means and the smallest over the shapes of the ratios with
    backward: of each shape's fastest JAX peer, run as its users run it and with its batch spread
    over the devices, and of PyTorch.
    """

    def mean(group: Sequence[Row], is_wanted: Callable[[str], bool]) -> dict[str, Any]:
        best: dict[Any, float] = {}
        for row in group:
            if is_wanted(row["library"]) and "gradient" in row:
                case = (row["cell"], *row["sizes"])
                best[case] = min(row["gradient"]["ratio"], best.get(case, float("inf")))
        if not best:
            return {"ratio": None, "worst": None, "shapes": 0}
        mean_ratio = geometric_mean(best.values())
        return {"ratio": mean_ratio, "worst": min(best.values()), "shapes": len(best)}

    cells = list(dict.fromkeys(row["cell"] for row in rows))
    groups = {cell: [row for row in rows if row["cell"] == cell] for cell in cells}
    if len(groups) > 1:
        groups["both"] = list(rows)
    return {
        name: {
            "best JAX peer": mean(
                group, lambda library: library in PEERS and PEERS[library].in_jax
            ),
            "best JAX peer sharded": mean(group, SHARDED.__contains__),
            "torch": mean(group, lambda library: library == "torch"),
        }
        for name, group in groups.items()
    }


def report(record: Mapping[str, Any]) -> str:
    """The record in Markdown."""
    rows = record["rows"]
    libraries = {row["library"] for row in rows}
    notes = [
        f"* {name}: {peer.differs}."
        for name, peer in (OURS | PEERS | SHARDED).items()
        if name in libraries and peer.differs
    ]
    notes += dict.fromkeys(
        f"* {row['library']}: {row['failure']}." for row in rows if "failure" in row
    )
    loads = {(row["cell"], *row["sizes"]): row["cores_taken"] for row in rows}
    return "\n\n".join(
        [
            f"`{record['command']}`",
            f"{record['machine']}, {record['date']}, median of {record['rounds']} interleaved "
            f"rounds. {load_note(list(loads.values()))}",
            versions_text(record),
            "Forward with backward, ms (ratio to seqmem):",
            _gradient_table(rows),
            _means_table(record),
            _details_table(rows),
            "\n".join(notes),
        ]
    )


def _gradient_table(rows: Sequence[Row]) -> str:
    """Milliseconds with backward (ratio to seqmem's): a line per shape, a column per library."""
    libraries = list(dict.fromkeys(row["library"] for row in rows))
    lines: dict[tuple, dict[str, str]] = {}
    for row in rows:
        text = row.get("failure", "").partition(":")[0]
        if "gradient" in row:
            text = "{ms:.1f} ({ratio:.2f})".format(**row["gradient"])
        lines.setdefault((row["cell"], str(Sizes(*row["sizes"]))), {})[row["library"]] = text
    head = ["cell", "T, B, D, H", *libraries]
    body = [[*case, *(cells[name] for name in libraries)] for case, cells in lines.items()]
    return markdown_table(head, body, 2)


def _means_table(record: Mapping[str, Any]) -> str:
    names = list(next(iter(record["means"].values())))

    def text(cell: str, name: str) -> str:
        mean = record["means"][cell][name]
        if mean["ratio"] is None:
            return "-"
        count = sum(
            row["library"] == "seqmem" and cell in (row["cell"], "both") for row in record["rows"]
        )
        partial = "" if mean["shapes"] == count else f" ({mean['shapes']} of {count} shapes)"
        return f"{mean['ratio']:.2f}, worst {mean['worst']:.2f}{partial}"

    return markdown_table(
        ["with backward, geometric mean", *(f"{name} / seqmem" for name in names)],
        [[cell, *(text(cell, name) for name in names)] for cell in record["means"]],
    )


def _details_table(rows: Sequence[Row]) -> str:
    head = (
        "cell|T, B, D, H|library|forward ms|ratio|with backward ms|ratio|temporaries MiB|compile s"
    )

    def line(row: Row) -> list[str]:
        labels = [row["cell"], str(Sizes(*row["sizes"])), row["library"]]
        if "failure" in row:
            return [*labels, row["failure"].partition(":")[0], *"-----"]
        times = [row["forward"]["ms"], row["forward"]["ratio"]]
        times += [row["gradient"]["ms"], row["gradient"]["ratio"]]
        by_xla = ["-", "-"]
        if row["temp_bytes"] is not None:
            by_xla = [f"{row['temp_bytes'] / 2**20:.1f}", f"{row['compile_seconds']:.2f}"]
        return [*labels, *map("{:.2f}".format, times), *by_xla]

    return markdown_table(head.split("|"), list(map(line, rows)), 3)
