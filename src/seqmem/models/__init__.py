"""Whole models: language models, and sequence to sequence with attention.

LanguageModel                              embedding, any body, norm and head
next_token_loss, token_losses, train_step  its loss, and a step of training
generate, prefill                          text after a prompt, and the state after one
from_pretrained, from_config, to_pretrained, download, load_tokenizer
                                           published models, from and to their files
EncoderDecoder, scheduled_sampling         sequence to sequence, and a way to train it
AbstractDecoder, PlainDecoder, BahdanauDecoder, LuongDecoder
AbstractAttention, AdditiveAttention, DotAttention
"""

from ._attention import (
    AbstractAttention as AbstractAttention,
    AdditiveAttention as AdditiveAttention,
    DotAttention as DotAttention,
)
from ._bahdanau_decoder import BahdanauDecoder as BahdanauDecoder
from ._decoder import AbstractDecoder as AbstractDecoder, PlainDecoder as PlainDecoder
from ._encoder_decoder import EncoderDecoder as EncoderDecoder
from ._generate import generate as generate, prefill as prefill
from ._language_model import LanguageModel as LanguageModel
from ._luong_decoder import LuongDecoder as LuongDecoder
from ._next_token_loss import next_token_loss as next_token_loss, token_losses as token_losses
from ._pretrained.hub import download as download, load_tokenizer as load_tokenizer
from ._pretrained.load import from_config as from_config, from_pretrained as from_pretrained
from ._pretrained.save import to_pretrained as to_pretrained
from ._scheduled_sampling import scheduled_sampling as scheduled_sampling
from ._train_step import train_step as train_step
