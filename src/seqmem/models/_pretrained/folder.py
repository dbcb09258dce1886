"""The files of a published model in a folder: which tensors there are, and where."""

import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..._core.errors import bad_input
from ..._core.json_text import read_json
from .safetensors import Entry, read_header

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
MAX_CONFIG, MAX_INDEX = 16 * 2**20, 128 * 2**20
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


@dataclass(frozen=True)
class Files:
    """What stands in a folder; no tensor has been read.

    Args:
        folder: the folder.
        config: `config.json`.
        entries: every tensor by name.
    """

    folder: Path
    config: dict[str, Any]
    entries: dict[str, Entry]


def read_files(folder: Path) -> Files:
    """The config and the headers of a folder.

    Raises:
        ValueError: where a file is missing, breaks a rule, or stands outside of the folder.
    """
    if not folder.is_dir():
        is_repository = not folder.is_absolute() and len(folder.parts) == 2
        raise bad_input(
            f"{str(folder)!r}, which is no folder.",
            f"a folder with {CONFIG} and {WEIGHTS}, or its shards and {INDEX}.",
            f"call seqmem.models.download({str(folder)!r}), which returns a folder."
            if is_repository
            else "pass the path of a folder on this machine.",
        )
    config = read_json(file_inside(folder, CONFIG), MAX_CONFIG)
    if (folder / WEIGHTS).exists():
        return Files(folder, config, read_header(file_inside(folder, WEIGHTS)))
    if not (folder / INDEX).exists():
        raise _no_weights(folder)
    return Files(folder, config, _read_shards(folder))


def _no_weights(folder: Path) -> ValueError:
    names = sorted(path.name for path in folder.iterdir())
    pickles = [name for name in names if name.endswith(PICKLES)]
    return bad_input(
        f"{folder} has neither {WEIGHTS} nor {INDEX}: {names[:20]}.",
        "safetensors. Pickles are not read, since they can hold any program."
        if pickles
        else "a model saved in safetensors.",
        f"where you trust who wrote {pickles[0]}, save the model again with the library that it "
        "comes from: AutoModelForCausalLM.from_pretrained(folder).save_pretrained(other)."
        if pickles
        else "save the model again with the library that it comes from.",
    )


def _read_shards(folder: Path) -> dict[str, Entry]:
    """The tensors of all shards, each of which stands where the index says."""
    places = read_json(file_inside(folder, INDEX), MAX_INDEX).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
        raise bad_input(
            f"{folder / INDEX} has weight_map={str(places)[:200]}.",
            "an object from the names of tensors to those of files.",
            "copy the file again from where it comes.",
        )
    entries: dict[str, Entry] = {}
    paths = {shard: file_inside(folder, shard) for shard in sorted(set(places.values()))}
    for shard, path in paths.items():
        header = read_header(path)
        names = {name for name, place in places.items() if place == shard}
        if header.keys() != names:
            odd = sorted(header.keys() ^ names)
            raise bad_input(
                f"{folder / shard} and {INDEX} differ in {odd[:5]}, {len(odd)} in all.",
                "every tensor in one shard, the one that the index names.",
                "copy all files again from where they come.",
            )
        entries |= header
    return entries


def file_inside(folder: Path, name: str) -> Path:
    """The file of a name in the folder.

    Links may lead within the folder, or from a snapshot of the cache of `huggingface_hub` to the
    blobs next to its snapshots.
    """
    is_plain = Path(name).name == name and not {"\\", "\0"} & set(name) and len(name) < 256
    if not is_plain or name in ("", ".", ".."):
        raise bad_input(
            f"{folder} names a file {name[:200]!r}.",
            "the name of a file in this folder.",
            "do not use these files; copy them again from where they come.",
        )
    path = folder / name
    target, real = path.resolve(), folder.resolve()
    blobs = real.parent.parent / "blobs"
    is_blob = real.parent.name == "snapshots" and target.parent == blobs
    if real not in target.parents and not is_blob:
        raise bad_input(
            f"{path} leads to {target}.",
            "a file in this folder.",
            "do not use these files; copy them again from where they come.",
        )
    if not target.exists() or not stat.S_ISREG(target.stat().st_mode):
        raise bad_input(
            f"{folder} has no file {name}.",
            f"a folder with {CONFIG} and {WEIGHTS}, or its shards and {INDEX}.",
            "pass a folder that a model was saved in as a whole.",
        )
    return target
