"""What is built from cells."""

from .stack import LayerByLayer as LayerByLayer, Stack as Stack
from .tcn import tcn as tcn, with_dropped_channels as with_dropped_channels
