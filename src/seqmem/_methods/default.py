"""Which method a cell is run with when nobody chose one."""

import functools

from .._core.cell import AbstractCell
from .._core.method import AbstractMethod
from .scan.scan import Scan


@functools.singledispatch
def default_method(cell: AbstractCell) -> AbstractMethod:
    """The best exact method for a cell's family; a family with a better one than `Scan` registers
    it.
    """
    return Scan()
