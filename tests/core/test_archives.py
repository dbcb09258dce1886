"""Members of a zip file are read up to a limit on all of them together."""

import zipfile

import pytest

from seqmem._core import archives
from tests.helpers.refusals import assert_refused


@pytest.mark.parametrize("limit", [12, 11])
def test_members_may_take_the_limit_and_no_byte_more(tmp_path, monkeypatch, limit):
    path = tmp_path / "weights.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, size in (("a", 5), ("other", 90), ("b", 7)):
            archive.writestr(name, size * b"x")
    monkeypatch.setattr(archives, "max_content", lambda size: limit)
    read = lambda: dict(archives.read_members(path, "ab".__contains__, "weights.zip"))  # noqa: E731
    if limit == 12:
        assert read() == {"a": b"xxxxx", "b": b"xxxxxxx"}
    else:
        assert_refused("weights.zip is no zip file that can be read", read)
