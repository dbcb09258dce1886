"""One section of benchmarks.cost.accelerator, which starts it.

    python -m benchmarks.cost.accelerator_sections SECTION --rows FILE --until SECONDS [--smoke]

The process is left at its end without waiting for threads that still compile.
"""

import argparse
import importlib
import os
import pathlib
import sys

from .section import Section


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("section")
    add("--rows", type=pathlib.Path, required=True, help="a file of JSON lines, to be added to")
    add("--until", type=float, required=True, help="when its time is over, in seconds of the epoch")
    add("--flags", help="what the flags of XLA are called that this process was started with")
    add("--smoke", action="store_true", help="tiny shapes")
    options = parser.parse_args()
    labels = {} if options.flags is None else {"flags": options.flags}
    section = Section(options.section, options.rows, options.until, options.smoke, labels)
    section.run(importlib.import_module(f".{options.section}", __package__).measure)
    sys.stdout.flush()
    os._exit(0)


main()
