"""The smallest problem that needs a memory: the word "hello", one character after another.

After "he" comes an l, and after "hel" again an l, but after "hell" an o: one input, two answers.
The example is that of the lecture notes that this library grew from.
"""

import collections

import numpy as np
from jaxtyping import Int

from ..data.text import Vocabulary


def hello() -> tuple[Vocabulary, Int[np.ndarray, "4"], Int[np.ndarray, "4"]]:
    """The vocabulary, the inputs h e l l, and the targets e l l o.

    Example:
        >>> from seqmem.tasks import hello
        >>> vocabulary, inputs, targets = hello()
        >>> vocabulary.decode(inputs), vocabulary.decode(targets)
        ('hell', 'ello')
    """
    vocabulary = Vocabulary.of("hello")
    ids = vocabulary.encode("hello")
    return vocabulary, ids[:-1], ids[1:]


def memoryless_bound(inputs: Int[np.ndarray, " time"], targets: Int[np.ndarray, " time"]) -> int:
    """How many targets a model without a memory can get right at most.

        max over all f of Σ_t [f(x_t) = y_t]  =  Σ_x max_y #{t : x_t = x, y_t = y}

    since f may answer each input on its own with the target that is most frequent beside it.

    Example:
        >>> from seqmem.tasks import hello, memoryless_bound
        >>> _, inputs, targets = hello()
        >>> memoryless_bound(inputs, targets)
        3
    """
    beside = collections.defaultdict(collections.Counter)
    for x, y in zip(np.asarray(inputs).tolist(), np.asarray(targets).tolist(), strict=True):
        beside[x][y] += 1
    return sum(max(counts.values()) for counts in beside.values())
