"""Images from IDX files: what is read, and what is refused."""

import gzip
import struct

import numpy as np
import pytest

from seqmem import data


def idx(array, code):
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


def images_in(folder):
    """Five images of 3 × 2 to train on, two to test, one of the files compressed."""
    draw = np.random.default_rng(0)
    images, labels = draw.integers(0, 256, (7, 3, 2), np.uint8), np.arange(7, dtype=np.uint8)
    for name, part in (("train", slice(5)), ("t10k", slice(5, 7))):
        (folder / f"{name}-images-idx3-ubyte").write_bytes(idx(images[part], 8))
        (folder / f"{name}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels[part], 8)))
    return images, labels


@pytest.mark.parametrize(
    ("code", "dtype"), [(8, "u1"), (9, "i1"), (11, "i2"), (12, "i4"), (13, "f4"), (14, "f8")]
)
def test_every_type_of_idx_is_read_in_the_order_of_the_machine(code, dtype, tmp_path):
    array = np.arange(-7, 8).reshape(3, 5).astype(dtype)
    path = tmp_path / "array"
    path.write_bytes(idx(array, code))
    found = data.read_idx(path)
    assert found.dtype == np.dtype(dtype)
    assert found.dtype.isnative
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize("cut", [0, 3, 7, 11, -1])
def test_a_cut_off_file_is_refused_whether_compressed_or_not(cut, tmp_path):
    whole = idx(np.zeros((3, 5), np.uint8), 8)
    path = tmp_path / "array"
    for content in (whole[:cut], gzip.compress(whole[:cut]), gzip.compress(whole)[:cut]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"array(.|\n)*Expected(.|\n)*What to do"):
            data.read_idx(path)


def test_a_file_that_is_too_long_is_refused(tmp_path):
    path = tmp_path / "array"
    path.write_bytes(idx(np.zeros((3, 5), np.uint8), 8) + b"\0")
    with pytest.raises(ValueError, match="16 bytes"):
        data.read_idx(path)


@pytest.mark.parametrize("content", [b"", b"\1\0\x08\1\0\0\0\0", b"\0\0\x0a\1\0\0\0\0"])
def test_what_is_no_idx_file_is_refused(content, tmp_path):
    path = tmp_path / "array"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"begins with(.|\n)*What to do"):
        data.read_idx(path)


def test_a_damaged_archive_is_refused(tmp_path):
    path, content = tmp_path / "array", bytearray(gzip.compress(idx(np.zeros(97, np.uint8), 8)))
    content[-6] ^= 1  # of the checksum
    path.write_bytes(content)
    with pytest.raises(ValueError, match="decompressed"):
        data.read_idx(path)


@pytest.mark.parametrize("read", [data.mnist, data.fashion_mnist])
def test_images_come_with_their_labels(read, tmp_path):
    images, labels = images_in(tmp_path)
    train, test = read("train", tmp_path), read("test", tmp_path)
    np.testing.assert_array_equal(np.concatenate([train.images, test.images]), images)
    np.testing.assert_array_equal(np.concatenate([train.labels, test.labels]), labels)


def test_images_and_labels_of_different_number_are_refused(tmp_path):
    images_in(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte.gz").rename(tmp_path / "t10k-labels-idx1-ubyte.gz")
    with pytest.raises(ValueError, match="a label for each"):
        data.mnist("test", tmp_path)
    with pytest.raises(ValueError, match=r"holds no train-labels(.|\n)*What to do"):
        data.mnist("train", tmp_path)


def test_a_split_has_a_name():
    with pytest.raises(ValueError, match="train, test"):
        data.fashion_mnist("t10k")  # pyright: ignore
