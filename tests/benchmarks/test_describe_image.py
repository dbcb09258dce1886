"""Image captioning: decoding, the loss, attention, and the job at a tiny size."""

import functools
import json
import struct
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="the figures need matplotlib")

from benchmarks.jobs import describe_image, scene_scores
from benchmarks.jobs.scene_models import Describer, Encoder, describing_loss
from seqmem import tasks

NAMES = tuple((f"a k{kind}", f"k{kind}s") for kind in range(7))
SCENES = tasks.Scenes(NAMES, grid_size=2, slot_size=8)
LAYERS = ((3, 1, 5), (2, 2, 7))


@pytest.fixture(scope="module")
@eqx.filter_jit
def model():
    keys = jax.random.split(jax.random.key(0))
    encoder = Encoder(LAYERS, SCENES.slot_size, 7, 11, key=keys[0])
    return Describer(encoder, len(SCENES.words), 13, key=keys[1])


@pytest.fixture(scope="module")
def scene():
    images = np.random.default_rng(1).random((17, 5, 5), np.float32)
    batch = jax.jit(functools.partial(SCENES.batch, size=3))
    return batch(jax.random.key(2), images, np.arange(17) * 7 // 17)


@pytest.mark.slow
def test_describe_returns_the_likeliest_word_after_those_before_it(model, scene):
    predicted = scene_scores.describe(model, scene.images, length=9)
    logits = model(scene.images, predicted.T)
    for ids, likeliest in zip(np.asarray(predicted), logits.argmax(-1).T, strict=True):
        length = 1 + int((ids != tasks.Scenes.END).sum())
        np.testing.assert_array_equal(ids[:length], likeliest[:length])


@pytest.mark.slow
def test_describing_loss_counts_all_words_and_one_end(model, scene):
    batch = jax.tree.map(lambda leaf: leaf[None], scene)
    total, weight, _ = describing_loss(model, (), batch)
    log_probabilities = jax.nn.log_softmax(model(scene.images, scene.words))
    expected = 0.0
    for example, ids in enumerate(np.asarray(scene.words).T.tolist()):
        for step, word in enumerate(ids[: ids.index(tasks.Scenes.END) + 1]):
            expected -= float(log_probabilities[step, example, word])
    assert int(weight) == (np.asarray(scene.words) != tasks.Scenes.END).sum() + 3
    assert float(total) == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
def test_attention_weights_make_the_context(model, scene):
    words = scene.words[:5, 0]
    weights = model.attention(scene.images[0], words)
    positions = model.positions(scene.images[0])
    assert weights.shape == (5, 4)
    cell, state = model.attend_to(positions)
    for word, step_weights in zip([tasks.Scenes.END, *words.tolist()], weights, strict=False):
        state, (_, context) = cell(state, model.words.project(jnp.asarray(word)))
        np.testing.assert_allclose(context, step_weights @ positions, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_describe_image_writes_its_results(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    for split, count in (("train", 53), ("t10k", 47)):
        images = rng.integers(0, 256, (count, 28, 28), np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
            (tmp_path / f"{split}-{kind}-ubyte").write_bytes(head + array.tobytes())
    options = f"--images {tmp_path} --steps 2 2 --batch 3 --tested 31 --devices 1"
    options += f" --out {tmp_path / 'out'}"
    monkeypatch.setattr(sys, "argv", ["describe_image", *options.split()])
    describe_image.main()
    record = json.loads((tmp_path / "out" / "describe_image_cpu.json").read_text())
    assert sum(row["scenes"] for row in record["rows"]) == 31
    assert record["rows"][1]["expected"] == pytest.approx(record["p"] ** 2)
    assert str(tmp_path) not in json.dumps(record)
    text = (tmp_path / "out" / "describe_image_cpu.md").read_text()
    assert "| all differ, never trained on |" in text
    table = (tmp_path / "out" / "describe_image_cpu.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in table] == ["stage", "naming", "telling"]
    assert (tmp_path / "out" / "describe_image_cpu.png").read_bytes().startswith(b"\x89PNG")
