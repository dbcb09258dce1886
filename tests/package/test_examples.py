"""Each example of docs/examples runs from top to bottom, at smaller sizes."""

import pathlib
from typing import Any

import jax
import pytest

FOLDER = pathlib.Path(__file__).parent.parent.parent / "docs" / "examples"
# (text, replacement) for each size that is reduced
SMALLER = {
    "delta_rule_recall": [("jax.random.split(key, 300)", "jax.random.split(key, 3)")],
    "dynamics": [
        ("jax.random.split(key, 600)", "jax.random.split(key, 60)"),
        ("GRU(3, 64,", "GRU(3, 16,"),
        ("Linear(64, 3,", "Linear(16, 3,"),
        ("states[::2]", "states[::16]"),
        ("jnp.zeros((50_000, 0))", "jnp.zeros((2_000, 0))"),
        ("lag = 200", "lag = 20"),
        ("LSTM(50, 256,", "LSTM(50, 32,"),
        ("(4, 256))", "(4, 32))"),
        ("gradients.critical(lstm, lag=lag, input_power=1.0)", "seqmem.with_gain(lstm, 2.0)"),
        ("xs[500:]", "xs[500:600]"),
        ("steps=500", "steps=3"),
        ("task.batch(jax.random.key(8), 64)", "task.batch(jax.random.key(8), 8)"),
    ],
    "gradient_flow": [
        ("range(400)", "range(3)"),
        ("seqmem.LSTM, 64, 96,", "seqmem.LSTM, 64, 8,"),
        ("time=200, batch=32", "time=20, batch=4"),
        ("time=128, batch=16", "time=16, batch=4"),
        ("time=128, bias=0.1", "time=16, bias=0.5"),
    ],
    "newton": [
        ("TIME = 512", "TIME = 16"),
        ("(2000, 3)", "(20, 3)"),
        ("(0.5, 1.0, 1.5, 2.0, 3.0, 4.0)", "(0.5, 2.0)"),
        ("in (1, 2, 3, 4)", "in (1, 2)"),
    ],
    "ppo": [("UPDATES = 64, 20, 300", "UPDATES = 64, 20, 3"), ("[-30:]", "[-1:]")],
    "remember_1000_steps": [
        ("LAG = 1000", "LAG = 20"),
        ("seqmem.LSTM(2, 32,", "seqmem.LSTM(2, 8,"),
        ("Linear(32, 1,", "Linear(8, 1,"),
        ("jax.random.split(key, 500)", "jax.random.split(key, 3)"),
        ("(1000, 2000, 5000)", "(20, 40)"),
    ],
    "streaming": [("jax.random.split(key, 400)", "jax.random.split(key, 3)")],
}


def test_every_example_has_sizes_for_its_test():
    assert SMALLER.keys() == {path.stem for path in FOLDER.glob("*.py")}


@pytest.mark.slow
@pytest.mark.optimised
@pytest.mark.parametrize("name", SMALLER)
def test_example_runs_and_prints_lines_without_progress_bars(name, capsys):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    path = FOLDER / f"{name}.py"
    text = path.read_text(encoding="utf-8")
    for size, smaller in SMALLER[name]:
        assert text.count(size) == 1, f"{size} occurs {text.count(size)} times"
        text = text.replace(size, smaller)
    names: dict[str, Any] = {"__name__": "__main__"}
    with jax.numpy_dtype_promotion("standard"):  # as users run it
        exec(compile(text, str(path), "exec"), names)
    printed = capsys.readouterr()
    assert printed.out
    assert "\r" not in printed.out + printed.err
