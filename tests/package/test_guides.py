"""The snippets of each guide run from top to bottom as one program, at smaller sizes."""

import pathlib
import re
import sys
import textwrap
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest

import seqmem

DOCS = pathlib.Path(__file__).parent.parent.parent / "docs"
SNIPPET = re.compile(r"^```python\n(.*?)^```$", re.S | re.M)
SHORT_PROGRAM = re.compile(r"^#+ [^\n]* in (\d+) lines$.*?^```python\n(.*?)^```$", re.S | re.M)


class Guide(NamedTuple):
    """How a guide is tested.

    Attributes:
        smaller: (pattern, replacement, number of places) for each size that is reduced.
        check: what holds of the names that the program leaves.
        quotes_prints: whether the comment after each `print` begins with what it prints.
        package: what the program imports besides the dependencies of seqmem.
    """

    smaller: list[tuple[str, str, int]]
    check: Callable[[dict[str, Any]], None]
    quotes_prints: bool = False
    package: str = "matplotlib"


def check_training(names):
    assert all(jax.tree.leaves(names["same"]))
    assert names["progress"].position == 60


def check_gradients(names):
    assert set(names["curves"]) == set(names["cells"])
    assert np.isfinite(names["curves"]["LSTM"]).all()
    assert names["history"].shape == (3, 200)
    assert 1 <= names["result"].exponents.shape[0] == 128
    assert np.isfinite(names["omega"])

    def loss_of_outputs(cell):
        xs = jax.random.normal(jax.random.key(1), (7, 3))
        return (names["seqmem"].unroll(cell, None, xs)[1] ** 2).sum()

    through_time = jax.grad(loss_of_outputs)(names["min_gru"])
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
        names["total"],
        through_time,
    )


def check_accelerators(names):
    assert names["program"].platforms == ("cuda",)
    assert names["method"].refusal(names["lstm"], names["xs"]) == "there is no kernel for a CPU"
    with seqmem.target_platform("tpu"):
        assert names["method"].refusal(names["lstm"], names["xs"]) is None


def check_dynamics(names):
    kinds = list(names["modes"].kind)
    assert [kinds.count(kind) for kind in ("stable", "saddle", "unstable")] == [4, 4, 1]
    assert names["critical"].U.shape == names["lstm"].U.shape
    assert names["losses"].shape == (20,)
    assert np.isfinite(names["windows"].estimate(names["dynamics"].entropy_rate)).all()
    assert np.isfinite(names["value"])
    assert names["similarity"].angle < 0.5


def check_citing(names):
    page = (DOCS / "citing.md").read_text(encoding="utf-8")
    shown = re.search(r"^print\(entries\)\n((?:#.*\n)+)", page, re.M)[1]
    assert re.sub(r"^# ?", "", shown, flags=re.M) == names["entries"] + "\n"
    keys = [line for line in names["more"].splitlines() if line.startswith("@")]
    assert f"# {keys}\n" in page


def check_models(names):
    assert names["greedy"].tokens.shape == names["drawn"].tokens.shape == (20, 2)
    assert np.isfinite(names["curve"]).all()
    assert names["curve"].shape == (64, 3)
    assert names["beam"].tokens.shape == (4, 9)
    assert "64 tokens" in names["refusal"]
    text = names["vocabulary"].decode(names["continued"].tokens)
    assert text == " abc, abc, "


def check_reinforcement_learning(names):
    np.testing.assert_allclose(names["trained"], names["acted"], rtol=0, atol=1e-6)
    assert np.abs(names["wrong"] - names["acted"]).max() > 0.1
    assert names["resets"].any()
    assert names["result"].weight == 15


def check_index(names):
    assert names["ys"].shape == (100, 8, 64)
    assert names["grads"].U.shape == (4, 64, 64)
    through_states = jax.grad(names["loss"])(names["cell"], names["xs"])
    np.testing.assert_allclose(names["grads"].U, through_states.U, rtol=1e-4, atol=1e-6)
    assert np.isfinite(names["flow"].norm()).all()
    rows = re.findall(r"^\| `", (DOCS / "cells.md").read_text(encoding="utf-8"), re.M)
    text = (DOCS / "index.md").read_text(encoding="utf-8")
    assert set(re.findall(r"(\d+) (?:cells|memories)", text)) == {str(len(rows))}


def check_getting_started(names):
    text = (DOCS / "getting_started.md").read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="input_shape") as error:
        seqmem.unroll(names["cell"], None, np.ones((100, 8, 4), np.float32))
    assert "\n".join(f"# {line}" for line in str(error.value).split("\n")) in text
    assert (names["curves"]["before"] > 0).all()
    assert names["curves"]["after training"].shape == (30,)
    assert names["model"].vocabulary_size == len(names["vocabulary"])
    assert names["continued"].tokens.shape == (20,)


def check_choose_a_memory(names):
    assert names["vocabulary"].decode(names["letters"]) == "ello"
    assert set(names["scores"]) == {"RNN", "LSTM", "GRU", "MinGRU"}
    assert np.isfinite(list(names["scores"].values())).all()


def check_choose_a_method(names):
    memory, Remat = names["memory"], seqmem.Remat
    assert memory(Remat(8)) < memory(seqmem.Scan(recompute=True)) < memory(None)
    slope = sum(map(np.sum, jax.tree.leaves(jax.grad(names["loss"])(names["gru"]))))
    np.testing.assert_allclose(names["slope"], slope, rtol=1e-4)
    assert bool(names["solution"].stats.converged.all())
    _, expected = seqmem.unroll(names["lru"], None, names["xs"])
    np.testing.assert_allclose(names["ys"], expected, rtol=1e-4, atol=1e-5)


def check_speed(names):
    xs = np.ones((100, 8, 3), np.float32)
    d_U = jax.grad(lambda cell: (seqmem.unroll(cell, None, xs)[1] ** 2).mean())(names["lstm"]).U
    np.testing.assert_allclose(names["gradient"](names["lstm"], names["xs"]).U, d_U, rtol=1e-4)


def check_faq(names):
    trained, lstm = names["trained"], names["lstm"]
    assert (trained.U == lstm.U).all()
    assert (trained.W != lstm.W).any()
    assert names["outputs"].shape == (7, 20, 4, 5)
    assert names["shapes"] == {(3, 2, 3), (9, 2, 3)}
    assert (names["half"].U.dtype, names["state"].dtype) == ("bfloat16", "float32")


def check_conformance(names):
    assert names["report"].laws("broken") == ("gradients", "splitting")
    assert names["verdict"].case.time == 1


def check_sequences(names):
    cell, sequences, packed = names["cell"], names["sequences"], names["packed"]
    unroll = names["seqmem"].unroll
    _, ys = unroll(cell, None, packed.xs, resets=packed.resets, lengths=packed.lengths)
    for sequence, got in zip(sequences, names["seqmem"].unpack(packed, ys), strict=True):
        np.testing.assert_allclose(got, unroll(cell, None, sequence)[1], rtol=1e-5, atol=1e-6)


def check_write_a_cell(names):
    text = (DOCS / "write_a_cell.md").read_text(encoding="utf-8")
    for message in (names["message"], names["broken_promise"]):
        assert f"\n\n{textwrap.indent(message, '    ')}\n\n" in text


def check_other_libraries(names):
    """The LSTM is that of PyTorch's equations, with its weights by its names."""
    weights, xs = names["state_dict"], np.asarray(names["xs"], np.float64)
    h = c = np.zeros((2, 5))
    outputs = []
    for x in xs:
        z = x @ weights["weight_ih_l0"].T + weights["bias_ih_l0"]
        z += h @ weights["weight_hh_l0"].T + weights["bias_hh_l0"]
        i, f, o = (1 / (1 + np.exp(-z[:, rows])) for rows in (np.s_[:5], np.s_[5:10], np.s_[15:]))
        c = f * c + i * np.tanh(z[:, 10:15])
        h = o * np.tanh(c)
        outputs.append(h)
    state, ys = names["seqmem"].unroll(names["net"], None, names["xs"])
    for got, want in ((ys, outputs), (state.h, h), (state.c, c)):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


GUIDES = {
    "accelerators.md": Guide([], check_accelerators),
    "choose_a_memory.md": Guide(
        [(r"Adding\(50\)", "Adding(5)", 1), (r"range\(1000\)", "range(2)", 1)],
        check_choose_a_memory,
    ),
    "choose_a_method.md": Guide([("4096", "256", 1)], check_choose_a_method),
    "citing.md": Guide([], check_citing),
    "faq.md": Guide([], check_faq),
    "getting_started.md": Guide(
        [(r"range\(500\)", "range(3)", 1), (r"range\(150\)", "range(3)", 1)],
        check_getting_started,
    ),
    "index.md": Guide([], check_index),
    "speed.md": Guide([], check_speed),
    "conformance.md": Guide([], check_conformance),
    "dynamics.md": Guide([(r"steps=100\b", "steps=2", 2)], check_dynamics),
    "models.md": Guide([], check_models),
    "reinforcement_learning.md": Guide([], check_reinforcement_learning, quotes_prints=True),
    "other_libraries.md": Guide([], check_other_libraries, quotes_prints=True, package="flax"),
    "sequences.md": Guide([], check_sequences, quotes_prints=True),
    "write_a_cell.md": Guide(
        [(r"max_examples=50", "max_examples=2, database=None", 1)],
        check_write_a_cell,
        quotes_prints=True,
        package="hypothesis",
    ),
    "training.md": Guide([(r"steps=(300|1000)\b", "steps=2", 2)], check_training),
    "gradients.md": Guide(
        [
            (r"time=1000\b", "time=100", 1),
            (r"steps=40\b", "steps=3", 1),
            (r"long_inputs\[:500", "long_inputs[:50", 1),
            (r"chunk_size=100\b", "chunk_size=10", 1),
            (r"time=200, bias=0.1", "time=200, bias=0.5", 1),
        ],
        check_gradients,
    ),
}


def program_of(path: pathlib.Path) -> str:
    """The snippets of a guide as one program, each line where it stands in the guide."""
    text = path.read_text(encoding="utf-8")
    is_code = np.zeros(text.count("\n") + 1, bool)
    for snippet in SNIPPET.finditer(text):
        first = text.count("\n", 0, snippet.start(1))
        is_code[first : first + snippet[1].count("\n")] = True
    lines = text.split("\n")
    return "\n".join(line if code else "" for line, code in zip(lines, is_code, strict=True))


def reduced(program: str, smaller: list[tuple[str, str, int]]) -> str:
    for pattern, replacement, places in smaller:
        program, count = re.subn(pattern, replacement, program)
        assert count == places, f"{pattern} occurs {count} times"
    return program


def check_prints(lines: list[str], printed: list[tuple[int, tuple]]):
    """The comment after each `print` begins with what it prints."""
    assert len(printed) >= sum("print(" in line for line in lines) > 0
    for line, args in printed:
        comment = lines[line - 1].partition("  # ")[2]
        text = " ".join(map(str, args))
        assert comment.startswith(text), f"line {line} printed {text!r}"


@pytest.mark.slow
@pytest.mark.parametrize("name", GUIDES)
def test_guide_runs_as_one_program(name, tmp_path, monkeypatch):
    package = GUIDES[name].package
    pytest.importorskip(package, reason=f"{package} is not installed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(seqmem, "use_cpu_cores", lambda count=1: 1)  # JAX has started already
    (tmp_path / "docs" / "figures").mkdir(parents=True)
    path, guide = DOCS / name, GUIDES[name]
    program, printed = reduced(program_of(path), guide.smaller), []
    names = {"print": lambda *args: printed.append((sys._getframe(1).f_lineno, args))}
    with jax.numpy_dtype_promotion("standard"):  # as users run it
        exec(compile(program, str(path), "exec"), names)
        guide.check(names)
    if guide.quotes_prints:
        check_prints(program.split("\n"), printed)
    figures = {figure.name for figure in (tmp_path / "docs" / "figures").iterdir()}
    assert figures <= {figure.name for figure in (DOCS / "figures").iterdir()}


@pytest.mark.parametrize("path", sorted(DOCS.glob("*.md")), ids=lambda path: path.name)
def test_guide_has_python_that_compiles_and_figures_that_exist(path):
    compile(program_of(path), str(path), "exec")
    for link in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", path.read_text(encoding="utf-8")):
        assert (DOCS / link).is_file(), link


@pytest.mark.parametrize("path", sorted(DOCS.glob("*.md")), ids=lambda path: path.name)
def test_snippet_has_no_more_lines_than_its_heading_says(path):
    for limit, snippet in SHORT_PROGRAM.findall(path.read_text(encoding="utf-8")):
        lines = [line for line in snippet.split("\n") if line.strip()]
        lines = [line for line in lines if not line.startswith(("import ", "from "))]
        assert 0 < len(lines) <= int(limit), path.name


def test_every_guide_with_snippets_is_run():
    with_snippets = {path.name for path in DOCS.glob("*.md") if program_of(path).strip()}
    assert with_snippets == set(GUIDES)
