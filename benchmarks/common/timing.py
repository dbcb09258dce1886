"""Run times, compile times and temporaries of compiled programs."""

import functools
import gc
import math
import random
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array


class Compiled(NamedTuple):
    """A compiled program, the seconds that compiling it took, and the temporaries and outputs that
    it allocates.
    """

    call: Callable[..., Any]
    seconds: float
    temp_bytes: int
    output_bytes: int


def compile_program(function: Callable[..., Any], *args: Any) -> Compiled:
    """Trace, lower and compile a function for these arguments."""
    start = time.perf_counter()
    compiled = jax.jit(function).lower(*args).compile()
    seconds = time.perf_counter() - start
    memory = compiled.memory_analysis()
    return Compiled(compiled, seconds, memory.temp_size_in_bytes, memory.output_size_in_bytes)


def time_interleaved(
    calls: Mapping[str, Callable[[], Any]], rounds: int, seed: int = 0
) -> dict[str, list[float]]:
    """The seconds of each call in each round. A call must return only when its work is done.

    Every call runs once per round, so that noise of the machine affects all of them alike. The
    order is drawn for each round. A call that is timed follows one of its own that is not, as in a
    loop of training steps: it meets its own caches, and not the threads of another library, which
    spin for some milliseconds after their work.
    """
    order = list(calls)
    shuffle = random.Random(seed).shuffle
    seconds = {name: [] for name in calls}
    for call in calls.values():
        call()
    gc.collect()
    for _ in range(rounds):
        shuffle(order)
        for name in order:
            calls[name]()
            start = time.perf_counter()
            calls[name]()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def time_queued(
    call: Callable[[], Any], wait: Callable[[Any], Any], *, most: int = 100, rounds: int = 5
) -> dict[str, float]:
    """The milliseconds of a call that returns before its work on a device is done ("ms").

    A round queues calls for about 20 ms and then waits for the last, so that the host's part of a
    call is hidden where it is shorter than the device's. Torch and JAX are timed alike, by the
    host's clock. Also the largest round over the smallest ("spread"), and the milliseconds of a
    call that is waited for ("latency_ms").

    Args:
        call: starts the work. It runs three times before the first round: the first runs load
            kernels, choose algorithms and record graphs.
        wait: waits for the result of a call, and for all calls before it.
        most: calls of one round, whose outputs may have to exist at once.
        rounds: at most; fewer, but two, where they take more than two seconds.
    """
    for _ in range(3):
        start = time.perf_counter()
        wait(call())
        latency = time.perf_counter() - start
    queued = max(1, min(most, int(0.02 / latency)))
    gc.collect()
    seconds = []
    for _ in range(max(2, min(rounds, int(2 / (queued * latency))))):
        start = time.perf_counter()
        for _ in range(queued):
            result = call()  # only the last is kept, so that the memory of the others is free
        wait(result)
        seconds.append((time.perf_counter() - start) / queued)
    return {
        "ms": 1e3 * statistics.median(seconds),
        "spread": max(seconds) / min(seconds),
        "latency_ms": 1e3 * latency,
    }


def median_ratio(seconds: Sequence[float], base: Sequence[float]) -> float:
    """The median over the rounds of one time over the other of the same round."""
    return statistics.median(a / b for a, b in zip(seconds, base, strict=True))


def geometric_mean(values: Iterable[float]) -> float:
    return math.exp(statistics.fmean(map(math.log, values)))


def mean_square_gradient(run: Callable[..., Array]) -> Callable[..., Any]:
    """The value and the gradient of the mean of the squared outputs."""
    return jax.value_and_grad(lambda *args: jnp.mean(run(*args) ** 2))


def time_forward_and_gradient(
    programs: Mapping[str, tuple[Callable[..., Array], tuple[Any, ...]]], rounds: int
) -> dict[str, dict[str, dict[str, float]]]:
    """For each program, of its forward pass and of its gradient: the milliseconds ("ms"), their
    ratio to the first program's, the temporaries ("MiB") and the seconds of compiling.

    The gradient is that of the mean squared output with respect to all inexact arguments.

    Args:
        programs: a function and its arguments, by name.
        rounds: how often each program runs.
    """
    base = next(iter(programs))
    results: dict[str, dict[str, dict[str, float]]] = {name: {} for name in programs}
    for kind in ("forward", "gradient"):
        calls = {}
        for name, (run, args) in programs.items():
            arrays, static = eqx.partition(args, eqx.is_inexact_array)

            def forward(arrays: Any, run=run, static=static) -> Array:
                return run(*eqx.combine(arrays, static))

            function = forward if kind == "forward" else mean_square_gradient(forward)
            compiled = compile_program(function, arrays)
            calls[name] = functools.partial(_run_to_end, compiled.call, arrays)
            results[name][kind] = {
                "MiB": compiled.temp_bytes / 2**20,
                "compile_seconds": compiled.seconds,
            }
        seconds = time_interleaved(calls, rounds)
        for name, times in seconds.items():
            results[name][kind]["ms"] = 1e3 * statistics.median(times)
            results[name][kind]["ratio"] = median_ratio(times, seconds[base])
    return results


def _run_to_end(call: Callable[..., Any], *args: Any) -> Any:
    return jax.block_until_ready(call(*args))
