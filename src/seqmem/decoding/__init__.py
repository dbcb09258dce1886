"""Decoding: sequences of tokens from a model of the next token."""

from ._beam_search import Beam as Beam, beam_search as beam_search
from ._greedy import greedy as greedy
from ._loop import Decoded as Decoded
from ._repetition import RepetitionPenalty as RepetitionPenalty
from ._sample import sample as sample
