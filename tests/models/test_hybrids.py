"""Published hybrids compute what their public classes compute.

The numbers are in tests/reference/pretrained_*.npz, which make_hybrids.py in that folder writes.
"""

import functools
import json
import pathlib

import chex
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem.interop.weight_table import split
from seqmem.models import from_pretrained, to_pretrained
from seqmem.models._pretrained.layout import fill, tensor_shapes, tensors
from seqmem.models._pretrained.qwen3_next import QWEN3_NEXT
from seqmem.models._pretrained.recurrent_gemma import RECURRENT_GEMMA
from seqmem.models._pretrained.xlstm import XLSTM
from tests.helpers.pretrained import bytes_of
from tests.helpers.refusals import assert_refused
from tests.helpers.slow import slow_but

REFERENCE = pathlib.Path(__file__).parent.parent / "reference"
LAYOUTS = {
    "xlstm": XLSTM,
    "xlstm_fused": XLSTM,
    "recurrent_gemma": RECURRENT_GEMMA,
    "recurrent_gemma_untied": RECURRENT_GEMMA,
    "qwen3_next": QWEN3_NEXT,
    "qwen3_next_without": QWEN3_NEXT,
}
MODELS = ("xlstm", "recurrent_gemma_untied", "qwen3_next")  # one of each layout
every_file = pytest.mark.parametrize("name", LAYOUTS)
every_model = pytest.mark.parametrize("name", MODELS)
PROMPT = 7  # tokens that the public class continued


@functools.cache
def reference(name):
    with np.load(REFERENCE / f"pretrained_{name}.npz") as file:
        return dict(file)


def config(name):
    return {**LAYOUTS[name].defaults, **json.loads(str(reference(name)["config"]))}


def shapes(name):
    return {key: tuple(shape) for key, shape in json.loads(str(reference(name)["shapes"])).items()}


def weights(name, dtype):
    """The tensors of a file, whose entries are in units of 1/256."""
    return split((reference(name)["weights"] / 256).astype(dtype), shapes(name))


def parts(name):
    return LAYOUTS[name].parts(config(name))


@functools.cache
def structure(name):
    return eqx.filter_eval_shape(LAYOUTS[name].make, config(name), jax.random.key(0))


def load(name, dtype):
    return fill(structure(name), parts(name), weights(name, dtype).__getitem__)


def tokens(name):
    """Time first."""
    return jnp.asarray(reference(name)["tokens"].T, jnp.int32)


@jax.jit
def logits_of(model, tokens, **options):
    return seqmem.unroll(model, None, tokens, **options)[1]


def assert_close(ours, theirs, tolerance):
    error = np.max(np.abs(ours - theirs)) / np.max(np.abs(theirs))
    assert error <= tolerance, error


@pytest.mark.parametrize("name", slow_but(MODELS, LAYOUTS))
def test_tensors_have_the_names_and_shapes_of_the_public_class(name):
    assert tensor_shapes(structure(name), parts(name)) == shapes(name)


@pytest.mark.parametrize("name", slow_but(MODELS, LAYOUTS))
def test_tensors_survive_the_round_trip_bit_for_bit(name):
    originals = weights(name, jnp.bfloat16)
    model = load(name, jnp.bfloat16)
    assert {leaf.dtype for leaf in jax.tree.leaves(model)} == {jnp.dtype(jnp.bfloat16)}
    copies = dict(tensors(model, parts(name)))
    assert copies.keys() == originals.keys()
    for key, array in originals.items():
        assert copies[key].dtype == jnp.bfloat16
        np.testing.assert_array_equal(copies[key], array)


@pytest.mark.parametrize("name", slow_but({"xlstm"}, LAYOUTS))
def test_folder_of_the_public_class_is_read_and_written_again(name, tmp_path):
    folder, copy = tmp_path / "original", tmp_path / "copy"
    folder.mkdir()
    (folder / "config.json").write_text(str(reference(name)["config"]))
    ignored = LAYOUTS[name].ignored(config(name))
    others = {key.replace("*", "fc.weight"): np.ones(3, np.float32) for key in ignored}
    header, body = {}, b""
    for key, array in (weights(name, np.float32) | others).items():
        offsets = [len(body), len(body) + array.nbytes]
        header[key] = {"dtype": "F32", "shape": array.shape, "data_offsets": offsets}
        body += array.tobytes()
    text = json.dumps(header).encode()
    path = folder / "model.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)
    model = from_pretrained(folder)
    chex.assert_trees_all_equal([*jax.tree.leaves(model)], [*jax.tree.leaves(load(name, "f4"))])
    to_pretrained(model, copy)
    originals = {key: tensor for key, tensor in bytes_of(path).items() if key not in others}
    assert bytes_of(copy / "model.safetensors") == originals


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@every_model
def test_logits_and_all_gradients_are_those_of_the_public_class_in_float64(name):
    file, inputs = reference(name), tokens(name)
    model = load(name, np.float64)

    @jax.jit
    def compute(model):
        def loss(model):
            logits = logits_of(model, inputs).swapaxes(0, 1)
            return (jnp.cos(jnp.arange(logits.size)).reshape(logits.shape) * logits).sum(), logits

        return jax.grad(loss, has_aux=True)(model)

    gradients, logits = compute(model)
    assert_close(logits, file["wide logits"], 1e-10)
    ours, theirs = dict(tensors(gradients, parts(name))), split(file["gradients"], shapes(name))
    assert ours.keys() == theirs.keys()
    for key, gradient in theirs.items():
        assert np.abs(gradient).max() > 0
        assert_close(ours[key], gradient, 1e-9)


@pytest.mark.slow
@every_file
def test_logits_and_greedy_continuation_are_those_of_the_public_class_in_float32(name):
    file = reference(name)
    inputs, continuation = tokens(name), jnp.asarray(file["continuation"], jnp.int32)
    whole = jnp.concatenate([inputs[:PROMPT, :1], continuation[:, None]])
    length = len(whole) - len(inputs)
    padded = jnp.concatenate([inputs, jnp.zeros((length, inputs.shape[1]), jnp.int32)])
    logits = logits_of(load(name, np.float32), jnp.concatenate([padded, whole], 1))
    assert_close(logits[: len(inputs), :-1].swapaxes(0, 1), file["logits"], 1e-5)
    assert config(name).get("tie_word_embeddings") or len(set(continuation.tolist())) > 4
    np.testing.assert_array_equal(logits[PROMPT - 1 : -1, -1].argmax(-1), continuation)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@every_model
def test_prefill_steps_lengths_and_resets_are_those_of_whole_sequences(name):
    model, inputs = load(name, np.float64), tokens(name)
    whole, (first, second), reset = reference(name)["wide logits"], (11, 17), 8
    resets = jnp.zeros(inputs.shape, bool).at[reset, 1].set(True)
    states, logits = seqmem.unroll(model, None, inputs, lengths=[first, second], resets=resets)
    step = jax.jit(lambda state, token: model(state, token))

    def steps(state, tokens):
        outputs = []
        for token in tokens:
            state, output = step(state, token)
            outputs.append(output)
        return np.stack(outputs)

    assert_close(logits[:first, 0], whole[0, :first], 1e-10)
    prefilled = jax.tree.map(lambda leaf: leaf[0], states)
    assert_close(steps(prefilled, inputs[first:, 0]), whole[0, first:], 1e-10)
    assert_close(logits[:reset, 1], whole[1, :reset], 1e-10)
    alone = steps(model.init_state(), inputs[reset:second, 1])
    assert_close(logits[reset:second, 1], alone, 1e-12)
    assert not logits[first:, 0].any()
    assert not logits[second:, 1].any()


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("xlstm", {"use_bias": True}),
        ("xlstm", {"add_out_norm": False}),
        ("xlstm", {"tie_word_embeddings": True}),
        ("xlstm", {"weight_mode": "double"}),
        ("xlstm", {"embedding_dim": 11}),
        ("recurrent_gemma", {"hidden_activation": "gelu"}),
        ("recurrent_gemma", {"attention_dropout": 0.1}),
        ("recurrent_gemma", {"embeddings_scale_by_sqrt_dim": False}),
        ("recurrent_gemma", {"head_dim": 5}),
        ("qwen3_next", {"hidden_act": "gelu"}),
        ("qwen3_next", {"attention_dropout": 0.1}),
        ("qwen3_next", {"rope_scaling": {"type": "yarn", "factor": 4.0}}),
    ],
)
def test_config_that_is_not_computed_is_refused(name, change):
    ((option, value),) = change.items()
    came = f"a config of model_type {LAYOUTS[name].model_type!r} with {option}={value!r}"
    assert_refused(came, LAYOUTS[name].make, config(name) | change, jax.random.key(0))


def test_kinds_of_blocks_and_positions_that_are_not_computed_are_refused():
    known, key = config("recurrent_gemma"), jax.random.key(0)
    came = "a config of model_type 'recurrent_gemma' with "
    kinds = {"block_types": ["recurrent", "dense"]}
    assert_refused(came + "block_types='dense'", RECURRENT_GEMMA.make, known | kinds, key)
    layers = config("qwen3_next") | {"layer_types": ["linear_attention", "sliding_attention"]}
    came_next = "a config of model_type 'qwen3_next' with layer_types='sliding_attention'"
    assert_refused(came_next, QWEN3_NEXT.make, layers, key)
    for scaled in ({"rope_parameters": {"rope_type": "yarn"}}, {"rope_scaling": {"factor": 2.0}}):
        assert_refused(came + "rope_", RECURRENT_GEMMA.make, known | scaled, key)


def test_keys_that_the_heads_of_xlstm_cannot_share_are_refused():
    came = "xlstm got num_heads=2 for all keys=5"
    assert_refused(came, XLSTM.make, config("xlstm") | {"qk_dim_factor": 0.5}, jax.random.key(0))


def test_block_of_xlstm_7b_has_the_sizes_of_its_checkpoint():
    config = {**XLSTM.defaults, "num_blocks": 1}
    model = eqx.filter_eval_shape(XLSTM.make, config, jax.random.key(0))
    assert model.body.layers[1].layer.layers[1].W_g.shape == (10944, 4096)
    block = sum(leaf.size for leaf in jax.tree.leaves(model.body))
    assert sum(leaf.size for leaf in jax.tree.leaves(model)) + 31 * block == 6_865_424_896
