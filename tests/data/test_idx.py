"""IDX files, and the image data sets in them."""

import gzip
import struct

import numpy as np
import pytest

from seqmem import data
from tests.helpers.memory import memory_below
from tests.helpers.refusals import assert_refused


def idx(array, code):
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


def write_images(folder):
    """Write five training images of 3 × 2 and two test images; the label files are compressed."""
    draw = np.random.default_rng(0)
    images, labels = draw.integers(0, 256, (7, 3, 2), np.uint8), np.arange(7, dtype=np.uint8)
    for name, part in (("train", slice(5)), ("t10k", slice(5, 7))):
        (folder / f"{name}-images-idx3-ubyte").write_bytes(idx(images[part], 8))
        (folder / f"{name}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels[part], 8)))
    return images, labels


@pytest.mark.parametrize(
    ("code", "dtype"), [(8, "u1"), (9, "i1"), (11, "i2"), (12, "i4"), (13, "f4"), (14, "f8")]
)
def test_read_idx_reads_every_type_in_native_byte_order(code, dtype, tmp_path):
    array = np.arange(-7, 8).reshape(3, 5).astype(dtype)
    path = tmp_path / "array"
    path.write_bytes(idx(array, code))
    result = data.read_idx(path)
    assert result.dtype == np.dtype(dtype)
    assert result.dtype.isnative
    np.testing.assert_array_equal(result, array)


@pytest.mark.parametrize("cut", [0, 3, 7, 11, -1])
def test_read_idx_refuses_a_truncated_file(cut, tmp_path):
    complete = idx(np.zeros((3, 5), np.uint8), 8)
    path = tmp_path / "array"
    for content in (complete[:cut], gzip.compress(complete[:cut]), gzip.compress(complete)[:cut]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"array(.|\n)*Expected(.|\n)*What to do"):
            data.read_idx(path)


def test_read_idx_refuses_a_file_that_is_too_long(tmp_path):
    path = tmp_path / "array"
    path.write_bytes(idx(np.zeros((3, 5), np.uint8), 8) + b"\0")
    with pytest.raises(ValueError, match="16 bytes"):
        data.read_idx(path)


@pytest.mark.parametrize("content", [b"", b"\1\0\x08\1\0\0\0\0", b"\0\0\x0a\1\0\0\0\0"])
def test_read_idx_refuses_another_format(content, tmp_path):
    path = tmp_path / "array"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"starts with(.|\n)*What to do"):
        data.read_idx(path)


def test_read_idx_refuses_a_damaged_gzip_file(tmp_path):
    path, content = tmp_path / "array", bytearray(gzip.compress(idx(np.zeros(97, np.uint8), 8)))
    content[-6] ^= 1  # of the checksum
    path.write_bytes(content)
    with pytest.raises(ValueError, match="decompressed"):
        data.read_idx(path)


@pytest.mark.parametrize("shape", [(0, 2**32 - 1, 2**32 - 1, 2**32 - 1), (1,) * 65])
def test_read_idx_refuses_shapes_that_no_array_has(shape, tmp_path):
    path, content = tmp_path / "array", b"" if 0 in shape else b"7"
    path.write_bytes(struct.pack(f">BBBB{len(shape)}I", 0, 0, 8, len(shape), *shape) + content)
    assert_refused(f"{path} has the shape {shape[:2]}"[:-1], data.read_idx, path)


def test_read_idx_takes_memory_in_proportion_to_the_file(tmp_path):
    path, header = tmp_path / "array", struct.pack(">BBBBI", 0, 0, 8, 1, 2**30)
    bomb = gzip.compress(header + bytes(10**7))
    for content in (header + bytes(5), gzip.compress(header), bomb):
        path.write_bytes(content)
        with memory_below(5 * 2**20):
            assert_refused(f"{path} has ", data.read_idx, path)


@pytest.mark.parametrize("read", [data.mnist, data.fashion_mnist])
def test_images_have_their_labels(read, tmp_path):
    images, labels = write_images(tmp_path)
    train, test = read("train", tmp_path), read("test", tmp_path)
    np.testing.assert_array_equal(np.concatenate([train.images, test.images]), images)
    np.testing.assert_array_equal(np.concatenate([train.labels, test.labels]), labels)


def test_images_refuse_another_number_of_labels(tmp_path):
    write_images(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte.gz").rename(tmp_path / "t10k-labels-idx1-ubyte.gz")
    with pytest.raises(ValueError, match="a label for each"):
        data.mnist("test", tmp_path)
    with pytest.raises(ValueError, match=r"has no train-labels(.|\n)*What to do"):
        data.mnist("train", tmp_path)


def test_images_refuse_an_unknown_split():
    with pytest.raises(ValueError, match="train, test"):
        data.fashion_mnist("t10k")  # pyright: ignore
