"""The smallest task that needs a memory: spelling "hello", character by character.

The first l is followed by an l, the second by an o: one input, two answers.
"""

import collections

import numpy as np
from jaxtyping import Int

from ..data._vocabulary import Vocabulary


def hello() -> tuple[Vocabulary, Int[np.ndarray, "4"], Int[np.ndarray, "4"]]:
    """The vocabulary, the inputs "hell" and the targets "ello".

    Example:
        >>> from seqmem.tasks import hello
        >>> vocabulary, inputs, targets = hello()
        >>> vocabulary.decode(inputs), vocabulary.decode(targets)
        ('hell', 'ello')
    """
    vocabulary = Vocabulary.from_text("hello")
    ids = vocabulary.encode("hello")
    return vocabulary, ids[:-1], ids[1:]


def input_only_correct(inputs: Int[np.ndarray, " time"], targets: Int[np.ndarray, " time"]) -> int:
    """The most targets that a function of the current input alone gets right.

        max over all f of Σ_t [f(x_t) = y_t]  =  Σ_x max_y #{t : x_t = x, y_t = y}

    since the best f answers each input with its most frequent target.

    Example:
        >>> from seqmem.tasks import hello, input_only_correct
        >>> _, inputs, targets = hello()
        >>> input_only_correct(inputs, targets)
        3
    """
    targets_of = collections.defaultdict(collections.Counter)
    for x, y in zip(np.asarray(inputs).tolist(), np.asarray(targets).tolist(), strict=True):
        targets_of[x][y] += 1
    return sum(max(counts.values()) for counts in targets_of.values())
