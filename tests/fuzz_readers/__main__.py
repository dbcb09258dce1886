"""Fuzz the readers of files: `python -m tests.fuzz_readers --seconds 300 --seed 1 [READER ...]`.

Each case is a valid file after some changes, or random bytes. A reader returns a value or raises a
`ValueError` in three parts that names the file, in time and memory in proportion to the file. Each
reader runs in a process of its own. The first case that breaks the rule is printed, its files are
left where they are, and the exit status is 1.
"""

import argparse
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from . import readers
from .execute import limit_memory
from .search import Counts, search

MAX_HEX = 400  # bytes of a file that are printed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60, help="for each reader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=int, help="read this case alone")
    parser.add_argument("--folder", help=argparse.SUPPRESS)  # of the process of one reader
    parser.add_argument("--start", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("readers", nargs="*", metavar="READER", help=", ".join(readers.ALL))
    options = parser.parse_args()
    if unknown := set(options.readers) - set(readers.ALL):
        parser.error(f"no reader {sorted(unknown)}; there are {', '.join(readers.ALL)}")
    names = options.readers or list(readers.ALL)
    if options.folder:
        sys.exit(_run(names[0], pathlib.Path(options.folder), options))
    sys.exit(max([_fuzz(name, options) for name in names]))


def _fuzz(name: str, options: argparse.Namespace) -> int:
    """Fuzz one reader in processes of its own: 1 for a finding."""
    if name not in readers.installed():
        print(f"{name}: not tried, {readers.ALL[name].package} is not installed")
        return 0
    library, folder = readers.ALL[name].library, pathlib.Path(tempfile.mkdtemp(prefix="fuzz-"))
    begin, start, refused, accepted, ended, status = time.monotonic(), 0, 0, 0, [], -1
    while status < 0 and (seconds := begin + options.seconds - time.monotonic()) > 0:
        status = _process(name, folder, seconds, start, options)
        counts = Counts.read(folder)
        refused, accepted = refused + counts.refused, accepted + counts.accepted
        start = counts.index + 1
        if status < 0:
            ended.append(f"case {counts.index} by {signal.Signals(-status).name}")
            shutil.copytree(folder / "case", folder / f"case-{counts.index}")
            if options.case is not None or not library:
                break
    print(
        f"{name}, seed {options.seed}: {refused + accepted} cases in "
        f"{time.monotonic() - begin:.0f} s, {refused} refused, {accepted} accepted",
        flush=True,
    )
    if ended:
        print(f"{library or 'the reader'} ended the process: {', '.join(ended)}, in {folder}")
    return int(status == 1 or (bool(ended) and not library))


def _process(
    name: str, folder: pathlib.Path, seconds: float, start: int, options: argparse.Namespace
) -> int:
    command = [sys.executable, "-m", "tests.fuzz_readers", name, "--folder", str(folder)]
    command += ["--seconds", str(seconds), "--seed", str(options.seed), "--start", str(start)]
    command += [] if options.case is None else ["--case", str(options.case)]
    return subprocess.run(command, check=False).returncode


def _run(name: str, folder: pathlib.Path, options: argparse.Namespace) -> int:
    limit_memory()
    start, cases = (options.start, None) if options.case is None else (options.case, 1)
    limits = {"seconds": options.seconds, "cases": cases, "start": start, "is_ended": True}
    counts, finding = search(name, readers.ALL[name], folder, options.seed, **limits)
    if finding is None:
        return 0
    print(f"{name}, seed {options.seed}, case {counts.index}: {finding[:1000]}")
    for path in sorted(path for path in (folder / "case").rglob("*") if path.is_file()):
        content = path.read_bytes()
        more = "" if len(content) <= MAX_HEX else " ..."
        print(f"{path}, {len(content)} bytes: {content[:MAX_HEX].hex()}{more}", flush=True)
    return 1


if __name__ == "__main__":
    main()
