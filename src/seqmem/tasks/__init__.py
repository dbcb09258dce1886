"""Synthetic tasks for memories, with known answers and known scores of models without a memory; and
chaotic systems with known exponents.

    Adding, CopyMemory, TemporalOrder, SelectiveCopy, FlipFlop, Induction, AssociativeRecall
                                         long time lags, and recall; Examples are what they draw
    BitCopy, ItemRecall, BitFlipFlop     sequences of bits
    WordProblem, Group, parity, cyclic, symmetric, alternating
                                         products in groups: tracking a state
    Scenes, Scene                        moving images
    Lorenz63, Lorenz96, SystemCell       chaotic systems, also as cells
    hello, input_only_correct            a text of a few letters
    AbstractMemoryTask, AbstractBitTask, AbstractSystem     to write your own
"""

from ._adding import Adding as Adding
from ._associative_recall import AssociativeRecall as AssociativeRecall
from ._bit_copy import BitCopy as BitCopy
from ._bit_flip_flop import BitFlipFlop as BitFlipFlop
from ._bits import AbstractBitTask as AbstractBitTask
from ._copy_memory import CopyMemory as CopyMemory
from ._flip_flop import FlipFlop as FlipFlop
from ._groups import (
    Group as Group,
    alternating as alternating,
    cyclic as cyclic,
    symmetric as symmetric,
)
from ._hello import hello as hello, input_only_correct as input_only_correct
from ._induction import Induction as Induction
from ._item_recall import ItemRecall as ItemRecall
from ._lorenz import Lorenz63 as Lorenz63, Lorenz96 as Lorenz96
from ._memory_task import AbstractMemoryTask as AbstractMemoryTask, Examples as Examples
from ._scenes import Scene as Scene, Scenes as Scenes
from ._selective_copy import SelectiveCopy as SelectiveCopy
from ._system import AbstractSystem as AbstractSystem, SystemCell as SystemCell
from ._temporal_order import TemporalOrder as TemporalOrder
from ._word_problem import WordProblem as WordProblem, parity as parity
