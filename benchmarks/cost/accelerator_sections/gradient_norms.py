"""`benchmarks.studies.gradient_norms` at the size of a GPU: norms of gradients over a long text.

Of character models at initialisation, over seeds and examples: the gradient of the mean loss with
respect to all parameters, by length, and of the last loss with respect to the state, by lag.
"""

import argparse
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqmem import data

from ...common.curves import curve_rows
from ...common.records import Row
from ...studies.character_models import encode_text, for_each_model, initial_model
from ...studies.norms import parameter_gradients, state_gradients
from .section import Build, Section, build_and_compile, time_program, with_precision

CELLS = ("RNN", "LSTM", "GRU")
lag_norms = for_each_model(state_gradients)
length_norms = for_each_model(parameter_gradients, "lengths")


class Size(NamedTuple):
    width: int
    batch: int
    seeds: int
    lengths: tuple[int, ...]


SIZE, SMOKE_SIZE = Size(512, 64, 3, tuple(2**k for k in range(4, 13))), Size(5, 2, 2, (4, 8))


def measure(section: Section) -> None:
    size = SMOKE_SIZE if section.smoke else SIZE
    ids, characters = encode_text(None)
    windows = data.segment_text(ids, time=size.lengths[-1], batch=size.batch)
    inputs, targets = (part[0] for part in windows)
    programs = {
        (cell, measure): functools.partial(
            build_and_compile, norms_build(cell, measure, size, characters, (inputs, targets))
        )
        for cell in CELLS
        for measure in ("length", "lag")
    }
    for (cell, measure), program in section.run_side_by_side(programs).items():
        labels = {
            "cell": cell,
            "measure": measure,
            "precision": "float32",
            "sizes": [size.lengths[-1], size.batch, characters, size.width],
            "seeds": size.seeds,
        }

        def figures(program: Any = program, measure: str = measure) -> Row:
            compiled, args = program()
            points, values = compiled.call(*args)
            curve = curve_rows(np.asarray(points).tolist(), np.asarray(values))
            return time_program(compiled, args) | {"curve": list(curve)}

        section.attempt(labels, figures)


def norms_build(
    cell: str, measure: str, size: Size, characters: int, text: tuple[np.ndarray, np.ndarray]
) -> Build:
    """The program returns the points of a curve and the values at each."""
    options = argparse.Namespace(width=size.width)

    def build() -> Any:
        seeds = jnp.stack([jax.random.key(seed) for seed in range(size.seeds)])
        make = jax.jit(jax.vmap(lambda key: initial_model(cell, characters, options, key)))
        program = length_curve if measure == "length" else lag_curve
        program = functools.partial(program, lengths=size.lengths)
        return with_precision(program, "highest"), (make(seeds), *text)

    return build


def length_curve(stack: Any, inputs: Any, targets: Any, lengths: tuple[int, ...]) -> Any:
    _, norms = length_norms(stack, inputs, targets, lengths=lengths)
    return jnp.array(lengths), norms.T


def lag_curve(stack: Any, inputs: Any, targets: Any, lengths: tuple[int, ...]) -> Any:
    """The norm over the whole state at lag 1 and at all lengths but the last."""
    norms = lag_norms(stack, inputs, targets)["state"]  # [seed, lag, batch]
    lags = jnp.array([1, *lengths[:-1]])
    return lags, norms[:, lags].swapaxes(0, 1)
