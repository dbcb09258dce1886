"""Downloads of published models, and the tokenizers in their folders."""

import json
import sys

import pytest

from seqmem.models import download, from_pretrained, load_tokenizer
from tests.helpers.refusals import assert_refused


def test_repository_is_not_downloaded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = assert_refused("'owner/name', which is no folder", from_pretrained, "owner/name")
    assert "seqmem.models.download('owner/name')" in message
    assert "download" not in assert_refused("", from_pretrained, tmp_path / "absent")
    assert_refused("download got repo='model'", download, "model")


def test_tokenizer_is_that_of_the_package(tmp_path):
    assert_refused(f"{tmp_path} has no tokenizer.json", load_tokenizer, tmp_path)
    tokenizers = pytest.importorskip("tokenizers")
    model = tokenizers.models.WordLevel({"one": 0, "two": 1, "?": 2}, unk_token="?")
    tokenizers.Tokenizer(model).save(str(tmp_path / "tokenizer.json"))
    assert load_tokenizer(tmp_path).encode("two").ids == [1]
    other = tmp_path / "other"
    other.mkdir()
    (other / "tokenizer.json").symlink_to(tmp_path / "tokenizer.json")
    assert_refused(f"{other / 'tokenizer.json'} leads to", load_tokenizer, other)
    panic = {"type": "BPE", "vocab": {"a": 0, "x": 1, "ax": 2}, "merges": [["a", "x"]]}
    panic |= {"continuing_subword_prefix": "long"}  # longer than a token, on which Rust panics
    panic = {"version": "1.0", "added_tokens": [], "model": panic}
    for text in ("{}", json.dumps(panic)):
        path = tmp_path / "tokenizer.json"
        path.write_text(text)
        assert_refused(f"{path} holds no tokenizer", load_tokenizer, tmp_path)


def test_download_takes_neither_pickles_nor_programs(tmp_path, monkeypatch):
    calls = []

    class Hub:
        @staticmethod
        def snapshot_download(repo, **options):
            calls.append((repo, options))
            return str(tmp_path)

    monkeypatch.setitem(sys.modules, "huggingface_hub", Hub)
    assert download("owner/name") == tmp_path
    assert download("owner/name", tmp_path / "x") == tmp_path
    (repo, options), (_, local) = calls
    assert repo == "owner/name"
    assert not any(
        p.endswith((".bin", ".pt", ".py")) or p == "*" for p in options["allow_patterns"]
    )
    assert "local_dir" not in options
    assert local["local_dir"] == tmp_path / "x"
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ModuleNotFoundError, match=r"(?s)^huggingface_hub .+\n  What to do: pip"):
        download("owner/name")
