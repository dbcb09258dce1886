"""The parts of matplotlib that the figures use."""

try:
    from matplotlib.axes import Axes as Axes
    from matplotlib.colors import ListedColormap as ListedColormap, LogNorm as LogNorm
    from matplotlib.figure import Figure as Figure
    from matplotlib.lines import Line2D as Line2D
    from matplotlib.patches import Patch as Patch
    from matplotlib.ticker import (
        NullFormatter as NullFormatter,
        StrMethodFormatter as StrMethodFormatter,
    )
except ImportError as error:
    raise ImportError(
        "seqmem.gradients.pictures needs matplotlib: pip install 'seqmem[plot]'"
    ) from error
