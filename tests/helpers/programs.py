"""What a program does in its loops: products, and sums over devices, counted where they stand."""

import collections
import dataclasses
import re
from typing import Any, NamedTuple

import jax

import seqmem


@dataclasses.dataclass
class Loop:
    """A loop, or the program: its products outside of inner loops, and what it carries."""

    products: int
    inner: list["Loop"]
    carried: list[tuple[int, ...]]

    @property
    def innermost(self) -> list["Loop"]:
        """The loops in which there is a product but no loop with a product, in order."""
        deeper = [loop for inner in self.inner for loop in inner.innermost]
        return deeper or ([self] if self.products else [])


def lowered(fn: Any, *args: Any, platform: str) -> Loop:
    """The loops of `fn` as traced and lowered for a platform, whether or not there is one."""
    with seqmem.target_platform(platform):
        traced = jax.jit(fn).trace(*args)
    module = traced.lower(lowering_platforms=(platform,)).compiler_ir("stablehlo")
    functions = {
        op.name.value: op for op in module.body.operations if op.operation.name == "func.func"
    }
    return _loop(functions["main"].regions[0].blocks[0], functions, [])


def _loop(block: Any, functions: dict[str, Any], carried: list[tuple[int, ...]]) -> Loop:
    found = Loop(0, [], carried)
    for op in block.operations:
        name = op.operation.name
        if name == "stablehlo.dot_general":
            found.products += 1
        elif name == "stablehlo.while":
            body = op.regions[1].blocks[0]
            found.inner.append(_loop(body, functions, _changing(body)))
        else:
            blocks = [inner for region in op.operation.regions for inner in region.blocks]
            if name == "func.call":
                blocks = [functions[op.attributes["callee"].value].regions[0].blocks[0]]
            for inner in blocks:
                part = _loop(inner, functions, carried)
                found.products += part.products
                found.inner += part.inner
    return found


def _changing(body: Any) -> list[tuple[int, ...]]:
    """The shapes of what a loop hands on that is not what it got."""
    handed_on = list(body.operations)[-1].operands
    pairs = zip(body.arguments, handed_on, strict=True)
    return [tuple(new.type.shape) for old, new in pairs if old != new]


class Communication(NamedTuple):
    """The operations of a compiled program that wait for other devices, and how many loops it has.

    Attributes:
        in_loops: the number of each kind in the bodies of loops.
        outside: the number of each kind elsewhere.
        loops: how many loops there are.
    """

    in_loops: dict[str, int]
    outside: dict[str, int]
    loops: int


COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) .*?\{\n(.*?)^\}", re.S | re.M)
CALL = re.compile(r"(\w+)=\{?((?:%[\w.\-]+(?:, )?)+)")
COLLECTIVE = re.compile(
    r" (all-reduce|all-gather|all-to-all|reduce-scatter|collective-\w+)(?:-start)?\("
)


def communication(program: str) -> Communication:
    """Of a program in XLA's text: `compiled.as_text()`."""
    bodies = {name: body for _, name, body in COMPUTATION.findall(program)}
    (entry,) = (name for is_entry, name, _ in COMPUTATION.findall(program) if is_entry)
    found = Communication(collections.Counter(), collections.Counter(), 0)
    return _communication(entry, bodies, found, is_loop=False)


def _communication(
    name: str, bodies: dict[str, str], found: Communication, *, is_loop: bool
) -> Communication:
    kinds = COLLECTIVE.findall(bodies[name])
    (found.in_loops if is_loop else found.outside).update(kinds)
    for role, targets in CALL.findall(bodies[name]):
        for target in re.findall(r"%([\w.\-]+)", targets):
            if target in bodies:
                in_loop = is_loop or role in ("body", "condition")
                found = _communication(target, bodies, found, is_loop=in_loop)
                found = found._replace(loops=found.loops + (role == "body"))
    return found
