"""Real data sets, read from files or downloaded from their publishers, and batches by length.

tiny_shakespeare, multi30k, Translations       text
spoken_digits, SpokenDigits, read_wav, log_mel sound
mnist, fashion_mnist, Images, read_idx         images
read_text, segment_text, Vocabulary, WordVocabulary
                                               text of your own as tokens
Buckets, Batch, pad_batch, NO_EXAMPLE          batches of sequences of similar lengths
numpy_rng                                      a generator of NumPy from a key of JAX
"""

from ._buckets import (
    NO_EXAMPLE as NO_EXAMPLE,
    Batch as Batch,
    Buckets as Buckets,
    pad_batch as pad_batch,
)
from ._fsdd import SpokenDigits as SpokenDigits, spoken_digits as spoken_digits
from ._idx import read_idx as read_idx
from ._images import Images as Images, fashion_mnist as fashion_mnist, mnist as mnist
from ._multi30k import Translations as Translations, multi30k as multi30k
from ._numpy_rng import numpy_rng as numpy_rng
from ._shakespeare import tiny_shakespeare as tiny_shakespeare
from ._sound import log_mel as log_mel, read_wav as read_wav
from ._text import read_text as read_text, segment_text as segment_text
from ._vocabulary import Vocabulary as Vocabulary
from ._word_vocabulary import WordVocabulary as WordVocabulary
