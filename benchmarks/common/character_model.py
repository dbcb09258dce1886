"""The language model of characters that several benchmarks train."""

from jaxtyping import PRNGKeyArray

import seqmem
from seqmem import models


def language_model(
    cell: seqmem.AbstractLayer, characters: int, key: PRNGKeyArray
) -> models.LanguageModel:
    """A language model with a biased head; the embeddings of the characters have the length of
    one-hot vectors, 1 on average.
    """
    (size,) = cell.input_shape
    return models.LanguageModel(cell, characters, bias=True, embedding_scale=size**-0.5, key=key)
