"""Files of tensors in the safetensors format: eight bytes with the length of a header, the header,
which is JSON, and the bytes of all tensors, one after another.

    {"NAME": {"dtype": "BF16", "shape": [3, 5], "data_offsets": [BEGIN, END]}, …}

Nothing in such a file is executed. The rules checked here are those of the README and of
`safetensors/src/tensor.rs` of github.com/huggingface/safetensors. The package of that name maps a
whole file, which then counts twice in the memory of a process; here one tensor is mapped at a time.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import jax.numpy as jnp
import numpy as np

from ..._core.errors import bad_input
from ..._core.json_text import parse_json

MAX_HEADER = 100_000_000
MAX_ARRAY = 2**63  # bytes; NumPy refuses as many even in an array that is empty
DTYPES = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(jnp.bfloat16),
}
CODES = {dtype: code for code, dtype in DTYPES.items()}
# The bytes of an entry of what no parameter is stored in, so that the file can be checked.
OTHER_DTYPES = {
    "BOOL": 1, "I8": 1, "U8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1,
    "I16": 2, "U16": 2, "I32": 4, "U32": 4, "I64": 8, "U64": 8, "C64": 8,
}  # fmt: skip
REMEDY = "copy the file again from where it comes; its contents were changed or cut."


@dataclass(frozen=True)
class Entry:
    """A tensor in a file: what the header says, checked.

    Args:
        path: the file.
        code: the dtype, in the words of the format.
        shape: of the tensor.
        begin: its first byte, from the start of the file.
        size: its bytes.
    """

    path: Path
    code: str
    shape: tuple[int, ...]
    begin: int
    size: int

    @property
    def dtype(self) -> np.dtype:
        return DTYPES[self.code]

    def read(self) -> np.ndarray:
        """The tensor, mapped into memory: pages are read as they are used, and are free again when
        the array is.
        """
        if not self.size:
            return np.zeros(self.shape, self.dtype)
        return np.memmap(self.path, self.dtype, "r", self.begin, self.shape)


def read_header(path: Path) -> dict[str, Entry]:
    """All tensors of a file by name. No tensor is read.

    Raises:
        ValueError: where the file breaks a rule of the format.
    """
    total = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = int.from_bytes(start, "little")
        if len(start) < 8 or length > min(MAX_HEADER, total - 8):
            raise bad_input(
                f"{path} has {total} bytes and names a header of {length}.",
                f"a header that ends within the file, of at most {MAX_HEADER} bytes.",
                REMEDY,
            )
        header = parse_json(file.read(length), f"the header of {path}")
    header.pop("__metadata__", None)
    entries = {name: _entry(path, name, entry, 8 + length) for name, entry in header.items()}
    end = 8 + length
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].begin, item[1].size)):
        if entry.begin != end:
            raise bad_input(
                f"{path} has {name!r} from byte {entry.begin}, where the tensor before it ends at "
                f"{end}.",
                "tensors one after another, without gaps and overlaps.",
                REMEDY,
            )
        end += entry.size
    if end != total:
        raise bad_input(
            f"{path} has {total} bytes.", f"{end} bytes, where its last tensor ends.", REMEDY
        )
    return entries


def _entry(path: Path, name: str, description: Any, start: int) -> Entry:
    """What the header says of one tensor, which may be anything that JSON can be."""
    found: dict[str, Any] = dict.fromkeys(("dtype", "shape", "data_offsets"))
    found |= description if isinstance(description, dict) else {}
    code, shape, offsets = found["dtype"], found["shape"], found["data_offsets"]
    is_known = isinstance(code, str) and (code in DTYPES or code in OTHER_DTYPES)
    if not (is_known and _are_counts(shape) and _are_counts(offsets) and len(offsets) == 2):
        raise bad_input(
            f"{path} has {name!r} with {str(description)[:200]}.",
            f"dtype in {[*DTYPES, *OTHER_DTYPES]}, shape and two data_offsets of numbers >= 0.",
            REMEDY,
        )
    itemsize = DTYPES[code].itemsize if code in DTYPES else OTHER_DTYPES[code]
    size = math.prod(shape) * itemsize
    if offsets[1] - offsets[0] != size:
        raise bad_input(
            f"{path} has {name!r} of shape {shape} and dtype {code} in bytes {offsets}.",
            f"{size} bytes for this shape and dtype.",
            REMEDY,
        )
    if math.prod(max(axis, 1) for axis in shape) * itemsize >= MAX_ARRAY:
        raise bad_input(
            f"{path} has {name!r} of shape {shape}.",
            f"less than {MAX_ARRAY} bytes, counting an axis of 0 as one of 1.",
            REMEDY,
        )
    return Entry(path, code, tuple(shape), start + offsets[0], size)


def _are_counts(value: Any) -> bool:
    """Whether it is a list of numbers that an array can have for a shape."""
    if not isinstance(value, list) or len(value) > 64:
        return False
    return all(type(entry) is int and 0 <= entry < 2**63 for entry in value)


def write_header(file: BinaryIO, shapes: Mapping[str, tuple[np.dtype, tuple[int, ...]]]) -> None:
    """Begin a file of these tensors, whose bytes come after it in this order."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}  # asked for by transformers
    begin = 0
    for name, (dtype, shape) in shapes.items():
        end = begin + math.prod(shape) * dtype.itemsize
        entry = {"dtype": CODES[dtype], "shape": shape, "data_offsets": [begin, end]}
        header[name], begin = entry, end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of eight bytes
    file.write(len(text).to_bytes(8, "little") + text)


def write_tensor(file: BinaryIO, tensor: np.ndarray) -> None:
    """The bytes of one tensor, in row-major order, little-endian."""
    flat = np.ascontiguousarray(tensor).reshape(-1)
    file.write(flat.view(np.uint8).data)


def in_shards(sizes: Mapping[str, int], max_shard_size: int) -> Iterator[list[str]]:
    """Names in groups of at most so many bytes, in order; a larger tensor is alone."""
    shard: list[str] = []
    total = 0
    for name, size in sizes.items():
        if shard and total + size > max_shard_size:
            yield shard
            shard, total = [], 0
        shard.append(name)
        total += size
    yield shard
