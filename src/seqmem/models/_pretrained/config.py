"""The config of a published model: `config.json`, read as what anybody may have written."""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from ..._core.errors import bad_input

MAX_LENGTH = 2**20  # of what no parameter need have the size of: windows, chunks, positions


class CheckedConfig(Mapping[str, Any]):
    """A config whose numbers are bounded by the tensors of its files, which is checked as each is
    read. Nothing is made of a size that is in no proportion to the files.

    Args:
        entries: the config.
        num_tensors: how many tensors the files have, which have more than one for each layer.
        num_entries: how many numbers are in all of them together; no axis is longer.
    """

    def __init__(self, entries: Mapping[str, Any], num_tensors: int, num_entries: int):
        self.entries = entries
        self.num_tensors, self.num_entries = num_tensors, num_entries

    def __getitem__(self, name: str) -> Any:
        if name not in self.entries:
            raise bad_input(
                f"config.json has no {name!r}.",
                f"the entries of a model of type {self.entries.get('model_type')!r}.",
                "save the model again with the library that it comes from.",
            )
        return self._checked(name, self.entries[name])

    def get(self, name: str, default: Any = None) -> Any:
        return self[name] if name in self.entries else default

    def __contains__(self, name: object) -> bool:
        return name in self.entries

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def _checked(self, name: str, value: Any) -> Any:
        if isinstance(value, dict):
            return CheckedConfig(value, self.num_tensors, self.num_entries)
        if isinstance(value, list):
            return [self._checked(name, entry) for entry in value]
        most = self.num_tensors if "layer" in name else max(self.num_entries, MAX_LENGTH)
        if type(value) is int and not 0 <= value <= most:
            raise bad_input(
                f"config.json has {name}={value}.",
                f"a number from 0 to {most}, for the tensors of these files.",
                "check that the config belongs to these files; one of them was changed or cut.",
            )
        return value


def decoded(value: Any) -> Any:
    """The entries of `config.json`, where transformers writes {"__float__": "Infinity"}.

    Raises:
        ValueError: for another text in the place of such a number.
    """
    if isinstance(value, dict):
        if value.keys() == {"__float__"}:
            return _number(value["__float__"])
        return {name: decoded(entry) for name, entry in value.items()}
    return [decoded(entry) for entry in value] if isinstance(value, list) else value


def _number(text: Any) -> float:
    try:
        return float(text)
    except (TypeError, ValueError, OverflowError) as error:
        raise bad_input(
            f"config.json has {{'__float__': {str(text)[:200]!r}}}.",
            "the text of a number.",
            "copy the file again from where it comes.",
        ) from error


def encoded(value: Any) -> Any:
    """The inverse of `decoded`."""
    if isinstance(value, Mapping):
        return {name: encoded(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [encoded(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        names = {math.inf: "Infinity", -math.inf: "-Infinity"}
        return {"__float__": names.get(value, "NaN")}
    return value


def text_of(config: Mapping[str, Any]) -> str:
    """A config as transformers writes it.

    Raises:
        ValueError: for what JSON cannot hold.
    """
    try:
        return json.dumps(encoded(config), indent=2, sort_keys=True) + "\n"
    except TypeError as error:
        raise bad_input(
            f"a config that JSON cannot hold: {error}.",
            "numbers, strings, booleans, None, and lists and dicts of them.",
            "pass the entries of a config.json.",
        ) from error
