"""How do the bytes of a gradient through time grow with the length of the sequence?

    python -m benchmarks.cost.memory

For an LSTM: XLA's own analysis of the temporaries of one gradient, for a plain scan of Equinox's
cell, for seqmem's methods, and with chunks of about the square root of the time; `memory_report`
beside them. A loss that squares all outputs holds them and their cotangents itself; the last
column's loss reads the final state alone, so that what a chunk costs stands by itself.
Nothing is run.
"""

import argparse
import functools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
from tqdm import tqdm

import seqmem

from ..common import measure as _measure

BATCH, INPUT, HIDDEN = 8, 32, 128
PACKAGES = ("seqmem", "jax", "jaxlib", "equinox")


def equinox_loss(cell, xs):
    def body(state, x):
        state = jax.vmap(cell)(x, state)
        return state, state[0]

    state = jnp.zeros((BATCH, HIDDEN)), jnp.zeros((BATCH, HIDDEN))
    return jnp.sum(jax.lax.scan(body, state, xs)[1] ** 2)


def loss(method, chunk, cell, xs):
    _, ys = seqmem.unroll(cell, cell.init_state(), xs, method=method, remat_every=chunk)
    return jnp.sum(ys**2)


def final_loss(method, chunk, cell, xs):
    state, _ = seqmem.unroll(cell, cell.init_state(), xs, method=method, remat_every=chunk)
    return jnp.sum(state.h**2)


def temporaries(fn, cell, time):
    """Bytes that XLA sets aside for the gradient beside arguments and results."""
    xs = jax.ShapeDtypeStruct((time, BATCH, INPUT), jnp.float32)
    compiled = jax.jit(jax.grad(fn)).lower(cell, xs).compile()
    return compiled.memory_analysis().temp_size_in_bytes


def row(time):
    """MiB of every candidate at one length."""
    key = jax.random.key(0)
    cell = seqmem.LSTM(INPUT, HIDDEN, key=key)
    chunk = 2 ** round(math.log2(time) / 2)
    settings = {
        "seqmem": (None, None),
        "seqmem lean": (seqmem.Scan(recompute=True), None),
        "chunked": (None, chunk),
    }
    found = {"Equinox": temporaries(equinox_loss, eqx.nn.LSTMCell(INPUT, HIDDEN, key=key), time)}
    for name, (method, size) in settings.items():
        found[name] = temporaries(functools.partial(loss, method, size), cell, time)
        report = seqmem.memory_report(cell, (time, BATCH, INPUT), method=method, remat_every=size)
        found[f"{name}, report"] = report.peak
    last = functools.partial(final_loss, None, chunk)
    found["chunked, final state"] = temporaries(last, cell, time)
    return {name: size / 2**20 for name, size in found.items()}


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--lengths", type=int, nargs="+", default=[2**n for n in range(8, 15)])
    parser.add_argument("--out", default="benchmarks/results")
    args = parser.parse_args(argv)
    table = {time: row(time) for time in tqdm(args.lengths)}
    names = list(next(iter(table.values())))
    cells = [
        [str(time), *(f"{found[name]:.1f}" for name in names)] for time, found in table.items()
    ]
    title = f"MiB of one gradient, LSTM, batch {BATCH}, input {INPUT}, hidden {HIDDEN}, float32:"
    record = _measure.provenance("benchmarks.cost.memory", PACKAGES) | {"mebibytes": table}
    markdown = f"{title}\n\n{_measure.markdown_table(['T', *names], cells)}"
    print(markdown)
    print("wrote", *_measure.write(args.out, "memory", record, markdown))


if __name__ == "__main__":
    main()
