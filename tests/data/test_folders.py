"""Where data come from: a path, SEQMEM_DATA, or a publisher; and what an accident leaves."""

import hashlib
import http.server
import threading
import zipfile

import pytest

from seqmem import data
from seqmem.data import _folders, fsdd, shakespeare


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, and no SEQMEM_DATA; the folder where downloads come to lie."""
    monkeypatch.delenv("SEQMEM_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "seqmem"


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A text as its publisher has it, at a file:// address, and its checksum as we know it."""
    folder = tmp_path / "published"
    folder.mkdir()
    (folder / "input.txt").write_text("to be, or not\n")
    content = (folder / "input.txt").read_bytes()
    monkeypatch.setattr(shakespeare, "ADDRESS", f"{folder.as_uri()}/")
    monkeypatch.setitem(shakespeare.SUMS, "input.txt", hashlib.sha256(content).hexdigest())
    return folder / "input.txt"


def test_what_is_fetched_once_is_read_from_the_cache(cache, published):
    assert data.tiny_shakespeare() == "to be, or not\n"
    published.unlink()
    assert data.tiny_shakespeare() == "to be, or not\n"
    assert [path.name for path in cache.iterdir()] == ["tinyshakespeare"]


def test_a_path_comes_before_seqmem_data_and_both_before_the_publisher(
    cache, published, tmp_path, monkeypatch
):
    for place in ("given/tinyshakespeare", "path"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "input.txt").write_text(place)
    monkeypatch.setenv("SEQMEM_DATA", str(tmp_path / "given"))
    assert data.tiny_shakespeare(tmp_path / "path") == "path"
    assert data.tiny_shakespeare() == "given/tinyshakespeare"
    assert not cache.exists()
    monkeypatch.setenv("SEQMEM_DATA", str(tmp_path / "path"))  # which holds no such folder
    assert data.tiny_shakespeare() == "to be, or not\n"


def test_another_checksum_is_an_error_and_leaves_nothing(cache, published):
    published.write_text("to be, or what\n")
    with pytest.raises(ValueError, match=r"SHA-256(.|\n)*Expected(.|\n)*What to do"):
        data.tiny_shakespeare()
    assert list(cache.iterdir()) == []


def test_a_publisher_who_does_not_answer_is_an_error_and_leaves_nothing(cache, published):
    published.unlink()
    with pytest.raises(ConnectionError, match=r"could not be fetched(.|\n)*path="):
        data.tiny_shakespeare()
    assert list(cache.iterdir()) == []


def test_an_interrupted_download_leaves_nothing(cache, published, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(_folders, "check_sum", interrupted)  # when all is written
    with pytest.raises(KeyboardInterrupt):
        data.tiny_shakespeare()
    assert list(cache.iterdir()) == []


def test_the_faster_of_two_processes_wins(cache, published, monkeypatch):
    fetch = _folders.download

    def overtaken(*args):
        fetch(*args)
        (cache / "tinyshakespeare").mkdir()
        (cache / "tinyshakespeare" / "input.txt").write_text("theirs")

    monkeypatch.setattr(_folders, "download", overtaken)
    assert data.tiny_shakespeare() == "theirs"
    assert [path.name for path in cache.iterdir()] == ["tinyshakespeare"]


class CutOff(http.server.BaseHTTPRequestHandler):
    """Promises more than it sends, or has nothing."""

    def do_GET(self):
        if self.path.endswith("/none"):
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"half of it")

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("name", ["half", "none"])
def test_a_transfer_that_ends_too_soon_is_an_error(name, tmp_path):
    with http.server.HTTPServer(("127.0.0.1", 0), CutOff) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with pytest.raises((ConnectionError, ValueError), match=r"Expected(.|\n)*try again"):
                _folders.download(
                    f"http://127.0.0.1:{server.server_port}/{name}",
                    tmp_path / name,
                    hashlib.sha256(b"all of it").hexdigest(),
                )
        finally:
            server.shutdown()
            thread.join()


def test_clips_are_taken_out_of_an_archive_and_checked_by_their_content(
    cache, tmp_path, monkeypatch
):
    archive = tmp_path / "archive.zip"
    with zipfile.ZipFile(archive, "w") as members:
        members.writestr("repository-1/README.md", "no clip")
        for name in ("3_ann_0.wav", "3_ann_1.wav"):
            members.writestr(f"repository-1/recordings/{name}", name)
    lines = [
        f"{hashlib.sha256(name.encode()).hexdigest()}  {name}\n"
        for name in ("3_ann_0.wav", "3_ann_1.wav")
    ]
    monkeypatch.setattr(fsdd, "ADDRESS", archive.as_uri())
    folder = tmp_path / "clips"
    folder.mkdir()
    with pytest.raises(ValueError, match="SHA-256"):
        fsdd._fetch(folder)
    monkeypatch.setattr(fsdd, "SUM", hashlib.sha256("".join(lines).encode()).hexdigest())
    fsdd._fetch(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["3_ann_0.wav", "3_ann_1.wav"]
    archive.write_bytes(archive.read_bytes()[:-5])
    with pytest.raises(ValueError, match="no zip file"):
        fsdd._fetch(folder)


def test_a_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"is no folder(.|\n)*What to do"):
        data.tiny_shakespeare(tmp_path / "nowhere")


def test_what_is_not_fetched_says_where_to_put_it(cache):
    with pytest.raises(ValueError, match="a folder mnist"):
        data.mnist("test")
