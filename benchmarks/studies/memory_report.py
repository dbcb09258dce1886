"""The summary and the table of `memory_tasks`."""

import csv
import json
import pathlib
import statistics
from collections.abc import Sequence

from ..common.curves import group_rows
from ..common.records import Row, markdown_table
from .memory_problems import PROBLEMS

SOLVED = 0.1  # of the score without a memory


def summarise(rows: Sequence[Row]) -> list[Row]:
    """A row for each task and cell: the last scores of the seeds, and the iteration at which each
    seed had solved the task, or None.
    """
    summary = []
    for (name, cell), cell_rows in group_rows(rows, "task", "cell").items():
        task, seeds = PROBLEMS[name].test, group_rows(cell_rows, "seed").values()
        last = [seed[-1] for seed in seeds]
        limit = SOLVED * task.input_only_score
        solved_at = [
            next((row["iteration"] for row in seed if row["score"] <= limit), None)
            for seed in seeds
        ]
        summary.append(
            {
                "task": name,
                "cell": cell,
                "memoryless": task.input_only_score,
                "blind": task.clock_only_score,
                "scores": [row["score"] for row in last],
                "accuracies": [row["accuracy"] for row in last],
                "solved_at": solved_at,
                "iterations": max(row["iteration"] for row in last),
                "seconds": statistics.fmean(row["seconds"] for row in last),
                "published": PROBLEMS[name].published.get(cell, ""),
            }
        )
    return summary


def summary_table(summary: Sequence[Row]) -> str:
    """Medians and the worst over the seeds, as a Markdown table."""

    def line(row: Row) -> list[str]:
        scores, accuracies = row["scores"], row["accuracies"]
        solved_at = [iteration for iteration in row["solved_at"] if iteration is not None]
        cells = [row["task"], row["cell"], f"{row['memoryless']:.4g}", f"{row['blind']:.4g}"]
        cells += [f"{statistics.median(scores):.4f}", f"{max(scores):.4f}"]
        if None in accuracies:
            cells += ["", ""]
        else:
            cells += [f"{statistics.median(accuracies):.3f}", f"{min(accuracies):.3f}"]
        cells.append(f"{len(solved_at)} of {len(scores)}")
        cells.append(str(max(solved_at)) if solved_at else "")
        return [*cells, str(row["iterations"]), f"{row['seconds']:.0f}", row["published"]]

    head = ["task", "cell", "no memory", "no input", "score", "worst", "accuracy", "worst"]
    head += ["solved", "within", "of", "seconds", "published"]
    return markdown_table(head, list(map(line, summary)), left=2)


def command_lines(summary: Sequence[Row]) -> str:
    """Machine, date and command of each row of a table that several commands have written."""
    return "\n".join(
        f"* {row['task']}, {row['cell']}: {row['machine']}, {row['date']}: `{row['command']}`"
        for row in summary
    )


def earlier_rows(path: pathlib.Path, new: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """The summary and the rows of a table that is there, without the tasks and cells of new rows.

    Args:
        path: of the table's JSON; its CSV is beside it.
        new: rows with a task and a cell.
    """
    if not path.exists():
        return [], []
    with path.with_suffix(".csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    summary = json.loads(path.read_text())["rows"]
    replaced = set(group_rows(new, "task", "cell"))

    def others(rows: Sequence[Row]) -> list[Row]:
        return [row for row in rows if (row["task"], row["cell"]) not in replaced]

    return others(summary), others(rows)
