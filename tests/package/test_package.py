"""The wheel and the source archive can be built and imported, and hold nothing else."""

import importlib.metadata
import importlib.util
import os
import pathlib
import re
import subprocess
import sys
import tarfile
import zipfile

import pytest

import seqmem

ROOT = pathlib.Path(__file__).parent.parent.parent
NEVER = re.compile(r"\.(lock|pkl|pickle|joblib|pt|pth)$")


def run(*command, cwd, **env):
    done = subprocess.run(
        command, cwd=cwd, env=os.environ | env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder with the wheel and the source archive."""
    for name in ("build", "hatchling"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    folder = tmp_path_factory.mktemp("built")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), cwd=ROOT)
    return folder


@pytest.mark.slow
def test_wheel_works_outside_the_checkout(built, tmp_path):
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    code = """
import jax, seqmem, seqmem.interop
from importlib.metadata import version
cell = seqmem.LSTM(3, 5, key=jax.random.key(0))
seqmem.unroll(cell, None, jax.numpy.ones((7, 3)))
print(seqmem.__file__, seqmem.__version__, version("seqmem"), sep="\\n")
"""
    output = run(sys.executable, "-c", code, cwd=tmp_path, PYTHONPATH=str(tmp_path))
    file, version, metadata = output.splitlines()
    assert pathlib.Path(file).parent == tmp_path / "seqmem"  # not in the checkout
    assert version == metadata == seqmem.__version__


@pytest.mark.slow
def test_wheel_holds_every_module_and_the_type_marker(built):
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        files = {name for name in archive.namelist() if ".dist-info/" not in name}
        (licence,) = (name for name in archive.namelist() if name.endswith("LICENSE"))
        assert archive.read(licence) == (ROOT / "LICENSE").read_bytes()
    source = {
        path.relative_to(ROOT / "src").as_posix()
        for path in (ROOT / "src").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert files == source
    assert "seqmem/py.typed" in files


@pytest.mark.slow
def test_readme_of_the_package_has_whole_links_to_files_that_exist(built):
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("METADATA"))
        text = archive.read(name).decode()
    links = re.findall(r'(?:\]\(|href="|src="|srcset=")([^)"\s]+)', text)
    assert [link for link in links if not link.startswith(("https://", "#"))] == []
    paths = {"raw": [], "blob": []}
    for link in links:
        if match := re.fullmatch(r"https://github\.com/[^/]+/seqmem/(raw|blob)/main/(.+)", link):
            paths[match[1]].append(match[2].partition("#")[0])
    assert paths["blob"]
    assert all(path.endswith((".png", ".svg")) for path in paths["raw"])
    assert [path for path in paths["raw"] + paths["blob"] if not (ROOT / path).exists()] == []


@pytest.mark.slow
def test_source_archive_holds_the_tests(built):
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as content:
        names = {name.split("/", 1)[-1] for name in content.getnames()}
    folders = names | {str(parent) for name in names for parent in pathlib.PurePath(name).parents}
    top = {path.name for path in ROOT.iterdir() if path.suffix in {".cff", ".md", ".toml", ".yml"}}
    assert top | {"LICENSE", "conftest.py", "src/seqmem/py.typed", ".github/workflows"} <= folders
    assert {
        f"tests/{path.relative_to(ROOT / 'tests')}" for path in (ROOT / "tests").rglob("*.py")
    } <= names
    for folder in ("docs", "benchmarks"):
        assert {name for name in names if name.endswith(".py") and name.startswith(folder)}
    assert not [name for name in names if NEVER.search(name)]
    assert not folders & {"build", "dist", "results", "site"}


@pytest.mark.slow
def test_import_adds_less_than_half_a_second_to_jax(tmp_path):
    # CPU time, and the least of three runs: other programs on the machine can only add to it.
    code = """
import jax, time
start = time.process_time()
import seqmem
print(time.process_time() - start)
"""
    times = [float(run(sys.executable, "-c", code, cwd=tmp_path)) for _ in range(3)]
    assert min(times) < 0.5, f"{times} s; `python -X importtime -c 'import seqmem'` says where"


def test_import_loads_no_optional_package(tmp_path):
    code = "import sys, seqmem; print(*sys.modules)"
    loaded = set(run(sys.executable, "-c", code, cwd=tmp_path).split())
    assert "seqmem" in loaded
    assert not loaded & {"torch", "matplotlib", "optax", "chex", "flax", "haiku", "tensorflow"}


def test_version_matches_the_metadata():
    assert seqmem.__version__ == importlib.metadata.version("seqmem")


def test_repository_holds_no_lock_file_and_no_pickle():
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listing = run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    files = listing.splitlines()
    assert "pyproject.toml" in files
    assert not [name for name in files if NEVER.search(name)]
    users = [
        path
        for path in (ROOT / "src").rglob("*.py")
        if re.search(r"\b(pickle|joblib|allow_pickle=True)\b", path.read_text("utf-8"))
    ]
    assert not users
