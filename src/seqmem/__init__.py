"""seqmem: memories for sequences.

A cell is project → update → readout; a method is a way to spend time; `unroll` brings them
together, and every method gives the numbers of a plain scan, gradients included.
"""

import importlib
from typing import Any

from . import layers as layers
from ._core.cell import AbstractCell as AbstractCell
from ._cells.diagonal.base import AbstractDiagonalCell as AbstractDiagonalCell
from ._cells.diagonal.gilr import GILR as GILR
from ._cells.diagonal.hgrn import HGRN as HGRN
from ._cells.diagonal.lru import LRU as LRU
from ._cells.diagonal.min_gru import MinGRU as MinGRU
from ._cells.diagonal.min_lstm import MinLSTM as MinLSTM
from ._cells.diagonal.qrnn import QRNN as QRNN
from ._cells.diagonal.rg_lru import RGLRU as RGLRU
from ._cells.diagonal.s4d import S4D as S4D
from ._cells.diagonal.s5 import S5 as S5
from ._cells.diagonal.s6 import S6 as S6
from ._cells.diagonal.sru import SRU as SRU
from ._cells.fast_weights.base import (
    AbstractFastWeightCell as AbstractFastWeightCell,
    Memory as Memory,
    Write as Write,
)
from ._cells.fast_weights.delta_rule import DeltaRule as DeltaRule
from ._cells.fast_weights.delta_product import DeltaProduct as DeltaProduct
from ._cells.fast_weights.gated_delta_rule import GatedDeltaRule as GatedDeltaRule
from ._cells.fast_weights.gla import GLA as GLA
from ._cells.fast_weights.hgrn2 import HGRN2 as HGRN2
from ._cells.fast_weights.kda import KDA as KDA
from ._cells.fast_weights.linear_attention import LinearAttention as LinearAttention
from ._cells.fast_weights.mlstm import MLSTM as MLSTM
from ._cells.fast_weights.ret_net import RetNet as RetNet
from ._cells.fast_weights.rwkv7 import RWKV7 as RWKV7
from ._cells.fast_weights.ssd import SSD as SSD
from ._cells.gated.base import AbstractGatedCell as AbstractGatedCell
from ._cells.gated.gru import GRU as GRU
from ._cells.gated.indrnn import IndRNN as IndRNN
from ._cells.gated.lstm import LSTM as LSTM
from ._cells.gated.peephole_lstm import PeepholeLSTM as PeepholeLSTM
from ._cells.gated.projected_lstm import ProjectedLSTM as ProjectedLSTM
from ._cells.gated.rnn import RNN as RNN
from ._cells.gated.slstm import SLSTM as SLSTM
from ._cells.gates import gate as gate, with_chrono_bias as with_chrono_bias, with_gate as with_gate
from .gradients._memory import MemoryReport as MemoryReport, memory_report as memory_report
from ._core.method import AbstractMethod as AbstractMethod
from ._methods.newton.newton import Newton as Newton
from ._methods.parallel import Parallel as Parallel
from ._methods.newton.quasi_newton import QuasiNewton as QuasiNewton
from ._methods.report import Stats as Stats
from ._methods.scan.scan import Scan as Scan
from ._methods.sharded import Sharded as Sharded
from ._wrappers.input_dropout import with_input_dropout as with_input_dropout
from ._wrappers.weight_dropout import with_weight_dropout as with_weight_dropout
from ._wrappers.layer_norm import with_layer_norm as with_layer_norm
from ._wrappers.learned_state import (
    with_learned_state as with_learned_state,
    with_states as with_states,
)
from ._wrappers.variational_dropout import with_variational_dropout as with_variational_dropout
from ._wrappers.zoneout import with_zoneout as with_zoneout
from ._core.batching import PerExample as PerExample
from ._cells.unstructured.mgu import MGU as MGU
from ._cells.unstructured.reset_before_gru import ResetBeforeGRU as ResetBeforeGRU
from ._core.precision import state_dtype as state_dtype
from ._cells.pointwise import AbstractPointwiseCell as AbstractPointwiseCell
from ._unroll import unroll as unroll, solve as solve
from ._cells.window.base import AbstractWindowCell as AbstractWindowCell
from ._cells.window.causal_conv import CausalConv as CausalConv
from ._cells.window.depthwise_conv import DepthwiseConv as DepthwiseConv
from ._cells.window.history import History as History
from ._cells.window.positions import ALiBi as ALiBi, RoPE as RoPE
from ._cells.window.sliding_window_attention import SlidingWindowAttention as SlidingWindowAttention

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """The parts that not every program needs are imported when they are first named."""
    if name in ("decoding", "gradients", "interop", "tasks", "testing", "training"):
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
