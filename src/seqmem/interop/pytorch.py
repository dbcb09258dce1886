"""PyTorch's recurrent modules: `torch.nn.RNN`, `LSTM` and `GRU`, deep and bidirectional ones too.

    weight_ih = W,  weight_hh = U,  weight_hr = R    gates one below the other
    bias_ih + bias_hh = b                            only their sum counts
    bias_ih = b,  bias_hh = c                        in a GRU's candidate

PyTorch itself is not imported.
"""

import functools
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .._cells.gated.gru import GRU
from .._cells.gated.lstm import LSTM
from .._cells.gated.projected_lstm import ProjectedLSTM
from .._cells.gated.rnn import RNN
from .._core.cell import AbstractLayer
from .._core.errors import bad_input
from ..layers.bidirectional import Bidirectional
from ..layers.deep import deep
from ..layers.dropout import Dropout
from ..layers.stack import Stack
from ._gru_biases import merge_biases, split_biases
from .weight_table import Row, Weights, WeightTable, same

CELLS = (RNN, LSTM, ProjectedLSTM, GRU)  # their gates are in PyTorch's order
ACTIVATIONS = (jnp.tanh, jax.nn.relu)  # torch.nn.RNN has no other
NAME = re.compile(r"(?:weight|bias)_(?:ih|hh|hr)_l(\d+)(_reverse)?")


def from_torch(
    cell_type: type[AbstractLayer],
    state_dict: Mapping[str, Any],
    *,
    dropout: float = 0.0,
    activation: Callable[[Array], Array] | None = None,
) -> Any:
    """The network that computes what a `torch.nn.RNN`, `LSTM` or `GRU` computes.

        lstm = torch.nn.LSTM(3, 64, num_layers=2, bidirectional=True)
        net = from_torch(seqmem.LSTM, lstm.state_dict())
        state, ys = seqmem.unroll(net, None, xs, lengths=lengths)     # xs: [time, batch, 3]

    The names tell the number of layers and of directions. The network is a cell for one layer, a
    `seqmem.layers.Bidirectional` for one layer in both directions, and for more layers a
    `seqmem.layers.Stack` of these, whose state is a tuple with one entry per layer, a pair in a
    bidirectional one. A module without biases (`bias=False`) gets zeros. The state of a
    `ProjectedLSTM` is the one before the projection: PyTorch's h_0 is R m_0. Inputs are time first,
    also for a module with `batch_first=True`.

    Args:
        cell_type: `seqmem.RNN`, `LSTM`, `GRU`, or `ProjectedLSTM` for an LSTM with `proj_size`.
        state_dict: arrays by the module's names.
        dropout: the module's `dropout`, which is not among the arrays: the rate of a
            `seqmem.layers.Dropout` after each layer but the last. It acts in training alone, where
            `seqmem.layers.with_dropout_keys` gives it a key.
        activation: of an RNN. None is tanh; pass `jax.nn.relu` for a module with
            `nonlinearity="relu"`, which is not among the arrays.

    Raises:
        ValueError: for another type of cell or activation, and where names or shapes do not fit.

    Example:
        >>> import numpy as np, seqmem
        >>> from seqmem.interop import from_torch
        >>> weights = {"weight_ih_l0": np.ones((20, 3)), "weight_hh_l0": np.ones((20, 5))}
        >>> cell = from_torch(seqmem.LSTM, weights)
        >>> cell.input_shape, cell.output_shape, seqmem.gate(cell, "forget").U.shape
        ((3,), (5,), (5, 5))
    """
    _check_type(cell_type)
    if activation is not None and (cell_type is not RNN or activation not in ACTIVATIONS):
        raise bad_input(
            f"from_torch got activation={activation!r} for {cell_type.__name__}.",
            "jax.numpy.tanh or jax.nn.relu, and for seqmem.RNN alone: PyTorch has no other.",
            "leave it out, or pass the activation of the PyTorch module.",
        )
    matches = [match for match in map(NAME.fullmatch, state_dict) if match]
    num_layers = 1 + max((int(match[1]) for match in matches), default=0)
    is_bidirectional = any(match[2] for match in matches)
    has_bias = any(match[0].startswith("bias") for match in matches)
    options = {"num_layers": num_layers, "bidirectional": is_bidirectional, "dropout": dropout}
    options |= {} if activation is None else {"activation": activation}
    stride = 2 if dropout else 1  # with dropout, every second layer is a Dropout
    table = _table(cell_type, num_layers, is_bidirectional, has_bias, stride)
    stack = table.to_ours(state_dict, **options)
    return stack if num_layers > 1 else stack.layers[0]


def to_torch(net: AbstractLayer) -> Weights:
    """The parameters of a network as a `torch.nn.RNN`, `LSTM` or `GRU` holds them.

    `bias_ih` is b and `bias_hh` is 0, or c in a GRU's candidate.

    Args:
        net: a cell, a `seqmem.layers.Bidirectional` of two, or a `seqmem.layers.Stack` of either,
            with a `seqmem.layers.Dropout` between them or without. All cells are of one type:
            `seqmem.LSTM`, `ProjectedLSTM`, `GRU`, or `RNN` without an output size, whose activation
            is tanh or relu.

    Raises:
        ValueError: where PyTorch has no such module.

    Example:
        >>> import jax, seqmem
        >>> from seqmem.interop import to_torch
        >>> net = seqmem.layers.deep(seqmem.GRU, 3, 5, num_layers=2, key=jax.random.key(0))
        >>> {name: array.shape for name, array in to_torch(net).items() if "weight_ih" in name}
        {'weight_ih_l0': (15, 3), 'weight_ih_l1': (15, 5)}
    """
    layers = net.layers if isinstance(net, Stack) else (net,)
    layers = [layer for layer in layers if not isinstance(layer, Dropout)]
    directions = {isinstance(layer, Bidirectional) for layer in layers}
    cells = [cell for layer in layers for cell in _cells(layer)]
    for cell in cells:
        _check_type(type(cell))
        _check_expressible(cell)
    kinds = {(type(cell), getattr(cell, "activation", None)) for cell in cells}
    if len(kinds) != 1 or len(directions) != 1:
        raise bad_input(
            f"layers {[type(layer).__name__ for layer in layers]} of cells "
            f"{[type(cell).__name__ for cell in cells]}.",
            "cells of one type and activation, and all layers in as many directions.",
            "convert parts of the network that PyTorch has as one module.",
        )
    table = _table(type(cells[0]), len(layers), directions.pop(), has_bias=True)
    return table.to_theirs(Stack(layers))


def _cells(layer: AbstractLayer) -> tuple[Any, ...]:
    is_bidirectional = isinstance(layer, Bidirectional)
    return (layer.forward, layer.backward) if is_bidirectional else (layer,)


def _table(
    cell_type: type[AbstractLayer],
    num_layers: int,
    is_bidirectional: bool,
    has_bias: bool,
    stride: int = 1,
) -> WeightTable:
    """The table of a module; its layers are every `stride`-th of the stack."""
    rows, output = [], _output(cell_type)
    for index in range(num_layers):
        features = "input_size" if index == 0 else f"2*{output}" if is_bidirectional else output
        path, name = f"layers.{index * stride}", f"l{index}"
        if is_bidirectional:
            rows += _rows(cell_type, f"{path}.forward", name, features, has_bias)
            rows += _rows(cell_type, f"{path}.backward", f"{name}_reverse", features, has_bias)
        else:
            rows += _rows(cell_type, path, name, features, has_bias)
    return WeightTable(
        make=functools.partial(deep, cell_type),
        arguments=sorted({"input_size", "hidden_size", output}),
        rows=rows,
        remedy="pass the state_dict of one torch.nn.RNN, LSTM or GRU, with prefixes such as 'rnn.' "
        "cut off the names, and the type of cell that it has (seqmem.ProjectedLSTM for a "
        "proj_size).",
    )


def _output(cell_type: type[AbstractLayer]) -> str:
    """The size of the output in words."""
    return "output_size" if cell_type is ProjectedLSTM else "hidden_size"


def _rows(
    cell_type: type[Any], path: str, name: str, features: str, has_bias: bool
) -> Iterator[Row]:
    """The rows of one cell."""
    gates, output = len(cell_type.gates), _output(cell_type)
    ours = f"{gates} hidden_size" if gates else "hidden_size"
    theirs = ours.replace(" ", "*")
    yield Row({f"{path}.W": f"{ours} {features}"}, {f"weight_ih_{name}": f"{theirs} {features}"})
    yield Row({f"{path}.U": f"{ours} {output}"}, {f"weight_hh_{name}": f"{theirs} {output}"})
    b, c = {f"{path}.b": ours}, {f"{path}.c": "hidden_size"}
    biases = {f"bias_ih_{name}": theirs, f"bias_hh_{name}": theirs} if has_bias else {}
    if cell_type is GRU:
        yield Row(b | c, biases, merge_biases, split_biases)
    else:
        yield Row(b, biases, _sum_biases, _torch_biases)
    if cell_type is ProjectedLSTM:
        yield same(f"{path}.R", f"weight_hr_{name}", "output_size hidden_size")


def _sum_biases(inner: Any, outer: Any) -> Any:
    return inner + outer


def _torch_biases(b: np.ndarray) -> np.ndarray:
    return np.stack([b, np.zeros_like(b)])


def _check_type(cell_type: type[AbstractLayer]) -> None:
    if cell_type not in CELLS:
        raise bad_input(
            f"a cell of type {getattr(cell_type, '__name__', cell_type)}.",
            f"one of {', '.join(known.__name__ for known in CELLS)}, which PyTorch has too.",
            "pass the type itself to from_torch, and the cell itself to to_torch.",
        )


def _check_expressible(cell: Any) -> None:
    if getattr(cell, "V", None) is not None:
        raise bad_input(
            "an RNN with an output size.",
            "one that outputs its state, as PyTorch's does.",
            "convert the cell without V, and add a torch.nn.Linear(bias=False) with V after it.",
        )
    if getattr(cell, "activation", jnp.tanh) not in ACTIVATIONS:
        raise bad_input(
            f"an RNN with activation {cell.activation!r}.",
            "jax.numpy.tanh or jax.nn.relu: PyTorch has no other.",
            "keep the cell in JAX, or write its loop in PyTorch.",
        )
