"""Problems to train memories on, and what is known about their answers."""

from .adding import Adding as Adding
from .associative_recall import AssociativeRecall as AssociativeRecall
from .copy_memory import CopyMemory as CopyMemory
from .flip_flop import FlipFlop as FlipFlop
from .group_words import GroupWords as GroupWords, parity as parity
from .groups import (
    Group as Group,
    alternating as alternating,
    cyclic as cyclic,
    symmetric as symmetric,
)
from .hello import hello as hello, memoryless_bound as memoryless_bound
from .induction import Induction as Induction
from .memory_task import AbstractMemoryTask as AbstractMemoryTask, Examples as Examples
from .scenes import Scene as Scene, Scenes as Scenes
from .selective_copy import SelectiveCopy as SelectiveCopy
from .temporal_order import TemporalOrder as TemporalOrder
