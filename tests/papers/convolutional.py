"""The papers of the cells whose state is an image, in NumPy, pixel by pixel.

A loop below is `paper(cell, state, xs) -> (state, ys)`, on a cell of NumPy arrays; PAPERS names a
cell's loop, and the cell's other arguments.
"""

import itertools

import numpy as np

import seqmem
from tests.papers.gated import sigmoid


def correlate(K, image):
    """Σ_j K_j x_{p + j} for every pixel p, one product per pixel and place of the kernel."""
    hidden, *widths, _ = K.shape
    result = np.zeros((*image.shape[:-1], hidden))
    for pixel in np.ndindex(*image.shape[:-1]):
        for place in itertools.product(*map(range, widths)):
            there = tuple(
                p + j - width // 2 for p, j, width in zip(pixel, place, widths, strict=True)
            )
            is_inside = all(0 <= p < size for p, size in zip(there, image.shape[:-1], strict=True))
            if is_inside:
                result[pixel] += K[(slice(None), *place)] @ image[there]
    return result


def pre_activation(cell, name, x, h):
    """W ∗ x + U ∗ h + b of one gate."""
    gate = seqmem.gate(cell, name)
    return correlate(gate.W, x) + correlate(gate.U, h) + gate.b


def conv_lstm(cell, state, xs):
    """Shi et al. 2015 without peepholes."""
    (h, c), ys = state, []
    for x in xs:
        i = sigmoid(pre_activation(cell, "input", x, h))
        f = sigmoid(pre_activation(cell, "forget", x, h))
        o = sigmoid(pre_activation(cell, "output", x, h))
        c = f * c + i * np.tanh(pre_activation(cell, "cell", x, h))
        h = o * np.tanh(c)
        ys.append(h)
    return (h, c), ys


def conv_gru(cell, h, xs):
    """Shi et al. 2017, with biases: the reset gate multiplies the convolution of the state."""
    n, ys = seqmem.gate(cell, "candidate"), []
    for x in xs:
        r = sigmoid(pre_activation(cell, "reset", x, h))
        z = sigmoid(pre_activation(cell, "update", x, h))
        candidate = np.tanh(correlate(n.W, x) + n.b + r * (correlate(n.U, h) + cell.c))
        h = z * h + (1 - z) * candidate
        ys.append(h)
    return h, ys


PAPERS = {
    seqmem.ConvLSTM: (conv_lstm, {"input_shape": (2, 3, 2), "width": (3, 5)}),
    seqmem.ConvGRU: (conv_gru, {"input_shape": (5, 3)}),
}
