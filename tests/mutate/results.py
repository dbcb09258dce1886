"""The trials so far, one line of JSON each, and the score that they give."""

import dataclasses
import hashlib
import json
import math
import tomllib
from pathlib import Path

from .children import FOLDER, ROOT
from .mutants import Mutant

FILE = FOLDER / "trials.jsonl"
EXPLAINED = Path(__file__).with_name("explained.toml")


@dataclasses.dataclass(frozen=True)
class Trial:
    """`outcome` is "caught", "crashed", "too long" (all three are caught) or "survived"."""

    file: str
    digest: str  # of the source that was mutated
    line: int
    before: str
    after: str
    outcome: str
    tests: int
    seconds: float
    by: str = ""  # the test that failed

    @property
    def key(self) -> tuple[str, str, int, str, str]:
        return self.file, self.digest, self.line, self.before, self.after


def key_of(mutant: Mutant) -> tuple[str, str, int, str, str]:
    return mutant.file, digest_of(mutant.file), mutant.line, mutant.before, mutant.after


def digest_of(file: str) -> str:
    return hashlib.sha256((ROOT / file).read_bytes()).hexdigest()[:12]


def read_trials(path: Path = FILE) -> dict[tuple, Trial]:
    """The last trial of each mutant; none of a source that has changed."""
    if not path.exists():
        return {}
    rows = (Trial(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines())
    return {row.key: row for row in rows}


def append(trial: Trial, path: Path = FILE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(dataclasses.asdict(trial)) + "\n")


def read_explanations(path: Path = EXPLAINED) -> dict[tuple[str, str, str], str]:
    """Why a survivor cannot be seen, by its file and its two texts ("*": of every line)."""
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    return {
        (row["file"], row["before"], row["after"]): row["reason"] for row in content["survivor"]
    }


def is_explained(trial: Trial, reasons: dict[tuple[str, str, str], str]) -> bool:
    keys = [(trial.before, trial.after), (trial.before, "*"), ("*", "*")]
    return any((trial.file, *key) in reasons for key in keys)


@dataclasses.dataclass
class Score:
    """Explained survivors count neither as tried nor as caught."""

    caught: int = 0
    survived: int = 0
    explained: int = 0

    @property
    def tried(self) -> int:
        return self.caught + self.survived

    @property
    def share(self) -> float:
        return self.caught / self.tried if self.tried else math.nan

    def interval(self, z: float = 1.96) -> tuple[float, float]:
        """Wilson's interval of a share, 95 %."""
        n, p = self.tried, self.share
        if not n:
            return math.nan, math.nan
        centre = p + z * z / (2 * n)
        width = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return (centre - width) / (1 + z * z / n), (centre + width) / (1 + z * z / n)
