"""Compare fast-weight cells with jax-linear-attention, on a machine without a GPU.

Its chunked form in JAX's operations takes the place of its kernels, for values and gradients
against `Scan`; it is also compared with the stand-in of `tests/helpers/linear_attention.py`. The
kernels themselves are lowered for CUDA. In an environment of Python 3.12 or newer:

    pip install jax==0.11.2 jax-linear-attention==0.1.0 equinox optax
    JAX_PLATFORMS=cpu PYTHONPATH=src:. python -m tests.reference.linear_attention_kernels
"""

import functools
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
from jla import ops

import seqmem
from seqmem._cells.fast_weights import borrowed_kernels
from tests.helpers import linear_attention

TIME, BATCH, INPUT, HEADS, SIZE = 150, 2, 8, 2, 64
KEY = jax.random.key(0)
SIZES = {"num_heads": HEADS, "key_size": SIZE, "key": KEY}
CELLS = {
    "RetNet": seqmem.RetNet,
    "SSD": functools.partial(seqmem.SSD, num_groups=1),
    "GLA": seqmem.GLA,
    "DeltaRule": seqmem.DeltaRule,
    "GatedDeltaRule": seqmem.GatedDeltaRule,
    "KDA": seqmem.KDA,
    "GatedDeltaRule2": seqmem.GatedDeltaRule2,
}
LENGTHS = np.array([TIME, 70])
RESETS = np.zeros((TIME, BATCH), bool)
RESETS[[0, 40, 64, 65], [0, 1, 0, 1]] = True


BY_KERNEL = seqmem.Parallel(kernel=True)


def make(name, dtype=jnp.float32):
    cell = CELLS[name](INPUT, HEADS * SIZE, **SIZES)
    return jax.tree.map(lambda leaf: leaf.astype(dtype), cell)


def everything(method, cell, state, xs, **options):
    """Outputs, final state, and the gradients of parameters, state and inputs."""

    def loss(cell, state, xs):
        result = seqmem.unroll(cell, state, xs, method=method, **options)
        leaves = [leaf.astype(jnp.float32) for leaf in jax.tree.leaves(result)]
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in leaves), result

    return jax.value_and_grad(loss, (0, 1, 2), has_aux=True)(cell, state, xs)


def largest_difference(got, want):
    """Of all leaves, in units of the largest entry of each."""
    pairs = zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True)
    pairs = [(np.asarray(a, np.float64), np.asarray(b, np.float64)) for a, b in pairs]
    return np.max([np.abs(a - b).max() / max(1e-6, np.abs(b).max()) for a, b in pairs])


def compare_cells():
    """Values and gradients with the chunked form in the kernels' place."""
    borrowed_kernels.IMPLEMENTATION, borrowed_kernels.FACTORS = "chunked", jnp.float32
    borrowed_kernels.refusal_of_platform = lambda: None
    xs = jax.random.normal(KEY, (TIME, BATCH, INPUT))
    for name in CELLS:
        cell = make(name)
        state = jax.tree.map(
            lambda leaf: 0.1 * jax.random.normal(KEY, leaf.shape), cell.init_state(BATCH)
        )
        for options in ({}, {"lengths": LENGTHS, "resets": RESETS}, {"reverse": True}):
            run = jax.jit(functools.partial(everything, **options), static_argnums=0)
            got, want = (run(method, cell, state, xs) for method in (BY_KERNEL, seqmem.Scan()))
            print(f"{name:15} {sorted(options)!s:22} {largest_difference(got, want):.1e}")


def compare_stand_in():
    """The chunked form against the stand-in of the tests."""
    shape = (BATCH, TIME, HEADS, SIZE)
    draw = lambda key, *shape: jax.random.normal(jax.random.key(key), shape)  # noqa: E731
    q, v = draw(1, *shape), draw(3, *shape[:3], 2 * SIZE)
    k = draw(2, *shape)
    k = k / jnp.linalg.norm(k, axis=-1, keepdims=True)
    for kind, gates in linear_attention.GATES.items():
        shapes = {name: (v if name == "w" else k).shape[:axes] for name, axes in gates.items()}
        drawn = {name: jax.nn.sigmoid(draw(5, *shape)) for name, shape in shapes.items()}
        if "g" in gates:
            drawn["g"] = -jax.nn.softplus(draw(4, *shapes["g"]))
        options = {
            "scale": 0.7,
            "initial_state": draw(6, BATCH, HEADS, SIZE, 2 * SIZE),
            "output_final_state": True,
            "segment_ids": jnp.cumsum(RESETS.T, 1),
        }
        results = [
            run(kind, q, k, v, impl=impl, **options, **drawn)
            for run, impl in (
                (ops.linear_attention, "chunked"),
                (linear_attention.linear_attention, "mosaic_gpu"),
            )
        ]
        print(f"stand-in of {kind:15} {largest_difference(*results):.1e}")


def compare_decays():
    """Gradients of the chunked form where every log-decay of a sequence is about one number."""
    shape = (1, 256, 1, SIZE)
    draw = lambda key, *shape: jax.random.normal(jax.random.key(key), shape)  # noqa: E731
    q, k, v = draw(1, *shape), draw(2, *shape), draw(3, *shape)
    k = k / jnp.linalg.norm(k, axis=-1, keepdims=True)
    state = jnp.zeros((1, 1, SIZE, SIZE))

    def gradients(run, impl, dtype, kind, gates):
        def loss(q, k, v, gates):
            readings, final = run(
                kind,
                *(q, k, v),
                impl=impl,
                scale=1.0,
                initial_state=state.astype(dtype),
                output_final_state=True,
                **gates,
            )
            return jnp.sum(jnp.sin(readings)) + jnp.sum(jnp.sin(final))

        args = jax.tree.map(lambda leaf: leaf.astype(dtype), (q, k, v, gates))
        return jax.jit(jax.grad(loss, (0, 1, 2, 3)))(*args)

    with jax.enable_x64(True):
        for kind, axes in linear_attention.GATES.items():
            if "g" not in axes:
                continue
            for level in (0.1, 1, 4, 8, 16, 32, 64, 300):
                g = -level * (1 + 0.5 * jnp.sin(jnp.arange(256.0)))[None, :, None, None]
                gates = {"g": jnp.broadcast_to(g, shape) if axes["g"] == 4 else g[..., 0]}
                for name in axes.keys() - {"g"}:
                    gates[name] = jax.nn.sigmoid(draw(5, *shape[: axes[name]]))
                want = gradients(
                    linear_attention.linear_attention, "mosaic_gpu", jnp.float64, kind, gates
                )
                got = gradients(ops.linear_attention, "chunked", jnp.float32, kind, gates)
                print(f"{kind:15} log-decays about {-level:5} {largest_difference(got, want):.1e}")


def lower_for_cuda():
    """The kernels of jax-linear-attention in the programs of each cell, forward and gradient."""
    ops._load_kernels()
    for module in list(sys.modules.values()):
        if getattr(module, "__name__", "").startswith("jla") and hasattr(module, "is_hopper"):
            module.is_hopper = lambda: True
    borrowed_kernels.IMPLEMENTATION, borrowed_kernels.FACTORS = "mosaic_gpu", jnp.bfloat16
    xs = jax.ShapeDtypeStruct((TIME, BATCH, INPUT), jnp.bfloat16)
    for name in CELLS:
        cell = make(name, jnp.bfloat16)

        def run(cell, xs):
            return seqmem.unroll(cell, None, xs, method=BY_KERNEL, lengths=LENGTHS)[1]

        def gradient(cell, xs, run=run):
            return jax.grad(lambda cell: run(cell, xs).astype(jnp.float32).sum())(cell)

        counts = []
        with seqmem.target_platform("gpu"):
            for program in (run, gradient):
                lowered = jax.jit(program).trace(cell, xs).lower(lowering_platforms=("cuda",))
                counts.append(len(re.findall(r"custom_call @mosaic_gpu\w*", lowered.as_text())))
        print(f"{name:15} kernels forward and in the gradient: {counts}")


if __name__ == "__main__":
    parts = {
        "cells": compare_cells,
        "stand-in": compare_stand_in,
        "decays": compare_decays,
        "lowering": lower_for_cuda,
    }
    for part in sys.argv[1:] or parts:
        parts[part]()
