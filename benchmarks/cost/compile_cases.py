"""The kernels that are compiled, and arithmetic of what one step of them moves and multiplies."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

import seqmem
from seqmem._core.problem import Problem
from seqmem._methods.fused import hopper_limits, tiles
from seqmem._methods.fused.parts import Parts, take_apart

from ..common.aot import absent_device, compile_for
from ..common.launches import count_launches
from ..common.records import Row

TIME, BATCH, INPUT = 1024, 16, 16
KEY = jax.random.key(0)


class Case(NamedTuple):
    """What it is compiled for, a cell, and the factors of its products."""

    target: Literal["h200", "v5e"]
    cell: str
    units: int
    precision: Literal["float32", "tensorfloat32", "bfloat16"]

    def make(self) -> seqmem.AbstractCell:
        return getattr(seqmem, self.cell)(INPUT, self.units, key=KEY)

    @property
    def factors(self) -> jnp.dtype:
        return jnp.dtype(jnp.bfloat16 if self.precision == "bfloat16" else jnp.float32)

    @property
    def method(self) -> seqmem.Fused:
        return seqmem.Fused(self.precision)


# Some sizes are there to show what does not fit.
H200_CASES = [
    *(("RNN", units, "bfloat16") for units in (128, 256, 320, 384)),
    *(("GRU", units, "bfloat16") for units in (64, 128, 192)),
    *(("LSTM", units, "bfloat16") for units in (64, 128, 192)),
    *(("PeepholeLSTM", units, "bfloat16") for units in (64, 128)),
    *(("RNN", units, "tensorfloat32") for units in (128, 192, 256)),
    *(("GRU", units, "tensorfloat32") for units in (64, 128)),
    *(("LSTM", units, "tensorfloat32") for units in (64, 128)),
    ("PeepholeLSTM", 64, "tensorfloat32"),
    *(("SLSTM", units, "bfloat16") for units in (64, 128)),
]
V5E_CELLS = ("GRU", 128), ("LSTM", 128), ("LSTM", 512), ("PeepholeLSTM", 128), ("SLSTM", 128)
V5E_CASES = [
    (cell, units, precision) for cell, units in V5E_CELLS for precision in ("bfloat16", "float32")
]
CASES = {
    f"{cell} {units} {precision}, {target}": Case(target, cell, units, precision)
    for target, cases in (("h200", H200_CASES), ("v5e", V5E_CASES))
    for cell, units, precision in cases
}


class Chip(NamedTuple):
    """Peaks per second.

    Attributes:
        memory: bytes of the main memory that are read or written.
        products: multiplications and additions, by the precision of the factors.
        processors: that share them; one tile of the batch runs on one.
        own_memory: bytes that one processor reads of its own memory; None where none is published.
    """

    memory: float
    products: dict[str, float]
    processors: int
    own_memory: float | None


# Of the H200 the vendor's notes: copies, products of bfloat16, and half of these of tensorfloat32;
# a multiprocessor reads 128 bytes of shared memory in a cycle of 1.98 GHz. Of the v5e Google's page
# of its specifications; a product of float32 is six of bfloat16.
CHIPS = {
    "h200": Chip(4.3e12, {"bfloat16": 790e12, "tensorfloat32": 395e12}, 132, 128 * 1.98e9),
    "v5e": Chip(819e9, {"bfloat16": 197e12, "float32": 197e12 / 6}, 1, None),
}


def measure(case: Case) -> Row:
    """What the program and XLA say; Mosaic GPU and ptxas report to the output of the process.

    Returns:
        "refusal", or "tile", steps and examples, and for both programs, "forward" and "gradient",
        the temporaries in MiB, and for a GPU the launches, by `Fused` and by `Scan`.
    """
    device, cell = absent_device(case.target), case.make()
    xs = jax.ShapeDtypeStruct((TIME, BATCH, INPUT), jnp.float32)
    is_gpu = case.target == "h200"
    methods = {"Fused": case.method} | ({"Scan": seqmem.Scan()} if is_gpu else {})
    with seqmem.target_platform("gpu" if is_gpu else "tpu"):
        refusal = case.method.refusal(cell, jnp.zeros(xs.shape))
        if refusal is not None:
            return {"refusal": refusal}
        row: Row = {"tile": tile_of(case), "forward": {}, "gradient": {}}
        for name, method in methods.items():
            for kind, program in programs_of(method).items():
                compiled = compile_for(device, program, cell, xs)
                mebibytes = compiled.memory_analysis().temp_size_in_bytes / 2**20
                row[kind][name] = {"MiB": mebibytes}
                if is_gpu:
                    row[kind][name]["launches"] = count_launches(compiled.as_text()).launches
    return row


def programs_of(method: seqmem.AbstractMethod) -> dict[str, Callable[..., Any]]:
    def forward(cell: Any, xs: Any) -> Any:
        return seqmem.unroll(cell, None, xs, method=method)[1]

    def gradient(cell: Any, xs: Any) -> Any:
        return jax.grad(lambda cell: jnp.sum(forward(cell, xs)))(cell)

    return {"forward": forward, "gradient": gradient}


def expected(case: Case) -> dict[str, Row]:
    """Arithmetic of one step, for "forward" and "backward".

    Returns:
        for each, KiB of the main memory, millions of operations in products, and the µs that both
        take at the chip's peak, and on a GPU reading the matrices from shared memory.
    """
    parts, chip, (_, columns) = parts_of(case), CHIPS[case.target], tile_of(case)
    planes, leaves = parts.num_planes, parts.num_leaves
    # Forward: z in and out, states out. Backward: z, states and cotangents in, cotangents out.
    arrays = {"forward": 2 * planes + leaves, "backward": planes + 3 * leaves}
    num_tiles = -(-BATCH // columns)
    entries = sum(parts.sees_state) * parts.units**2
    of_tile = 2 * columns * entries  # operations: a tile runs on one processor
    rows: dict[str, Row] = {}
    for kind, count in arrays.items():
        moved = count * num_tiles * columns * parts.units * 4
        rows[kind] = {
            "KiB": moved / 2**10,
            "operations": num_tiles * of_tile / 1e6,
            "memory µs": 1e6 * moved / chip.memory,
            "products µs": 1e6 * of_tile / (chip.products[case.precision] / chip.processors),
        }
        if chip.own_memory is not None:
            rows[kind]["matrices µs"] = 1e6 * entries * case.factors.itemsize / chip.own_memory
    if chip.processors == 1:  # which runs tiles one after another
        for row in rows.values():
            row["products µs"] *= num_tiles
    return rows


def parts_of(case: Case) -> Parts:
    cell, xs = case.make(), jnp.zeros((TIME, BATCH, INPUT))
    return take_apart(Problem(cell, cell.init_state(), cell.init_state(BATCH), xs, batch_axes=1))


def tile_of(case: Case) -> tuple[int, int]:
    """Steps and examples."""
    limits = hopper_limits if case.target == "h200" else tiles
    return limits.tile_sizes(parts_of(case), TIME, BATCH, case.factors)
