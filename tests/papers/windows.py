"""The papers of the window cells, in NumPy: each output from its window, tap by tap.

A loop below is `paper(cell, state, xs) -> (state, ys)`, on a cell of NumPy arrays; PAPERS names a
cell's loop, and the cell's other arguments.
"""

import numpy as np

import seqmem


def causal_conv(cell, window, xs):
    """Bai et al. 2018, equation 2."""
    ys = []
    for x in xs:
        window = [*window[1:], x]
        taps = [W @ window[-1 - cell.dilation * j] for j, W in enumerate(cell.W)]
        ys.append(np.sum(taps, 0) + cell.b)
    return np.stack(window), ys


def depthwise_conv(cell, window, xs):
    """De et al. 2024, section 2.3: every channel is a convolution by itself."""
    ys = []
    for x in xs:
        window = [*window[1:], x]
        pairs = zip(np.transpose(window), cell.w.T, cell.b, strict=True)
        ys.append([np.convolve(channel, w, "valid")[0] + b for channel, w, b in pairs])
    return np.stack(window), ys


def rotate(x, position):
    """Su et al. 2021, equation 15: a matrix with a rotation for each pair."""
    size = len(x)
    R = np.zeros((size, size))
    for i in range(size // 2):
        angle = position * 10000 ** (-2 * i / size)
        c, s = np.cos(angle), np.sin(angle)
        R[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = [[c, -s], [s, c]]
    return R @ x


def sliding_window_attention(cell, window, xs):
    """Vaswani et al. 2017, equation 1, over the valid entries."""
    n, groups, d = window.key.shape
    keys, values, valid = map(list, window)
    ys = []
    for t, x in enumerate(xs, n):
        keys.append((cell.W_k @ x).reshape(groups, d))
        values.append((cell.W_v @ x).reshape(groups, d))
        valid.append(1.0)
        steps = [s for s in range(t - n + 1, t + 1) if valid[s] > 0]
        readings = []
        for h, q in enumerate((cell.W_q @ x).reshape(-1, d)):
            group = h // (cell.num_heads // groups)
            products = [rotate(q, t) @ rotate(keys[s][group], s) / np.sqrt(d) for s in steps]
            weights = np.exp(products) / np.sum(np.exp(products))
            readings.append(weights @ [values[s][group] for s in steps])
        ys.append(cell.W_o @ np.concatenate(readings))
    return tuple(np.stack(leaf[-n:]) for leaf in (keys, values, valid)), ys


PAPERS = {
    seqmem.CausalConv: (causal_conv, {"output_size": 2, "width": 3, "dilation": 2}),
    seqmem.DepthwiseConv: (depthwise_conv, {"width": 3}),
    seqmem.SlidingWindowAttention: (
        sliding_window_attention,
        {"input_size": 12, "num_heads": 6, "num_key_value_heads": 3, "window": 5},
    ),
}
