"""The default method of each family."""

from .._core.cell import AbstractLayer
from .._core.family import PerPlatform
from .._core.method import AbstractMethod
from .._core.platform import current_platform
from .scan.scan import Scan


def default_method(layer: AbstractLayer) -> AbstractMethod:
    """The method that runs a layer where none is chosen, on the platform that is traced for."""
    default = layer.family.default
    if isinstance(default, PerPlatform):
        return getattr(default, current_platform())
    return default or Scan()
