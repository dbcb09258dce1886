"""Memory and rate of loading a published language model from its files.

    python -m benchmarks.cost.loading

Makes a Mamba-2 of random bfloat16 tensors in shards, one tensor at a time, in a temporary folder;
by default of 1.5 billion parameters, 3 GB. Then fresh processes read it:

    read alone    all bytes of the files into one buffer of 16 MiB
    load          `seqmem.models.from_pretrained`

each once after the operating system was asked to drop the files from its cache of pages (`dropped`;
what the disk or the machine below a virtual one caches cannot be controlled), and once more
(`cached`, where memory suffices for the files). Memory is the peak that Linux counts for the
process (VmHWM), and that peak without what the process held before the call, over the size of the
parameters.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import jax
import jax.numpy as jnp
import numpy as np

import seqmem
from seqmem.models._pretrained import load, safetensors
from seqmem.models._pretrained.config import text_of
from seqmem.models._pretrained.layout import tensor_shapes

from ..common.records import markdown_table, provenance, write_record

PACKAGES = ("seqmem", "jax", "jaxlib", "equinox", "numpy")
BUFFER = 16 * 2**20


def make(folder: pathlib.Path, sizes: dict, shard_size: int) -> int:
    """The files of a random model; the bytes of its parameters."""
    config = {"model_type": "mamba2", **sizes}
    layout = load.layout_of(config)
    shapes = tensor_shapes(*load.structure(layout, {**layout.defaults, **config}))
    dtype, generator = np.dtype(jnp.bfloat16), np.random.default_rng(0)
    totals = {name: dtype.itemsize * int(np.prod(shape)) for name, shape in shapes.items()}
    places: dict[str, str] = {}
    for number, shard in enumerate(safetensors.in_shards(totals, shard_size)):
        file_name = f"model-{number:05}.safetensors"
        with (folder / file_name).open("wb") as file:
            safetensors.write_header(file, {name: (dtype, shapes[name]) for name in shard})
            for name in shard:
                tensor = generator.standard_normal(shapes[name], np.float32) * np.float32(0.02)
                safetensors.write_tensor(file, tensor.astype(dtype))
            file.flush()
            os.fsync(file.fileno())
        places |= dict.fromkeys(shard, file_name)
    index = {"metadata": {"total_size": sum(totals.values())}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text(text_of(config))
    return sum(totals.values())


def drop(folder: pathlib.Path) -> None:
    """Ask the operating system to forget the files, where it can be asked."""
    if hasattr(os, "posix_fadvise"):
        for path in folder.glob("*.safetensors"):
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def memory(name: str) -> int:
    """Bytes of this process: VmRSS now, VmHWM at the peak."""
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return 1024 * int(line.split()[1])
    raise RuntimeError(f"/proc/self/status has no {name}")


def measure_read(folder: pathlib.Path) -> dict:
    buffer, start = bytearray(BUFFER), time.perf_counter()
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass
    return {"seconds": time.perf_counter() - start}


def measure_load(folder: pathlib.Path) -> dict:
    jnp.zeros(1).block_until_ready()
    before, start = memory("VmRSS"), time.perf_counter()
    model = jax.block_until_ready(seqmem.models.from_pretrained(folder))
    seconds = time.perf_counter() - start
    entries = sum(leaf.size for leaf in jax.tree.leaves(model))
    return {
        "seconds": seconds,
        "before": before,
        "peak": memory("VmHWM"),
        "parameters": entries,
    }


PARTS = {"read alone": measure_read, "load": measure_load}


def in_fresh_process(part: str, folder: pathlib.Path) -> dict:
    command = [sys.executable, "-m", "benchmarks.cost.loading", "--part", part]
    result = subprocess.run(
        [*command, "--folder", str(folder)], check=True, capture_output=True, text=True
    )
    return json.loads(result.stdout.splitlines()[-1])


def measure(folder: pathlib.Path, size: int) -> dict:
    """All parts, dropped and cached."""
    results = {}
    for cache in ("dropped", "cached"):
        for part in PARTS:
            if cache == "dropped":
                drop(folder)
            result = in_fresh_process(part, folder)
            result["MB/s"] = size / result["seconds"] / 1e6
            if "peak" in result:
                result["peak / size"] = result["peak"] / size
                result["added / size"] = (result["peak"] - result["before"]) / size
            results[f"{part}, {cache}"] = result
    return results


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--size", type=int, default=2048, help="of a vector between layers")
    parser.add_argument("--heads", type=int, default=64)
    parser.add_argument("--layers", type=int, default=50)
    parser.add_argument("--vocabulary", type=int, default=50288)
    parser.add_argument("--shard", type=float, default=1000, help="megabytes of a file")
    parser.add_argument("--out", default="benchmarks/results", help="folder for the results")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=pathlib.Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.part:
        print(json.dumps(PARTS[options.part](options.folder)))
        return
    sizes = {
        "vocab_size": options.vocabulary,
        "hidden_size": options.size,
        "num_heads": options.heads,
        "head_dim": 2 * options.size // options.heads,
        "state_size": 128,
        "n_groups": 1,
        "num_hidden_layers": options.layers,
    }
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        size = make(folder, sizes, int(options.shard * 1e6))
        results = measure(folder, size)
    count = results["load, cached"]["parameters"]
    columns = ("seconds", "MB/s", "peak / size", "added / size")
    rows = [
        [part, *(f"{result[column]:.3g}" if column in result else "" for column in columns)]
        for part, result in results.items()
    ]
    title = f"A Mamba-2 of {count:,} parameters, bfloat16, {size / 1e6:,.1f} MB in shards:"
    record = provenance("benchmarks.cost.loading", PACKAGES)
    record |= {"parameters": count, "bytes": size, "results": results}
    markdown = f"{title}\n\n{markdown_table(['', *columns], rows)}"
    print(markdown)
    print("wrote", *write_record(options.out, "loading", record, markdown))


if __name__ == "__main__":
    main()
