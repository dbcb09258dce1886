"""Layers: what stands between, around and on top of cells.

deep                                  a deep, perhaps bidirectional network in one call
Stack, Residual, Bidirectional        layers of layers; LayerByLayer gives each its own method
Embedding, Map, GatedMLP              layers of one step: tokens, any function, an MLP
MixtureOfExperts, HopfieldLayer       experts with a router, a memory of learned patterns
RMSNorm, ZeroCenteredRMSNorm, LayerNorm
Dropout, with_dropout_keys            dropout between layers, and its keys for a training step
pooling, HopfieldPooling              one vector for a whole sequence: last, mean, attention
"""

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
