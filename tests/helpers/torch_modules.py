"""PyTorch's recurrent modules and our cells of the same equations."""

import jax
import pytest

import seqmem

TIME, BATCH, INPUT, HIDDEN, OUTPUT = 7, 3, 2, 5, 4

# our cell, PyTorch's module, the options of each
KINDS = {
    "RNN, tanh": (seqmem.RNN, "RNN", {}, {}),
    "RNN, relu": (seqmem.RNN, "RNN", {"activation": jax.nn.relu}, {"nonlinearity": "relu"}),
    "LSTM": (seqmem.LSTM, "LSTM", {}, {}),
    "ProjectedLSTM": (seqmem.ProjectedLSTM, "LSTM", {}, {"proj_size": OUTPUT}),
    "GRU": (seqmem.GRU, "GRU", {}, {}),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def draw(rng, shape, dtype):
    return rng.standard_normal(shape).astype(dtype)
