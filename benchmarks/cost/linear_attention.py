"""seqmem's matrix memories beside the chunked form of jax-linear-attention, in JAX's operations.

Both get the same queries, keys, values and gates, and make of them what they need: seqmem a
`Write`. The package asks for jax 0.11.2 and Python 3.12 or newer, so it needs an environment of its
own:

    pip install jax==0.11.2 jax-linear-attention==0.1.0 equinox optax tqdm
    JAX_PLATFORMS=cpu PYTHONPATH=src:. python -m benchmarks.cost.matrix_memories --lengths
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..common.machine import track_other_load
from ..common.records import Row
from ..common.timing import time_forward_and_gradient
from .matrix_recurrences import random_inputs, seqmem_readings, write_of

NUM_HEADS = (1, 8)
PACKAGE = "jax-linear-attention"
KINDS = {
    "retention": "simple_gla",
    "GLA": "gla",
    "delta": "deltanet",
    "gated delta": "gated_deltanet",
    "KDA": "kda",
    "gated delta 2": "gdn2",
}


def measure_beside_package(rule: str, num_heads: int, time: int, rounds: int) -> Row:
    """A row of a rule: both programs, and the largest difference of their readings in units of the
    largest reading; or why the package did not run.
    """
    labels = {"rule": rule, "heads": num_heads, "time": time}
    try:
        their_readings = package_readings(rule)
    except ModuleNotFoundError:
        return labels | {"failure": "missing: see benchmarks/cost/linear_attention.py"}
    other_cores = track_other_load()
    inputs = random_inputs(rule, time, 1, num_heads)
    their_inputs = {name: as_package_has_it(name, leaf) for name, leaf in inputs.items()}

    def our_readings(inputs: Mapping[str, Array]) -> Array:
        return seqmem_readings(write_of(rule, inputs))

    programs: dict[str, tuple[Callable[..., Array], tuple[Any, ...]]] = {
        "seqmem": (our_readings, (inputs,)),
        PACKAGE: (their_readings, (their_inputs,)),
    }
    results = time_forward_and_gradient(programs, rounds)
    ours = jax.jit(our_readings)(inputs).swapaxes(0, 1)
    theirs = jax.jit(their_readings)(their_inputs)
    difference = float(jnp.abs(ours - theirs).max() / jnp.abs(ours).max())
    return labels | results | {"difference": difference, "cores_taken": other_cores()}


def as_package_has_it(name: str, leaf: Array) -> Array:
    """[time, batch, heads, channels] as [batch, time, heads, channels]; a gate of a head has no
    axis of channels.
    """
    leaf = leaf.swapaxes(0, 1)
    return leaf[..., 0] if leaf.shape[-1] == 1 and name in ("g", "beta") else leaf


def package_readings(rule: str) -> Callable[[Mapping[str, Array]], Array]:
    """The package's readings of a rule, [batch, time, heads, channels].

    Raises:
        ModuleNotFoundError: where the package is not installed.
    """
    from jla import ops

    run = functools.partial(ops.linear_attention, KINDS[rule], impl="chunked", scale=1.0)

    def readings(inputs: Mapping[str, Array]) -> Array:
        gates = {name: leaf for name, leaf in inputs.items() if name not in "qkv"}
        return run(inputs["q"], inputs["k"], inputs["v"], **gates)[0]

    return readings
