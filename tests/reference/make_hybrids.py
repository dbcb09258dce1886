"""Writes pretrained_*.npz beside it: whole language models of Hugging Face, tiny and random.

    python tests/reference/make_hybrids.py [NAME ...]

with torch==2.13.0 and transformers==5.24.0 on a CPU. Each file holds what a public class computes:

    config            what `save_pretrained` writes in config.json
    shapes            of its parameters, by the names in model.safetensors
    weights           all of them one after another, drawn from the seed, in units of 1/256
    tokens            [batch, time], and `logits` in float32 by the class as it stands
    wide logits       the same where the class gets float64 wherever it asks for float32
    gradients         in the order of the weights, of Σ cos(n) logits_n in float64, n counting the
                      logits in order
    continuation      [64] what `generate` makes of the first tokens, without sampling

The initial weights of an `xLSTMForCausalLM` are PyTorch's: its own program for them fails where
weight_mode is "fused".
"""

import contextlib
import json
import pathlib
import sys
import tempfile
from unittest import mock

import numpy as np
import torch
from make import HERE, SEED
from safetensors.numpy import load_file
from transformers import (
    Qwen3NextConfig,
    Qwen3NextForCausalLM,
    RecurrentGemmaConfig,
    RecurrentGemmaForCausalLM,
    xLSTMConfig,
    xLSTMForCausalLM,
)
from transformers.models.recurrent_gemma.modeling_recurrent_gemma import RecurrentGemmaRglru
from transformers.models.xlstm.modeling_xlstm import xLSTMPreTrainedModel

TIME, BATCH, PROMPT, NEW = 19, 2, 7, 64
ROPE = {"rope_type": "default", "rope_theta": 100.0}  # with more than one pair of entries
WIDE = {"float": torch.float64, "float32": torch.float64}


def xlstm(weight_mode):
    """In chunks of 8, and the rest step by step. No two of its sizes and ε are alike."""
    config = xLSTMConfig(
        vocab_size=23,
        hidden_size=10,
        num_hidden_layers=2,
        num_heads=2,
        qk_dim_factor=0.6,
        v_dim_factor=1.4,
        ffn_proj_factor=1.57,
        ffn_round_up_to_multiple_of=4,
        chunk_size=8,
        autocast_kernel_dtype="float32",
        gate_soft_cap=3.0,
        output_logit_soft_cap=5.0,
        norm_eps=1e-3,
        eps=1e-2,
        weight_mode=weight_mode,
    )
    return xLSTMForCausalLM, config


def recurrent_gemma(**options):
    """A window of 5, a pattern that does not fill the layers, and a √size that bfloat16 rounds."""
    config = RecurrentGemmaConfig(
        vocab_size=23,
        hidden_size=12,
        intermediate_size=22,
        num_hidden_layers=4,
        num_attention_heads=3,
        attention_window_size=5,
        block_types=["recurrent", "attention", "recurrent"],
        rms_norm_eps=1e-3,
        logits_soft_cap=5.0,
        w_init_variance_scale=1.0,
        **options,
    )
    return RecurrentGemmaForCausalLM, config


def qwen3_next(**options):
    """Three layers of experts, of which one attends, and one layer without."""
    config = Qwen3NextConfig(
        vocab_size=23,
        hidden_size=7,
        intermediate_size=11,
        num_hidden_layers=4,
        num_attention_heads=3,
        num_key_value_heads=1,
        head_dim=8,
        linear_num_key_heads=2,
        linear_num_value_heads=4,
        linear_key_head_dim=3,
        linear_value_head_dim=5,
        moe_intermediate_size=3,
        shared_expert_intermediate_size=5,
        num_experts=5,
        num_experts_per_tok=2,
        mlp_only_layers=[1],
        layer_types=["linear_attention", "full_attention", "linear_attention", "full_attention"],
        rms_norm_eps=1e-3,
        max_position_embeddings=80,
        rope_parameters={**ROPE, "partial_rotary_factor": 0.75},
        **options,
    )
    return Qwen3NextForCausalLM, config


MODELS = {
    "xlstm": lambda: xlstm("single"),
    "xlstm_fused": lambda: xlstm("fused"),
    "recurrent_gemma": lambda: recurrent_gemma(num_key_value_heads=1),
    "recurrent_gemma_untied": lambda: recurrent_gemma(
        num_key_value_heads=3,
        attention_bias=True,
        tie_word_embeddings=False,
        lru_width=15,
        rope_parameters={**ROPE, "partial_rotary_factor": 1.0},
    ),
    "qwen3_next": qwen3_next,
    "qwen3_next_without": lambda: qwen3_next(
        norm_topk_prob=False, attention_bias=True, tie_word_embeddings=True
    ),
}


def drawn(model, rng):
    """All parameters away from where they start, rounded, so that the compressed file is small."""
    for parameter in model.parameters():
        start = parameter.detach().double().numpy()
        value = start.clip(-2, 2) + 0.3 * rng.standard_normal(start.shape)
        parameter.data = torch.tensor(np.round(256 * value) / 256, dtype=torch.float32)


@contextlib.contextmanager
def in_float64():
    torch.set_default_dtype(torch.float64)
    scan = RecurrentGemmaRglru._rnn_scan
    with (
        mock.patch.multiple(torch, **WIDE),
        mock.patch.object(torch.Tensor, "float", torch.Tensor.double),
        mock.patch.object(scan, "__defaults__", (torch.float64,)),
    ):
        yield
    torch.set_default_dtype(torch.float32)


def saved(model):
    """The config and the tensors of the files of a model."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        config = (pathlib.Path(folder) / "config.json").read_text()
        return json.loads(config), load_file(pathlib.Path(folder) / "model.safetensors")


def compute(make):
    model_class, config = make()
    config._experts_implementation = "eager"
    torch.manual_seed(SEED)
    rng = np.random.default_rng(SEED)
    model = model_class(config).eval()
    drawn(model, rng)
    written, weights = saved(model)
    tokens = torch.tensor(rng.integers(0, config.vocab_size, (BATCH, TIME)))
    with torch.no_grad():
        logits = model(tokens, use_cache=False).logits
        prompt = tokens[:1, :PROMPT]
        options = {"do_sample": False, "use_cache": False, "eos_token_id": None}
        continued = model.generate(prompt, max_new_tokens=NEW, pad_token_id=0, **options)
    with in_float64():
        wide = model_class(config).eval().double()
        wide.load_state_dict(model.state_dict())
        wide_logits = wide(tokens, use_cache=False).logits
        assert wide_logits.dtype == torch.float64
        cotangent = torch.cos(torch.arange(wide_logits.numel(), dtype=torch.float64))
        (wide_logits * cotangent.reshape(wide_logits.shape)).sum().backward()
        for parameter in wide.parameters():
            parameter.data = parameter.grad
    _, gradients = saved(wide)
    return {
        "config": json.dumps(written),
        "shapes": json.dumps({name: weights[name].shape for name in weights}),
        "weights": (256 * flat(weights[name] for name in weights)).astype(np.int16),
        "gradients": flat(gradients[name] for name in weights),
        "tokens": tokens.numpy(),
        "logits": logits.numpy(),
        "wide logits": wide_logits.detach().numpy(),
        "continuation": continued[0, PROMPT:].numpy(),
    }


def flat(arrays):
    return np.concatenate([array.ravel() for array in arrays])


if __name__ == "__main__":
    torch.set_num_threads(1)  # the sizes are tiny
    with mock.patch.object(xLSTMPreTrainedModel, "_init_weights", return_value=None):
        for name in sys.argv[1:] or MODELS:
            np.savez_compressed(HERE / f"pretrained_{name}.npz", **compute(MODELS[name]))
