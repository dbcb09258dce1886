"""Whole models: sequence to sequence with attention, and a character-level language model."""

from ._attention import (
    AbstractAttention as AbstractAttention,
    AdditiveAttention as AdditiveAttention,
    DotAttention as DotAttention,
)
from ._bahdanau_decoder import BahdanauDecoder as BahdanauDecoder
from ._character_model import (
    CharacterModel as CharacterModel,
    character_losses as character_losses,
    train_step as train_step,
)
from ._decoder import AbstractDecoder as AbstractDecoder, PlainDecoder as PlainDecoder
from ._encoder_decoder import EncoderDecoder as EncoderDecoder
from ._language_model import LanguageModel as LanguageModel
from ._luong_decoder import LuongDecoder as LuongDecoder
from ._pretrained.hub import download as download, load_tokenizer as load_tokenizer
from ._pretrained.load import from_config as from_config, from_pretrained as from_pretrained
from ._pretrained.save import to_pretrained as to_pretrained
from ._scheduled_sampling import scheduled_sampling as scheduled_sampling
