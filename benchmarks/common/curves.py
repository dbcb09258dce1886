"""Curves as rows: a median between quartiles at each point, and a count of what is not finite."""

import csv
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from .measure import markdown_table

Row = dict[str, Any]


def curve(points: Iterable[int], values: np.ndarray, **where: str) -> Iterator[Row]:
    """A row for each point, which is an entry of the first axis of `values`.

    A value that is not finite is too large to represent, so it counts as infinite. The quartiles
    are values that were measured, not means of two, so that one infinite value among many makes
    nothing infinite.
    """
    values = np.asarray(values, np.float64)
    values = values.reshape(len(values), -1)
    finite = np.isfinite(values)
    quartiles = np.quantile(
        np.where(finite, values, np.inf), (0.25, 0.5, 0.75), axis=1, method="inverted_cdf"
    )
    rows = zip(points, *quartiles.tolist(), finite, values, strict=True)
    for x, low, median, high, good, own in rows:
        yield where | {
            "x": x,
            "median": median,
            "low": low,
            "high": high,
            "values": own.size,
            "not_finite": int((~good).sum()),
            "zero": int((own == 0).sum()),
        }


def grouped(rows: Iterable[Row], *names: str) -> dict[tuple[str, ...], list[Row]]:
    """The rows by the values of some columns, in the order in which they come."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in names), []).append(row)
    return groups


def table(rows: Iterable[Row], points: Sequence[int], reach: float | None = None) -> str:
    """Medians at some points, a line for each curve.

    Args:
        rows: of curves that have all points in common.
        points: the columns.
        reach: adds the last point at which the median is at least this part of the first point's.
    """
    names = ("cell", "weights", "of")
    body = []
    for where, own in grouped(rows, *names).items():
        medians = {row["x"]: row["median"] for row in own}
        line = [*where, *(f"{medians[x]:.1e}" for x in points)]
        if reach is not None:
            first = own[0]["median"]
            line.append(str(max((x for x, y in medians.items() if y >= reach * first), default=0)))
        body.append(line)
    head = [*names, *map(str, points)] + ([] if reach is None else [f"{reach:.0%} until"])
    return markdown_table(head, body, len(names))


def complaints(rows: Iterable[Row]) -> list[str]:
    """A line for each curve with values that are not finite."""
    lines = []
    for where, own in grouped(rows, "measure", "cell", "weights", "of").items():
        met = [row["x"] for row in own if row["not_finite"]]
        if met:
            count, total = (sum(row[name] for row in own) for name in ("not_finite", "values"))
            lines.append(f"Not finite: {', '.join(where)}: {count} of {total}, from {met[0]} on")
    return lines


def write_csv(path: pathlib.Path, rows: Sequence[Row]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        for row in rows:  # six digits are what float32 can stand for
            writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})
