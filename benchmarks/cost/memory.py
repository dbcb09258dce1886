"""The memory of a gradient through time, against the length of the sequence.

    python -m benchmarks.cost.memory

For an LSTM: XLA's own analysis of the temporaries of one gradient (`gradients.memory_report`), for
a plain scan of Equinox's cell, for seqmem's methods, and with `remat_every` about the square root
of the time. A loss that squares all outputs holds the outputs and their cotangents itself; the last
column's loss reads the final state alone, which leaves the memory of the method. The programs are
compiled, never run.
"""

import argparse
import functools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
from tqdm import tqdm

import seqmem
from seqmem import gradients

from ..common.records import markdown_table, provenance, write_record

BATCH, INPUT, HIDDEN = 8, 32, 128
PACKAGES = ("seqmem", "jax", "jaxlib", "equinox")


def equinox_loss(cell, xs):
    def body(state, x):
        state = jax.vmap(cell)(x, state)
        return state, state[0]

    state = jnp.zeros((BATCH, HIDDEN)), jnp.zeros((BATCH, HIDDEN))
    return jnp.sum(jax.lax.scan(body, state, xs)[1] ** 2)


def outputs_loss(method, remat_every, cell, xs):
    _, ys = seqmem.unroll(cell, None, xs, method=method, remat_every=remat_every)
    return jnp.sum(ys**2)


def final_state_loss(method, remat_every, cell, xs):
    state, _ = seqmem.unroll(cell, None, xs, method=method, remat_every=remat_every)
    return jnp.sum(state.h**2)


def temporaries(loss, cell, time):
    """Bytes of temporaries of one gradient."""
    xs = jax.ShapeDtypeStruct((time, BATCH, INPUT), jnp.float32)
    return gradients.memory_report(loss, cell, xs).temporaries


def measure(time):
    """MiB of every program at one length."""
    key = jax.random.key(0)
    cell = seqmem.LSTM(INPUT, HIDDEN, key=key)
    chunk = 2 ** round(math.log2(time) / 2)
    losses = {
        "seqmem": functools.partial(outputs_loss, None, None),
        "seqmem lean": functools.partial(outputs_loss, seqmem.Scan(recompute=True), None),
        "chunked": functools.partial(outputs_loss, None, chunk),
        "chunked, final state": functools.partial(final_state_loss, None, chunk),
    }
    sizes = {"Equinox": temporaries(equinox_loss, eqx.nn.LSTMCell(INPUT, HIDDEN, key=key), time)}
    sizes |= {name: temporaries(loss, cell, time) for name, loss in losses.items()}
    return {name: size / 2**20 for name, size in sizes.items()}


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--lengths", type=int, nargs="+", default=[2**n for n in range(8, 15)])
    parser.add_argument("--out", default="benchmarks/results", help="folder for the results")
    options = parser.parse_args(arguments)
    table = {time: measure(time) for time in tqdm(options.lengths)}
    names = list(next(iter(table.values())))
    rows = [[str(time), *(f"{sizes[name]:.1f}" for name in names)] for time, sizes in table.items()]
    title = f"MiB of one gradient, LSTM, batch {BATCH}, input {INPUT}, hidden {HIDDEN}, float32:"
    record = provenance("benchmarks.cost.memory", PACKAGES) | {"mebibytes": table}
    markdown = f"{title}\n\n{markdown_table(['T', *names], rows)}"
    print(markdown)
    print("wrote", *write_record(options.out, "memory", record, markdown))


if __name__ == "__main__":
    main()
