"""Real data: read from files, fetched from where they are published, in batches of few lengths."""

from .buckets import NONE as NONE, Batch as Batch, Buckets as Buckets, padded as padded
from .draws import generator as generator
from .fsdd import SpokenDigits as SpokenDigits, spoken_digits as spoken_digits
from .idx import read_idx as read_idx
from .images import Images as Images, fashion_mnist as fashion_mnist, mnist as mnist
from .multi30k import Translations as Translations, multi30k as multi30k
from .shakespeare import tiny_shakespeare as tiny_shakespeare
from .sound import log_mel as log_mel, read_wav as read_wav
from .text import Vocabulary as Vocabulary, read_text as read_text, windows as windows
from .words import WordVocabulary as WordVocabulary
