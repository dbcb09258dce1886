"""All readers of files in seqmem, by name."""

import importlib.util

from . import data, experiment, interop, models
from .reader import Reader

ALL: dict[str, Reader] = {
    **data.READERS,
    **experiment.READERS,
    **models.READERS,
    **interop.READERS,
}


def installed() -> dict[str, Reader]:
    """The readers whose packages are installed."""
    return {
        name: reader for name, reader in ALL.items() if importlib.util.find_spec(reader.package)
    }
