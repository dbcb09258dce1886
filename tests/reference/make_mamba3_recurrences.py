"""Writes mamba3_recurrences.npz beside it: the recurrences of Mamba-3, one step after another.

    python tests/reference/make_mamba3_recurrences.py

with jax-linear-attention==0.1.0 and jax==0.11.2 on a CPU: `mamba3` and `mamba3_mimo` of its
`jla.ops.reference`, from given states and with segments, in float64, which it gets where it asks
for float32.

Everything is drawn from the seed and rounded. The logarithms of decays are mild, and also −10,
−1000 and −∞. "late" is (1 − λ) Δ, and their `beta` is late · exp(log_decay). The arrays are [batch,
time, heads, rank, ...]; SISO is the first rank. The gradients are those of Σ weight · outputs plus
Σ weight · final state.
"""

from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from jla.ops import reference
from make import HERE, SEED

BATCH, TIME, HEADS, RANK, KEY, VALUE = 2, 19, 2, 3, 5, 7
SEGMENTS = np.repeat([0, 1, 2], [8, 3, 8])
STATES = ("state", "key_before", "value_before")


def draw():
    rng = np.random.default_rng(SEED)

    def normal(*shape):
        return np.round(128 * rng.standard_normal(shape)) / 256

    log_decay = -np.abs(normal(BATCH, TIME, HEADS))
    log_decay[0, [2, 9, 13], 0] = -10, -1000, -np.inf
    log_decay[1, [4, 8, 15], 1] = -1000, -10, -np.inf
    inputs = {
        "query": normal(BATCH, TIME, HEADS, RANK, KEY),
        "key": normal(BATCH, TIME, HEADS, RANK, KEY),
        "value": normal(BATCH, TIME, HEADS, RANK, VALUE),
        "log_decay": log_decay,
        "late": np.abs(normal(BATCH, TIME, HEADS)),
        "gamma": np.abs(normal(BATCH, TIME, HEADS)),
        "state": normal(BATCH, HEADS, KEY, VALUE),
        "key_before": normal(BATCH, HEADS, RANK, KEY),
        "value_before": normal(BATCH, HEADS, RANK, VALUE),
    }
    weights = {
        "outputs": normal(BATCH, TIME, HEADS, RANK, VALUE),
        "final state": normal(BATCH, HEADS, KEY, VALUE),
    }
    return inputs, weights


def first_rank(name, array):
    """SISO's part of an array."""
    of_rank = name in ("query", "key", "value", "outputs", "key_before", "value_before")
    return array[..., 0, :] if of_rank else array


def compute(fn, inputs, weights):
    def run(inputs):
        beta = inputs["late"] * jnp.exp(inputs["log_decay"])
        outputs, final = fn(
            *(inputs[name] for name in ("query", "key", "value", "log_decay")),
            *(beta, inputs["gamma"]),
            initial_state=reference.Mamba3State(*(inputs[name] for name in STATES)),
            output_final_state=True,
            segment_ids=jnp.broadcast_to(SEGMENTS, (BATCH, TIME)),
        )
        return {"outputs": outputs, "final state": final.ssm}

    found, pull = jax.vjp(run, inputs)
    (gradients,) = pull(weights)
    found |= {f"gradient of {name}": array for name, array in gradients.items()}
    assert all(array.dtype == jnp.float64 for array in found.values())
    return {name: np.asarray(array) for name, array in found.items()}


def main():
    inputs, weights = draw()
    arrays = inputs | {f"weight of {name}": array for name, array in weights.items()}
    siso = [{name: first_rank(name, a) for name, a in tree.items()} for tree in (inputs, weights)]
    references = {
        "SISO": (reference.mamba3, *siso),
        "MIMO": (reference.mamba3_mimo, inputs, weights),
    }
    for name, (fn, *drawn) in references.items():
        found = compute(fn, *jax.tree.map(jnp.asarray, drawn))
        arrays |= {f"{name}: {own}": array for own, array in found.items()}
    np.savez_compressed(HERE / "mamba3_recurrences.npz", **arrays)


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    with mock.patch.object(jnp, "float32", jnp.float64):
        main()
