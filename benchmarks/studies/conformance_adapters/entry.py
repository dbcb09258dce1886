"""What an adapter offers: functions of a library, and what is not asked of them."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import NamedTuple

from seqmem._testing.ops.op import AbstractOp


class Entry(NamedTuple):
    """A function of a library, ready for `seqmem.testing.report_op`.

    Attributes:
        name: of the function, in the tables.
        op: the function, with what it offers.
    """

    name: str
    op: AbstractOp


@dataclasses.dataclass(frozen=True)
class Library:
    """A library, whose adapter is imported when its functions are asked for.

    Attributes:
        packages: its packages in the package index; the first has its version in the tables.
        build: the entries; raises ImportError where a package is missing.
        promises: what its documentation says of sequences.
        unpromised: laws that it does not promise, each with the reason, for functions with a word
            in their names ("": for all). Where one of them does not hold, that is reported as seen,
            and not as a fault.
    """

    packages: tuple[str, ...]
    build: Callable[[], list[Entry]]
    promises: str
    unpromised: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)
