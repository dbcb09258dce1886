"""Weights from and to PyTorch's recurrent layers, by the names in a `state_dict`.

    weight_ih = W,  weight_hh = U,  weight_hr = R    gate under gate, in PyTorch's order
    bias_ih + bias_hh = b                            only their sum counts
    bias_ih = b,  bias_hh = c                        in a GRU's candidate: the reset gate parts them

PyTorch itself is never imported.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._cells.gated.gru import GRU
from .._cells.gated.lstm import LSTM
from .._cells.gated.projected_lstm import ProjectedLSTM
from .._cells.gated.rnn import RNN
from .._core.cell import AbstractCell
from .._core.errors import bad_input
from ._arrays import check_shapes, filled, floating


class Layout(NamedTuple):
    """How PyTorch lays out the parameters of a cell."""

    gates: tuple[str, ...] = ()  # our names in the order of PyTorch's rows; none: a single block
    apart: str | None = None  # the gate whose two biases cannot be added
    projected: bool = False


LAYOUTS: dict[type[AbstractCell], Layout] = {
    RNN: Layout(),
    LSTM: Layout(("input", "forget", "cell", "output")),
    ProjectedLSTM: Layout(("input", "forget", "cell", "output"), projected=True),
    GRU: Layout(("reset", "update", "candidate"), apart="candidate"),
}

ACTIVATIONS = (jnp.tanh, jax.nn.relu)  # all that torch.nn.RNN has

BIASES = ("bias_ih", "bias_hh")


def from_torch(
    cell_type: type[AbstractCell],
    state_dict: Mapping[str, Any],
    layer: int = 0,
    reverse: bool = False,
    *,
    activation: Callable[[Array], Array] | None = None,
) -> AbstractCell:
    """The cell that computes what one layer of a `torch.nn.RNN`, `LSTM` or `GRU` computes.

        W = weight_ih,  U = weight_hh,  b = bias_ih + bias_hh,  R = weight_hr

    In the GRU's candidate, b = bias_ih and c = bias_hh. Layers without biases (`bias=False`) get
    zeros. Dtypes are kept, but for float64 without JAX's x64 mode, which becomes float32. It can be
    differentiated: gradients with respect to JAX arrays in `state_dict` have PyTorch's names.

    Each direction of a bidirectional layer is a cell; run the backward one with
    `unroll(..., reverse=True)`. The state of a `ProjectedLSTM` is from before the projection:
    PyTorch's h_0 is R m_0.

    Args:
        cell_type: `seqmem.RNN`, `LSTM`, `GRU`, or `ProjectedLSTM` for an LSTM with `proj_size`.
        state_dict: arrays by PyTorch's names; those of other layers are not looked at. Tensors on
            the CPU will do, so `module.state_dict()` can be given as it is.
        layer: which layer of a stack, >= 0.
        reverse: whether to take the backward direction of a bidirectional layer.
        activation: of an RNN. None is tanh; give `jax.nn.relu` where the layer was made with
            `nonlinearity="relu"`, which a state_dict does not tell.

    Raises:
        ValueError: for another type of cell or activation, and where names or shapes do not fit.

    Example:
        >>> import numpy as np, seqmem
        >>> from seqmem.interop import from_torch
        >>> weights = {"weight_ih_l0": np.ones((20, 3)), "weight_hh_l0": np.ones((20, 5))}
        >>> cell = from_torch(seqmem.LSTM, weights)
        >>> cell.input_size, cell.hidden_size, seqmem.gate(cell, "forget").U.shape
        (3, 5, (5, 5))
    """
    layout = _layout(cell_type)
    if activation is not None and (cell_type is not RNN or activation not in ACTIVATIONS):
        raise bad_input(
            f"from_torch got activation={activation!r} for {cell_type.__name__}.",
            "jax.numpy.tanh or jax.nn.relu, and for seqmem.RNN alone: PyTorch has no other.",
            "leave it out, or take the activation of the PyTorch layer.",
        )
    arrays = _arrays(cell_type, state_dict, _suffix(layer, reverse))
    if layout.gates:  # gates by name, since their places are the cell's own matter
        order = np.array([layout.gates.index(gate) for gate in cell_type.gates])
        for name in ("weight_ih", "weight_hh", *BIASES):
            rows = arrays[name]
            arrays[name] = rows.reshape(len(order), -1, *rows.shape[1:])[order]

    fields = {"W": arrays["weight_ih"], "U": arrays["weight_hh"]}
    fields["b"] = arrays["bias_ih"] + arrays["bias_hh"]
    sizes = [fields["W"].shape[-1], fields["W"].shape[-2]]
    if layout.apart is not None:
        apart = cell_type.gates.index(layout.apart)
        alone = np.arange(len(cell_type.gates))[:, None] == apart
        fields["b"] = jnp.where(alone, arrays["bias_ih"], fields["b"])
        fields["c"] = arrays["bias_hh"][apart]
    if layout.projected:
        fields["R"] = arrays["weight_hr"]
        sizes.append(fields["R"].shape[0])
    chosen = {} if activation is None else {"activation": activation}
    return filled(cell_type, *sizes, fields=fields, **chosen)


def to_torch(
    cell: AbstractCell, layer: int = 0, reverse: bool = False
) -> dict[str, Float[np.ndarray, "..."]]:
    """The parameters of a cell as one layer of a `torch.nn.RNN`, `LSTM` or `GRU` holds them.

    The inverse of `from_torch`: `bias_ih` is b and `bias_hh` is 0, or c in a GRU's candidate. For
    `module.load_state_dict`, make tensors of the arrays with `torch.from_numpy`, and join the dicts
    of the layers.

    Args:
        cell: a `seqmem.RNN` without an output size, whose activation is tanh or relu, an `LSTM`, a
            `ProjectedLSTM` or a `GRU`.
        layer: the number in the names, >= 0.
        reverse: whether the names are those of the backward direction.

    Raises:
        ValueError: where PyTorch has no such layer.

    Example:
        >>> import jax, seqmem
        >>> from seqmem.interop import to_torch
        >>> cell = seqmem.GRU(3, 5, key=jax.random.key(0))
        >>> {name: array.shape for name, array in to_torch(cell, layer=1).items()}
        {'weight_ih_l1': (15, 3), 'weight_hh_l1': (15, 5), 'bias_ih_l1': (15,), 'bias_hh_l1': (15,)}
    """
    layout = _layout(type(cell))
    own: Any = cell  # the cells that PyTorch has share these fields, but no class that says so
    _check_expressible(own)

    inner = np.zeros_like(own.b)
    if layout.apart is not None:
        inner[own.gates.index(layout.apart)] = own.c
    arrays = {"weight_ih": own.W, "weight_hh": own.U, "bias_ih": own.b, "bias_hh": inner}
    arrays = {name: np.array(array) for name, array in arrays.items()}
    if layout.gates:
        order = [own.gates.index(gate) for gate in layout.gates]
        arrays = {name: np.concatenate(array[order]) for name, array in arrays.items()}
    if layout.projected:
        arrays["weight_hr"] = np.array(own.R)
    return {name + _suffix(layer, reverse): array for name, array in arrays.items()}


def _layout(cell_type: type[AbstractCell]) -> Layout:
    if cell_type not in LAYOUTS:
        raise bad_input(
            f"a cell of type {getattr(cell_type, '__name__', cell_type)}.",
            f"one of {', '.join(known.__name__ for known in LAYOUTS)}, which PyTorch has too.",
            "pass the type itself to from_torch, and the cell itself to to_torch.",
        )
    return LAYOUTS[cell_type]


def _suffix(layer: int, reverse: bool) -> str:
    return f"_l{layer}" + ("_reverse" if reverse else "")


def _arrays(
    cell_type: type[AbstractCell], state_dict: Mapping[str, Any], suffix: str
) -> dict[str, Any]:
    """The arrays of one layer by their names without the suffix; missing biases are zeros."""
    layout = LAYOUTS[cell_type]
    weights = ("weight_ih", "weight_hh") + ("weight_hr",) * layout.projected
    names = [name for name in ("weight_hr", *weights, *BIASES) if name + suffix in state_dict]
    if set(names) not in (set(weights), {*weights, *BIASES}):
        raise bad_input(
            f"the state_dict has {sorted(state_dict)}.",
            f"{[name + suffix for name in weights]} for {cell_type.__name__}, with both of "
            f"{[name + suffix for name in BIASES]} or neither.",
            "choose the layer, the direction and the type of cell of the PyTorch module "
            "(ProjectedLSTM where it has a proj_size); cut prefixes such as 'rnn.' off the names.",
        )
    arrays = {
        name: floating(
            name + suffix,
            state_dict[name + suffix],
            1 if name in BIASES else 2,
            remedy="give the arrays of a PyTorch layer as they are.",
        )
        for name in names
    }
    output, hidden = arrays.get("weight_hr", arrays["weight_hh"]).shape
    rows = max(1, len(layout.gates)) * hidden
    shapes = {
        "weight_ih": (rows, arrays["weight_ih"].shape[1]),
        "weight_hh": (rows, output if layout.projected else hidden),
        "weight_hr": (output, hidden),
        **dict.fromkeys(BIASES, (rows,)),
    }
    check_shapes(
        {name + suffix: array for name, array in arrays.items()},
        {name + suffix: shape for name, shape in shapes.items()},
        whose=f"{cell_type.__name__} with {hidden} entries in its state",
        remedy="take the type of cell that the PyTorch module has.",
    )
    zeros = np.zeros(rows, arrays["weight_hh"].dtype)
    return dict.fromkeys(BIASES, zeros) | arrays


def _check_expressible(cell: Any) -> None:
    if getattr(cell, "V", None) is not None:
        raise bad_input(
            "an RNN with an output size.",
            "one that outputs its state, as PyTorch's does.",
            "convert the cell without V, and put V into a torch.nn.Linear(bias=False) behind it.",
        )
    if getattr(cell, "activation", jnp.tanh) not in ACTIVATIONS:
        raise bad_input(
            f"an RNN with activation {cell.activation!r}.",
            "jax.numpy.tanh or jax.nn.relu: PyTorch has no other.",
            "keep the cell in JAX, or write its loop in PyTorch.",
        )
