"""All layouts, by the `model_type` of a `config.json`."""

from .layout import Layout
from .mamba2 import MAMBA2

LAYOUTS: dict[str, Layout] = {
    layout.model_type: layout
    for layout in (
        MAMBA2,  # one layout a line
    )
}
