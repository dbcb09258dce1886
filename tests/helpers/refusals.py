"""A refusal in tests: a `ValueError` in three parts."""

import re
from collections.abc import Callable
from typing import Any

import pytest

THREE_PARTS = re.compile(r"^.+\n  Expected: .+\n  What to do: .+$", re.S)


def assert_refused(came: str, call: Callable, *args: Any, **options: Any) -> str:
    """`call(*args, **options)` raises a `ValueError` in three parts, the first of which begins with
    `came`. Returns the message.
    """
    with pytest.raises(ValueError, match=THREE_PARTS) as refusal:
        call(*args, **options)
    message = str(refusal.value)
    assert message.startswith(came), message
    return message
