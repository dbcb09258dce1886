"""The long tasks of `memory_tasks`: pixels one by one, and a table that many commands write."""

import json
import sys

import jax
import numpy as np
import pytest

from benchmarks.common.records import write_csv
from benchmarks.studies import memory_problems, memory_report
from benchmarks.studies.memory_images import SequentialImages


def test_problem_takes_the_settings_of_a_cell():
    problem = memory_problems.PROBLEMS["adding 2000"]
    lem = problem.for_cell("LEM")
    assert lem.cell_options == {"dt": 0.0242}
    assert (lem.learning_rate, lem.width) == (2.6e-3, problem.width)
    assert problem.for_cell("LSTM chrono") == problem


def test_long_problems_name_cells_that_exist():
    from benchmarks.studies import memory_cells

    for problem in memory_problems.PROBLEMS.values():
        names = {*problem.cells, *problem.per_cell, *problem.published}
        assert names <= set(memory_cells.CELLS)


@pytest.mark.slow
def test_digits_come_pixel_by_pixel_with_their_class_at_the_end():
    datasets = pytest.importorskip("sklearn.datasets")
    digits = datasets.load_digits()
    train, test = (SequentialImages("digits", split) for split in ("train", "test"))
    images = test.batch(jax.random.key(0), 360)
    np.testing.assert_allclose(images.inputs[..., 0].T * 16, digits.data[::5], rtol=1e-6)
    np.testing.assert_array_equal(images.targets[-1], digits.target[::5])
    np.testing.assert_array_equal(images.weights, np.eye(64)[:, -1:] * np.ones(360))

    few = train.batch(jax.random.key(1), 7)
    assert few.inputs.shape == (64, 7, 1)
    np.testing.assert_array_equal(train.oracle(few.inputs)[-1], few.targets[-1])
    assert (few.inputs[..., 0].T[:, None] != images.inputs[..., 0].T).any(-1).all()
    assert 2.2 < test.clock_only_score < np.log(10)


def row(cell, **values):
    return {"task": "digits", "cell": cell, **values}


def test_table_keeps_the_rows_of_other_cells(tmp_path):
    path = tmp_path / "table.json"
    assert memory_report.earlier_rows(path, [row("LEM")]) == ([], [])
    summary = [row("LEM", scores=[0.1]), row("GRU", scores=[0.2])]
    path.write_text(json.dumps({"rows": summary}))
    write_csv(
        path.with_suffix(".csv"), [row("GRU", seed=0), row("LEM", seed=0), row("GRU", seed=1)]
    )
    old_summary, old_rows = memory_report.earlier_rows(path, [row("LEM", seed=5)])
    assert old_summary == [row("GRU", scores=[0.2])]
    assert old_rows == [row("GRU", seed="0"), row("GRU", seed="1")]


@pytest.mark.slow
@pytest.mark.optimised
def test_commands_add_their_rows_to_one_table(tmp_path, monkeypatch, capsys):
    for package in ("sklearn", "tqdm"):
        pytest.importorskip(package)
    from benchmarks.studies import memory_tasks

    command = "memory_tasks --tasks digits --iterations 200 --batch 2 --width 3 --seeds 1"
    command += f" --minutes 1e-9 --table long --out {tmp_path}"
    with jax.numpy_dtype_promotion("standard"):
        for cell in ("LEM", "CoRNN"):
            monkeypatch.setattr(sys, "argv", [*command.split(), "--cells", cell])
            memory_tasks.main()
    record = json.loads((tmp_path / "memory_tasks_long_cpu.json").read_text())
    assert [line["cell"] for line in record["rows"]] == ["LEM", "CoRNN"]
    for line in record["rows"]:
        assert line["iterations"] == 100  # the first test after no time
        assert line["command"].endswith(f"--table long --cells {line['cell']}")
    printed = capsys.readouterr().out
    assert "| digits | LEM" in printed
    assert "* digits, CoRNN: " in printed
