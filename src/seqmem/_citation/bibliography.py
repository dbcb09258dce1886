"""The entries of `references.bib`, and which of them a docstring names as its source.

A docstring names a paper by its number of arXiv, by its DOI or by its title in quotes, between
"Source:" and "Differs".
"""

import functools
import importlib.resources
import re
from typing import NamedTuple

SOURCE = re.compile(r"\bSource\b[\w ]*:(.*?)(?=\bDiffers\b|\n\s*\n|\Z)", re.S)
NUMBER = re.compile(r'(arXiv|doi):(\d+\.[^\s,;:"]*[^\s,;:".])')
TITLE = re.compile(r'"([^"]+)"')
ENTRY = re.compile(r"^@\w+\{([\w-]+),\n.*?^\}", re.M | re.S)
FIELD = re.compile(r"^  (\w+) = \{(.*)\},$", re.M)


class Entry(NamedTuple):
    """One entry: its key, and its text in BibTeX."""

    key: str
    text: str


def has_source(doc: str | None) -> bool:
    """Whether a docstring names the source of what it describes."""
    return bool(doc and SOURCE.search(doc))


def entries_of(doc: str) -> list[Entry]:
    """The entries of the papers that a docstring names as its source. One that is not in the file
    has its number alone.
    """
    text = " ".join(" ".join(SOURCE.findall(doc)).split())
    known = entries_by_name()
    entries = [
        known.get(f"{kind}:{number}") or _with_number(kind, number)
        for kind, number in NUMBER.findall(text)
    ]
    titles = map(_plain, TITLE.findall(text))
    return entries + [known[title] for title in titles if title in known]


@functools.cache
def entries_by_name() -> dict[str, Entry]:
    """Each entry of the file under its key, and under its numbers and its title."""
    path = importlib.resources.files(__name__.partition(".")[0]) / "references.bib"
    entries = {}
    for match in ENTRY.finditer(path.read_text(encoding="utf-8")):
        entry, fields = Entry(match[1], match[0]), dict(FIELD.findall(match[0]))
        names = [entry.key, _plain(fields["title"])]
        names += [f"arXiv:{fields['eprint']}"] if "eprint" in fields else []
        names += [f"doi:{fields['doi']}"] if "doi" in fields else []
        entries |= dict.fromkeys(names, entry)
    return entries


def _with_number(kind: str, number: str) -> Entry:
    fields = {"arXiv": f"  eprint = {{{number}}},\n  archivePrefix = {{arXiv}},"}
    key = f"{kind}:{number}"
    return Entry(key, f"@misc{{{key},\n{fields.get(kind, f'  doi = {{{number}}},')}\n}}")


def _plain(title: str) -> str:
    return re.sub(r"[{}`'\"]", "", title).lower()
