"""Attention against PyTorch's, and against layers of transformers, whose numbers in
tests/reference/attention.npz make_attention.py wrote.
"""

import functools
import pathlib

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from tests.helpers.windows import KEY, close, in_float64, normal

PATH = pathlib.Path(__file__).parent.parent / "reference" / "attention.npz"
ROPE = functools.partial(seqmem.RoPE, base=500.0)
LENGTH = 64
SCALINGS = {
    "linear": seqmem.LinearScaling(4.0),
    "llama3": seqmem.Llama3Scaling(8.0, LENGTH),
    "yarn": seqmem.YaRNScaling(4.0, LENGTH, fast=16.0),
}

float64 = pytest.mark.usefixtures("float64")


@pytest.mark.slow
@float64
def test_attention_matches_scaled_dot_product_attention_of_pytorch():
    """Outputs, and the gradients of inputs and weights."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    make = functools.partial(seqmem.CausalAttention, 12, num_heads=6, num_key_value_heads=2)
    cell = in_float64(make(capacity=13, positions=None, scale=0.7, key=KEY))
    xs = normal(11, 12)
    x = torch.tensor(np.asarray(xs), requires_grad=True)
    matrices = {
        name: torch.tensor(np.asarray(getattr(cell, name)), requires_grad=True)
        for name in ("W_q", "W_k", "W_v", "W_o")
    }
    q, k, v = (
        (x @ matrices[name].T).reshape(11, -1, 2).transpose(0, 1) for name in ("W_q", "W_k", "W_v")
    )
    outputs = torch.nn.functional.scaled_dot_product_attention(
        q[None], k[None], v[None], is_causal=True, scale=0.7, enable_gqa=True
    )
    ys = outputs[0].transpose(0, 1).reshape(11, 12) @ matrices["W_o"].T
    torch.sin(ys).sum().backward()

    def loss(cell, xs):
        ours = seqmem.unroll(cell, None, xs)[1]
        return jnp.sin(ours).sum(), ours

    (by_cell, by_xs), ours = jax.grad(loss, (0, 1), has_aux=True)(cell, xs)
    close(ours, ys.detach().numpy())
    close(by_xs, x.grad.numpy())
    for name, matrix in matrices.items():
        close(getattr(by_cell, name), matrix.grad.numpy())


def in_pairs(rows, head_size, rotary_size):
    """Rows of heads whose halves are rotated, in the order in which neighbours are."""
    heads = rows.reshape(-1, head_size, *rows.shape[1:])
    rotated, others = heads[:, :rotary_size], heads[:, rotary_size:]
    halves = rotated.reshape(len(heads), 2, rotary_size // 2, *rows.shape[1:])
    pairs = np.swapaxes(halves, 1, 2).reshape(rotated.shape)
    return np.concatenate([pairs, others], 1).reshape(rows.shape)


def qwen3_next(weights):
    q = {
        kind: weights[f"q_proj.{kind}"].reshape(4, 2, 8, *shape)
        for kind, shape in (("weight", (12,)), ("bias", ()))
    }
    options = {"num_heads": 4, "num_key_value_heads": 2, "head_size": 8, "positions": ROPE(size=4)}
    options |= {"norm_qk": True, "gated": True, "bias": True, "output_bias": True}
    cell = seqmem.CausalAttention(12, capacity=13, **options, key=KEY)
    return cell, {
        "W_q": in_pairs(q["weight"][:, 0].reshape(32, 12), 8, 4),
        "W_g": q["weight"][:, 1].reshape(32, 12),
        "W_k": in_pairs(weights["k_proj.weight"], 8, 4),
        "b_q": in_pairs(q["bias"][:, 0].reshape(32), 8, 4),
        "b_g": q["bias"][:, 1].reshape(32),
        "b_k": in_pairs(weights["k_proj.bias"], 8, 4),
        "b_v": weights["v_proj.bias"],
        "b_o": weights["o_proj.bias"],
        "n_q": in_pairs(weights["q_norm.weight"], 8, 4),
        "n_k": in_pairs(weights["k_norm.weight"], 8, 4),
    }


def llama(weights):
    positions = ROPE(scaling=SCALINGS["llama3"])
    options = {"num_heads": 4, "num_key_value_heads": 2, "head_size": 8, "positions": positions}
    cell = seqmem.CausalAttention(12, capacity=13, **options, key=KEY)
    names = {"W_q": "q_proj.weight", "W_k": "k_proj.weight"}
    return cell, {ours: in_pairs(weights[name], 8, 8) for ours, name in names.items()}


def recurrent_gemma(weights):
    options = {"num_heads": 3, "num_key_value_heads": 1, "positions": ROPE(size=2)}
    cell = seqmem.SlidingWindowAttention(12, window=5, output_bias=True, **options, key=KEY)
    return cell, {
        "W_q": in_pairs(weights["q_proj.weight"], 4, 2),
        "W_k": in_pairs(weights["k_proj.weight"], 4, 2),
        "b_o": weights["o_proj.bias"],
    }


LAYERS = {"Qwen3Next": qwen3_next, "Llama": llama, "RecurrentGemma": recurrent_gemma}


@float64
@pytest.mark.parametrize("name", LAYERS)
def test_attention_matches_a_layer_of_transformers(name):
    """Outputs and the gradient of the inputs, to the precision of the other program's float32."""
    with np.load(PATH) as file:
        stored = {
            key.removeprefix(f"{name}: "): file[key] for key in file if key.startswith(f"{name}:")
        }
    cell, leaves = LAYERS[name](stored)
    leaves |= {"W_v": stored["v_proj.weight"], "W_o": stored["o_proj.weight"]}
    fields = list(leaves)
    cell = eqx.tree_at(
        lambda cell: [getattr(cell, field) for field in fields],
        cell,
        [jnp.asarray(leaves[field]) for field in fields],
    )

    def loss(xs):
        ys = seqmem.unroll(cell, None, xs)[1]
        return (stored["weight"] * ys).sum(), ys

    by_xs, ys = jax.grad(loss, has_aux=True)(jnp.asarray(stored["xs"]))
    np.testing.assert_allclose(ys, stored["ys"], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(by_xs, stored["gradient of xs"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", SCALINGS)
def test_scaled_frequencies_are_those_of_transformers(name):
    scaling = SCALINGS[name]
    theta = 500.0 ** -(np.arange(0, 16, 2) / 16)
    with np.load(PATH) as file:
        frequencies, amplitude = file[f"{name}: frequencies"], file[f"{name}: amplitude"]
    np.testing.assert_allclose(scaling.frequencies(theta, 500.0), frequencies, rtol=1e-6)
    assert scaling.amplitude == pytest.approx(float(amplitude), rel=1e-12)


@float64
def test_amplitude_of_yarn_multiplies_the_rotated_entries():
    scaling = SCALINGS["yarn"]
    vectors = normal(1, 1, 8)
    encoded = seqmem.RoPE(size=4, scaling=scaling).encode(vectors, jnp.zeros(1))
    close(encoded[..., :4], scaling.amplitude * vectors[..., :4])
    close(encoded[..., 4:], vectors[..., 4:])
    assert seqmem.YaRNScaling(0.5, LENGTH).amplitude == 1.0
    assert seqmem.YaRNScaling(4.0, LENGTH, attention_factor=0.7).amplitude == 0.7
