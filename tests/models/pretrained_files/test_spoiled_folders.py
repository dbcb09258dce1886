"""Folders of published models that are cut, wrong or hostile: each is refused, nothing is run."""

import json
import os

import numpy as np
import pytest

from seqmem.models import from_pretrained
from tests.helpers.pretrained_files import NORM, WEIGHTS, change, read, write
from tests.helpers.refusals import assert_refused


def cut(folder):
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[:-4])


def lengthen(folder):
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data + bytes(4))


def header_beyond_the_file(folder):
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes((10**6).to_bytes(8, "little") + data[8:])


def header_of_more_than_100_megabytes(folder):
    with (folder / WEIGHTS).open("wb") as file:
        file.write((100_000_001).to_bytes(8, "little"))
        file.truncate(2 * 10**8)  # a hole, which takes no space


def empty_file(folder):
    (folder / WEIGHTS).write_bytes(b"")


def overlap(folder):
    header, body = read(folder)
    first, second, *_ = [name for name in header if name != "__metadata__"]
    size = np.subtract(*header[second]["data_offsets"][::-1]).item()
    start = header[first]["data_offsets"][0]
    header[second]["data_offsets"] = [start, start + size]
    write(folder, header, body)


def larger_than_its_file(folder):
    header, body = read(folder)
    header[NORM] = {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}
    write(folder, header, body)


def shape_without_its_bytes(folder):
    header, body = read(folder)
    header[NORM]["shape"] = [10**6]
    write(folder, header, body)


def empty_next_to_a_huge_axis(folder):
    header, body = read(folder)
    header[NORM] = {"dtype": "F32", "shape": [0, 2**61], "data_offsets": [0, 0]}
    write(folder, header, body)


def negative_offset(folder):
    header, body = read(folder)
    header[NORM]["data_offsets"] = [-12, 0]
    write(folder, header, body)


def unknown_dtype(folder):
    header, body = read(folder)
    header[NORM]["dtype"] = "PICKLE"
    write(folder, header, body)


def integers(folder):
    header, body = read(folder)
    header[NORM]["dtype"] = "I32"
    write(folder, header, body)


def twice_in_the_header(folder):
    header, body = read(folder)
    text = json.dumps(header)
    write(folder, f'{text[:-1]}, "{NORM}": {json.dumps(header[NORM])}}}', body)


def header_that_is_no_json(folder):
    write(folder, "import os", b"")


def header_that_is_a_list(folder):
    write(folder, "[]", b"")


def deep_header(folder):
    write(folder, "[" * 100_000, b"")


def huge_numbers(folder):
    header, body = read(folder)
    header[NORM]["shape"] = [2**62] * 1000
    write(folder, header, body)


def missing_tensor(folder):
    header, body = read(folder)
    header["another"] = header.pop(NORM)
    write(folder, header, body)


def other_shape(folder):
    header, body = read(folder)
    header[NORM]["shape"] = [1, 3]
    write(folder, header, body)


def missing_config(folder):
    (folder / "config.json").unlink()


def config_of_a_gigabyte(folder):
    with (folder / "config.json").open("wb") as file:
        file.truncate(2**30)


def deep_config(folder):
    """As deep as the parser of JSON goes, which is deeper than other functions do."""
    (folder / "config.json").write_text('{"x":' * 400 + "1" + "}" * 400)


def config_without_a_number(folder):
    change(folder, expand={"__float__": "many"})


def config_that_is_a_list(folder):
    (folder / "config.json").write_text("[1, 2]")


def link_out_of_the_folder(folder):
    other = folder.parent / "other.safetensors"
    (folder / WEIGHTS).rename(other)
    (folder / WEIGHTS).symlink_to(other)


def pipe(folder):
    (folder / "config.json").unlink()
    os.mkfifo(folder / "config.json")


def pickle_only(folder):
    (folder / WEIGHTS).rename(folder / "pytorch_model.bin")


def no_weights(folder):
    (folder / WEIGHTS).unlink()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (cut, "bytes, where its last tensor ends"),
        (lengthen, "bytes, where its last tensor ends"),
        (header_beyond_the_file, "names a header of 1000000"),
        (header_of_more_than_100_megabytes, "names a header of 100000001"),
        (empty_file, "has 0 bytes"),
        (overlap, "without gaps and overlaps"),
        (larger_than_its_file, "without gaps and overlaps"),
        (shape_without_its_bytes, "4000000 bytes for this shape and dtype"),
        (empty_next_to_a_huge_axis, "counting an axis of 0 as one of 1"),
        (negative_offset, "of numbers >= 0"),
        (unknown_dtype, "'PICKLE'"),
        (integers, "of dtypes ['I32']"),
        (twice_in_the_header, f"['{NORM}'] twice"),
        (header_that_is_no_json, "is not JSON"),
        (header_that_is_a_list, "holds a list"),
        (deep_header, "is not JSON"),
        (huge_numbers, "of numbers >= 0"),
        (missing_tensor, f"['{NORM}'] missing, ['another'] unknown"),
        (other_shape, f"{NORM} of shape (1, 3)"),
        (missing_config, "has no file config.json"),
        (config_of_a_gigabyte, "has 1073741824 bytes"),
        (config_that_is_a_list, "holds a list"),
        (deep_config, "more than 100 deep"),
        (config_without_a_number, "{'__float__': 'many'}"),
        (link_out_of_the_folder, "leads to"),
        (pipe, "has no file config.json"),
        (pickle_only, "can hold any program"),
        (no_weights, "has neither model.safetensors nor"),
    ],
)
def test_refused_is_a_spoiled_folder(folder, spoil, message):
    spoil(folder)
    assert message in assert_refused("", from_pretrained, folder)
