"""The recurrent nodes of ONNX: `RNN`, `LSTM` and `GRU`, in one direction or in both.

    W, R     (directions, gates · hidden, ...): gates of an LSTM input, output, forget, cell; of a
             GRU update, reset, hidden
    B        (directions, 2 · gates · hidden): the biases of W, then those of R; only their sum
             counts, except in the candidate of a GRU with linear_before_reset
    P        (directions, 3 · hidden): an LSTM's peepholes, input, output, forget

ONNX itself is not imported.
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Array

from .._cells.gated.gru import GRU
from .._cells.gated.lstm import LSTM
from .._cells.gated.peephole_lstm import PeepholeLSTM
from .._cells.gated.rnn import RNN
from .._cells.unstructured.reset_before_gru import ResetBeforeGRU
from .._core.cell import AbstractLayer
from ..layers.bidirectional import Bidirectional
from ..layers.deep import deep
from ..layers.stack import Stack
from ._checks import cell_type_of, check_activation_of, check_cell_type, check_without_output
from ._gru_biases import merge_pair, split_pair
from ._kernels import by_gate, flatten, inverse, places
from .weight_table import AnyArray, Row, Weights, WeightTable, concatenate

LSTM_ORDER = places(LSTM.gates, ("input", "output", "forget", "cell"))
GRU_ORDER = places(GRU.gates, ("update", "reset", "candidate"))
PEEPHOLES = places(("input", "forget", "output"), ("input", "output", "forget"))
ORDERS: dict[type[AbstractLayer], tuple[int, ...]] = {
    RNN: (0,),
    LSTM: LSTM_ORDER,
    PeepholeLSTM: LSTM_ORDER,
    GRU: GRU_ORDER,
    ResetBeforeGRU: GRU_ORDER,
}
REMEDY = (
    "pass the node's W, R, B and P as arrays by these names, and the type of its cell in seqmem: "
    "PeepholeLSTM where there is a P, GRU for linear_before_reset=1, ResetBeforeGRU for 0."
)


def _row(
    paths: Sequence[str],
    ours: Mapping[str, str],
    theirs: tuple[str, str],
    to_ours: Callable[..., AnyArray],
    to_theirs: Callable[..., AnyArray],
) -> Row:
    """The row of a tensor that stacks the directions, from the conversions of one direction."""
    name, shape = theirs
    directions, count = range(len(paths)), len(ours)
    return Row(
        {f"{path}.{field}": words for path in paths for field, words in ours.items()},
        {name: f"{len(paths)} {shape}"},
        to_ours=lambda array: concatenate(*(to_ours(array[d]) for d in directions)),
        to_theirs=lambda *arrays: np.stack(
            [to_theirs(*arrays[d * count : (d + 1) * count]) for d in directions]
        ),
    )


def _rows(cell_type: type[Any], is_bidirectional: bool, has_bias: bool) -> Iterator[Row]:
    order, is_gru = ORDERS[cell_type], cell_type is GRU
    paths = ("layers.0.forward", "layers.0.backward") if is_bidirectional else ("layers.0",)
    gates = f"{len(order)} " if len(order) > 1 else ""

    def to_rows(matrix: AnyArray) -> AnyArray:
        return by_gate(matrix.reshape(-1, matrix.shape[-1]), inverse(order))

    for field, name, features in (("W", "W", "input_size"), ("U", "R", "hidden_size")):
        ours = {field: f"{gates}hidden_size {features}"}
        theirs = (name, f"{len(order)}*hidden_size {features}")
        yield _row(paths, ours, theirs, functools.partial(by_gate, order=order), to_rows)

    def merge(b: AnyArray) -> AnyArray:
        pair = b.reshape(2, -1)
        return merge_pair(pair, order) if is_gru else by_gate(pair[0] + pair[1], order)

    def split(b: np.ndarray, *c: np.ndarray) -> np.ndarray:
        if is_gru:
            return split_pair(b, *c, order=order)
        return np.stack(
            [by_gate(b.reshape(-1), inverse(order)), np.zeros((len(order), b.shape[-1]), b.dtype)]
        )

    ours = {"b": f"{gates}hidden_size"} | ({"c": "hidden_size"} if is_gru else {})
    biases = _row(paths, ours, ("B", f"{2 * len(order)}*hidden_size"), merge, split)
    yield biases if has_bias else Row(biases.ours, {})
    if cell_type is PeepholeLSTM:
        there = functools.partial(by_gate, order=PEEPHOLES)
        back = functools.partial(by_gate, order=inverse(PEEPHOLES))
        yield _row(
            paths,
            {"p": "3 hidden_size"},
            ("P", "3*hidden_size"),
            there,
            lambda p: back(p.reshape(-1)),
        )


def _table(cell_type: type[AbstractLayer], is_bidirectional: bool, has_bias: bool) -> WeightTable:
    make = functools.partial(deep, cell_type, bidirectional=is_bidirectional)
    rows = tuple(_rows(cell_type, is_bidirectional, has_bias))
    return WeightTable(make, ("input_size", "hidden_size"), rows, REMEDY)


def from_onnx(
    cell_type: type[AbstractLayer],
    tensors: Mapping[str, Any],
    *,
    activation: Callable[[Array], Array] | None = None,
) -> Any:
    """The cell that computes what a recurrent node of ONNX computes.

        initial = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
        tensors = {name: initial[i] for name, i in zip("WRB", node.input[1:4])}
        cell = from_onnx(seqmem.LSTM, tensors)

    A node with `direction="bidirectional"` gives a `seqmem.layers.Bidirectional`, whose outputs
    have both directions in the last axis; a cell of one with `direction="reverse"` is run with
    `reverse=True`. Without a B the biases are zeros. Nodes with other `activations`, a `clip`, or
    `input_forget=1` have no cell here; the tensors do not tell.

    Args:
        cell_type: `seqmem.RNN`, `LSTM`, `PeepholeLSTM` for an LSTM with a P, `GRU` for one with
            `linear_before_reset=1`, or `ResetBeforeGRU` for 0.
        tensors: arrays by the names of the node's inputs, "W", "R", "B" and "P".
        activation: of an RNN; None is tanh.

    Raises:
        ValueError: for another type of cell, and where names or shapes do not fit.

    Example:
        >>> import numpy as np, seqmem
        >>> from seqmem.interop import from_onnx
        >>> tensors = {"W": np.ones((1, 20, 3)), "R": np.ones((1, 20, 5))}
        >>> from_onnx(seqmem.LSTM, tensors | {"B": np.ones((1, 40))}).W.shape
        (4, 5, 3)
    """
    check_cell_type("from_onnx", cell_type, ORDERS)
    check_activation_of("from_onnx", cell_type, activation)
    flat = flatten(tensors, REMEDY)
    is_bidirectional = np.shape(flat.get("W", 0))[:1] == (2,)
    options: dict[str, Any] = {} if activation is None else {"activation": activation}
    return _table(cell_type, is_bidirectional, "B" in flat).to_ours(flat, **options).layers[0]


def to_onnx(net: AbstractLayer) -> Weights:
    """The inverse of `from_onnx`: W, R, B, and P where there are peepholes, by name.

    Args:
        net: a `seqmem.LSTM`, `PeepholeLSTM`, `GRU` (`linear_before_reset=1`), `ResetBeforeGRU` (0),
            or an `RNN` without an output size, whose activation is the node's; or a
            `seqmem.layers.Bidirectional` of two such cells.

    Raises:
        ValueError: where ONNX has no such node.

    Example:
        >>> import jax, seqmem
        >>> from seqmem.interop import to_onnx
        >>> tensors = to_onnx(seqmem.GRU(3, 5, key=jax.random.key(0)))
        >>> {name: array.shape for name, array in tensors.items()}
        {'W': (1, 15, 3), 'R': (1, 15, 5), 'B': (1, 30)}
    """
    cell_type = cell_type_of("to_onnx", net, ORDERS)
    check_without_output(net, "MatMul")
    table = _table(cell_type, isinstance(net, Bidirectional), has_bias=True)
    return table.to_theirs(Stack([net]))
