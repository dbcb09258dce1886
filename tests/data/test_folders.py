"""The folder of a data set: a path, SEQMEM_DATA or a download; a failed download leaves nothing."""

import hashlib
import http.client
import http.server
import io
import threading
import urllib.request
import urllib.response
import zipfile

import pytest

from seqmem import data
from seqmem.data import _folders, _fsdd, _shakespeare
from tests.helpers.memory import memory_below
from tests.helpers.refusals import assert_refused


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The empty cache folder; SEQMEM_DATA is not set."""
    monkeypatch.delenv("SEQMEM_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "seqmem"


@pytest.fixture(autouse=True)
def _any_url(request, monkeypatch):
    """Also file:// and http:// are opened, for which no certificate is needed."""
    if "https" not in request.node.name:
        monkeypatch.setattr(_folders, "OPENER", urllib.request.build_opener())


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A published text, at a file:// URL, and its checksum."""
    folder = tmp_path / "published"
    folder.mkdir()
    (folder / "input.txt").write_text("to be, or not\n")
    content = (folder / "input.txt").read_bytes()
    monkeypatch.setattr(_shakespeare, "URL", f"{folder.as_uri()}/")
    monkeypatch.setitem(_shakespeare.SHA256, "input.txt", hashlib.sha256(content).hexdigest())
    return folder / "input.txt"


def test_download_is_read_from_the_cache_the_second_time(cache, published):
    assert data.tiny_shakespeare() == "to be, or not\n"
    published.unlink()
    assert data.tiny_shakespeare() == "to be, or not\n"
    assert [path.name for path in cache.iterdir()] == ["tinyshakespeare"]


def test_path_precedes_seqmem_data_and_both_precede_a_download(
    cache, published, tmp_path, monkeypatch
):
    for place in ("given/tinyshakespeare", "path"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "input.txt").write_text(place)
    monkeypatch.setenv("SEQMEM_DATA", str(tmp_path / "given"))
    assert data.tiny_shakespeare(tmp_path / "path") == "path"
    assert data.tiny_shakespeare() == "given/tinyshakespeare"
    assert not cache.exists()
    monkeypatch.setenv("SEQMEM_DATA", str(tmp_path / "path"))  # which has no such folder
    assert data.tiny_shakespeare() == "to be, or not\n"


def test_download_with_another_checksum_raises_and_leaves_nothing(cache, published):
    published.write_text("to be, or what\n")
    with pytest.raises(ValueError, match=r"SHA-256(.|\n)*Expected(.|\n)*What to do"):
        data.tiny_shakespeare()
    assert list(cache.iterdir()) == []


def test_failed_download_raises_and_leaves_nothing(cache, published):
    published.unlink()
    with pytest.raises(ConnectionError, match=r"could not be downloaded(.|\n)*path="):
        data.tiny_shakespeare()
    assert list(cache.iterdir()) == []


def test_interrupted_download_leaves_nothing(cache, published, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(_folders, "check_sha256", interrupted)  # after the last byte
    with pytest.raises(KeyboardInterrupt):
        data.tiny_shakespeare()
    assert list(cache.iterdir()) == []


def test_faster_of_two_downloads_wins(cache, published, monkeypatch):
    download = _folders.download

    def overtaken(*args):
        download(*args)
        (cache / "tinyshakespeare").mkdir()
        (cache / "tinyshakespeare" / "input.txt").write_text("theirs")

    monkeypatch.setattr(_folders, "download", overtaken)
    assert data.tiny_shakespeare() == "theirs"
    assert [path.name for path in cache.iterdir()] == ["tinyshakespeare"]


class TruncatedResponse(http.server.BaseHTTPRequestHandler):
    """Sends less than it announces, or an error."""

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
def test_truncated_download_raises(name, tmp_path):
    with http.server.HTTPServer(("127.0.0.1", 0), TruncatedResponse) as server:
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


class AnsweringHandler(urllib.request.HTTPSHandler):
    """Answers with a redirect, or with bytes; no connection is opened."""

    def __init__(self, location=None):
        super().__init__()
        self.location = location

    def https_open(self, request):
        headers = http.client.HTTPMessage()
        if self.location is not None and request.full_url != self.location:
            headers["Location"] = self.location
            code = 302
        else:
            code = 200
        answer = urllib.response.addinfourl(io.BytesIO(b"text"), headers, request.full_url, code)
        answer.msg = "answer"
        return answer


def opener_that_answers(location=None):
    opener = _folders.https_opener()
    opener.handle_open["https"] = [AnsweringHandler(location)]
    for handler in opener.handle_open["https"]:
        handler.parent = opener
    return opener


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/x", "file:///etc/hostname", "ftp://x/y", "/x"])
def test_only_https_is_downloaded(url, tmp_path, monkeypatch):
    monkeypatch.setattr(_folders, "OPENER", _folders.https_opener())
    with pytest.raises((ConnectionError, ValueError), match="unknown url type"):
        _folders.download(url, tmp_path / "file", None)
    assert not (tmp_path / "file").exists()


@pytest.mark.parametrize("location", ["http://127.0.0.1:9/x", "file:///etc/hostname"])
def test_redirect_from_https_is_not_followed(location, tmp_path, monkeypatch):
    monkeypatch.setattr(_folders, "OPENER", opener_that_answers(location))
    with pytest.raises(ConnectionError, match=r"unknown url type|not allowed(.|\n)*try again"):
        _folders.download("https://example.org/file", tmp_path / "file", None)
    assert not (tmp_path / "file").exists()


def test_redirect_to_https_is_followed(tmp_path, monkeypatch):
    monkeypatch.setattr(_folders, "OPENER", opener_that_answers("https://example.org/other"))
    _folders.download("https://example.org/file", tmp_path / "file", None)
    assert (tmp_path / "file").read_bytes() == b"text"


def test_endless_download_from_https_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(_folders, "OPENER", opener_that_answers())
    monkeypatch.setattr(_folders, "MAX_SIZE", 3)
    with pytest.raises(ConnectionError, match=r"more than 3 bytes came(.|\n)*try again"):
        _folders.download("https://example.org/file", tmp_path / "file", None)


def test_clips_of_an_archive_are_checked_by_their_content(cache, tmp_path, monkeypatch):
    archive = tmp_path / "archive.zip"
    with zipfile.ZipFile(archive, "w") as members:
        members.writestr("repository-1/README.md", "not a clip")
        for name in ("3_ann_0.wav", "3_ann_1.wav"):
            members.writestr(f"repository-1/recordings/{name}", name)
    lines = [
        f"{hashlib.sha256(name.encode()).hexdigest()}  {name}\n"
        for name in ("3_ann_0.wav", "3_ann_1.wav")
    ]
    monkeypatch.setattr(_fsdd, "URL", archive.as_uri())
    folder = tmp_path / "clips"
    folder.mkdir()
    with pytest.raises(ValueError, match="SHA-256"):
        _fsdd._fetch(folder)
    monkeypatch.setattr(_fsdd, "SHA256", hashlib.sha256("".join(lines).encode()).hexdigest())
    _fsdd._fetch(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["3_ann_0.wav", "3_ann_1.wav"]
    archive.write_bytes(archive.read_bytes()[:-5])
    with pytest.raises(ValueError, match="is no zip file"):
        _fsdd._fetch(folder)


def zip_of(path, members, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_members_of_an_archive_stay_in_the_folder(tmp_path):
    names = [
        "../3_ann_0.wav",
        "/absolute/3_ann_1.wav",
        "a/../../3_ann_2.wav",
        "3_ann_3.wav/../b",
        "3_ann_4.wav.py",
    ]
    folder = tmp_path / "in" / "clips"
    folder.mkdir(parents=True)
    _fsdd.unpack(zip_of(tmp_path / "archive.zip", dict.fromkeys(names, "clip")), folder)
    assert sorted(path.name for path in folder.iterdir()) == [f"3_ann_{i}.wav" for i in range(3)]
    assert [path.name for path in folder.parent.iterdir()] == ["clips"]


def test_link_in_an_archive_is_a_file(tmp_path):
    link = zipfile.ZipInfo("3_ann_0.wav")
    link.external_attr = 0o120777 << 16
    _fsdd.unpack(zip_of(tmp_path / "archive.zip", {link: "/etc/hostname"}), tmp_path)
    assert not (tmp_path / "3_ann_0.wav").is_symlink()
    assert (tmp_path / "3_ann_0.wav").read_text() == "/etc/hostname"


@pytest.mark.parametrize(
    ("method", "size"), [(zipfile.ZIP_DEFLATED, 10**7), (zipfile.ZIP_BZIP2, 7)]
)
def test_clips_of_an_unknown_or_too_large_size_are_refused(method, size, tmp_path):
    archive = zip_of(tmp_path / "archive.zip", {"3_ann_0.wav": bytes(size)}, method)
    with memory_below(5 * 2**20):
        assert_refused(_fsdd.URL, _fsdd.unpack, archive, tmp_path)


@pytest.mark.parametrize("bit", [0x1, 0x20])
def test_encrypted_archive_is_refused(bit, tmp_path):
    archive = zip_of(tmp_path / "archive.zip", {"3_ann_0.wav": "clip"})
    content = bytearray(archive.read_bytes())
    content[6] |= bit
    content[content.index(b"PK\1\2") + 8] |= bit
    archive.write_bytes(content)
    assert_refused(_fsdd.URL, _fsdd.unpack, archive, tmp_path)


def test_missing_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"is not a folder(.|\n)*What to do"):
        data.tiny_shakespeare(tmp_path / "nowhere")


def test_data_set_without_download_says_where_to_put_its_files(cache):
    with pytest.raises(ValueError, match="a folder mnist"):
        data.mnist("test")
