"""Error messages for bad input, in three parts: what came, what was expected, what to do."""

from collections.abc import Callable
from typing import Any


def bad_input(came: str, expected: str, remedy: str) -> ValueError:
    """The `ValueError` to raise.

    Args:
        came: what the caller passed, as a sentence.
        expected: what would have been accepted.
        remedy: what to do, as a command.
    """
    return ValueError(f"{came}\n  Expected: {expected}\n  What to do: {remedy}")


def is_ours(error: BaseException) -> bool:
    """Whether an error is one of `bad_input`."""
    return "\n  Expected: " in str(error)


def is_refused(check: Callable[..., None], *args: Any) -> bool:
    """Whether a check refuses these arguments."""
    try:
        check(*args)
    except ValueError:
        return True
    return False
