"""The time and memory of an LSTM and a GRU, of seqmem and of other libraries.

    python -m benchmarks.cost.speed [--cores 1] [--cells LSTM GRU] [--shapes wide 64,8,16,32]
        [--peers equinox torch]

Forward, and forward with backward (the gradient of the sum of squared outputs with respect to the
parameters), in float32 at each library's default precision. All libraries run in one process, once
per round, in an order drawn for each round. A ratio is the median over the rounds of a library's
time over seqmem's: above 1, seqmem is faster. Temporaries and compile seconds are XLA's, of the
program with backward.

Everybody has all cores, or as many as `--cores` says. seqmem has one device per core, by
`seqmem.use_cpu_cores`, and its batch spread over as many as divide it. The other JAX libraries run
as their users run them, on one device, whose large products use all cores; two of them run a second
time with the batch spread as seqmem's is. PyTorch has one thread per core.

The machine must be idle. On a busy machine the figures are wrong, and not equally for all
libraries: PyTorch's OpenMP threads spin at barriers, which makes them tens of times slower. The
report says how many cores other programs used.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

import seqmem

from ..common.machine import available_cores, track_other_load
from ..common.options import positive_int
from ..common.records import Row, failure_text, provenance, with_jax_version, write_record
from ..common.timing import median_ratio, time_interleaved
from .peers import OURS, PEERS, SHARDED, Case, Peer, Program, Sizes
from .speed_report import peer_means, report

CELLS = ("LSTM", "GRU")
SHAPES = {
    "wide": Sizes(256, 32, 128, 256),
    "middle": Sizes(128, 32, 64, 128),
    "long": Sizes(1024, 8, 32, 128),
    "narrow": Sizes(1024, 64, 32, 32),
    "single": Sizes(1000, 1, 16, 64),
    # No schedule was chosen by these:
    "translation": Sizes(192, 24, 96, 192),
    "speech": Sizes(768, 8, 48, 96),
    "text": Sizes(96, 32, 64, 128),
    "odd": Sizes(50, 7, 11, 77),
    "batch": Sizes(64, 128, 32, 64),
    # Reinforcement learning:
    "agents": Sizes(128, 16, 64, 64),
    "many agents": Sizes(32, 64, 64, 128),
    "vector agents": Sizes(16, 256, 64, 256),
}
PACKAGES = ("seqmem", "jax", "jaxlib", *(peer.package for peer in PEERS.values()))


def parse_sizes(text: str) -> Sizes:
    """The name of a shape, or T,B,D,H."""
    if text in SHAPES:
        return SHAPES[text]
    try:
        sizes = Sizes(*map(int, text.split(",")))
    except (TypeError, ValueError):
        sizes = None
    if sizes is None or min(sizes) < 1:
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither one of {', '.join(SHAPES)} nor T,B,D,H."
        )
    return sizes


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", nargs="+", choices=CELLS, default=CELLS)
    parser.add_argument("--shapes", nargs="+", type=parse_sizes, default=list(SHAPES.values()))
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--rounds", type=positive_int, default=9)
    parser.add_argument(
        "--cores", type=positive_int, default=available_cores(), help="for everybody"
    )
    parser.add_argument("--out", default="benchmarks/results", help="folder for the results")
    return parser.parse_args()


def take_cores(count: int) -> None:
    """Leave this process `count` cores, each a device of JAX where that is the CPU."""
    if count < available_cores():
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])
    seqmem.use_cpu_cores(count)


def devices_for(batch: int) -> int:
    """The most devices that divide a batch."""
    return max(n for n in range(1, len(jax.devices()) + 1) if batch % n == 0)


def build_program(peer: Peer, case: Case) -> Program | str:
    """A program that has run once with finite results, or the reason why it cannot run."""
    sizes = case.sizes
    try:
        program = peer.build(case if peer.is_sharded else case._replace(devices=1))
        ys = program.forward()
        loss, gradients = program.gradient()
        if tuple(ys.shape) != (sizes.time, sizes.batch, sizes.hidden):
            return f"error: outputs of shape {tuple(ys.shape)}"
        leaves = jax.tree.leaves((ys, loss, gradients))
        if not all(np.isfinite(np.asarray(_on_host(leaf))).all() for leaf in leaves):
            return "error: outputs or gradients are not finite"
    except ModuleNotFoundError as error:
        if peer.package == "seqmem":
            raise
        return f"missing: pip install {peer.package} (no module named {error.name!r})"
    except Exception as error:
        return failure_text(error)
    return program


def _on_host(leaf: Any) -> Any:
    return leaf.cpu() if hasattr(leaf, "cpu") else leaf


def measure(cell: str, sizes: Sizes, peers: Mapping[str, Peer], rounds: int) -> list[Row]:
    """One row per library."""
    other_cores = track_other_load()
    xs = np.random.default_rng(0).standard_normal(sizes[:3], np.float32)
    case = Case(cell, sizes, xs, devices_for(sizes.batch))
    results = {name: build_program(peer, case) for name, peer in peers.items()}
    programs = {name: result for name, result in results.items() if isinstance(result, Program)}
    if "seqmem" not in programs:
        raise RuntimeError(f"seqmem itself did not run: {results['seqmem']}")

    def time_calls(call_of: Callable[[Program], Any]) -> dict[str, dict[str, float]]:
        calls = {name: call_of(program) for name, program in programs.items()}
        seconds = time_interleaved(calls, rounds)
        return {
            name: {
                "ms": 1e3 * statistics.median(times),
                "best_ms": 1e3 * min(times),
                "ratio": median_ratio(times, seconds["seqmem"]),
            }
            for name, times in seconds.items()
        }

    forward = time_calls(lambda program: program.forward)
    gradient = time_calls(lambda program: program.gradient)
    load = other_cores()

    def row(name: str, result: Program | str) -> Row:
        labels = {"cell": cell, "sizes": list(sizes), "library": name, "cores_taken": load}
        labels |= {"devices": case.devices if peers[name].is_sharded else 1}
        if isinstance(result, str):
            return labels | {"failure": result}
        return labels | {
            "forward": forward[name],
            "gradient": gradient[name],
            "temp_bytes": result.temp_bytes,
            "compile_seconds": result.compile_seconds,
            "parameters": result.parameters,
        }

    return [row(name, result) for name, result in results.items()]


def main() -> None:
    options = parse_options()
    take_cores(options.cores)
    peers = OURS | {name: PEERS[name] for name in options.peers}
    if len(jax.devices()) > 1:
        peers |= {name: peer for name, peer in SHARDED.items() if name.split()[0] in options.peers}
    name = with_jax_version(f"speed_{options.cores}_core{'s' * (options.cores > 1)}")
    record = provenance("benchmarks.cost.speed", PACKAGES) | {"rounds": options.rounds}
    rows: list[Row] = []
    for cell in options.cells:
        for sizes in options.shapes:
            start = time.perf_counter()
            rows += measure(cell, sizes, peers, options.rounds)
            record |= {"means": peer_means(rows), "rows": rows}
            # Written after every shape, so that a run that stops early keeps its results.
            paths = write_record(options.out, name, record, report(record))
            seconds = time.perf_counter() - start
            print(f"{cell} {sizes}: {seconds:.0f} s", file=sys.stderr, flush=True)
    print(report(record))
    print("wrote", *paths, file=sys.stderr)


if __name__ == "__main__":
    main()
