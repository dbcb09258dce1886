"""The attention family: the state is the keys and values of all tokens so far, so the states need
no recurrence.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from ..._core.batching import vmap_batch
from ..._core.cache import Cache
from ..._core.family import Family
from ..._core.precision import as_precision, precision
from ..._core.problem import Drive, Problem, Solution
from ..._core.step import select
from ..._methods.parallel import Parallel
from ..._methods.readouts import drives_of, has_known_time
from ..._methods.scan.reference import ReferenceScan
from ..._methods.scan.scan import Scan

# Pairs of a query and a key that are compared at a time, of all examples, for each head.
PAIRS = 2**20
UNSEEN = jnp.iinfo(jnp.int32).max  # the position of a token that no query sees


class Tokens(NamedTuple):
    """What some queries of one example see: the tokens of the same sequence up to their position.

    Attributes:
        key: [tokens, heads, size].
        value: [tokens, heads, size].
        position: the position of each token.
        sequence: which of the sequences between resets a token belongs to; None without resets.
        query_position: the position of each query.
        query_sequence: the sequence of each query; None without resets.
        chunk_size: how many queries look at a time.
    """

    key: Float[Array, "tokens heads size"]
    value: Float[Array, "tokens heads size"]
    position: Int[Array, " tokens"]
    sequence: Int[Array, " tokens"] | None
    query_position: Int[Array, " time"]
    query_sequence: Int[Array, " time"] | None
    chunk_size: int


def _solve_at_once(problem: Problem, method: Parallel) -> Solution:
    if problem.flags.perturbation is not None or problem.return_states:
        return Scan().run(problem)  # every cache is materialised anyway
    if not has_known_time(problem):
        return ReferenceScan().run(problem)
    axes, flags = problem.batch_axes, problem.flags
    drives = drives_of(problem.cell, problem.init, problem.inputs, axes)
    pairs = max(1, problem.examples_per_device) * problem.init.key.shape[0]
    chunk_size = method.chunk_size or max(1, PAIRS // pairs)
    solve_one = functools.partial(_solve_one, problem.init, problem.reverse, chunk_size)
    run = vmap_batch(solve_one, problem.cell, axes, in_axes=(0, 1), out_axes=(0, 1))
    return Solution(*run(problem.state, (drives, (flags.reset, flags.padding))))


def _solve_one(
    init: Cache,
    reverse: bool,
    chunk_size: int,
    cell: Any,
    state: Cache,
    steps: tuple[Drive, tuple[Array | None, Array | None]],
) -> tuple[Cache, PyTree]:
    """One example, its steps in the order in which they run: padding is then last, or first with
    `reverse`.

    Without resets the final cache has all tokens of the run. With resets several tokens have the
    same position, so the queries see the first cache and the tokens of the run one after another.
    """

    def in_run_order(tree: PyTree) -> PyTree:
        return jax.tree.map(lambda leaf: jnp.flip(leaf, 0), tree) if reverse else tree

    drives, (reset, padding) = in_run_order(steps)
    cell = as_precision(cell, precision(init))
    capacity = init.key.shape[0]
    time = jax.tree.leaves(drives)[0].shape[0]
    valid = jnp.ones(time, bool) if padding is None else ~padding
    count = jnp.cumsum(valid, dtype=jnp.int32) - 1  # of the valid steps before each
    sequence, position, base, is_last = None, state.num_tokens + count, state, valid
    if reset is not None:  # a sequence is named after the count at its reset, the first one is −1
        sequence = jax.lax.cummax(jnp.where(reset, count, -1))
        position = jnp.where(sequence >= 0, count - sequence, position)
        base = select(sequence[-1] >= 0, init, state)
        is_last = valid & (sequence == sequence[-1])
    key, value = cell.entry(drives, position)
    final = base.write(jnp.where(is_last, position, capacity), key, value)
    final = final._replace(num_tokens=position[-1] + 1)
    index = jnp.arange(capacity, dtype=jnp.int32)
    if sequence is None:
        tokens = Tokens(final.key, final.value, index, None, position, None, chunk_size)
    else:
        of_first = jnp.where(index < state.num_tokens, index, UNSEEN)
        tokens = Tokens(
            jnp.concatenate([state.key, key]),
            jnp.concatenate([state.value, value]),
            jnp.concatenate([of_first, jnp.where(valid, position, UNSEEN)]),
            jnp.concatenate([jnp.full_like(index, -1), sequence]),
            position,
            sequence,
            chunk_size,
        )
    ys = cell.readout_sequence(tokens, drives)
    return final, in_run_order(ys)


ATTENTION = Family(
    "attention",
    default=Parallel(),
    parallel=_solve_at_once,
    methods=(Parallel(), Parallel(chunk_size=3), Scan(), ReferenceScan()),
)
"""The family of attention to all inputs so far: every step reads a cache of them."""
