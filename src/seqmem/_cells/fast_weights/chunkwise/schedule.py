"""How many steps a chunk has, and how many chunks are computed side by side: on a GPU, where each
operation is a launch, as many as a bound on memory allows; elsewhere one.
"""

import math
from typing import NamedTuple

from ...._core.platform import current_platform
from ...._core.problem import Problem
from ..write import Write

CHUNK_SIZE = 64  # steps; fewer where a step has several queries, so that a chunk has 64 of these
MULTIPLE = 8  # a longer chunk has a multiple of so many steps, so that it can be halved
GROUP_ENTRIES = 2**22  # about the entries of one array of a group, on a GPU
UNROLL = 4  # chunks of a group that are written out one after another in the loop over them


class Schedule(NamedTuple):
    """How time is cut.

    Attributes:
        chunk_size: steps of one chunk.
        group: chunks that are computed side by side.
    """

    chunk_size: int
    group: int

    @property
    def steps(self) -> int:
        """Steps of one group."""
        return self.chunk_size * self.group


def schedule_of(problem: Problem, write: Write, chunk_size: int | None) -> Schedule:
    """The schedule of a run, given the writes of all its steps."""
    *heads, value_size, key_size = problem.init.matrix.shape
    query_heads = write.query.shape[-1 - len(heads) : -1]
    per_matrix = math.prod(n for n, h in zip(query_heads, heads, strict=True) if h == 1)
    default = max(MULTIPLE, CHUNK_SIZE // per_matrix)
    chunk_size = chunk_steps(problem.time, chunk_size or default)
    if current_platform() != "gpu":
        return Schedule(chunk_size, 1)
    queries = math.prod(query_heads)
    writes_per_step = write.key.shape[-2] if write.key.ndim > write.query.ndim else 1
    rows = chunk_size * writes_per_step
    scores = max(math.prod(heads) * rows, queries * chunk_size)
    entries = problem.examples_per_device * scores * max(rows, value_size, key_size)
    most = 2 ** max(0, round(math.log2(GROUP_ENTRIES / max(1, entries))))
    num_chunks = -(-problem.time // chunk_size)
    num_groups = -(-num_chunks // most)
    return Schedule(chunk_size, -(-num_chunks // num_groups))


def chunk_steps(time: int, chunk_size: int | None) -> int:
    """The steps of a chunk."""
    chunk_size = min(chunk_size or CHUNK_SIZE, time)
    return chunk_size if chunk_size <= MULTIPLE else chunk_size + -chunk_size % MULTIPLE
