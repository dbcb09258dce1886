"""Memories that are matrices: seqmem's chunkwise form, against a plain scan and against attention.

    python -m benchmarks.cost.matrix_memories [--rules delta KDA] [--rounds 5] [--tokens 32768]
        [--lengths 256 4096]

One head of 64 channels, in float32, products in full precision. q, k, v and the rest of a write are
inputs, so that nothing but the memory is measured. Three tables:

* T = 4096, one sequence: milliseconds, temporaries by XLA's own analysis and the seconds that
  compiling took, of seqmem's default method, of the same recurrence in `lax.scan` as one writes it
  by hand, differentiated by JAX, and, for the delta rule, of memax's layer with its projections
  (which has other numbers: it erases on the wrong side of the matrix).
* T = 4096, one and eight heads, beside the chunked form of jax-linear-attention from the same q, k,
  v and gates, where that package is installed: `linear_attention.py` says how.
* the same number of tokens, as fewer and longer sequences: nanoseconds and multiplications per
  token of a gradient, and temporaries, of seqmem and of `jax.nn.dot_product_attention`. `--lengths`
  without a length leaves it out.

Interleaved in one process, medians over the rounds.
"""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from tqdm import tqdm

from ..common.machine import load_note, track_other_load
from ..common.options import positive_int
from ..common.records import (
    Row,
    markdown_table,
    provenance,
    versions_text,
    with_jax_version,
    write_record,
)
from ..common.timing import mean_square_gradient, time_forward_and_gradient
from .linear_attention import KINDS, NUM_HEADS, PACKAGE, measure_beside_package
from .matrix_recurrences import (
    RULES,
    SIZE,
    attention,
    memax_delta,
    random_writes,
    scan_readings,
    seqmem_readings,
)
from .multiply_adds import multiply_adds

TIME = 4096
LONGEST_ATTENTION = 4096  # steps; attention saves all its scores
PACKAGES = ("seqmem", "jax", "jaxlib", "equinox", "memax", PACKAGE)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--rules", nargs="+", choices=RULES, default=list(RULES))
    add("--lengths", type=positive_int, nargs="*", default=[2**n for n in range(8, 16)])
    add("--tokens", type=positive_int, default=2**15)
    add("--rounds", type=positive_int, default=5)
    add("--out", default="benchmarks/results", help="folder for the results")
    return parser.parse_args()


def measure_one_sequence(rule: str, rounds: int) -> list[Row]:
    """A row for each implementation of a rule, or for why it did not run."""
    other_cores = track_other_load()
    writes = random_writes(rule, TIME, 1)
    programs: dict[str, Any] = {
        "seqmem": (seqmem_readings, (writes,)),
        "lax.scan": (scan_readings, (writes,)),
    }
    failures = {}
    if rule == "delta":
        try:
            layer, run = memax_delta()
            programs["memax"] = (run, (layer, jax.random.normal(jax.random.key(1), (TIME, SIZE))))
        except ModuleNotFoundError:
            failures["memax"] = "missing: pip install memax"
    results = time_forward_and_gradient(programs, rounds)
    labels = {"rule": rule, "time": TIME, "cores_taken": other_cores()}
    rows = [labels | {"way": way} | numbers for way, numbers in results.items()]
    return rows + [labels | {"way": way, "failure": reason} for way, reason in failures.items()]


def measure_constant_tokens(rule: str, time: int, tokens: int, rounds: int) -> Row:
    """The gradient of as many sequences of one length as make up the tokens."""
    batch = max(1, tokens // time)
    writes = random_writes("retention" if rule == "attention" else rule, time, batch)
    run = attention if rule == "attention" else seqmem_readings
    result = time_forward_and_gradient({rule: (run, (writes,))}, rounds)[rule]["gradient"]
    count = time * batch
    return {
        "rule": rule,
        "time": time,
        "ns_per_token": 1e6 * result["ms"] / count,
        "multiply_adds_per_token": multiply_adds(mean_square_gradient(run), writes) / count,
        "MiB": result["MiB"],
    }


def report(record: Mapping[str, Any]) -> str:
    """The record in Markdown."""

    def sequence_line(row: Row) -> list[str]:
        labels = [row["rule"], row["way"]]
        if "failure" in row:
            return [*labels, row["failure"].partition(":")[0], *"-----"]
        return labels + [
            text
            for part in (row["forward"], row["gradient"])
            for text in (
                f"{part['ms']:.1f}",
                f"{part['MiB']:.1f}",
                f"{part['compile_seconds']:.1f}",
            )
        ]

    def tokens_line(row: Row) -> list[str]:
        return [
            row["rule"],
            str(row["time"]),
            f"{row['ns_per_token']:.0f}",
            f"{row['multiply_adds_per_token'] / 1e3:.1f}",
            f"{row['MiB']:.0f}",
        ]

    def package_line(row: Row) -> list[str]:
        labels = [row["rule"], str(row["heads"])]
        if "failure" in row:
            return [*labels, row["failure"].partition(":")[0], *["-"] * 8]
        ours, theirs = row["seqmem"], row[PACKAGE]
        numbers = [
            text
            for kind in ("forward", "gradient")
            for text in (
                f"{ours[kind]['ms']:.1f}",
                f"{theirs[kind]['ms']:.1f}",
                f"{theirs[kind]['ratio']:.2f}",
                f"{ours[kind]['MiB'] / theirs[kind]['MiB']:.2f}",
            )
        ]
        return [*labels, *numbers, f"{row['difference']:.0e}"]

    loads = [row["cores_taken"] for row in record["rows"]]
    loads += [row["cores_taken"] for row in record["beside_package"] if "failure" not in row]
    note = load_note(loads)
    sequence_head = "rule|way|forward ms|MiB|compile s|with backward ms|MiB|compile s"
    package_head = "rule|heads|forward: ours ms|theirs ms|theirs / ours|MiB: ours / theirs"
    package_head += "|with backward: ours ms|theirs ms|theirs / ours|MiB: ours / theirs|difference"
    tokens_head = "rule|T|ns/token|thousand multiply-adds/token|MiB"
    parts = [
        f"`{record['command']}`",
        f"{record['machine']}, {record['date']}, median of {record['rounds']} interleaved rounds, "
        f"float32, products in full precision. {note}",
        versions_text(record),
        f"One head of {SIZE} channels, T = {TIME}, one sequence:",
        markdown_table(sequence_head.split("|"), list(map(sequence_line, record["rows"])), 2),
        f"Heads of {SIZE} channels, T = {TIME}, one sequence, beside {PACKAGE}'s chunked form:",
        markdown_table(package_head.split("|"), list(map(package_line, record["beside_package"]))),
    ]
    if record["over_time"]:
        parts += [
            f"A gradient of {record['tokens']} tokens, as fewer and longer sequences:",
            markdown_table(tokens_head.split("|"), list(map(tokens_line, record["over_time"]))),
        ]
    return "\n\n".join(parts)


def main() -> None:
    options = parse_options()
    rows: list[Row] = []
    for rule in tqdm(options.rules, unit="rule"):
        rows += measure_one_sequence(rule, options.rounds)
    beside_package = [
        measure_beside_package(rule, num_heads, TIME, options.rounds)
        for rule in tqdm([rule for rule in options.rules if rule in KINDS], unit="rule")
        for num_heads in NUM_HEADS
    ]
    cases: Sequence[tuple[str, int]] = [
        (rule, time)
        for rule in [*options.rules, "attention"]
        for time in options.lengths
        if rule != "attention" or time <= LONGEST_ATTENTION
    ]
    over_time = [
        measure_constant_tokens(rule, time, options.tokens, options.rounds)
        for rule, time in tqdm(cases)
    ]
    record = provenance("benchmarks.cost.matrix_memories", PACKAGES)
    record |= {"rounds": options.rounds, "tokens": options.tokens}
    record |= {"rows": rows, "beside_package": beside_package, "over_time": over_time}
    print(report(record))
    print(
        "wrote",
        *write_record(options.out, with_jax_version("matrix_memories"), record, report(record)),
    )


if __name__ == "__main__":
    main()
