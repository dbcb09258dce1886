"""Spoken digits by units that spike: the count of spikes, padding, and the job on two tones."""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("tqdm", reason="the progress bars need tqdm")
pytest.importorskip("matplotlib", reason="the figures need matplotlib")

import seqmem
from benchmarks.jobs import spoken_digits_spiking as job
from benchmarks.jobs.speech_features import HOP, Features
from tests.benchmarks.test_speech_to_word import write_two_words


@pytest.mark.slow
def test_spikes_per_second_are_those_of_valid_frames():
    model = job.SpikingModel("LIF", 3, width=7, key=jax.random.key(0))
    rng = np.random.default_rng(0)
    clips = [rng.normal(0, 3, (n, 40)).astype("f4") for n in (5, 2, 11)]
    counts = np.zeros(2)
    for clip in clips:
        states = seqmem.solve(model.network, None, jnp.asarray(clip), return_states=True).states
        counts += [float(layer.s.mean(-1).sum()) for layer in states]
    rates = job.spikes_per_second(model, Features(clips, np.zeros(3, int)))
    np.testing.assert_allclose(rates, counts / (18 * HOP), rtol=1e-5)
    assert counts.min() > 0


@pytest.mark.slow
@pytest.mark.optimised
def test_job_learns_two_tones(tmp_path, monkeypatch):
    write_two_words(tmp_path / "data")
    monkeypatch.setenv("SEQMEM_DATA", str(tmp_path / "data"))
    options = "--cells LIF --seeds 1 --epochs 30 --width 11 --devices 1"
    monkeypatch.setattr(sys, "argv", ["x", *options.split(), "--out", str(tmp_path)])
    with jax.numpy_dtype_promotion("standard"):  # as users run it
        job.main()
    (path,) = tmp_path.glob("*.json")
    (row,) = json.loads(path.read_text())["rows"]
    assert row["test"] == 1.0
    assert 0 < row["spikes of layer 2"] < 1 / HOP
    assert str(tmp_path) not in path.with_suffix(".md").read_text()
