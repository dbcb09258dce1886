"""Cases of a test that CI alone runs."""

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def slow(*case: Any) -> Any:
    """A case that is slow."""
    return pytest.param(*case, marks=pytest.mark.slow)


def slow_but(quick: Collection, cases: Iterable) -> list:
    """All cases, slow where they are not among the quick ones; a case of several values is a
    tuple.
    """
    return [
        case if case in quick else slow(*(case if isinstance(case, tuple) else (case,)))
        for case in cases
    ]
