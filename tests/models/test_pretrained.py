"""Published language models: every folder of `tests/reference/pretrained` against the class that
wrote it, in values, gradients, generation and bytes.
"""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem.models import from_pretrained, to_pretrained

from ..helpers.pretrained import (
    NAMES,
    ROOT,
    bytes_of,
    expected,
    float64_weights,
    gradients,
    greedy,
)

every_name = pytest.mark.parametrize("name", NAMES)
GENERATED = 64


def test_folders_of_the_reference_are_found():
    assert {"mamba", "mamba2", "falcon_mamba"} <= set(NAMES)


@every_name
def test_round_trip_keeps_every_bit(name, tmp_path):
    to_pretrained(from_pretrained(ROOT / name), tmp_path / name)
    assert sorted(path.name for path in (tmp_path / name).iterdir()) == [
        "config.json",
        "model.safetensors",
    ]
    weights, config = "model.safetensors", "config.json"
    assert bytes_of(tmp_path / name / weights) == bytes_of(ROOT / name / weights)
    assert (tmp_path / name / config).read_text() == (ROOT / name / config).read_text()


@pytest.mark.slow
@every_name
def test_float32_logits_are_those_of_the_class(name):
    model = from_pretrained(ROOT / name)
    assert {leaf.dtype for leaf in jax.tree.leaves(model)} == {np.dtype("float32")}
    _, logits = seqmem.unroll(model, None, jnp.swapaxes(expected(name)["tokens"], 0, 1))
    reference = np.swapaxes(expected(name)["float32 logits"], 0, 1)
    np.testing.assert_allclose(logits, reference, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@every_name
def test_float64_generation_is_that_of_the_class(name):
    """The tokens of 64 steps after a prompt; and prefill and steps have the logits of the whole."""
    model = from_pretrained(ROOT / name, dtype="float64")
    prompt = jnp.swapaxes(expected(name)["tokens"], 0, 1)
    tokens, step_logits = greedy(model, prompt, GENERATED)
    np.testing.assert_array_equal(tokens.T, expected(name)["generated"])
    _, logits = seqmem.unroll(model, None, jnp.concatenate([prompt, tokens]))
    time = len(prompt)
    np.testing.assert_allclose(logits[time - 1 : -1], step_logits, rtol=1e-9, atol=1e-9)
    reference = np.swapaxes(expected(name)["logits"], 0, 1)
    np.testing.assert_allclose(logits[:time], reference, rtol=1e-9, atol=1e-9)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@every_name
def test_float64_gradients_are_those_of_the_class(name):
    found = gradients(name, from_pretrained(ROOT / name, dtype="float64"))
    assert found.keys() == float64_weights(name).keys()
    for own, gradient in found.items():
        np.testing.assert_allclose(
            gradient, expected(name)[f"gradient of {own}"], rtol=1e-8, atol=1e-9, err_msg=own
        )


@pytest.mark.slow
@every_name
def test_class_reads_what_is_written(name, tmp_path):
    """Where transformers is installed and has the class: its weights after our writing."""
    transformers = pytest.importorskip("transformers")
    model_type = json.loads((ROOT / name / "config.json").read_text())["model_type"]
    if model_type not in transformers.CONFIG_MAPPING:
        pytest.skip(f"transformers has no {model_type}")
    to_pretrained(from_pretrained(ROOT / name), tmp_path / name, max_shard_size=2000)
    assert len([*(tmp_path / name).glob("model-*.safetensors")]) > 1
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / name)
    tensors = {own: tensor.numpy() for own, tensor in model.state_dict().items()}
    for own, tensor in float64_weights(name).items():
        np.testing.assert_array_equal(tensors[own], tensor)
    tokens = pytest.importorskip("torch").from_numpy(expected(name)["tokens"])
    logits = model.eval()(tokens).logits.detach().numpy()
    np.testing.assert_allclose(logits, expected(name)["float32 logits"], rtol=1e-6, atol=1e-6)
