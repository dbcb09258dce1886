"""From a model that guesses the next token to sequences of tokens."""

from ._beam_search import Beam as Beam, beam_search as beam_search
from ._greedy import greedy as greedy
from ._loop import Decoded as Decoded
from ._sample import sample as sample
