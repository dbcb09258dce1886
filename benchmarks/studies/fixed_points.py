"""The fixed points of a network that has learned a flip-flop of three bits.

    python -m benchmarks.studies.fixed_points [--cell GRU] [--hidden 64] [--iterations 1000]

The network reads three inputs of −1, 0 and 1 and learns to show the last pulse of each
(`tasks.BitFlipFlop`), in float32. Then, in float64, `dynamics.fixed_points` searches from states of
its trajectories for the fixed points under the input 0, and `dynamics.linearise` says which are
stable. A network that stores n bits in stable states has 2ⁿ of them, and saddles between them
(Sussillo & Barak 2013, Neural Computation 25(3)).

For each of the eight patterns of bits the network reads the three pulses and then zeros; the table
has the distance of the state after that from the nearest stable point.
"""

import argparse
import functools
import itertools
import pathlib
import sys
import time
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

import seqmem
from seqmem import dynamics, tasks
from seqmem.gradients import pictures

from ..common.curves import group_rows
from ..common.options import positive_float, positive_int
from ..common.records import Row, as_json, markdown_table, provenance, versions_text, write_csv
from .memory_problems import clipped_adam

BITS = 3
CELLS = {"RNN": seqmem.RNN, "GRU": seqmem.GRU, "LSTM": seqmem.LSTM}
HOLD = 500  # steps without a pulse, after which a state has settled
TEST_EXAMPLES = 128
DRAWN = 24  # trajectories in the picture
PACKAGES = ("seqmem", "jax", "jaxlib", "equinox", "optax", "numpy")


class Network(eqx.Module):
    """A cell and a linear readout."""

    cell: seqmem.AbstractCell
    readout: eqx.nn.Linear

    def __init__(self, cell: str, hidden: int, key: PRNGKeyArray):
        keys = jax.random.split(key)
        self.cell = CELLS[cell](BITS, hidden, key=keys[0])
        self.readout = eqx.nn.Linear(hidden, BITS, key=keys[1])

    def __call__(self, xs: Float[Array, "time batch bits"]) -> Float[Array, "time batch bits"]:
        hs = seqmem.unroll(self.cell, None, xs)[1]
        return jax.vmap(jax.vmap(self.readout))(hs)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--cell", choices=list(CELLS), default="GRU")
    add("--hidden", type=positive_int, default=64, help="units")
    add("--time", type=positive_int, default=64, help="steps of a training sequence")
    add("--iterations", type=positive_int, default=1000)
    add("--batch", type=positive_int, default=64, help="sequences of one training step")
    add("--learning-rate", type=positive_float, default=3e-3)
    add("--starts", type=positive_int, default=1000, help="states the search starts from")
    add("--noise", type=positive_float, default=0.3, help="standard deviation added to the starts")
    add("--seed", type=int, default=0)
    add("--out", default="benchmarks/results", help="folder for the results")
    return parser.parse_args()


@functools.partial(jax.jit, static_argnames=("task", "size", "optimiser"))
def train(network, opt_state, keys, *, task, size, optimiser):
    """The network after one training step for each key, and the mean loss of the last 50 steps."""

    def step(carry, key):
        network, opt_state = carry
        examples = task.batch(key, size)
        value, gradient = jax.value_and_grad(
            lambda network: task.score(network(examples.inputs), examples)
        )(network)
        updates, opt_state = optimiser.update(gradient, opt_state, network)
        return (eqx.apply_updates(network, updates), opt_state), value

    (network, _), losses = jax.lax.scan(step, (network, opt_state), keys)
    return network, losses[-50:].mean()


def trained_network(options: argparse.Namespace) -> tuple[Network, float]:
    keys = jax.random.split(jax.random.key(options.seed))
    network = Network(options.cell, options.hidden, keys[0])
    optimiser = clipped_adam(options.learning_rate)
    opt_state = optimiser.init(network)  # pyright: ignore
    keys = jax.random.split(keys[1], options.iterations)
    task = tasks.BitFlipFlop(options.time, BITS)
    network, loss = train(
        network, opt_state, keys, task=task, size=options.batch, optimiser=optimiser
    )
    return network, float(loss)


@jax.jit
def run(network: Network, xs: Float[Array, "time batch bits"]) -> tuple:
    """The states of all steps and the answers."""
    solution = seqmem.solve(network.cell, None, xs, return_states=True)
    return solution.states, jax.vmap(jax.vmap(network.readout))(solution.outputs)


def outputs_at(network: Network, points: dynamics.FixedPoints) -> np.ndarray:
    """The answers [point, bit] where the state is at each point, under the input 0."""
    zeros = jnp.zeros((1, len(points.q), BITS))
    _, hs = seqmem.unroll(network.cell, points.states, zeros)
    return np.asarray(jax.vmap(network.readout)(hs[0]))


def settled(network: Network) -> tuple[np.ndarray, np.ndarray]:
    """The patterns of bits [pattern, bit], and the vector of the state after each, held long."""
    patterns = np.array(list(itertools.product((-1.0, 1.0), repeat=BITS)))
    xs = np.zeros((1 + HOLD, len(patterns), BITS))
    xs[0] = patterns
    state, _ = seqmem.unroll(network.cell, None, xs)
    return patterns, np.asarray(dynamics.state_vectors(network.cell, state))


def point_rows(
    points: dynamics.FixedPoints, modes: dynamics.Linearisation, outputs: np.ndarray
) -> list[Row]:
    """A row for every point: the largest |λ|, its time constant, and the answers there."""
    return [
        {
            "point": index,
            "kind": str(modes.kind[index]) if points.is_fixed[index] else "slow",
            "unstable_modes": int(modes.num_unstable[index]),
            "q": float(points.q[index]),
            "largest_modulus": float(np.abs(modes.eigenvalues[index, 0])),
            "time_constant": float(modes.time_constants[index, 0]),
            "starts": int(points.counts[index]),
            "start_distance": float(points.start_distance[index]),
            **{f"output_{bit}": float(outputs[index, bit]) for bit in range(BITS)},
        }
        for index in range(len(points.q))
    ]


def pattern_rows(network: Network, rows: Sequence[Row], vectors: np.ndarray) -> list[Row]:
    """A row for every pattern of bits: the nearest stable point, and how far it is."""
    stable = [row["point"] for row in rows if row["kind"] == "stable"]
    if not stable:
        return []
    patterns, states = settled(network)
    gaps = np.linalg.norm(states[:, None] - vectors[stable], axis=-1)
    return [
        {
            "pattern": " ".join(f"{bit:+.0f}" for bit in pattern),
            "point": stable[nearest],
            "distance": float(gap[nearest]),
            "answers": " ".join(
                f"{rows[stable[nearest]][f'output_{i}']:+.3f}" for i in range(BITS)
            ),
            "is_right": all(
                np.sign(rows[stable[nearest]][f"output_{i}"]) == pattern[i] for i in range(BITS)
            ),
        }
        for pattern, gap in zip(patterns, gaps, strict=True)
        for nearest in [int(gap.argmin())]
    ]


def report(rows: Sequence[Row], patterns: Sequence[Row]) -> str:
    """A table of the kinds of points, and one of the patterns of bits."""
    lines = []
    for (kind, count), points in sorted(group_rows(rows, "kind", "unstable_modes").items()):
        moduli = [row["largest_modulus"] for row in points]
        lines.append([kind, str(count), str(len(points)), f"{min(moduli):.3f}–{max(moduli):.3f}"])
    head = ["points", "unstable modes", "number", "largest modulus of λ"]
    text = markdown_table(head, lines)
    lines = [
        [row["pattern"], row["answers"], f"{row['distance']:.1e}", str(row["point"])]
        for row in patterns
    ]
    head = ["bits", "outputs at the stable point", f"distance after {HOLD} steps", "point"]
    return text + "\n\n" + markdown_table(head, lines)


def measure(options: argparse.Namespace) -> tuple[Row, dict]:
    """The results, and what the picture is drawn from."""
    begin = time.perf_counter()
    network, loss = trained_network(options)
    training_seconds = time.perf_counter() - begin
    with jax.enable_x64(True):
        network = jax.tree.map(lambda leaf: leaf.astype(float), network)
        keys = jax.random.split(jax.random.key(options.seed + 1), 3)
        task = tasks.BitFlipFlop(2 * options.time, BITS)
        examples = task.batch(keys[0], TEST_EXAMPLES)
        states, answers = run(network, examples.inputs)
        flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), states)
        total = examples.weights.size
        chosen = jax.random.choice(keys[1], total, (min(options.starts, total),), replace=False)
        starts = jax.tree.map(lambda leaf: leaf[chosen], flat)
        begin, zero = time.perf_counter(), jnp.zeros(BITS)
        points = dynamics.fixed_points(network.cell, zero, starts, noise=options.noise, key=keys[2])
        search_seconds = time.perf_counter() - begin
        early = int((~points.converged).sum())
        points = points.select(points.converged)
        modes = dynamics.linearise(network.cell, zero, points.states)
        rows = point_rows(points, modes, outputs_at(network, points))
        patterns = pattern_rows(network, rows, points.vectors)
        vectors = dynamics.state_vectors(network.cell, states)
        components = dynamics.principal_components(vectors, k=3)
        result = {
            "training_loss": loss,
            "test_loss": float(task.score(answers, examples)),
            "right_signs": float((jnp.sign(answers) == examples.targets).mean()),
            "participation_ratio": float(dynamics.participation_ratio(vectors)),
            "explained": np.asarray(components.explained).tolist(),
            "searches_that_ended_early": early,
            "training_seconds": training_seconds,
            "search_seconds": search_seconds,
            "points": rows,
            "patterns": patterns,
        }
        fixed = points.select(points.is_fixed)
        picture = {
            "components": components,
            "trajectories": vectors[:, :DRAWN],
            "points": fixed.vectors,
            "linearisation": modes.select(points.is_fixed),
        }
    return result, picture


def main() -> None:
    options = parse_options()
    result, picture = measure(options)
    record = provenance("benchmarks.studies.fixed_points", PACKAGES)
    names = ("cell", "hidden", "time", "iterations", "batch", "learning_rate", "starts", "noise")
    record |= {name: getattr(options, name) for name in (*names, "seed")} | result
    text = (
        f"{record['machine']}, {record['date']}: `{record['command']}`\n\n"
        f"{options.cell}, {options.hidden} units: {result['right_signs']:.2%} of the answers have "
        f"the right sign, squared error {result['test_loss']:.2g}. Training took "
        f"{result['training_seconds']:.0f} s, the search {result['search_seconds']:.0f} s. The "
        f"states have a participation ratio of {result['participation_ratio']:.2f}. Searches that "
        f"ended early: {result['searches_that_ended_early']}.\n\n"
        f"{report(result['points'], result['patterns'])}\n\n{versions_text(record)}\n"
    )
    print(text)
    folder = pathlib.Path(options.out)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"fixed_points.{kind}" for kind in ("csv", "json", "md", "png")]
    write_csv(paths[0], result["points"])
    paths[1].write_text(as_json(record, indent=None))
    paths[2].write_text(text)
    pictures.phase_portrait(**picture).savefig(paths[3], dpi=300)
    for path in paths:
        print(f"wrote {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
