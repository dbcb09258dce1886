"""What is built from cells."""

from .stack import LayerByLayer as LayerByLayer, Stack as Stack
