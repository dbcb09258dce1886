"""Text as ids, and as segments for truncated backpropagation through time."""

import numpy as np

from seqmem import data
from tests.helpers.refusals import assert_refused


def test_vocabulary_decode_inverts_encode():
    text = "Zwölf Boxkämpfer\n"
    vocabulary = data.Vocabulary.from_text(text)
    ids = vocabulary.encode(text)
    assert vocabulary.decode(ids) == text
    assert sorted(set(ids.tolist())) == list(range(len(vocabulary)))


def test_vocabulary_names_unknown_characters():
    vocabulary = data.Vocabulary.from_text("abc")
    assert_refused("the text has 2 unknown characters: 'xy'", vocabulary.encode, "abxcyy")


def test_read_text_without_path_is_the_language_reference():
    text = data.read_text()
    assert 400_000 < len(text) < 600_000
    assert 90 < len(data.Vocabulary.from_text(text)) < 130
    assert 'The "assert" statement' in text


def test_read_text_reads_utf_8(tmp_path):
    path = tmp_path / "text"
    path.write_text("naïve\n", encoding="utf-8")
    assert data.read_text(path) == data.read_text(str(path)) == "naïve\n"


def test_segments_of_a_stream_continue_each_other():
    ids = np.arange(73)
    inputs, targets = data.segment_text(ids, time=7, batch=3)
    assert inputs.shape == targets.shape == (3, 7, 3)
    np.testing.assert_array_equal(targets, inputs + 1)
    streams = inputs.reshape(-1, 3)
    np.testing.assert_array_equal(np.diff(streams, axis=0), 1)
    np.testing.assert_array_equal(streams[0], [0, 21, 42])


def test_segment_text_refuses_a_text_shorter_than_one_segment():
    data.segment_text(np.arange(22), time=7, batch=3)
    for length, time, batch in [(21, 7, 3), (22, 0, 3), (22, 7, 0)]:
        ids = np.arange(length)
        assert_refused("segment_text got", data.segment_text, ids, time=time, batch=batch)


def test_read_text_refuses_other_bytes_than_utf_8(tmp_path):
    path = tmp_path / "text"
    path.write_bytes(b"caf\xe9")
    assert_refused(f"{path} is not UTF-8", data.read_text, path)
