"""What a reader of the repository relies on: one version, one address, workflows, issue forms."""

import datetime
import pathlib
import re
import tomllib

import pytest

import seqmem

ROOT = pathlib.Path(__file__).parent.parent.parent
ADDRESS = re.compile(
    r"(?:github\.com/|raw\.githubusercontent\.com/)([\w.-]+)/seqmem\b|([\w-]+)\.github\.io/seqmem\b"
)


def read(path):
    return (ROOT / path).read_text(encoding="utf-8")


def project():
    return tomllib.loads(read("pyproject.toml"))["project"]


def texts():
    """The text files outside of tests and benchmarks."""
    folders = [ROOT / name for name in ("src", "docs", ".github")]
    paths = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    paths += [path for path in ROOT.iterdir() if path.is_file()]
    kinds = {".cff", ".ipynb", ".md", ".py", ".toml", ".txt", ".yaml", ".yml"}
    return [path for path in paths if path.suffix in kinds]


def workflow(name):
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    return yaml.safe_load(read(f".github/workflows/{name}.yml"))


def test_version_is_the_same_everywhere():
    assert f"\nversion: {seqmem.__version__}\n" in read("CITATION.cff")
    newest = re.search(r"^## (\S+) \((.+)\)$", read("CHANGELOG.md"), re.M)
    assert newest[1] == seqmem.__version__
    assert newest[2] == "unreleased" or datetime.date.fromisoformat(newest[2])


def test_every_link_to_the_repository_names_the_same_account():
    owner = ADDRESS.search(project()["urls"]["Source"])[1]
    others = {
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in texts()
        for match in ADDRESS.finditer(path.read_text(encoding="utf-8"))
        if owner not in match.groups()
    }
    assert not others, f"not {owner}: {others}"


def test_tested_pairs_are_those_of_the_page():
    table = re.findall(r"^\| (3\.\d+) \| (\w*) ?\| ([\w ]*) ?\|$", read("docs/versions.md"), re.M)
    pairs = {
        (python, jax)
        for python, *cells in table
        for jax, cell in zip(("==0.10.*", ">=0.12"), cells, strict=True)
        if cell.strip() == "yes"
    }
    matrix = workflow("tests")["jobs"]["quick"]["strategy"]["matrix"]
    tested = {(python, jax) for python in matrix["python"] for jax in matrix["jax"]}
    assert tested - {(pair["python"], pair["jax"]) for pair in matrix["exclude"]} == pairs
    versions = [f"Programming Language :: Python :: {python}" for python in matrix["python"]]
    assert set(versions) <= set(project()["classifiers"])


@pytest.mark.parametrize("name", ["docs", "nightly", "release", "tests"])
def test_workflow_may_only_read_and_pins_what_it_uses(name):
    content = workflow(name)
    assert content["permissions"] == {"contents": "read"}
    assert content["concurrency"]["group"].startswith(name)
    jobs = content["jobs"]
    writing = {
        job: right
        for job, steps in jobs.items()
        for right, access in steps.get("permissions", {}).items()
        if access == "write" and right != "id-token"
    }
    assert writing == ({"deploy": "pages"} if name == "docs" else {})
    with_token = {job for job, steps in jobs.items() if "id-token" in steps.get("permissions", {})}
    assert with_token == {"docs": {"deploy"}, "release": {"publish"}}.get(name, set())
    for job in jobs.values():
        assert job["timeout-minutes"]
        for step in job["steps"]:
            assert re.search(r"@(v\d+|release/v1)$", step.get("uses", "@v0"))


def test_issue_forms_have_fields_with_one_name_each():
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    folder = ROOT / ".github" / "ISSUE_TEMPLATE"
    forms = {path.stem: yaml.safe_load(path.read_text("utf-8")) for path in folder.glob("*.yml")}
    assert forms.keys() == {"bug", "cell_proposal", "config", "wrong_number"}
    del forms["config"]
    for form in forms.values():
        names = [field["id"] for field in form["body"] if field["type"] != "markdown"]
        assert len(names) == len(set(names)) >= 3
        assert form["name"]
        assert form["description"]
