"""The documentation site: its API pages name all public names, and its links lead somewhere."""

import importlib.util
import itertools
import os
import pathlib
import re
import subprocess
import sys
import zlib

import pytest

from tests.helpers import api_pages

ROOT = pathlib.Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
NAV = set(re.findall(r"^ +- ([\w/]+\.(?:md|py))$", (ROOT / "mkdocs.yml").read_text(), re.M))
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.glob("*.md")])
LINK = re.compile(r"(?<!\\)\]\((?!https?:|mailto:)([^)\s]*)\)")
CODE = re.compile(r"^```.*?^```$|^ {4,}.*?$|`[^`\n]*`", re.S | re.M)


def test_nav_holds_every_page_and_every_example():
    sources = itertools.chain(DOCS.glob("*.md"), DOCS.glob("api/*.md"), DOCS.glob("examples/*.py"))
    assert {path.relative_to(DOCS).as_posix() for path in sources} == NAV


def test_api_pages_are_up_to_date():
    written = {path.stem: path.read_text(encoding="utf-8") for path in DOCS.glob("api/*.md")}
    assert written == api_pages.pages(), f"run `{api_pages.COMMAND}` and commit docs/api"


def test_every_public_name_has_one_entry():
    """Of every public module, by what is imported under its own name."""
    expected = [
        f"{module}.{name}" for module in public_modules() for name in api_pages.public_names(module)
    ]
    text = "\n".join(path.read_text(encoding="utf-8") for path in DOCS.glob("api/*.md"))
    assert sorted(re.findall(r"^::: (\S+)$", text, re.M)) == sorted(expected)


def public_modules() -> list[str]:
    """The packages and modules that are public, and the three modules that packages have inside."""
    source = api_pages.PACKAGE
    packages = [path.parent for path in source.rglob("__init__.py")]
    modules = [path.with_suffix("") for path in source.glob("*.py") if path.stem != "__init__"]
    parts = [path.relative_to(source.parent).parts for path in (*packages, *modules)]
    public = [".".join(names) for names in parts if not any(name[0] == "_" for name in names)]
    return [*public, "seqmem.layers.pooling", "seqmem.interop.nnx", "seqmem.testing.strategies"]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_relative_links_and_their_anchors_exist(path):
    broken = []
    for link in LINK.findall(CODE.sub("", path.read_text(encoding="utf-8"))):
        target, _, anchor = link.partition("#")
        file = (path.parent / target).resolve() if target else path
        if not file.exists() or (anchor and anchor not in anchors_of(file)):
            broken.append(link)
    assert not broken, broken


def anchors_of(path: pathlib.Path) -> list[str]:
    """The anchors of a page's headings, as GitHub and the site make them."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.S | re.M)
    return [anchor_of(heading) for heading in re.findall(r"^#+ (.*)$", text, re.M)]


def anchor_of(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def test_anchor_of_a_heading_is_what_github_makes_of_it():
    assert anchor_of("2.3 `Scan`: what, and why?") == "23-scan-what-and-why"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder of the built site, without the outputs of the examples."""
    if importlib.util.find_spec("mkdocs") is None:
        pytest.skip("mkdocs is not installed: pip install '.[docs]'")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env=os.environ | {"EXECUTE_EXAMPLES": "false", "EXAMPLES_CACHE": str(folder / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_pages_load_nothing_from_elsewhere(built):
    """Scripts, styles, fonts and pictures are files of the site; links to read may go anywhere."""
    loads = re.compile(
        r"""<(?:script|img|iframe|source)\b[^>]*\bsrc=["']?(?:https?:)?//[^"'\s>]*"""
        r"""|<link\b[^>]*\brel=["']?(?:stylesheet|preconnect|preload|icon)\b[^>]*(?:https?:)?//[^>]*"""
        r"""|(?:url\(|@import )["']?(?:https?:)?//[^)\s]*"""
    )
    files = [*built.rglob("*.html"), *built.rglob("*.css")]
    assert len(files) > 40
    found = [loaded for path in files for loaded in loads.findall(path.read_text("utf-8"))]
    assert not found, found


@pytest.mark.slow
def test_site_describes_public_names_and_their_methods(built):
    """Methods and properties that have a docstring, also those of a base without an entry that the
    class does not write itself; but those of functions under test are for the laws.
    """
    import griffe  # comes with mkdocstrings

    inventory = zlib.decompress((built / "objects.inv").read_bytes().split(b"\n", 4)[4]).decode()
    objects = {line.split(" ")[0] for line in inventory.splitlines()}
    paths = [path for paths in api_pages.entries().values() for path in paths]
    extensions = griffe.load_extensions(str(DOCS / "theme" / "docstrings.py"))
    package = griffe.load("seqmem", search_paths=[ROOT / "src"], extensions=extensions)
    entries = {path: package[path.removeprefix("seqmem.")] for path in paths}
    entries |= {path: entry.final_target for path, entry in entries.items() if entry.is_alias}
    assert not [path for path, entry in entries.items() if entry.is_module]
    public = {entry.canonical_path for entry in entries.values()}
    methods = {
        f"{path}.{name}"
        for path, entry in entries.items()
        if entry.is_class and not path.startswith("seqmem.testing.")
        for cls in (entry, *(base for base in entry.mro() if base.canonical_path not in public))
        for name, member in cls.members.items()
        if (not name.startswith("_") or name == "__call__")
        and (cls is entry or name not in entry.members)
        and member.docstring is not None
        and (member.is_function or "property" in member.labels)
    }
    assert {"seqmem.AbstractLayer.init_state", "seqmem.gradients.RTRL.gradient"} <= methods
    missing = sorted({*paths, *methods} - objects)
    assert not missing, missing
