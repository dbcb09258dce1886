"""The score of each file and room, as text and as a record of results."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path

from .results import Score, Trial, is_explained, read_explanations

PACKAGES = ("seqmem", "jax", "jaxlib", "equinox", "pytest", "cosmic-ray", "coverage")


def scores(trials: Iterable[Trial]) -> dict[str, Score]:
    """Of each file, then of each room, then of all."""
    reasons = read_explanations()
    table: dict[str, Score] = {}
    for trial in trials:
        room = Path(trial.file).relative_to("src/seqmem").parts[0]
        for name in (trial.file, room, "total"):
            score = table.setdefault(name, Score())
            if trial.outcome != "survived":
                score.caught += 1
            elif is_explained(trial, reasons):
                score.explained += 1
            else:
                score.survived += 1
    names = sorted(table, key=lambda name: (name == "total", "src/" not in name, name))
    return {name: table[name] for name in names}


def show(trials: Iterable[Trial]) -> None:
    for name, score in scores(trials).items():
        low, high = score.interval()
        print(
            f"{name:55} {score.caught:4} of {score.tried:4} {score.share:6.1%} "
            f"({low:.1%} to {high:.1%}), {score.explained} explained"
        )


def write(folder: str, trials: list[Trial]) -> None:
    """The scores, and the mutants that survived, with versions, machine and command."""
    from benchmarks.common.records import markdown_table, provenance, versions_text, write_record

    table = scores(trials)
    rows = [
        {"name": name, **dataclasses.asdict(score), "interval_95": score.interval()}
        for name, score in table.items()
    ]
    survivors = [
        {
            "file": trial.file,
            "line": trial.line,
            "before": trial.before,
            "after": trial.after,
            "is_explained": is_explained(trial, read_explanations()),
        }
        for trial in trials
        if trial.outcome == "survived"
    ]
    record = provenance("tests.mutate", PACKAGES) | {"rows": rows, "survivors": survivors}
    head = ["file or room", "tried", "caught", "score", "95 %", "explained"]
    cells = [
        [
            name.removeprefix("src/seqmem/"),
            str(score.tried),
            str(score.caught),
            f"{score.share:.0%}",
            "{:.0%} to {:.0%}".format(*score.interval()),
            str(score.explained),
        ]
        for name, score in table.items()
        if score.tried
    ]
    text = [
        "# The mutation score",
        f"`{record['command']}`, {record['machine']}, {record['date']}. {versions_text(record)}",
        markdown_table(head, cells),
    ]
    write_record(folder, "mutation_score", record, "\n\n".join(text))
