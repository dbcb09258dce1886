"""The readers of `seqmem.experiment`: parameters, checkpoints, tables."""

import functools
import io
import json
import pathlib
import random
import tempfile
import zlib

import jax
import jax.numpy as jnp
import numpy as np

from seqmem import experiment

from .reader import Parts, Reader

COLUMNS = b"position,loss\n"
ROWS = b'{"position": 1, "loss": 0.5}\n{"position": 2, "loss": "NaN"}\n'


@functools.cache
def tree():
    """Arrays of several dtypes, and a random key."""
    draws = np.random.default_rng(0)
    return {
        "w": jnp.asarray(draws.normal(size=(5, 3)), jnp.float32),
        "half": jnp.asarray(draws.normal(size=(2, 7)), jnp.bfloat16),
        "empty": jnp.zeros((0, 3)),
        "step": jnp.asarray(11, jnp.int32),
        "key": jax.random.key(5),
    }


@functools.cache
def parameters() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "parameters")
        experiment.save_parameters(path, tree())
        return path.read_bytes()


def split_parameters() -> Parts:
    """The manifest and the arrays, each a part."""
    manifest, rest = parameters().split(b"\n", 1)
    arrays = rest.split(b"\x93NUMPY")[1:]
    return {"manifest": manifest} | {f"{i}": b"\x93NUMPY" + a for i, a in enumerate(arrays)}


def join_parameters(rng: random.Random, parts: Parts) -> Parts:
    """The file of the parts, often with the checksums of its arrays."""
    manifest, arrays = parts["manifest"], [parts[name] for name in sorted(parts)[:-1]]
    if rng.random() < 0.7:
        try:
            entries = json.loads(manifest)
            for entry, array in zip(entries.values(), arrays, strict=False):
                entry[2] = zlib.crc32(np.load(io.BytesIO(array)).tobytes())
            manifest = json.dumps(entries).encode()
        except Exception:  # NumPy raises many types; the parts are no manifest and arrays any more
            pass
    return {"parameters": manifest + b"\n" + b"".join(arrays)}


@functools.cache
def checkpoint() -> Parts:
    """The files of a checkpoint, by their paths."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name, "checkpoints")
        checkpoints = experiment.Checkpoints(folder)
        checkpoints.save(13, tree(), {"epoch": 3}, value=0.5)
        files = (path for path in folder.rglob("*") if path.is_file())
        return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def header_of(parts: Parts) -> str:
    return next(name for name in parts if "header" in name and parts[name].startswith(b"{"))


def split_checkpoint() -> Parts:
    """The files, and the text in the header of seqmem."""
    files = checkpoint()
    return {**files, "header": json.loads(files[header_of(files)])["text"].encode()}


def join_checkpoint(rng: random.Random, parts: Parts) -> Parts:
    """The files with that text and its checksum."""
    files = {name: content for name, content in parts.items() if name != "header"}
    text = parts["header"].decode("utf-8", "replace")
    if rng.random() < 0.8:
        checked = {"text": text, "checksum": zlib.crc32(text.encode("utf-8", "replace"))}
        files[header_of(checkpoint())] = json.dumps(checked).encode()
    return files


def resume_table(folder):
    with experiment.Metrics(folder / "training", keep_rows=2) as metrics:
        assert isinstance(metrics, experiment.Metrics)


READERS = {
    "parameters": Reader(
        lambda folder: experiment.load_parameters(folder / "parameters", tree()),
        lambda: [split_parameters()],
        join_parameters,
        quick_cases=20,
    ),
    "checkpoints": Reader(
        lambda folder: experiment.Checkpoints(folder).restore(tree()),
        lambda: [split_checkpoint()],
        join_checkpoint,
        package="orbax",
        library="Orbax",
        quick_cases=0,
    ),
    "tables": Reader(
        resume_table,
        lambda: [{"training.csv": COLUMNS + b"1,0.5\n2,nan\n", "training.jsonl": ROWS}],
    ),
}
