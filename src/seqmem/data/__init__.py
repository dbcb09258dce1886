"""Real data: read from files, fetched where they are published, in batches of few lengths."""

from .idx import read_idx as read_idx
from .images import Images as Images, fashion_mnist as fashion_mnist, mnist as mnist
