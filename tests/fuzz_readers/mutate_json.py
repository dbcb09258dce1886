"""Changes of JSON values: extremes, other types, names twice, deep nesting."""

import json
import random
from typing import Any

NUMBERS = (0, -1, 1, 2, 3, 2**31, 2**32, 2**62, 2**63, 2**64, 10**30, -(2**63), 0.5, 1e308, -0.0)
TEXTS = ("", "x", "../x", "/etc/passwd", "\0", "\ud800", "F64", "I32", "float64", "NaN", "x" * 300)
VALUES = (*NUMBERS, *TEXTS, None, True, False, [], {}, [[]], [0], [-1], {"x": 1}, {"__float__": []})
WORDS = ("NaN", "Infinity", "-Infinity", "1e999", "9" * 5000, "01", "'x'", "\ufeff1")
DEPTHS = (40, 300, 900, 3000, 100_000)
MARK = "\x01 place of a text \x01"


def json_of(content: bytes) -> tuple[int, int, Any]:
    """The first JSON object in a content: where it begins and ends, and its value."""
    begin = content.find(b"{")
    if begin >= 0:
        try:
            text = content[begin:].decode("utf-8", "surrogateescape")
            value, size = json.JSONDecoder().raw_decode(text)
            used = text[:size].encode("utf-8", "surrogateescape")
            return begin, begin + len(used), value
        except (ValueError, RecursionError):
            pass
    return 0, 0, None


def change_json(rng: random.Random, value: Any) -> bytes:
    """The text of a value in which one entry is another."""
    kind = rng.random()
    if kind < 0.6:
        text = json.dumps(_replaced(rng, value, rng.choice(VALUES)))
    elif kind < 0.7:
        text = json.dumps(_replaced(rng, value, None, shuffle=True))
    else:
        text = json.dumps(_replaced(rng, value, MARK))
        text = text.replace(json.dumps(MARK), _odd_text(rng))
    if kind > 0.95 and text.endswith("}"):
        text = _with_names_twice(text)
    return text.encode("utf-8", "surrogateescape")


def _replaced(rng: random.Random, value: Any, new: Any, *, shuffle: bool = False) -> Any:
    """The value with a new entry in place of a random one, under its name or another."""
    value = json.loads(json.dumps(value))
    places = list(_places(value))
    if not places:
        return new
    parent, key = rng.choice(places)
    if shuffle:
        other, other_key = rng.choice(places)
        parent[key] = json.loads(json.dumps(other[other_key]))
    elif isinstance(parent, dict) and rng.random() < 0.3:
        entry = parent.pop(key)
        if rng.random() < 0.7:
            parent[rng.choice((*TEXTS, key.upper(), key + "x"))] = entry
    else:
        parent[key] = new
    return value


def _places(value: Any) -> Any:
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key])


def _odd_text(rng: random.Random) -> str:
    """A value that `json.dumps` does not write."""
    if rng.random() < 0.5:
        return rng.choice(WORDS)
    depth = rng.choice(DEPTHS)
    opening, closing = rng.choice((("[", "]"), ('{"x":', "}"), ('[{"__float__":', "}]")))
    return opening * depth + "1" + closing * (depth if rng.random() < 0.8 else 0)


def _with_names_twice(text: str) -> str:
    return text[:-1] + ", " + text[1:] if text not in ("{}", "") else text
