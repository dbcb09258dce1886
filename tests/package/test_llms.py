"""`docs/llms.txt`, which tells programs that write code how seqmem is used, says what is true."""

import operator
import pathlib
import re

import pytest

import seqmem
from tests.package.test_guides import SNIPPET

ROOT = pathlib.Path(__file__).parent.parent.parent
PATH = ROOT / "docs" / "llms.txt"
TEXT = PATH.read_text(encoding="utf-8")


def test_file_has_the_form_of_its_kind():
    lines = TEXT.splitlines()
    assert lines[0] == "# seqmem"
    assert next(line for line in lines[1:] if line).startswith("> ")
    sections = TEXT.split("\n## ")[1:]
    assert len(sections) >= 3
    for section in sections:
        for line in section.strip().splitlines()[2:]:
            assert re.fullmatch(r"- \[[^\]]+\]\(https://[^)]+\): \S.*", line), line


def test_links_lead_to_files():
    links = re.findall(r"\]\(https://[^/]+/[^/]+/seqmem/main/([^)]+)\)", TEXT)
    assert len(links) > 15
    assert [link for link in links if not (ROOT / link).is_file()] == []


def test_names_in_it_exist():
    names = set(re.findall(r"\bseqmem\.([A-Za-z_][\w.]*\w)", TEXT))
    assert len(names) > 15
    for name in names:
        operator.attrgetter(name)(seqmem)


@pytest.mark.slow
def test_program_in_it_runs():
    (program,) = SNIPPET.findall(TEXT)
    names = {}
    exec(compile(program, str(PATH), "exec"), names)
    assert names["more"].shape == (100, 8, 64)
    assert names["grads"].W.shape == names["cell"].W.shape
