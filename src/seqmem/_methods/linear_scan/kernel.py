"""What a kernel for linear recurrences is: a scan over the rows of chunks of time, side by side."""

import abc
import math
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from .planes import MapPlanes

Carry = TypeVar("Carry")  # a tree of planes, [chunks, columns]


class Layout(NamedTuple):
    """How the entries of an array [time, ...] are put to a kernel: as [chunks, chunk, columns].

    Attributes:
        chunks: into how many chunks time is cut; they are run side by side.
        tile: the steps that are in fast memory at once.
        tiles: of time in a chunk.
        step: the shape of one step in fast memory, with padding.
        block: the part of a step that one block of the grid runs.
    """

    chunks: int
    tile: int
    tiles: int
    step: tuple[int, ...]
    block: tuple[int, ...]

    @property
    def chunk(self) -> int:
        """The steps of a chunk."""
        return self.tile * self.tiles

    @property
    def columns(self) -> int:
        """The entries of one step, with padding."""
        return math.prod(self.step)


class AbstractKernel(abc.ABC):
    """A kernel of one kind of device."""

    @abc.abstractmethod
    def layout_of(self, shape: tuple[int, ...], num_planes: int, chunk_size: int | None) -> Layout:
        """The layout of arrays.

        Args:
            shape: of the states, time first.
            num_planes: that are read or written over time.
            chunk_size: about how many steps a chunk has; None is as many as fill the device.
        """

    @abc.abstractmethod
    def scan(
        self,
        advance: Callable[[Carry, MapPlanes], Carry],
        start: Carry,
        rows: MapPlanes,
        layout: Layout,
        *,
        reverse: bool,
        every_step: bool,
    ) -> Carry:
        """`advance` from step to step of every chunk, entry by entry.

        Args:
            advance: (carry, row) -> carry, of arrays of one shape.
            start: the carry before the first step of each chunk, planes [chunks, columns].
            rows: planes [chunks, chunk, columns].
            layout: of the arrays.
            reverse: whether the last step of a chunk is run first.
            every_step: whether the carry after every step is returned, [chunks, chunk, columns],
                or that after the last one of each chunk, [chunks, columns].
        """


def split_evenly(total: int, most: int) -> tuple[int, int]:
    """(count, size) of parts of at most `most` that cover `total`, padded as little as can be."""
    count = math.ceil(total / most)
    return count, math.ceil(total / count)


def power_of_two(most: int) -> int:
    """The largest power of two up to `most`, and at least 1."""
    return 1 << max(most.bit_length() - 1, 0)
