"""Changes of bytes, as a damaged or hostile file has them."""

import random

from .mutate_json import change_json, json_of

SIZES = (1, 2, 4, 8)
MAX_CHANGES = 4
MAX_RANDOM = 300


def change(rng: random.Random, content: bytes, others: list[bytes]) -> bytes:
    """The content after one to four changes.

    Args:
        rng: draws all changes.
        content: of a file.
        others: contents that parts are copied from.
    """
    for _ in range(rng.randint(1, MAX_CHANGES)):
        content = rng.choice(CHANGES)(rng, content, rng.choice(others))
    return content


def random_bytes(rng: random.Random, content: bytes, other: bytes) -> bytes:
    return rng.randbytes(rng.randrange(MAX_RANDOM))


def random_bytes_after_a_valid_start(rng: random.Random, content: bytes, other: bytes) -> bytes:
    return content[: rng.randrange(40)] + rng.randbytes(rng.randrange(MAX_RANDOM))


def truncate(rng: random.Random, content: bytes, other: bytes) -> bytes:
    return content[: _place(rng, content)]


def flip_bits(rng: random.Random, content: bytes, other: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8)) if content else 0):
        changed[_place(rng, content)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def replace_number(rng: random.Random, content: bytes, other: bytes) -> bytes:
    """An extreme integer in place of some bytes."""
    size = rng.choice(SIZES)
    place = _place(rng, content)
    extremes = (0, 1, 255, 2 ** (8 * size) - 1, 2 ** (8 * size - 1), 2 ** (8 * size - 1) - 1)
    value = rng.choice((*extremes, len(content), len(content) - place, rng.getrandbits(8 * size)))
    number = (value % 2 ** (8 * size)).to_bytes(size, rng.choice(("little", "big")))
    return content[:place] + number + content[place + size :]


def delete(rng: random.Random, content: bytes, other: bytes) -> bytes:
    begin, end = _slice(rng, content)
    return content[:begin] + content[end:]


def duplicate(rng: random.Random, content: bytes, other: bytes) -> bytes:
    begin, end = _slice(rng, content)
    return content[:end] + content[begin:end] * rng.choice((1, 1, 2, 50)) + content[end:]


def swap(rng: random.Random, content: bytes, other: bytes) -> bytes:
    a, b, c = sorted(_place(rng, content) for _ in range(3))
    return content[:a] + content[b:c] + content[a:b] + content[c:]


def insert(rng: random.Random, content: bytes, other: bytes) -> bytes:
    place = _place(rng, content)
    return content[:place] + rng.randbytes(rng.randrange(1, 20)) + content[place:]


def splice(rng: random.Random, content: bytes, other: bytes) -> bytes:
    begin, end = _slice(rng, other)
    place = _place(rng, content)
    kept = rng.choice((place, min(place + end - begin, len(content))))
    return content[:place] + other[begin:end] + content[kept:]


def append(rng: random.Random, content: bytes, other: bytes) -> bytes:
    return content + rng.choice((b"\0", b"\n", rng.randbytes(7), other))


def change_text(rng: random.Random, content: bytes, other: bytes) -> bytes:
    """A character that text rarely has."""
    place = _place(rng, content)
    odd = rng.choice(("\n", "\r", "\0", "\u2028", "\ufeff", '"', ",", "[", "{", "ö", "\U0010ffff"))
    return content[:place] + odd.encode() + content[place:]


def change_json_inside(rng: random.Random, content: bytes, other: bytes) -> bytes:
    """Other values in the first JSON object of the content, the number of whose bytes may stand
    before it.
    """
    begin, end, value = json_of(content)
    if end == begin:
        return content
    try:
        text = change_json(rng, value)
    except RecursionError:  # an earlier change made it deep
        return content
    before = content[:begin]
    if begin >= 8 and rng.random() < 0.9:
        length = int.from_bytes(content[begin - 8 : begin], "little")
        if length == end - begin:
            before = before[:-8] + len(text).to_bytes(8, "little")
    return before + text + content[end:]


CHANGES = (
    random_bytes,
    random_bytes_after_a_valid_start,
    truncate,
    *[flip_bits, replace_number] * 3,
    delete,
    duplicate,
    swap,
    insert,
    splice,
    append,
    change_text,
    *[change_json_inside] * 4,
)


def _place(rng: random.Random, content: bytes) -> int:
    """A place in the content, often near its start, where headers stand, or its end."""
    if not content:
        return 0
    near = min(len(content), 64)
    return rng.choice(
        (rng.randrange(len(content)), rng.randrange(near), len(content) - 1 - rng.randrange(near))
    )


def _slice(rng: random.Random, content: bytes) -> tuple[int, int]:
    begin = _place(rng, content)
    return begin, min(begin + rng.choice((1, 2, 4, 8, 16, 64, 1000)), len(content))
