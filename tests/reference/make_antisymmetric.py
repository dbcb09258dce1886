"""Writes antisymmetric.npz: what torchrecurrent computes for the antisymmetric cells, in float64.

    python tests/reference/make_antisymmetric.py

Made with torchrecurrent 0.2.5 and torch 2.13.0, on a CPU. Everything is drawn from the seed below.
The names in the file are those of the other code, behind the name of our cell; with them come
inputs, the initial state, outputs, the weight of every output in a loss, and its gradients.
"""

import pathlib

import numpy as np
import torch
import torchrecurrent

SEED, TIME, INPUTS, HIDDEN = 7, 11, 3, 5
EPSILON, GAMMA = 0.3, 0.7
CELLS = {
    "AntisymmetricRNN": torchrecurrent.AntisymmetricRNNCell,
    "GatedAntisymmetricRNN": torchrecurrent.GatedAntisymmetricRNNCell,
}


def results(module):
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn_like(parameter))
    xs, weight = torch.randn(TIME, INPUTS, requires_grad=True), torch.randn(TIME, HIDDEN)
    h = start = torch.randn(1, HIDDEN)
    ys = []
    for x in xs:
        h = module(x[None], h)
        ys.append(h[0])
    ys = torch.stack(ys)
    (weight * ys).sum().backward()
    arrays = {"xs": xs, "weight": weight, "ys": ys, "h_0": start[0], "gradient of xs": xs.grad}
    for name, parameter in module.named_parameters():
        arrays |= {name: parameter, f"gradient of {name}": parameter.grad}
    return {name: array.detach().numpy() for name, array in arrays.items()}


def main():
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(SEED)
    found = {
        f"{name}: {part}": array
        for name, cell in CELLS.items()
        for part, array in results(cell(INPUTS, HIDDEN, epsilon=EPSILON, gamma=GAMMA)).items()
    }
    np.savez_compressed(pathlib.Path(__file__).parent / "antisymmetric.npz", **found)


if __name__ == "__main__":
    main()
