"""The default method of each family."""

from .._core.cell import AbstractLayer
from .._core.method import AbstractMethod
from .scan.scan import Scan


def default_method(cell: AbstractLayer) -> AbstractMethod:
    """The method that runs a cell where none is chosen."""
    return cell.family.default or Scan()
