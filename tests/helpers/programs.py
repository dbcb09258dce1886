"""What a lowered program does in its loops: products counted where they stand."""

import dataclasses
from typing import Any

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
    functions = {op.name.value: op for op in module.body.operations if hasattr(op, "name")}
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
