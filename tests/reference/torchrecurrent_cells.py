"""Cells of torchrecurrent 0.2.5, in PyTorch: parameters, inputs, outputs and gradients.

Run with `torchrecurrent==0.2.5` and `torch==2.13.0` (CPU). Each cell runs over one sequence, in
float64, with random parameters and a random initial state. The loss is the sum of the outputs,
each times a random weight. What is drawn is a multiple of 1/64, which takes little room in a file.
The arrays of a cell are one after another in one array; `layout` has their names and shapes.

Where a cell is not its paper's, `CHANGED` sets a parameter to the value at which it is.
"""

import json
import pathlib

import numpy as np
import torch
import torchrecurrent

TIME, INPUT, HIDDEN, SEED = 2, 3, 5, 20261129
HERE = pathlib.Path(__file__).parent

CELLS = {
    "JANET": {},
    "MinimalRNN": {},
    "RAN": {},
    "UGRNN": {},
    "LiGRU": {"nonlinearity": "relu"},
    "CFN": {},
    "STAR": {},
    "BR": {},
    "NBR": {},
    "ATR": {},
    "FastRNN": {"nonlinearity": "tanh"},
    "FastGRNN": {"nonlinearity": "sigmoid"},
    "SCRN": {},
    "MUT1": {},
    "MUT2": {},
    "MUT3": {},
    "MultiplicativeLSTM": {},
}
PAIRS = {"JANET", "RAN", "SCRN", "MultiplicativeLSTM"}  # their state is two vectors
SQUARE = {"MUT1", "MUT2"}  # in their paper the input is added to what has the size of the state

zero, identity = torch.zeros_like, lambda part: torch.eye(len(part), dtype=part.dtype)
FIRST, SECOND, LAST = slice(0, HIDDEN), slice(HIDDEN, 2 * HIDDEN), slice(-HIDDEN, None)
# Most cells have a second bias next to the first: it is 0. The others, by name of the parameter:
# the rows that are not as in the paper, and what they are there.
KEEP_RECURRENT_BIAS = {"MinimalRNN", "ATR", "MUT1"}
CHANGED = {
    "CFN": [("bias_ih", LAST, zero)],
    "BR": [("bias_ih", LAST, zero)],
    "NBR": [("bias_ih", LAST, zero)],
    # The paper feeds back the hidden layer, torchrecurrent the output: here neither is fed back.
    "SCRN": [
        ("weight_hh", FIRST, zero),
        ("bias_ih", slice(None), zero),
        ("bias_ch", slice(None), zero),
    ],
    "MUT1": [
        ("weight_ih", LAST, identity),
        ("bias_ih", LAST, zero),
        ("bias_hh", FIRST, zero),
    ],
    "MUT2": [("weight_ih", SECOND, identity)],
    "MultiplicativeLSTM": [("bias_ih", FIRST, zero), ("bias_mh", slice(None), zero)],
}


def draw(generator, *shape):
    numbers = torch.randn(shape, generator=generator, dtype=torch.float64)
    return torch.round(64 * numbers) / 64


def draw_parameters(name, cell, generator):
    changes = CHANGED.get(name, [])
    if name not in KEEP_RECURRENT_BIAS:
        changes = [*changes, ("bias_hh", slice(None), zero)]
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.copy_(draw(generator, *parameter.shape))
        for field, rows, value in changes:
            part = getattr(cell, field)[rows]
            part.copy_(value(part))
        if name == "SCRN":
            cell.alpha.fill_(0.95)
        if name == "JANET":
            cell.beta.fill_(0.8)


def run(name, options, generator):
    size = HIDDEN if name in SQUARE else INPUT
    cell = getattr(torchrecurrent, f"{name}Cell")(size, HIDDEN, **options).double()
    draw_parameters(name, cell, generator)

    xs, weight = draw(generator, TIME, size).requires_grad_(), draw(generator, TIME, HIDDEN)
    init = [draw(generator, HIDDEN).requires_grad_() for _ in range(1 + (name in PAIRS))]
    if name == "JANET":
        init[1] = init[0]
    state, ys = tuple(init) if name in PAIRS else init[0], []
    for x in xs:
        state = cell(x, state)
        ys.append(state[0] if name in PAIRS else state)
    ys = torch.stack(ys)
    (weight * ys).sum().backward()
    arrays = {"xs": xs, "weight": weight, "ys": ys, "gradient of xs": xs.grad}
    for place, part in enumerate(init):
        arrays |= {f"state {place}": part, f"gradient of state {place}": part.grad}
    for field, parameter in cell.named_parameters():
        arrays |= {field: parameter, f"gradient of {field}": parameter.grad}
    return {field: array.detach().numpy() for field, array in arrays.items()}


def main():
    generator = torch.Generator().manual_seed(SEED)
    arrays = {
        "source": np.array("torchrecurrent 0.2.5 (PyPI), the cells of torchrecurrent.cells"),
        "version": np.array(torch.__version__),
        "seed": np.array(SEED),
    }
    layout = {}
    for name, options in CELLS.items():
        parts = run(name, options, generator)
        layout[name] = {field: part.shape for field, part in parts.items()}
        arrays[name] = np.concatenate([part.ravel() for part in parts.values()])
    arrays["layout"] = np.array(json.dumps(layout))
    np.savez_compressed(HERE / "torchrecurrent_cells.npz", **arrays)


if __name__ == "__main__":
    main()
