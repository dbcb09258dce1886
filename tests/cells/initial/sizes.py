"""Sizes that are large enough to tell a distribution, and equal wherever they may be.

JAX compiles a program for each shape of a draw, so that a test of all cells has few shapes.
"""

import inspect
from typing import Any

import jax

import seqmem

INPUT, HIDDEN, HEADS, KEY_SIZE, RANK, WIDTH = 128, 256, 256, 4, 2, 3
CHANNELS, PIXELS = 16, 2
SIZES = {
    "input_size": INPUT,
    "hidden_size": HIDDEN,
    "size": HIDDEN,
    "output_size": 64,
    "context_size": 64,
    "state_size": 4,
    "depth": 2,
    "num_heads": HEADS,
    "key_size": KEY_SIZE,
    "num_groups": 64,
    "num_slots": 4,
    "rank": RANK,
    "backbone_size": 64,
    "num_layers": 2,
    "width": WIDTH,
    "window": 3,
    "capacity": 5,
    "mini_batch_size": 3,
    # All arrays that a cell may have.
    **dict.fromkeys(("bias", "output_bias", "gated", "norm_qk", "is_recurrent"), True),
}
# D, of which there is one number for each input, is normal here.
NORMAL_VECTORS = {"input_size": 1024}
CONTROLLED = {"num_read_heads": 3, "slot_size": 32, "input_size": INPUT - 3 * 32}
IMAGES = {"input_shape": (PIXELS, PIXELS, 2 * CHANNELS), "hidden_size": CHANNELS}
OTHER_SIZES = {
    **dict.fromkeys(("LRU", "S4D", "S5", "LinOSSIM", "LinOSSIMEX", "DLinOSS"), NORMAL_VECTORS),
    "S5": {**NORMAL_VECTORS, "blocks": 4},
    **dict.fromkeys(("ConvLSTM", "ConvGRU"), IMAGES),
    "DNC": CONTROLLED,
    "NTM": {**CONTROLLED, "num_write_heads": 2},
    "SlidingWindowAttention": {"input_size": HIDDEN, "num_heads": 64, "num_key_value_heads": 16},
    "CausalAttention": {"input_size": HIDDEN, "num_heads": 64, "num_key_value_heads": 16},
    "LTC": {"input_size": HIDDEN},
    "SLSTM": {"num_heads": 2},
    "TTTLinear": {"num_heads": 64},
    "TTTMLP": {"num_heads": 64},
    "EchoState": {"bias_scale": 0.5},
}


def options_of(cell_type: type[seqmem.AbstractCell]) -> dict[str, Any]:
    """The sizes above that its constructor takes."""
    taken = inspect.signature(cell_type).parameters
    options = {name: size for name, size in SIZES.items() if name in taken}
    return options | OTHER_SIZES.get(cell_type.__name__, {})


def make(cell_type: type[seqmem.AbstractCell]) -> seqmem.AbstractCell:
    return cell_type(**options_of(cell_type), key=jax.random.key(22))


def input_shape_of(cell_type: type[seqmem.AbstractCell]) -> Any:
    """The shape of one input, by the arguments of the constructor."""
    options = options_of(cell_type)
    if "input_shape" in options:
        return options["input_shape"]
    shape = (options.get("input_size", options.get("size")),)
    if cell_type is seqmem.GRUD:
        return seqmem.Timed(seqmem.Observed(shape, shape), ())
    is_timed = cell_type in (seqmem.CfC, seqmem.LTC, seqmem.ODELSTM, seqmem.PhasedLSTM)
    return seqmem.Timed(shape, ()) if is_timed else shape
