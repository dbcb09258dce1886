"""What is built from cells."""

from . import pooling as pooling
from .attending import AttendAfter as AttendAfter, AttendBefore as AttendBefore
from .attention import (
    AbstractAttention as AbstractAttention,
    AdditiveAttention as AdditiveAttention,
    Attended as Attended,
    DotAttention as DotAttention,
)
from .bidirectional import Bidirectional as Bidirectional
from .embedding import Embedding as Embedding
from .encoder_decoder import EncoderDecoder as EncoderDecoder
from .gated_delta_net import gated_delta_net as gated_delta_net
from .gla import gla as gla
from .layer_by_layer import LayerByLayer as LayerByLayer
from .mamba2 import mamba2 as mamba2
from .map import Map as Map
from .mlstm import mlstm as mlstm
from .norms import LayerNorm as LayerNorm, RMSNorm as RMSNorm
from .residual import Residual as Residual
from .rwkv7 import rwkv7 as rwkv7
from .rwkv7_above import rwkv7_above as rwkv7_above
from .scheduled_sampling import scheduled_sampling as scheduled_sampling
from .stack import Stack as Stack
from .tcn import tcn as tcn, with_dropped_channels as with_dropped_channels
