"""Decoding: sequences of tokens from a model of the next token.

greedy, sample, beam_search     the search; a step is (state, token) -> (state, logits)
RepetitionPenalty               a step with a penalty
Decoded, Beam                   what they return
"""

from ._beam_search import Beam as Beam, beam_search as beam_search
from ._greedy import greedy as greedy
from ._loop import Decoded as Decoded
from ._repetition import RepetitionPenalty as RepetitionPenalty
from ._sample import sample as sample
