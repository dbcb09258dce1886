"""Writes oscillatory.npz: what other programs compute for coRNN, UnICORNN and LEM, in float64.

    python tests/reference/make_oscillatory.py CORNN LEM

CORNN is a checkout of github.com/tk-rusch/coRNN at commit afd8174, LEM one of
github.com/tk-rusch/LEM at commit 833da6b; made with torchrecurrent 0.2.5 and torch 2.13.0, on a
CPU. The authors' UnICORNN, github.com/tk-rusch/unicornn, runs on CUDA alone, so that cell is
torchrecurrent's. Of LEM that package has no reference: its hidden state reads the memory before the
step, where the authors' program reads the memory after it.

Everything is drawn from the seed below. The names in the file are those of the other code, behind
the name of our cell and the program; with them come inputs, the initial and the final state,
outputs, the weight of every output in a loss, and gradients of that loss.
"""

import importlib.util
import pathlib
import sys

import numpy as np
import torch
import torchrecurrent

SEED, TIME, INPUTS, HIDDEN = 7, 11, 3, 4


def authors_cells(path, name):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)


def results(module, step):
    """Arrays of one program. `step` is (module, x, y, z) -> (y, z)."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn_like(parameter))
    xs, weight = torch.randn(TIME, INPUTS, requires_grad=True), torch.randn(TIME, HIDDEN)
    y, z = start = [torch.randn(1, HIDDEN) for _ in "yz"]
    ys = []
    for x in xs:
        y, z = step(module, x[None], y, z)
        ys.append(y[0])
    ys = torch.stack(ys)
    (weight * ys).sum().backward()
    arrays = {"xs": xs, "weight": weight, "ys": ys, "gradient of xs": xs.grad}
    states = {"y_0": start[0], "z_0": start[1], "y": y, "z": z}
    arrays |= {name: state[0] for name, state in states.items()}
    for name, parameter in module.named_parameters():
        arrays |= {name: parameter, f"gradient of {name}": parameter.grad}
    return {name: array.detach().numpy() for name, array in arrays.items()}


def main(co_rnn, lem):
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(SEED)
    networks = pathlib.Path("sMNIST") / "network.py"
    co_rnn_cell = authors_cells(pathlib.Path(co_rnn) / networks, "coRNNCell")
    lem_cell = authors_cells(pathlib.Path(lem) / "src" / networks, "LEMCell")
    oscillator = {"dt": 0.3, "gamma": 0.7, "epsilon": 1.1}

    def apply(module, x, y, z):
        return module(x, y, z)

    def apply_pair(module, x, y, z):
        return module(x, (y, z))

    programs = {
        "CoRNN": results(co_rnn_cell(INPUTS, HIDDEN, **oscillator), apply),
        "LEM": results(lem_cell(INPUTS, HIDDEN, dt=0.6), apply),
        "CoRNN of torchrecurrent": results(
            torchrecurrent.coRNNCell(INPUTS, HIDDEN, **oscillator), apply_pair
        ),
        "UnICORNN of torchrecurrent": results(
            torchrecurrent.UnICORNNCell(INPUTS, HIDDEN, dt=0.3, alpha=1.7), apply_pair
        ),
    }
    found = {
        f"{cell}: {name}": a for cell, arrays in programs.items() for name, a in arrays.items()
    }
    np.savez_compressed(pathlib.Path(__file__).parent / "oscillatory.npz", **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
