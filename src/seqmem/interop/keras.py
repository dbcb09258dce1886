"""The recurrent layers of Keras 3: `SimpleRNN`, `LSTM`, `GRU`, and `Bidirectional` ones of them.

    kernel = Wᵀ,  recurrent_kernel = Uᵀ      gates of an LSTM in our order; of a GRU update, reset,
                                             candidate, side by side
    bias = b                                 of a GRU with reset_after, Keras's default, two rows:
                                             the input's and the state's, with c in the second

Keras itself is not imported; `read_keras` reads its files with h5py.
"""

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from jaxtyping import Array

from .._cells.gated.gru import GRU
from .._cells.gated.lstm import LSTM
from .._cells.gated.rnn import RNN
from .._cells.unstructured.reset_before_gru import ResetBeforeGRU
from .._core.cell import AbstractLayer
from ..layers.bidirectional import Bidirectional
from ..layers.deep import deep
from ..layers.stack import Stack
from ._checks import cell_type_of, check_activation_of, check_cell_type, check_without_output
from ._gru_biases import merge_pair, split_pair
from ._kernels import bias, flatten, kernel, nest, places
from .weight_table import Row, WeightTable

GRU_ORDER = places(GRU.gates, ("update", "reset", "candidate"))
ORDERS: dict[type[AbstractLayer], tuple[int, ...]] = {
    RNN: (0,),
    LSTM: (0, 1, 2, 3),
    GRU: GRU_ORDER,
    ResetBeforeGRU: GRU_ORDER,
}
GRU_BIASES = (
    functools.partial(merge_pair, order=GRU_ORDER),
    functools.partial(split_pair, order=GRU_ORDER),
)
PARTS = {"layers.0.forward": "forward_layer.", "layers.0.backward": "backward_layer."}
REMEDY = (
    "pass the weights of one layer by name, {v.name: v for v in layer.weights} or those of "
    "seqmem.interop.read_keras, and the type of its cell in seqmem: ResetBeforeGRU for a GRU with "
    "reset_after=False."
)


def _rows(cell_type: type[AbstractLayer], path: str, prefix: str, has_bias: bool) -> Iterator[Row]:
    """The rows of one cell."""
    order = ORDERS[cell_type]
    yield kernel(f"{path}.W", "input_size", f"{prefix}kernel", order)
    yield kernel(f"{path}.U", "hidden_size", f"{prefix}recurrent_kernel", order)
    one = bias(f"{path}.b", f"{prefix}bias", order)
    ours = dict(one.ours) | ({f"{path}.c": "hidden_size"} if cell_type is GRU else {})
    if not has_bias:
        yield Row(ours, {})
    elif cell_type is GRU:
        yield Row(ours, {f"{prefix}bias": "2 3*hidden_size"}, *GRU_BIASES)
    else:
        yield one


def _table(cell_type: type[AbstractLayer], is_bidirectional: bool, has_bias: bool) -> WeightTable:
    parts = PARTS if is_bidirectional else {"layers.0": ""}
    rows = [row for part in parts.items() for row in _rows(cell_type, *part, has_bias)]
    make = functools.partial(deep, cell_type, bidirectional=is_bidirectional)
    return WeightTable(make, ("input_size", "hidden_size"), rows, REMEDY)


def from_keras(
    cell_type: type[AbstractLayer],
    weights: Mapping[str, Any],
    *,
    activation: Callable[[Array], Array] | None = None,
) -> Any:
    """The cell that computes what a recurrent layer of Keras 3 computes.

        weights = {variable.name: variable.numpy() for variable in layer.weights}
        cell = from_keras(seqmem.LSTM, weights)
        cell = from_keras(seqmem.LSTM, read_keras("model.keras", "lstm"))    # without Keras

    The weights of a `keras.layers.Bidirectional` stand in the dicts "forward_layer" and
    "backward_layer", and give a `seqmem.layers.Bidirectional`, whose outputs are concatenated as
    with `merge_mode="concat"`. A layer without biases (`use_bias=False`) gets zeros. Inputs are
    time first here. Layers whose gates have another activation than a sigmoid and tanh have no
    cell here; the arrays do not tell.

    Args:
        cell_type: `seqmem.RNN`, `LSTM`, `GRU`, or `ResetBeforeGRU` for a `GRU` with
            `reset_after=False`.
        weights: arrays by the variables' names: "kernel", "recurrent_kernel" and "bias".
        activation: of a `SimpleRNN`, which is not among the arrays; None is tanh.

    Raises:
        ValueError: for another type of cell, and where names or shapes do not fit.

    Example:
        >>> import numpy as np, seqmem
        >>> from seqmem.interop import from_keras
        >>> weights = {"kernel": np.ones((3, 15)), "recurrent_kernel": np.ones((5, 15))}
        >>> from_keras(seqmem.GRU, weights | {"bias": np.ones((2, 15))}).U.shape
        (3, 5, 5)
    """
    check_cell_type("from_keras", cell_type, ORDERS)
    check_activation_of("from_keras", cell_type, activation)
    flat = flatten(weights, REMEDY)
    is_bidirectional = any(name.startswith(tuple(PARTS.values())) for name in flat)
    has_bias = any(name.endswith("bias") for name in flat)
    options: dict[str, Any] = {} if activation is None else {"activation": activation}
    return _table(cell_type, is_bidirectional, has_bias).to_ours(flat, **options).layers[0]


def to_keras(net: AbstractLayer) -> dict[str, Any]:
    """The weights of a cell as a layer of Keras holds them, in its order.

        layer.set_weights(list(to_keras(cell).values()))

    Args:
        net: a `seqmem.LSTM`, `GRU`, `ResetBeforeGRU` (a `GRU(reset_after=False)`), or an `RNN`
            without an output size, whose activation is the layer's; or a
            `seqmem.layers.Bidirectional` of two such cells, whose weights stand in dicts.

    Raises:
        ValueError: where Keras has no such layer.

    Example:
        >>> import jax, seqmem
        >>> from seqmem.interop import to_keras
        >>> weights = to_keras(seqmem.GRU(3, 5, key=jax.random.key(0)))
        >>> {name: array.shape for name, array in weights.items()}
        {'kernel': (3, 15), 'recurrent_kernel': (5, 15), 'bias': (2, 15)}
    """
    cell_type = cell_type_of("to_keras", net, ORDERS)
    check_without_output(net, "keras.layers.Dense(use_bias=False)")
    table = _table(cell_type, isinstance(net, Bidirectional), has_bias=True)
    return nest(table.to_theirs(Stack([net])))
