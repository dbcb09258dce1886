"""Layers: what stands between, around and on top of cells."""

from .._methods.layer_by_layer import LayerByLayer as LayerByLayer
from . import pooling as pooling
from .bidirectional import Bidirectional as Bidirectional
from .deep import deep as deep
from .dropout import Dropout as Dropout, with_dropout_keys as with_dropout_keys
from .embedding import Embedding as Embedding
from .gated_mlp import GatedMLP as GatedMLP
from .hopfield import HopfieldLayer as HopfieldLayer, HopfieldPooling as HopfieldPooling
from .map import Map as Map
from .mixture_of_experts import MixtureOfExperts as MixtureOfExperts
from .norms import (
    LayerNorm as LayerNorm,
    RMSNorm as RMSNorm,
    ZeroCenteredRMSNorm as ZeroCenteredRMSNorm,
)
from .residual import Residual as Residual
from .stack import Stack as Stack
