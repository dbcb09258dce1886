"""Which method a cell is run with when nobody chose one."""

import functools

from .._cell import AbstractCell
from .base import AbstractMethod
from .scan import Scan


@functools.singledispatch
def default_method(cell: AbstractCell) -> AbstractMethod:
    """The best exact method for a cell's family; a family with a better one than `Scan` registers
    it.
    """
    return Scan()
