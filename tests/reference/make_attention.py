"""Writes attention.npz: what layers of attention in transformers compute.

    python tests/reference/make_attention.py

Made with transformers 5.24.0 and torch 2.13.0, on a CPU. Weights and inputs are drawn in float64
from the seed below. The programs take the frequencies of rotary embeddings and the softmax in
float32. The names of the weights are those of the modules; with them come outputs and the gradient
of the inputs for the loss Σ weight ∘ output. For each scaling of rotary embeddings there are the
frequencies of a head of 16 features and the factor of cos and sin.
"""

import pathlib

import numpy as np
import torch
from transformers import LlamaConfig, Qwen3NextConfig, RecurrentGemmaConfig
from transformers.masking_utils import (
    create_causal_mask,
    create_sliding_window_causal_mask,
)
from transformers.models.llama import modeling_llama as llama
from transformers.models.qwen3_next import modeling_qwen3_next as qwen
from transformers.models.recurrent_gemma import modeling_recurrent_gemma as gemma

SEED, TIME, HIDDEN = 7, 13, 12
SHARED = {"hidden_size": HIDDEN, "num_attention_heads": 4, "_attn_implementation": "eager"}
LENGTH = 64  # of the sequences before scaling
SCALINGS = {
    "linear": {"factor": 4.0},
    "llama3": {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0},
    "yarn": {"factor": 4.0, "beta_fast": 16.0},
}


def rope(kind, **options):
    options |= {"original_max_position_embeddings": LENGTH} if kind in ("llama3", "yarn") else {}
    return {"rope_type": kind, "rope_theta": 500.0, **options}


def run(layer, config, rotary, make_mask):
    """Everything of one layer."""
    for parameter in layer.parameters():
        parameter.data = torch.randn(parameter.shape, dtype=torch.float64)
    xs = torch.randn(1, TIME, HIDDEN, dtype=torch.float64, requires_grad=True)
    positions = torch.arange(TIME)[None]
    mask = make_mask(
        config=config, inputs_embeds=xs, attention_mask=None, cache=None, position_ids=positions
    )
    if rotary is None:
        ys, _ = layer(xs, position_ids=positions, attention_mask=mask)
    else:
        ys, _ = layer(xs, position_embeddings=rotary(xs, positions), attention_mask=mask)
    weight = torch.randn_like(ys)
    (weight * ys).sum().backward()
    found = {"xs": xs, "ys": ys, "weight": weight, "gradient of xs": xs.grad}
    found = {name: tensor[0] for name, tensor in found.items()} | dict(layer.named_parameters())
    return {name: tensor.detach().numpy() for name, tensor in found.items()}


def layers():
    config = Qwen3NextConfig(
        num_key_value_heads=2,
        head_dim=8,
        attention_bias=True,
        rope_parameters=rope("default", partial_rotary_factor=0.5),
        **SHARED,
    )
    rotary = qwen.Qwen3NextRotaryEmbedding(config)
    yield "Qwen3Next", run(qwen.Qwen3NextAttention(config, 0), config, rotary, create_causal_mask)
    config = LlamaConfig(
        num_key_value_heads=2,
        head_dim=8,
        rope_parameters=rope("llama3", **SCALINGS["llama3"]),
        **SHARED,
    )
    rotary = llama.LlamaRotaryEmbedding(config)
    yield "Llama", run(llama.LlamaAttention(config, 0), config, rotary, create_causal_mask)
    config = RecurrentGemmaConfig(
        num_key_value_heads=1,
        attention_window_size=5,
        rope_parameters=rope("default", partial_rotary_factor=0.5),
        **SHARED | {"num_attention_heads": 3},
    )
    layer = gemma.RecurrentGemmaAttention(config, 0)
    yield "RecurrentGemma", run(layer, config, None, create_sliding_window_causal_mask)


def main():
    torch.manual_seed(SEED)
    found = {f"{kind}: {name}": leaf for kind, leaves in layers() for name, leaf in leaves.items()}
    for kind, options in SCALINGS.items():
        config = LlamaConfig(head_dim=16, rope_parameters=rope(kind, **options), **SHARED)
        rotary = llama.LlamaRotaryEmbedding(config)
        found[f"{kind}: frequencies"] = rotary.inv_freq.numpy()
        found[f"{kind}: amplitude"] = np.float64(rotary.attention_scaling)
    path = pathlib.Path(__file__).parent / "attention.npz"
    np.savez_compressed(path, **found)


if __name__ == "__main__":
    main()
