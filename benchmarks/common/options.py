"""Command line arguments: their types, and the parser of scripts that train on all devices."""

import argparse
import math


def positive_int(text: str) -> int:
    """A whole number >= 1."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number >= 1.")
    return int(text)


def positive_float(text: str) -> float:
    """A finite number > 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a finite number > 0.")
    return value


def training_parser(doc: str) -> argparse.ArgumentParser:
    """A parser with the first line of a docstring, and the options `--devices` and `--out`."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    devices = "that share each batch; default: every core of a CPU, or every accelerator"
    parser.add_argument("--devices", type=positive_int, help=devices)
    parser.add_argument("--out", default="benchmarks/results", help="folder for the results")
    return parser
