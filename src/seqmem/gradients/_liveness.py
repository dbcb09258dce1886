"""How many bytes a traced program has alive at once: a pass over its equations, calls written out.

What a compiler certainly does is taken into account: dead equations are dropped, reshapes and
broadcasts cost nothing, an entry-by-entry operation writes over an argument that nobody else
reads. What it may fuse beyond that is not.
"""

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

CALLS = {
    "jit",
    "pjit",
    "closed_call",
    "core_call",
    "custom_jvp_call",
    "custom_vjp_call",
    "remat",
    "remat2",
}
VIEWS = {"reshape", "squeeze", "broadcast_in_dim", "copy", "stop_gradient", "expand_dims"}
LOOPS = {"scan", "while"}
MOVES = {
    "dot_general",
    "transpose",
    "concatenate",
    "scan",
    "while",
    "cond",
    "slice",
    "gather",
    "reduce_sum",
}


@dataclasses.dataclass(eq=False)
class _Value:
    size: int
    whole: "_Value | None" = None  # the value that this one is a view of
    looped: bool = False  # a loop returned it; XLA writes nothing over such a buffer

    @property
    def home(self) -> "_Value":
        return self if self.whole is None else self.whole.home


@dataclasses.dataclass(eq=False)
class _Step:
    name: str
    args: list[_Value]
    outs: list[_Value]
    inside: int  # bytes alive within one run of a loop's body


class Program:
    """A program without calls, its values counted once each.

    Attributes:
        results: bytes of the results that are not arguments.
        peak: the most bytes alive at once beside the arguments.
    """

    def __init__(self, program: ClosedJaxpr | Jaxpr):
        jaxpr = _open(program)
        known = {var: _Value(_size(var)) for var in [*jaxpr.invars, *jaxpr.constvars]}
        arguments = set(known.values())
        steps = list(_written_out(jaxpr, known))
        outs = {known[var].home for var in jaxpr.outvars if not isinstance(var, Literal)}
        steps = _alive(steps, outs)
        self.results = sum(value.size for value in outs - arguments)
        self.peak = _peak(steps, arguments, outs)


def _open(program: ClosedJaxpr | Jaxpr) -> Jaxpr:
    return program.jaxpr if isinstance(program, ClosedJaxpr) else program


def _size(var: Any) -> int:
    dtype = getattr(var.aval, "dtype", None)
    return 0 if dtype is None else math.prod(var.aval.shape) * dtype.itemsize


def _programs(params: dict[str, Any]) -> Iterator[Jaxpr]:
    for value in params.values():
        for part in value if isinstance(value, tuple) else [value]:
            if isinstance(part, ClosedJaxpr | Jaxpr):
                yield _open(part)


def _written_out(jaxpr: Jaxpr, known: dict[Any, _Value]) -> Iterator[_Step]:
    """The equations in order, those of calls in the place of the call; `known` learns every
    value.
    """
    for eqn in jaxpr.eqns:
        name = eqn.primitive.name
        inside = list(_programs(eqn.params))
        args = [known[var] if not isinstance(var, Literal) else _Value(0) for var in eqn.invars]
        if name in CALLS and inside:
            own = dict(zip(inside[0].invars, args, strict=True))
            own |= {var: _Value(_size(var)) for var in inside[0].constvars}
            yield from _written_out(inside[0], own)
            shown = [
                own.get(var, _Value(0)) if not isinstance(var, Literal) else _Value(0)
                for var in inside[0].outvars
            ]
            known |= dict(zip(eqn.outvars, shown, strict=True))
            continue
        view = args[0] if name in VIEWS and args else None
        outs = [_Value(_size(var), view, name in LOOPS) for var in eqn.outvars]
        known |= dict(zip(eqn.outvars, outs, strict=True))
        yield _Step(name, args, outs, max((Program(p).peak for p in inside), default=0))


def _alive(steps: Sequence[_Step], wanted: Iterable[_Value]) -> list[_Step]:
    """The steps whose results somebody reads, and of their results only those."""
    needed, kept = set(wanted), []
    for step in reversed(steps):
        step.outs = [value for value in step.outs if value in needed or value.home in needed]
        if step.outs:
            needed |= {view for value in step.args for view in (value, value.home)}
            kept.append(step)
    return kept[::-1]


def _peak(steps: Sequence[_Step], arguments: set[_Value], results: set[_Value]) -> int:
    last = {value.home: index for index, step in enumerate(steps) for value in step.args}
    alive = peak = 0
    for index, step in enumerate(steps):
        new = {value for value in step.outs if value.whole is None} - arguments
        born = sum(value.size for value in new)
        dying = {v.home for v in step.args if last[v.home] == index} - arguments - results
        freed = sum(value.size for value in dying)
        reusable = sum(value.size for value in dying if not value.looped)
        in_place = 0 if step.name in MOVES else min(born, reusable)
        peak = max(peak, alive + born - in_place + step.inside)
        unread = sum(value.size for value in new if value not in last and value not in results)
        alive += born - freed - unread
    return peak
