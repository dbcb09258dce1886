"""Whole models: sequence to sequence with attention, and characters."""

from ._attention import (
    AbstractAttention as AbstractAttention,
    AdditiveAttention as AdditiveAttention,
    Attended as Attended,
    DotAttention as DotAttention,
)
from ._attention_decoders import BahdanauDecoder as BahdanauDecoder, LuongDecoder as LuongDecoder
from ._character_model import (
    CharacterModel as CharacterModel,
    character_losses as character_losses,
    train_step as train_step,
)
from ._encoder_decoder import EncoderDecoder as EncoderDecoder
from ._scheduled_sampling import scheduled_sampling as scheduled_sampling
