"""Problems to train memories on, and what is known about their answers."""

from .character_model import (
    CharacterModel as CharacterModel,
    character_losses as character_losses,
    train_step as train_step,
)
from .hello import hello as hello, memoryless_bound as memoryless_bound
from .text import Vocabulary as Vocabulary, read_text as read_text, windows as windows
