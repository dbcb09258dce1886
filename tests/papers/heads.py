"""What the loops of fast-weight cells share: heads, sizes and activations."""

import numpy as np

from tests.papers.gated import sigmoid

HEADS, WRITES = 3, 2
SIZES = {"hidden_size": 6, "num_heads": HEADS}


def silu(x):
    return x * sigmoid(x)


def softplus(x):
    return np.logaddexp(0, x)


def unit(x):
    return x / np.sqrt((x * x).sum() + 1e-6)


def split_heads(cell, x):
    """One array per head."""
    return np.split(x, cell.num_heads)


def with_matrices(memory, matrices):
    return memory._replace(matrix=np.stack(matrices))
