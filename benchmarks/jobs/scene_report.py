"""The report of `describe_image`."""

from collections.abc import Mapping
from typing import Any

from ..common.machine import load_note
from ..common.records import markdown_table, versions_text


def report(record: Mapping[str, Any]) -> str:
    """The record in Markdown."""
    longest = record["longest"]
    lines = [
        [str(row["things"]), str(row["scenes"]), *_percentages(row["exact"], row["expected"])]
        for row in record["rows"]
    ]
    lines.append(["mean of these", "", *_percentages(record["exact"], record["expected"])])
    labels = ["all differ, never trained on", str(longest["scenes"])]
    lines.append([*labels, *_percentages(longest["exact"], longest["expected"])])
    scores = "BLEU was not computed: sacrebleu is not installed."
    if record["bleu"] is not None:
        scores = f"BLEU {record['bleu']:.1f}, and {longest['bleu']:.1f} where all differ."
    steps = " and ".join(map(str, record["steps"]))
    return "\n\n".join(
        [
            f"`{record['command']}`",
            f"{record['machine']}, {record['date']}: {record['seconds']:.0f} s, of which training "
            f"{record['training_seconds']:.0f} s. {load_note([record['cores_taken']])} "
            f"{versions_text(record)}",
            f"{record['images']}, {record['trained_on']} training images, {steps} steps of "
            f"{record['batch']}; seed {record['seed']}. The accuracy p on single test images is "
            f"{record['p']:.1%}. Scenes of other test images, and how many are described word for "
            "word:",
            markdown_table(["things", "scenes", "exact", "p^n"], lines),
            f"{scores} Where all differ, {longest['as_long']:.1%} have the right length.",
        ]
    )


def _percentages(*values: float) -> list[str]:
    return [f"{value:.1%}" for value in values]
