"""Results with their provenance, as JSON, Markdown and CSV."""

import csv
import datetime
import importlib.metadata
import json
import math
import pathlib
import platform
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from .machine import machine_kind

Row = dict[str, Any]


def package_version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def command_line(module: str) -> str:
    """The command of this process, without `--out`, whose path is private."""
    arguments = iter(sys.argv[1:])
    command = ["python", "-m", module]
    for argument in arguments:
        if argument == "--out":
            next(arguments, None)
        elif not argument.startswith("--out="):
            command.append(argument)
    return " ".join(command)


def environment(packages: Sequence[str]) -> Row:
    """The machine, versions and date of a measurement."""
    versions = {package: package_version(package) for package in packages}
    return {
        "machine": machine_kind(),
        "platform": jax.devices()[0].platform,
        "versions": {
            "python": platform.python_version(),
            **{package: version for package, version in versions.items() if version},
        },
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def provenance(module: str, packages: Sequence[str]) -> Row:
    """The machine, versions, date and command of a measurement."""
    return environment(packages) | {"command": command_line(module)}


def versions_text(record: Mapping[str, Any]) -> str:
    versions = (f"{package} {version}" for package, version in record["versions"].items())
    return f"Versions: {', '.join(versions)}."


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """A Markdown table with aligned columns, so that a terminal shows it well too.

    Args:
        head: names of the columns.
        rows: as long as the head.
        left: how many columns, from the first, are aligned to the left; the others to the right.
    """
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = (
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return f"| {' | '.join(padded)} |"

    rule = ("-" * width if i < left else "-" * (width - 1) + ":" for i, width in enumerate(widths))
    return "\n".join([line(head), f"| {' | '.join(rule)} |", *map(line, rows)])


def failure_text(error: BaseException) -> str:
    """Why something did not run: the error's first line, without private paths."""
    if isinstance(error, ModuleNotFoundError):
        return f"missing: no module named {error.name!r}"
    message = (str(error).splitlines() or [""])[0]
    return f"error: {type(error).__name__}: {without_paths(message)[:200]}"


def without_paths(text: str) -> str:
    return re.sub(r"/\S+/", "", text)


def as_json(record: Row, indent: int | None = 1) -> str:
    """The record in JSON, in one line with `indent=None`. JSON has no infinity, so numbers that are
    not finite become strings.
    """

    def as_finite(leaf: Any) -> Any:
        return str(leaf) if isinstance(leaf, float) and not math.isfinite(leaf) else leaf

    return json.dumps(jax.tree.map(as_finite, record), indent=indent, allow_nan=False) + "\n"


def write_csv(path: pathlib.Path, rows: Sequence[Row]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        for row in rows:  # six digits are float32's precision
            writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})


def with_jax_version(name: str) -> str:
    """The name of results that depend on the version of JAX: "speed_jax_0.12"."""
    return f"{name}_jax_{'.'.join(jax.__version__.split('.')[:2])}"


def write_record(folder: str, name: str, record: Row, markdown: str) -> list[pathlib.Path]:
    """Write `name_PLATFORM.json` and `name_PLATFORM.md`, and return their paths."""
    stem = pathlib.Path(folder) / f"{name}_{record['platform']}"
    stem.parent.mkdir(parents=True, exist_ok=True)
    json_path, markdown_path = (stem.with_name(f"{stem.name}.{kind}") for kind in ("json", "md"))
    json_path.write_text(as_json(record))
    markdown_path.write_text(markdown + "\n")
    return [json_path, markdown_path]
