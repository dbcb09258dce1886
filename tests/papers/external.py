"""The papers of memories outside of the network, in NumPy, head by head and slot by slot.

A loop is `paper(cell, state, xs) -> (state, ys)`, given a cell of NumPy arrays. PAPERS has the loop
of every cell, and the arguments of the cell other than its input size, hidden size and key.
"""

import numpy as np

import seqmem
from tests.papers.gated import lstm, sigmoid

SLOTS, SIZE, READS, WRITES, SHIFT = 7, 3, 2, 3, 2


def softplus(x):
    return np.log1p(np.exp(x))


def softmax(x):
    return np.exp(x) / np.exp(x).sum()


def split(row, *sizes):
    """A row in pieces; pieces of size 0 are numbers."""
    pieces, begin = [], 0
    for size in sizes:
        pieces.append(row[begin : begin + size] if size else row[begin])
        begin += size or 1
    assert begin == len(row)
    return pieces


def content_weighting(key, strength, memory):
    """Graves et al. 2014, equations 5 and 6."""
    cosines = [key @ row / (np.linalg.norm(key) * np.linalg.norm(row)) for row in memory]
    return softmax(strength * np.array(cosines))


def ntm(cell, state, xs):
    """Graves et al. 2014, equations 2 to 9."""
    inner, output, memory, read_weights, write_weights = state
    ys, reads = [], output[-READS * SIZE :]

    def address(row, w, memory):
        k, beta, g, gamma, s = split(row, SIZE, 0, 0, 0, 2 * SHIFT + 1)
        by_content = content_weighting(k, softplus(beta), memory)
        gated = sigmoid(g) * by_content + (1 - sigmoid(g)) * w
        shifts = softmax(s)
        shifted = np.zeros(SLOTS)
        for i in range(SLOTS):
            for amount in range(-SHIFT, SHIFT + 1):
                shifted[(i + amount) % SLOTS] += gated[i] * shifts[amount + SHIFT]
        powers = shifted ** (1 + softplus(gamma))
        return powers / powers.sum()

    for x in xs:
        inner, (h,) = lstm(cell.controller, inner, [np.concatenate([x, reads])])
        rows = [W @ h + b for W, b in zip(cell.W_write, cell.b_write, strict=True)]
        places = [row[2 * SIZE :] for row in rows]
        write_weights = np.array(
            [address(row, w, memory) for row, w in zip(places, write_weights, strict=True)]
        )
        for w, row in zip(write_weights, rows, strict=True):
            memory = memory * (1 - np.outer(w, sigmoid(row[:SIZE])))
        for w, row in zip(write_weights, rows, strict=True):
            memory = memory + np.outer(w, row[SIZE : 2 * SIZE])
        rows = [W @ h + b for W, b in zip(cell.W_read, cell.b_read, strict=True)]
        read_weights = np.array(
            [address(row, w, memory) for row, w in zip(rows, read_weights, strict=True)]
        )
        reads = (read_weights @ memory).ravel()
        ys.append(np.concatenate([h, reads]))
    return (inner, ys[-1], memory, read_weights, write_weights), ys


def dnc(cell, state, xs):
    """Graves et al. 2016, Methods, in their order: usage, allocation, write, links, read."""
    inner, output, memory, usage, links, precedence, read_weights, write_weights = state
    ys, reads = [], output[-READS * SIZE :]
    for x in xs:
        inner, (h,) = lstm(cell.controller, inner, [np.concatenate([x, reads])])
        k, e, v, beta, g_a, g_w = split(cell.W_write @ h + cell.b_write, SIZE, SIZE, SIZE, 0, 0, 0)
        heads = [
            split(W @ h + b, SIZE, 0, 0, 3) for W, b in zip(cell.W_read, cell.b_read, strict=True)
        ]
        usage = usage + write_weights - usage * write_weights
        for (_, _, f, _), w in zip(heads, read_weights, strict=True):
            usage = usage * (1 - sigmoid(f) * w)
        free_list = sorted(range(SLOTS), key=lambda i: usage[i])
        allocation, product = np.zeros(SLOTS), 1.0
        for i in free_list:
            allocation[i] = (1 - usage[i]) * product
            product *= usage[i]
        by_content = content_weighting(k, 1 + softplus(beta), memory)
        gate = sigmoid(g_a)
        write_weights = sigmoid(g_w) * (gate * allocation + (1 - gate) * by_content)
        memory = memory * (1 - np.outer(write_weights, sigmoid(e))) + np.outer(write_weights, v)
        new_links = np.zeros((SLOTS, SLOTS))
        for i in range(SLOTS):
            for j in range(SLOTS):
                if i != j:
                    old = (1 - write_weights[i] - write_weights[j]) * links[i, j]
                    new_links[i, j] = old + write_weights[i] * precedence[j]
        links = new_links
        precedence = (1 - write_weights.sum()) * precedence + write_weights
        weightings = []
        for (key, strength, _, mode), w in zip(heads, read_weights, strict=True):
            by_content = content_weighting(key, 1 + softplus(strength), memory)
            backward, content, forward = softmax(mode)
            weightings.append(backward * links.T @ w + content * by_content + forward * links @ w)
        read_weights = np.array(weightings)
        reads = (read_weights @ memory).ravel()
        ys.append(np.concatenate([h, reads]))
    state = inner, ys[-1], memory, usage, links, precedence, read_weights, write_weights
    return state, ys


def in_range(state):
    """A state like those that a run reaches, from any numbers: weightings and usage in [0, 1]."""
    within = {"read_weights", "write_weights", "usage", "links", "precedence"}
    return state._replace(
        **{name: sigmoid(getattr(state, name)) / SLOTS for name in within & set(state._fields)}
    )


SIZES = {"num_slots": SLOTS, "slot_size": SIZE, "num_read_heads": READS}
PAPERS = {
    seqmem.NTM: (ntm, SIZES | {"num_write_heads": WRITES, "max_shift": SHIFT}),
    seqmem.DNC: (dnc, SIZES),
}
