"""Writes folders of tiny published language models into `pretrained` beside it, each as the public
class saves it, with what the class computes.

    python tests/reference/make_pretrained.py [NAME ...]

with torch==2.13.0 and transformers==5.24.0 on a CPU. A folder has `config.json` and
`model.safetensors` as `save_pretrained` writes them, in float32, and `expected.npz`:

    versions                 of the packages, as JSON
    tokens                   [batch, time]
    float32 logits           [batch, time, tokens]
    logits                   the same in float64, of the same weights
    weight                   of every logit in a loss, their sum
    gradient of NAME         the gradient of that loss, in float64, for every tensor
    generated                [batch, 64]: the most probable tokens after `tokens`, in float64

Where a class computes a part in float32 whatever its weights are, such as its norms, the same code
is run with the name `torch.float32` standing for float64. All weights are random, those that are
all alike at the start too. Another script makes the same of other classes with `write`.
"""

import contextlib
import json
import pathlib
import shutil
import sys
from unittest import mock

import numpy as np
import torch

FOLDER = pathlib.Path(__file__).parent / "pretrained"
SEED, TIME, BATCH, GENERATED = 7, 19, 2, 64
REFERENCE_FILES = ("config.json", "model.safetensors")


@contextlib.contextmanager
def in_float64():
    """What a class does in float32 is done in float64."""
    with (
        mock.patch.object(torch, "float32", torch.float64),
        mock.patch.object(torch.Tensor, "float", torch.Tensor.double),
    ):
        yield


def logits_of(model, tokens):
    """The logits of a class of transformers."""
    return model(tokens, use_cache=False).logits


def greedy(model, tokens):
    """The most probable tokens, by the class's own generation."""
    model.generation_config.eos_token_id = None
    options = {"do_sample": False, "max_new_tokens": GENERATED, "use_cache": True}
    options["attention_mask"] = torch.ones_like(tokens)
    return model.generate(tokens, **options)[:, tokens.shape[1] :]


def greedy_by_logits(logits, model, tokens):
    """The same where a class cannot generate: all logits again for every token."""
    sequence = tokens
    for _ in range(GENERATED):
        following = logits(model, sequence)[:, -1].argmax(-1, keepdim=True)
        sequence = torch.cat([sequence, following], 1)
    return sequence[:, tokens.shape[1] :]


def write(name, model, versions, *, logits=logits_of, generate=greedy, noise=0.3):
    """One folder.

    Args:
        name: of the folder.
        model: with `save_pretrained`, whose weights get normal noise.
        versions: package to version.
        logits: of the model and tokens [batch, time].
        generate: the most probable next tokens [batch, 64] of the model and tokens.
        noise: its standard deviation.
    """
    generator = torch.Generator().manual_seed(SEED)
    for parameter in model.parameters():
        parameter.data += noise * torch.randn(parameter.shape, generator=generator)
    model = model.eval().float()
    folder = FOLDER / name
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    for path in folder.iterdir():
        if path.name not in REFERENCE_FILES:
            path.unlink()
    vocabulary = model.config.vocab_size
    tokens = torch.randint(vocabulary, (BATCH, TIME), generator=generator)
    arrays = {"versions": json.dumps(versions), "tokens": tokens}
    with torch.no_grad():
        arrays["float32 logits"] = logits(model, tokens)
    model = model.double()
    with in_float64():
        outputs = logits(model, tokens)
        weight = torch.randn(outputs.shape, generator=generator).double()
        (weight * outputs).sum().backward()
        with torch.no_grad():
            arrays["generated"] = generate(model, tokens)
    assert outputs.dtype == torch.float64
    arrays |= {"logits": outputs, "weight": weight}
    arrays |= {f"gradient of {own}": leaf.grad for own, leaf in model.named_parameters()}
    arrays = {
        own: array if isinstance(array, str) else array.detach().numpy()
        for own, array in arrays.items()
    }
    np.savez_compressed(folder / "expected.npz", **arrays)


def mamba():
    from transformers import MambaConfig, MambaForCausalLM

    return MambaForCausalLM(
        MambaConfig(hidden_size=7, vocab_size=23, state_size=3, num_hidden_layers=2)
    )


def mamba2():
    from transformers import Mamba2Config, Mamba2ForCausalLM

    sizes = {"num_heads": 4, "head_dim": 3, "hidden_size": 6, "state_size": 5, "n_groups": 2}
    return Mamba2ForCausalLM(
        Mamba2Config(**sizes, vocab_size=23, num_hidden_layers=2, chunk_size=8)
    )


def falcon_mamba():
    from transformers import FalconMambaConfig, FalconMambaForCausalLM

    sizes = {"hidden_size": 18, "expand": 1, "state_size": 3, "conv_kernel": 3}
    return FalconMambaForCausalLM(
        FalconMambaConfig(**sizes, vocab_size=23, num_hidden_layers=2, tie_word_embeddings=False)
    )


MODELS = {function.__name__: function for function in (mamba, mamba2, falcon_mamba)}


def main(names):
    torch.set_num_threads(1)  # the sizes are tiny
    import transformers

    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    for name in names or MODELS:
        torch.manual_seed(SEED)
        write(name, MODELS[name](), versions)


if __name__ == "__main__":
    main(sys.argv[1:])
