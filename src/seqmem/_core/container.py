"""Containers: layers made of layers, which `seqmem.layers.LayerByLayer` runs part by part."""

import abc
from collections.abc import Callable
from typing import Any

from .cell import AbstractCell, AbstractLayer
from .method import AbstractMethod
from .problem import Problem, Solution


class AbstractContainer(AbstractLayer):
    """A layer that hands its work to other layers, each of which gets its own method."""

    @abc.abstractmethod
    def run_parts(self, problem: Problem, methods: tuple[AbstractMethod | None, ...]) -> Solution:
        """Run every part over all of time.

        Args:
            problem: a run of this layer.
            methods: one for each part, one for all, or none; None is the part's default.
        """

    @abc.abstractmethod
    def map_first(self, change: Callable[[Any], Any]) -> "AbstractContainer":
        """The same container, `change` applied to the part that gets the inputs."""


class AbstractContainerCell(AbstractContainer, AbstractCell):
    """A container that is a cell: it can also be run for one step."""

    is_composite = True
