"""Every script runs at a tiny size and writes its results."""

import importlib
import json
import pathlib
import sys

import jax
import pytest

pytest.importorskip("matplotlib", reason="the figures need matplotlib")
pytest.importorskip("tqdm", reason="the progress bars need tqdm")

FOLDER = pathlib.Path(__file__).parent.parent.parent / "benchmarks"
SHAPES = "--shapes 5,2,3,7 --rounds 2"
COMMANDS = {
    "cost.flow": f"--cells GRU {SHAPES}",
    "cost.loading": "--size 16 --heads 4 --layers 2 --vocabulary 23 --shard 0.02",
    "cost.matrix_memories": "--rules delta --lengths 64 --tokens 128 --rounds 2",
    "cost.memory": "--lengths 16",
    "cost.parallel": "--cells MinGRU --lengths 32 --rounds 2",
    "cost.speed": f"--cells LSTM --peers equinox --cores {len(jax.devices())} {SHAPES}",
    "cost.training_loop": "--batches 2 --hidden 5 --steps 2 --rounds 2",
    "jobs.language_models": "--text library --memories GRU attention --steps 5 --size 8 --layers 1 "
    "--parameters 6000 --devices 1",
    "studies.chaos": "--size 11 --gains 0.8 1.5 --steps 20 --seeds 2",
    "studies.criticality": "--size 11 --steps 5 --units 7 --lag 20 --seeds 2",
    "studies.external_memory": "--tasks short-recall --cells NTM --iterations 100 --batch 2",
    "studies.fixed_points": "--cell RNN --hidden 5 --time 4 --iterations 60 --batch 2 --starts 9",
    "studies.flossing": "--delay 3 --hidden 5 --seeds 1 --batch 2 --steps 4 --k 3 --floss-steps 2 "
    "--floss-every 2 --floss-time 5 --alone-steps 2",
    "studies.memory_tasks": "--tasks parity --cells LRU GRU --seeds 2 --iterations 100 --batch 2",
    "studies.newton": "--cells RNN ParaLSTM --hidden 5 --time 16 --gains 1 --seeds 2 --rounds 1",
    "studies.pretrained_flow": "--steps 5 --size 8 --layers 1 --parameters 6000 --length 16 "
    "--context 256 --streams 2 --devices 1",
    "studies.reconstruction": "--methods sparse free --seeds 1 --iterations 50 --hidden 5 "
    "--batch 2 --window 40 --steps 200",
    "studies.online_learning": "--cells LSTM --algorithms e-prop UORO --hidden 5 --draws 2 "
    "--steps 20 --window 10 --batch 2 --seeds 1",
    "studies.reservoir": "--sizes 11 --seeds 2 --starts 3 --steps 30 --horizon 20",
    "studies.state_tracking": "--rules DeltaRule --tasks parity --beta-max 2 --seeds 1 "
    "--iterations 60 --batch 2",
    "studies.window": "--cells GRU --time 16 --batch 2 --width 3 --steps 2 --batches 2",
}
SCRIPTS = {
    f"{path.parent.name}.{path.stem}"
    for path in FOLDER.glob("*/*.py")
    if 'if __name__ == "__main__":' in path.read_text(encoding="utf-8")
}


def test_every_script_has_a_test():
    others = {
        path.stem.removeprefix("test_") for path in pathlib.Path(__file__).parent.glob("*.py")
    }
    assert {name for name in SCRIPTS if name.split(".")[1] not in others} == set(COMMANDS)


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_script_names_itself_in_its_command(name):
    """The module's docstring and its provenance say how it is run, after every move of a file."""
    importlib.import_module(f"benchmarks.{name}")
    text = (FOLDER / f"{name.replace('.', '/')}.py").read_text(encoding="utf-8")
    assert f"python -m benchmarks.{name}" in text
    assert f'"benchmarks.{name}"' in text


@pytest.mark.slow
@pytest.mark.optimised
@pytest.mark.parametrize("name", COMMANDS)
def test_script_writes_its_results(name, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", [name, *COMMANDS[name].split(), "--out", str(tmp_path)])
    with jax.numpy_dtype_promotion("standard"):  # as users run it
        importlib.import_module(f"benchmarks.{name}").main()
    (path,) = tmp_path.glob("*.json")
    record = json.loads(path.read_text())
    assert record["command"].startswith(f"python -m benchmarks.{name} --")
    assert str(tmp_path) not in json.dumps(record)
    assert {"machine", "versions", "date"} <= set(record)
