"""Fuzz all cells, methods and wrappers: `python -m tests.fuzz --seconds 120 --seed 1`.

Each run has sizes, flags, dtypes, parameters and inputs of its own, some of them extreme, and is
compared with a loop of single steps: outputs, final state and all gradients. A run that does not
agree is made smaller, and printed as a program. The exit status is 1 then.
"""

import argparse
import sys

import jax

from .search import search


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    result = search(options.seconds, options.seed)
    print(
        f"jax {jax.__version__}, seed {options.seed}: {result.runs} runs of {result.programs} "
        f"programs, {result.arrays} arrays agree; {result.skipped} arrays are not finite or too "
        "sensitive."
    )
    for refusal, count in result.refusals.most_common(5):
        print(f"{count} runs were refused: {refusal}")
    if result.finding is not None:
        print(f"One run does not agree:\n{result.finding}")
        sys.exit(1)


if __name__ == "__main__":
    main()
