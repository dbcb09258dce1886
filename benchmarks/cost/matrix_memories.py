"""Memories that are matrices: what exact blocks cost, against a plain scan and against attention.

    python -m benchmarks.cost.matrix_memories [--rules delta KDA] [--rounds 5] [--tokens 32768]

One head of 64 channels, in float32, products in full precision; q, k, v and whatever the rule wants
beside them are inputs, so that nothing but the memory is measured. Two tables:

* T = 4096, one sequence: milliseconds, temporaries by XLA's own analysis and the seconds that
  compiling took, of seqmem's default method, of the same recurrence in `lax.scan` as one writes it
  by hand, differentiated by JAX, and, for the delta rule, of memax's layer with its projections
  (whose numbers are others: it erases on the wrong side).
* the same number of tokens, as fewer and longer sequences: nanoseconds and multiplications per
  token of a gradient, and temporaries, of seqmem and of `jax.nn.dot_product_attention`.

Interleaved in one process, medians over the rounds.
"""

import argparse
import functools
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array
from tqdm import tqdm

import seqmem

from ..common.measure import compile_for, interleaved, markdown_table, others, provenance, write
from .products import multiply_adds
from ..studies.gradient_norms import number
from .speed import IDLE, Row, parse_rounds

SIZE, TIME = 64, 4096
MOST = 4096  # steps of attention, whose scores are kept
PACKAGES = ("seqmem", "jax", "jaxlib", "equinox", "memax")
HIGHEST = jax.lax.Precision.HIGHEST


class Given(seqmem.AbstractFastWeightCell):
    """The memory alone: its inputs are what it writes, its outputs what it reads."""

    axes: Any = eqx.field(static=True)

    @property
    def input_axes(self) -> Any:
        return self.axes

    def init_state(self) -> seqmem.Memory:
        return seqmem.Memory(jnp.zeros((1, SIZE, SIZE)))

    def project(self, x: seqmem.Write) -> tuple[seqmem.Write, None]:
        return x, None

    def output(self, reading: Array, extra: None) -> Array:
        return reading


def unit(x: Array) -> Array:
    return x / jnp.linalg.norm(x, axis=-1, keepdims=True)


def inputs(rule: str, time: int, batch: int) -> seqmem.Write:
    """Writes of a rule, [time, batch, 1 head, channels]."""
    keys = jax.random.split(jax.random.key(0), 6)

    def normal(i: int, size: int = SIZE) -> Array:
        return jax.random.normal(keys[i], (time, batch, 1, size))

    q, k, v, beta = normal(0), unit(normal(1)), normal(2), jax.nn.sigmoid(normal(3, 1))
    per_head, per_channel = (-jax.nn.softplus(normal(4, size)) for size in (1, SIZE))
    return {
        "retention": seqmem.Write(q, k, v, per_head),
        "GLA": seqmem.Write(q, k, v, per_channel),
        "delta": seqmem.Write(q, k, beta * v, remove=beta * k),
        "gated delta": seqmem.Write(q, k, beta * v, per_head, remove=beta * jnp.exp(per_head) * k),
        "KDA": seqmem.Write(q, k, beta * v, per_channel, remove=beta * jnp.exp(per_channel) * k),
        "RWKV-7": seqmem.Write(q, k, v, per_channel, remove=unit(normal(5)), erase=beta * k),
    }[rule]


RULES = ("retention", "GLA", "delta", "gated delta", "KDA", "RWKV-7")


def in_blocks(writes: seqmem.Write) -> Array:
    cell = Given(jax.tree.map(lambda _: 2, writes))
    return seqmem.unroll(cell, cell.init_state(), writes)[1]


def by_hand(writes: seqmem.Write) -> Array:
    """The recurrence as one writes it: a scan over time, mapped over the batch."""

    def step(S: Array, write: seqmem.Write) -> tuple[Array, Array]:
        q, k, v, g, r, e, _ = write
        new = S if g is None else S * jnp.exp(g)[:, None, :]
        if r is not None:
            read = jnp.einsum("hvk,hk->hv", S, r, precision=HIGHEST)
            new = new - jnp.einsum("hv,hk->hvk", read, k if e is None else e)
        S = new + jnp.einsum("hv,hk->hvk", v, k)
        return S, jnp.einsum("hvk,hk->hv", S, q, precision=HIGHEST)

    def one(writes: seqmem.Write) -> Array:
        return jax.lax.scan(step, jnp.zeros((1, SIZE, SIZE)), writes)[1]

    return jax.vmap(one, in_axes=1, out_axes=1)(writes)


def attention(writes: seqmem.Write) -> Array:
    """Softmax attention over all that came before, on the same queries, keys and values."""
    q, k, v = (leaf.swapaxes(0, 1) for leaf in writes[:3])
    return jax.nn.dot_product_attention(q, k, v, is_causal=True).swapaxes(0, 1)


def memax_delta() -> tuple[Any, Callable[[Any, Array], Array]]:
    from memax.equinox.semigroups.delta import DeltaRule

    layer = DeltaNet(SIZE, SIZE, key=jax.random.key(0))

    def run(layer: Any, xs: Array) -> Array:
        starts = jnp.zeros(len(xs), bool)
        return layer(layer.initialize_carry(), (xs, starts))[1]

    return layer, run


def gradient(run: Callable[..., Array]) -> Callable[..., Any]:
    return jax.value_and_grad(lambda *args: jnp.mean(run(*args) ** 2))


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--rules", nargs="+", choices=RULES, default=list(RULES))
    add("--lengths", type=number, nargs="+", default=[2**n for n in range(8, 16)])
    add("--tokens", type=number, default=2**15)
    add("--rounds", type=parse_rounds, default=5)
    add("--out", default="benchmarks/results", help="folder for the results")
    return parser.parse_args()


def measured(
    ways: Mapping[str, tuple[Callable[..., Array], tuple[Any, ...]]], rounds: int
) -> dict[str, dict[str, dict[str, float]]]:
    """For each way, forward and with its gradient: ms, MiB, seconds of compiling."""
    found: dict[str, dict[str, dict[str, float]]] = {way: {} for way in ways}
    for kind in ("forward", "gradient"):
        calls = {}
        for way, (run, args) in ways.items():
            moving, still = eqx.partition(args, eqx.is_inexact_array)

            def whole(moving: Any, run=run, still=still) -> Array:
                return run(*eqx.combine(moving, still))

            built = compile_for(whole if kind == "forward" else gradient(whole), moving)
            calls[way] = functools.partial(_finish, built.call, moving)
            found[way][kind] = {"MiB": built.temp_bytes / 2**20, "compile_seconds": built.seconds}
        for way, seconds in interleaved(calls, rounds).items():
            found[way][kind]["ms"] = 1e3 * statistics.median(seconds)
    return found


def _finish(call: Callable[..., Any], *args: Any) -> Any:
    return jax.block_until_ready(call(*args))


def one_sequence(rule: str, rounds: int) -> list[Row]:
    taken = others()
    writes = inputs(rule, TIME, 1)
    ways: dict[str, Any] = {"seqmem": (in_blocks, (writes,)), "lax.scan": (by_hand, (writes,))}
    failures = {}
    if rule == "delta":
        try:
            layer, run = memax_delta()
            ways["memax"] = (run, (layer, jax.random.normal(jax.random.key(1), (TIME, SIZE))))
        except ModuleNotFoundError:
            failures["memax"] = "missing: pip install memax"
    found = measured(ways, rounds)
    where = {"rule": rule, "time": TIME, "cores_taken": taken()}
    rows = [where | {"way": way} | numbers for way, numbers in found.items()]
    return rows + [where | {"way": way, "failure": why} for way, why in failures.items()]


def constant_tokens(rule: str, time: int, tokens: int, rounds: int) -> Row:
    writes = inputs("retention" if rule == "attention" else rule, time, max(1, tokens // time))
    run = attention if rule == "attention" else in_blocks
    found = measured({rule: (run, (writes,))}, rounds)[rule]["gradient"]
    count = time * max(1, tokens // time)
    return {
        "rule": rule,
        "time": time,
        "ns_per_token": 1e6 * found["ms"] / count,
        "multiply_adds_per_token": multiply_adds(gradient(run), writes) / count,
        "MiB": found["MiB"],
    }


def report(record: Mapping[str, Any]) -> str:
    """The record in Markdown."""

    def line(row: Row) -> list[str]:
        where = [row["rule"], row["way"]]
        if "failure" in row:
            return [*where, row["failure"].partition(":")[0], *"-----"]
        return where + [
            text
            for part in (row["forward"], row["gradient"])
            for text in (
                f"{part['ms']:.1f}",
                f"{part['MiB']:.1f}",
                f"{part['compile_seconds']:.1f}",
            )
        ]

    def growing(row: Row) -> list[str]:
        return [
            row["rule"],
            str(row["time"]),
            f"{row['ns_per_token']:.0f}",
            f"{row['multiply_adds_per_token'] / 1e3:.1f}",
            f"{row['MiB']:.0f}",
        ]

    busy = [row["cores_taken"] for row in record["rows"]]
    known = "Whether the machine was idle is unknown."
    if None not in busy:
        idle = max(busy) < IDLE
        known = "The machine was idle." if idle else f"NOT IDLE: others took {max(busy):.1f} cores."
    versions = ", ".join(f"{name} {value}" for name, value in record["versions"].items())
    head = "rule|way|forward ms|MiB|compile s|with backward ms|MiB|compile s"
    over_time = "rule|T|ns/token|thousand multiply-adds/token|MiB"
    return "\n\n".join(
        [
            f"`{record['command']}`",
            f"{record['machine']}, {record['date']}, median of {record['rounds']} interleaved "
            f"rounds, float32, products in full precision. {known}",
            f"Versions: {versions}.",
            f"One head of {SIZE} channels, T = {TIME}, one sequence:",
            markdown_table(head.split("|"), list(map(line, record["rows"])), 2),
            f"A gradient of {record['tokens']} tokens, as fewer and longer sequences:",
            markdown_table(over_time.split("|"), list(map(growing, record["over_time"]))),
        ]
    )


def main() -> None:
    chosen = options()
    rows: list[Row] = []
    for rule in tqdm(chosen.rules, unit="rule"):
        rows += one_sequence(rule, chosen.rounds)
    cases: Sequence[tuple[str, int]] = [
        (rule, time)
        for rule in [*chosen.rules, "attention"]
        for time in chosen.lengths
        if rule != "attention" or time <= MOST
    ]
    over_time = [
        constant_tokens(rule, time, chosen.tokens, chosen.rounds) for rule, time in tqdm(cases)
    ]
    record = provenance("benchmarks.cost.matrix_memories", PACKAGES)
    record |= {"rounds": chosen.rounds, "tokens": chosen.tokens}
    record |= {"rows": rows, "over_time": over_time}
    print(report(record))
    print("wrote", *write(chosen.out, "matrix_memories", record, report(record)))


if __name__ == "__main__":
    main()
