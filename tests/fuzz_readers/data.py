"""The readers of `seqmem.data`: sound, images, text, translations, an archive of clips."""

import gzip
import io
import random
import struct
import wave
import zipfile

import numpy as np

from seqmem import data
from seqmem.data import _fsdd

from .reader import Parts, Reader

IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
ENGLISH, GERMAN = "val.lc.norm.tok.en", "val.lc.norm.tok.de"
TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def wav(samples: int = 97) -> bytes:
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(range(samples)) * 2)
    return content.getvalue()


def with_chunk(sound: bytes) -> bytes:
    """The sound with a chunk of text before its samples."""
    chunk = b"LIST" + struct.pack("<I", 10) + b"INFO hello"
    size = struct.pack("<I", len(sound) + len(chunk) - 8)
    return sound[:4] + size + sound[8:36] + chunk + sound[36:]


def idx(shape: tuple[int, ...], code: int = 8) -> bytes:
    array = np.arange(np.prod(shape)).reshape(shape).astype(TYPES[code])
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *shape) + array.tobytes()


def compressed(rng: random.Random, parts: Parts) -> Parts:
    """The files, some of them compressed by gzip."""
    return {
        name: gzip.compress(content, mtime=0) if rng.random() < 0.4 else content
        for name, content in parts.items()
    }


def suffixed(rng: random.Random, parts: Parts) -> Parts:
    """The same under the names that these files have."""
    return {
        name + ".gz" * content.startswith(b"\x1f\x8b"): content
        for name, content in compressed(rng, parts).items()
    }


def archive(rng: random.Random, parts: Parts) -> Parts:
    """A zip file of the parts, sometimes under names that lead out of the folder."""
    content = io.BytesIO()
    method = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2))
    with zipfile.ZipFile(content, "w", method) as members:
        for name, clip in parts.items():
            start = rng.choice(("a/", "a/", "", "../", "/", "/absolute/", "a/../../", "C:\\"))
            members.writestr(zipfile.ZipInfo(start + name), clip, method)
    return {"clips.zip": content.getvalue()}


def read_text(folder):
    text = data.read_text(folder / "text")
    assert data.Vocabulary.from_text(text).encode(text).size == len(text)


def read_translations(folder):
    sentences = data.multi30k("val", folder)
    for language in sentences:
        vocabulary = data.WordVocabulary.from_sentences(language, min_count=1)
        assert all(len(vocabulary.encode(sentence)) for sentence in language)


def unpack(folder):
    before = set(folder.parent.iterdir())
    (folder / "clips").mkdir()
    _fsdd.unpack(folder / "clips.zip", folder / "clips")
    assert set(folder.parent.iterdir()) == before
    assert {path.name for path in folder.iterdir()} == {"clips.zip", "clips"}
    assert all(_fsdd.NAME.fullmatch(path.name) for path in (folder / "clips").iterdir())
    data.spoken_digits(folder / "clips")


READERS = {
    "wav": Reader(
        lambda folder: data.read_wav(folder / "sound.wav"),
        lambda: [{"sound.wav": sound} for sound in (wav(), wav(0), with_chunk(wav(53)))],
    ),
    "idx": Reader(
        lambda folder: data.read_idx(folder / "array"),
        lambda: [
            *({"array": idx((3, 5, 2), code)} for code in TYPES),
            {"array": idx(())},
            {"array": idx((0, 3))},
        ],
        compressed,
    ),
    "images": Reader(
        lambda folder: data.mnist("train", folder),
        lambda: [{IMAGES: idx((3, 5, 2)), LABELS: idx((3,))}],
        suffixed,
    ),
    "text": Reader(
        read_text,
        lambda: [
            {"text": text.encode()} for text in ("to be, or not\n", "größer\r\nals \U0001f600")
        ],
    ),
    "translations": Reader(
        read_translations,
        lambda: [
            {ENGLISH: b"a dog runs .\ntwo men\n", GERMAN: "ein hund läuft .\nzwei\n".encode()}
        ],
    ),
    "clips": Reader(
        unpack,
        lambda: [{"3_ann_0.wav": wav(13), "3_ann_1.wav": wav(17), "README.md": b"not a clip"}],
        archive,
        names=(_fsdd.URL,),
    ),
}
