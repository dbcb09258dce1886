"""Curves as table rows: a median, its quartiles and a count of values that are not finite."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from .records import Row, markdown_table


def curve_rows(points: Iterable[int], values: np.ndarray, **labels: str) -> Iterator[Row]:
    """A row for each point, which is an entry of the first axis of `values`.

    A value that is not finite counts as infinite. The quartiles are measured values, not means of
    two, so that one infinite value among many makes no quartile infinite.
    """
    values = np.asarray(values, np.float64)
    values = values.reshape(len(values), -1)
    finite = np.isfinite(values)
    quartiles = np.quantile(
        np.where(finite, values, np.inf), (0.25, 0.5, 0.75), axis=1, method="inverted_cdf"
    )
    rows = zip(points, *quartiles.tolist(), finite, values, strict=True)
    for x, low, median, high, is_finite, point_values in rows:
        yield labels | {
            "x": x,
            "median": median,
            "low": low,
            "high": high,
            "values": point_values.size,
            "not_finite": int((~is_finite).sum()),
            "zero": int((point_values == 0).sum()),
        }


def group_rows(rows: Iterable[Row], *columns: str) -> dict[tuple[str, ...], list[Row]]:
    """The rows by their values in some columns, in the order in which they come."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[column] for column in columns), []).append(row)
    return groups


def median_table(rows: Iterable[Row], points: Sequence[int], reach: float | None = None) -> str:
    """A Markdown table of medians, with a line for each curve.

    Args:
        rows: of curves that have all `points`.
        points: the columns.
        reach: adds a column with the last point where the median is at least this share of the
            median at the first point.
    """
    labels = ("cell", "weights", "of")
    body = []
    for names, curve in group_rows(rows, *labels).items():
        medians = {row["x"]: row["median"] for row in curve}
        line = [*names, *(f"{medians[x]:.1e}" for x in points)]
        if reach is not None:
            least = reach * curve[0]["median"]
            line.append(str(max((x for x, y in medians.items() if y >= least), default=0)))
        body.append(line)
    head = [*labels, *map(str, points)] + ([] if reach is None else [f"{reach:.0%} until"])
    return markdown_table(head, body, len(labels))


def nonfinite_notes(rows: Iterable[Row]) -> list[str]:
    """A line for each curve that has values that are not finite."""
    notes = []
    for names, curve in group_rows(rows, "measure", "cell", "weights", "of").items():
        points = [row["x"] for row in curve if row["not_finite"]]
        if points:
            count, total = (sum(row[name] for row in curve) for name in ("not_finite", "values"))
            notes.append(f"Not finite: {', '.join(names)}: {count} of {total}, from {points[0]} on")
    return notes
