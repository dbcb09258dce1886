"""`deep`: a deep, perhaps bidirectional network of one kind of cell."""

from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import PRNGKeyArray

from .._core.calls import describe, makes_layer, public_name
from .._core.cell import AbstractLayer
from .._core.errors import bad_input
from .._core.validation import check_count, check_rate
from .bidirectional import Bidirectional
from .dropout import Dropout
from .stack import Stack


@makes_layer
def deep(
    cell_type: Callable[..., AbstractLayer],
    input_size: int,
    hidden_size: int,
    *,
    num_layers: int = 1,
    bidirectional: bool = False,
    dropout: float = 0.0,
    key: PRNGKeyArray,
    **options: Any,
) -> Stack:
    """A stack of cells of one kind, as `torch.nn.LSTM(num_layers=, bidirectional=, dropout=)`.

    Cells in continuous time all get the Δt of the inputs.

    Args:
        cell_type: called as `cell_type(input_size, hidden_size, key=key, **options)`.
        input_size: features of one input, > 0.
        hidden_size: features of each cell's output, > 0; a bidirectional layer has twice as many.
        num_layers: how many layers there are, > 0.
        bidirectional: whether each layer is a `seqmem.layers.Bidirectional` of two cells.
        dropout: the rate of a `seqmem.layers.Dropout` after every layer but the last, which
            `seqmem.layers.with_dropout_keys` turns on for training.
        key: random key for the initial parameters.
        options: passed on to every cell.

    Raises:
        ValueError: for a cell in place of its class, for less than one layer, or a dropout rate
            outside of [0, 1).

    Example:
        >>> import jax, seqmem
        >>> net = seqmem.layers.deep(
        ...     seqmem.LSTM, 3, 64, num_layers=2, bidirectional=True, dropout=0.3,
        ...     key=jax.random.key(0),
        ... )
        >>> state, ys = seqmem.unroll(net, None, jax.numpy.ones((7, 2, 3)), lengths=[7, 4])
        >>> ys.shape
        (7, 2, 128)
    """
    if isinstance(cell_type, AbstractLayer) or not callable(cell_type):
        is_cell = isinstance(cell_type, AbstractLayer)
        name = public_name(type(cell_type)) if is_cell else "seqmem.LSTM"
        raise bad_input(
            f"seqmem.layers.deep got {describe(cell_type)} as its cell_type.",
            "the class of the cells, since each layer is a cell of its own.",
            f"write seqmem.layers.deep({name}, {input_size}, {hidden_size}, key=key).",
        )
    check_count("deep", "num_layers", num_layers, remedy="leave it out for one layer.")
    check_rate("deep", dropout)
    layers, size = [], input_size
    for layer_key in jax.random.split(key, num_layers):
        if layers and dropout:
            layers.append(Dropout(dropout))
        if bidirectional:
            forward, backward = (
                cell_type(size, hidden_size, key=cell_key, **options)
                for cell_key in jax.random.split(layer_key)
            )
            layers.append(Bidirectional(forward, backward))
        else:
            layers.append(cell_type(size, hidden_size, key=layer_key, **options))
        (size,) = layers[-1].output_shape
    return Stack(layers)
