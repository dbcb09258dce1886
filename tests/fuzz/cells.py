"""Every public cell at a small size, as code, with the wrappers that take it."""

import functools
import inspect

import hypothesis.strategies as st
import jax
import jax.numpy as jnp

import seqmem
from seqmem._core.shapes import zeros_like_input
from seqmem.testing import SequenceRun
from tests.helpers.cells_table import cell_types

SIZES = {
    "input_size": 3,
    "hidden_size": 4,
    "state_size": 5,
    "size": 4,
    "output_size": 3,
    "num_heads": 2,
    "num_key_value_heads": 1,
    "key_size": 2,
    "width": 3,
    "window": 3,
    "capacity": 11,
    "dilation": 2,
    "num_angles": 1,
    "rank": 3,
    "num_slots": 5,
    "slot_size": 3,
    "num_read_heads": 2,
    "num_write_heads": 1,
    "mini_batch_size": 3,
    "input_shape": (5, 2),
    "context_size": 3,
    "depth": 2,
}
KEY = "key=jax.random.key(0)"
WRAPPERS = {
    "none": "{}",
    "with_learned_state": "seqmem.with_learned_state({})",
    "with_layer_norm": "seqmem.with_layer_norm({})",
    "with_zoneout": "seqmem.with_zoneout({})",
    "with_forcing": "seqmem.with_forcing({})",
    "with_delta_t": "seqmem.with_delta_t({})",
    "with_weight_dropout": f"seqmem.with_weight_dropout({{}}, 0.5, {KEY})",
    "with_gain": "seqmem.with_gain({}, 3.0)",
    "Stack": f"seqmem.layers.Stack([seqmem.RNN(3, 3, {KEY}), {{}}])",
    "Residual": "seqmem.layers.Residual({})",
}
# A mask of zoneout is drawn as any input, so it leaves the interval from 0 to 1; then the matrix
# that these solve with is no longer positive.
POSITIVE = ("MesaNet", "GatedKalmaNet")

# They sort numbers, which saturated gates make equal; rounding then decides their order.
SORTING = ("DNC",)


def cell_codes() -> dict[str, str]:
    """The code of each public cell, by name."""
    return {cls.__name__: _code(cls) for cls in cell_types()}


def is_decided_by_rounding(code: str, run: SequenceRun) -> bool:
    """Whether a rounding may change a run of the cell of a code beyond all bounds."""
    if not run.is_extreme:
        return False
    return any(f"seqmem.{name}(" in code for name in SORTING)


@functools.cache
def make(code: str) -> seqmem.AbstractCell | None:
    """The cell of a code; None where a wrapper refuses the cell."""
    try:
        cell = eval(code, {"jax": jax, "jnp": jnp, "seqmem": seqmem})
        x = zeros_like_input(cell.input_shape, "float32")
        jax.eval_shape(lambda: cell(cell.init_state(), x))
    except (ValueError, TypeError):
        return None
    return cell


@st.composite
def codes(draw: st.DrawFn) -> str:
    """The code of a cell, wrapped or not."""
    code = draw(st.sampled_from(sorted(cell_codes().values())))
    name = draw(st.sampled_from(list(WRAPPERS)))
    wrapped = WRAPPERS[name].format(code)
    is_unfit = name == "with_zoneout" and code.startswith(tuple(f"seqmem.{p}(" for p in POSITIVE))
    return code if is_unfit or make(wrapped) is None else wrapped


def _code(cls: type) -> str:
    names = [name for name in inspect.signature(cls).parameters if name in SIZES]
    sizes = ", ".join(f"{name}={SIZES[name]}" for name in names)
    return f"seqmem.{cls.__name__}({sizes}, {KEY})"
