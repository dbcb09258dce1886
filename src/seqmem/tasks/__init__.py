"""Synthetic tasks for memories, with known answers and known scores of models without a memory."""

from .adding import Adding as Adding
from .associative_recall import AssociativeRecall as AssociativeRecall
from .copy_memory import CopyMemory as CopyMemory
from .flip_flop import FlipFlop as FlipFlop
from .groups import (
    Group as Group,
    alternating as alternating,
    cyclic as cyclic,
    symmetric as symmetric,
)
from .hello import hello as hello, input_only_correct as input_only_correct
from .induction import Induction as Induction
from .memory_task import AbstractMemoryTask as AbstractMemoryTask, Examples as Examples
from .scenes import Scene as Scene, Scenes as Scenes
from .selective_copy import SelectiveCopy as SelectiveCopy
from .temporal_order import TemporalOrder as TemporalOrder
from .word_problem import WordProblem as WordProblem, parity as parity
