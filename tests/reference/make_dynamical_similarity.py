"""Writes dynamical_similarity.npz: what the program of Ostrow et al. computes for three systems.

    python tests/reference/make_dynamical_similarity.py DSA

DSA is a checkout of github.com/mitchellostrow/DSA at commit 449ef95; made with torch 2.13.0 (CPU)
in its float32. The systems are trajectories of three networks h_t = tanh(W h_{t−1}) of different
sizes near the edge of chaos, drawn from the seed below. Beside the data stand A, which the
program divides by its norm, and the angle of every pair, over O(n) with 3000 iterations.
"""

import pathlib
import sys

import numpy as np

SEED, TIME, BATCH, DELAYS, RANK = 7, 101, 3, 5, 6


def trajectories(rng, size):
    W = 1.5 * rng.normal(size=(size, size)) / np.sqrt(size)
    h = rng.normal(size=(BATCH, size))
    states = []
    for _ in range(TIME):
        h = np.tanh(h @ W.T)
        states.append(h)
    return np.stack(states)  # time, batch, size


def main(folder):
    sys.path.insert(0, folder)
    import torch
    from DSA import DSA

    torch.manual_seed(SEED)
    rng = np.random.default_rng(SEED)
    systems = [trajectories(rng, size) for size in (5, 7, 11)]
    arrays = {f"xs{i}": xs for i, xs in enumerate(systems)}
    of_trials = [xs.swapaxes(0, 1).astype(np.float32) for xs in systems]
    analysis = DSA(of_trials, n_delays=DELAYS, rank=RANK, iters=3000, lr=0.01)
    arrays["angles"] = np.asarray(analysis.fit_score())
    arrays |= {f"A{i}": dmd.A_v.numpy() for i, dmd in enumerate(analysis.dmds[0])}
    path = pathlib.Path(__file__).parent / "dynamical_similarity.npz"
    np.savez_compressed(path, **arrays)
    print(path, {name: array.shape for name, array in arrays.items()}, arrays["angles"])


if __name__ == "__main__":
    main(sys.argv[1])
