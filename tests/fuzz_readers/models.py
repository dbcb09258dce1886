"""The readers of `seqmem.models`: folders of published models, their tensors, their tokenizers."""

import json
import pathlib
import random

import numpy as np

from seqmem import models
from seqmem.models._pretrained.safetensors import DTYPES, read_header

from .reader import Parts, Reader

REFERENCE = pathlib.Path(__file__).parent.parent / "reference" / "pretrained"
LAYOUTS = ("mamba", "mamba2", "gla", "rwkv7")
CONFIG, WEIGHTS = "config.json", "model.safetensors"
INDEX = WEIGHTS + ".index.json"
TOKENIZER = {
    "version": "1.0",
    "added_tokens": [{"id": 3, "content": "<s>", "special": True, "single_word": False}
                     | dict.fromkeys(("lstrip", "rstrip", "normalized"), False)],
    "normalizer": {"type": "Lowercase"},
    "pre_tokenizer": {"type": "Whitespace"},
    "post_processor": None,
    "decoder": {"type": "BPEDecoder", "suffix": "</w>"},
    "model": {
        "type": "BPE",
        "unk_token": "?",
        "vocab": {"?": 0, "a": 1, "b": 2, "ab": 4},
        "merges": [["a", "b"]],
    },
}  # fmt: skip


def safetensors(**arrays: np.ndarray) -> bytes:
    """A file of these arrays."""
    header, content = {"__metadata__": {"format": "pt"}}, b""
    for name, array in arrays.items():
        code = {"f": "F", "i": "I", "u": "U"}[array.dtype.kind] + str(8 * array.dtype.itemsize)
        offsets = [len(content), len(content) + array.nbytes]
        header[name] = {"dtype": code, "shape": array.shape, "data_offsets": offsets}
        content += array.tobytes()
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + content


def small() -> bytes:
    return safetensors(
        w=np.ones((3, 5), np.float32), b=np.zeros(7, np.float16), i=np.arange(2), e=np.ones((0, 3))
    )


def in_shards(parts: Parts) -> Parts:
    """A folder of the same tensors in two files and an index."""
    content = parts[WEIGHTS]
    length = int.from_bytes(content[:8], "little")
    header, body = json.loads(content[8 : 8 + length]), content[8 + length :]
    header.pop("__metadata__", None)
    names = sorted(header, key=lambda name: header[name]["data_offsets"])
    half, files, places = len(names) // 2, {CONFIG: parts[CONFIG]}, {}
    for shard, group in (("a.safetensors", names[:half]), ("b.safetensors", names[half:])):
        start, end = header[group[0]]["data_offsets"][0], header[group[-1]]["data_offsets"][1]
        moved = {n: [place - start for place in header[n]["data_offsets"]] for n in group}
        text = json.dumps({n: header[n] | {"data_offsets": moved[n]} for n in group}).encode()
        files[shard] = len(text).to_bytes(8, "little") + text + body[start:end]
        places |= dict.fromkeys(group, shard)
    return files | {INDEX: json.dumps({"weight_map": places}).encode()}


def folders() -> list[Parts]:
    """Models of several families, and one in shards."""
    files = [
        {name: (REFERENCE / layout / name).read_bytes() for name in (CONFIG, WEIGHTS)}
        for layout in LAYOUTS
    ]
    return [*files, in_shards(files[0])]


def read_tensors(folder):
    path = folder / "a.safetensors"
    entries = read_header(path)
    size = sum(e.read().nbytes for e in entries.values() if e.code in DTYPES)
    assert size <= path.stat().st_size


def sometimes_without(rng: random.Random, parts: Parts) -> Parts:
    """Sometimes the folder has a file less."""
    dropped = rng.choice(sorted(parts)) if rng.random() < 0.03 else None
    return {name: content for name, content in parts.items() if name != dropped} or parts


READERS = {
    "safetensors": Reader(read_tensors, lambda: [{"a.safetensors": small()}]),
    "pretrained": Reader(models.from_pretrained, folders, sometimes_without, quick_cases=0),
    "tokenizer": Reader(
        models.load_tokenizer,
        lambda: [{"tokenizer.json": json.dumps(TOKENIZER).encode()}],
        package="tokenizers",
        quick_cases=40,
    ),
}
