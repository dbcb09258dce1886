"""`LayerByLayer`: a network runs part by part, each over all of time by its own method."""

import dataclasses

from .._core.cell import AbstractLayer
from .._core.container import AbstractContainer
from .._core.errors import bad_input
from .._core.family import Family
from .._core.method import AbstractMethod
from .._core.time_shard import TimeShard
from .default import default_method
from .scan.reference import ReferenceScan
from .scan.scan import Scan


@dataclasses.dataclass(frozen=True)
class LayerByLayer(AbstractMethod):
    """Run a network of layers one part after the other, each over all of time.

    It is the default method of `seqmem.layers.Stack` and other networks.

    Args:
        methods: one for each part, or one for all; None picks the default of a part's family.
            Without any, that is what every part gets. Where time is over devices, each is a
            `seqmem.Sharded`.

    Raises:
        ValueError: where some methods, but not all, have time over devices.

    Example:
        >>> import seqmem
        >>> seqmem.layers.LayerByLayer(seqmem.Scan(recompute=True), None)
        LayerByLayer(Scan(recompute=True, tile=None, transform=None), None)
    """

    methods: tuple[AbstractMethod | None, ...]

    def __init__(self, *methods: AbstractMethod | None):
        object.__setattr__(self, "methods", methods)
        if len(self._time_shards()) > 1:
            raise bad_input(
                f"{self}.",
                "time over the same devices for every layer, or for none.",
                "write seqmem.Sharded(...) for each layer, with the same axis name.",
            )

    def _time_shards(self) -> set[TimeShard]:
        return {TimeShard() if method is None else method.time_shard for method in self.methods}

    def __repr__(self) -> str:
        return f"LayerByLayer({', '.join(map(repr, self.methods))})"

    @property
    def needs_step_index(self) -> bool:
        return any(method is not None and method.needs_step_index for method in self.methods)

    @property
    def needs_cell(self) -> bool:
        return False

    @property
    def time_shard(self) -> TimeShard:
        return next(iter(self._time_shards()), TimeShard())

    def run(self, problem):
        if not isinstance(problem.cell, AbstractContainer):
            raise bad_input(
                f"LayerByLayer got a cell of type {type(problem.cell).__name__}.",
                "a seqmem.layers.Stack, or another network of layers.",
                "pass one of its methods itself, e.g. method=seqmem.Scan().",
            )
        return problem.cell.run_parts(problem, self.methods)


COMPOSITE = Family(
    "composite",
    default=LayerByLayer(),
    methods=(LayerByLayer(), LayerByLayer(ReferenceScan()), Scan(), ReferenceScan()),
)


def method_of_part(
    part: AbstractLayer, methods: tuple[AbstractMethod | None, ...], index: int, count: int
) -> AbstractMethod:
    """The method of one of `count` parts, from the methods of a `LayerByLayer`.

    Raises:
        ValueError: where the number of methods is neither 0, 1 nor `count`.
    """
    if len(methods) not in (0, 1, count):
        raise bad_input(
            f"LayerByLayer got {len(methods)} methods for {count} layers.",
            "none, one, or one for each layer.",
            "write None for a layer that should get its default.",
        )
    chosen = methods[index if len(methods) == count else 0] if methods else None
    return chosen or default_method(part)
