"""seqmem: memories for sequences.

A cell is project → update → readout; a method is a way to spend time; `unroll` brings them
together, and every method gives the numbers of a plain scan, gradients included.
"""

import importlib
from typing import Any

from . import layers as layers
from ._cell import AbstractCell as AbstractCell
from ._diagonal.base import AbstractDiagonalCell as AbstractDiagonalCell
from ._diagonal.gilr import GILR as GILR
from ._diagonal.hgrn import HGRN as HGRN
from ._diagonal.lru import LRU as LRU
from ._diagonal.min_gru import MinGRU as MinGRU
from ._diagonal.min_lstm import MinLSTM as MinLSTM
from ._diagonal.qrnn import QRNN as QRNN
from ._diagonal.rg_lru import RGLRU as RGLRU
from ._diagonal.s4d import S4D as S4D
from ._diagonal.s5 import S5 as S5
from ._diagonal.s6 import S6 as S6
from ._diagonal.sru import SRU as SRU
from ._fast_weights.base import (
    AbstractFastWeightCell as AbstractFastWeightCell,
    Memory as Memory,
    Write as Write,
)
from ._fast_weights.delta_net import DeltaNet as DeltaNet
from ._fast_weights.delta_product import DeltaProduct as DeltaProduct
from ._fast_weights.gated_delta_net import GatedDeltaNet as GatedDeltaNet
from ._fast_weights.gla import GLA as GLA
from ._fast_weights.hgrn2 import HGRN2 as HGRN2
from ._fast_weights.kda import KDA as KDA
from ._fast_weights.linear_attention import LinearAttention as LinearAttention
from ._fast_weights.mlstm import MLSTM as MLSTM
from ._fast_weights.ret_net import RetNet as RetNet
from ._fast_weights.rwkv7 import RWKV7 as RWKV7
from ._fast_weights.ssd import SSD as SSD
from ._gated.base import AbstractGatedCell as AbstractGatedCell
from ._gated.gru import GRU as GRU
from ._gated.indrnn import IndRNN as IndRNN
from ._gated.lstm import LSTM as LSTM
from ._gated.peephole_lstm import PeepholeLSTM as PeepholeLSTM
from ._gated.projected_lstm import ProjectedLSTM as ProjectedLSTM
from ._gated.rnn import RNN as RNN
from ._gated.slstm import SLSTM as SLSTM
from ._gates import gate as gate, with_chrono_bias as with_chrono_bias, with_gate as with_gate
from ._memory import MemoryReport as MemoryReport, memory_report as memory_report
from ._methods.base import AbstractMethod as AbstractMethod
from ._methods.newton import Newton as Newton
from ._methods.parallel import Parallel as Parallel
from ._methods.quasi_newton import QuasiNewton as QuasiNewton
from ._methods.report import Report as Report
from ._methods.scan import Scan as Scan
from ._methods.sharded import Sharded as Sharded
from ._modifiers.dropped_inputs import with_dropped_inputs as with_dropped_inputs
from ._modifiers.dropped_weights import with_dropped_weights as with_dropped_weights
from ._modifiers.layer_norm import with_layer_norm as with_layer_norm
from ._modifiers.states import (
    with_learned_state as with_learned_state,
    with_states as with_states,
)
from ._modifiers.variational_dropout import with_variational_dropout as with_variational_dropout
from ._modifiers.zoneout import with_zoneout as with_zoneout
from ._per_example import PerExample as PerExample
from ._plain.mgu import MGU as MGU
from ._plain.reset_before_gru import ResetBeforeGRU as ResetBeforeGRU
from ._precision import state_dtype as state_dtype
from ._stateless.base import AbstractStatelessCell as AbstractStatelessCell
from ._unroll import unroll as unroll, unroll_with_report as unroll_with_report
from ._window.base import AbstractWindowCell as AbstractWindowCell
from ._window.causal_conv import CausalConv as CausalConv
from ._window.depthwise_conv import DepthwiseConv as DepthwiseConv
from ._window.past import Past as Past
from ._window.positions import ALiBi as ALiBi, RoPE as RoPE
from ._window.sliding_window_attention import SlidingWindowAttention as SlidingWindowAttention

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """The parts that not every program needs are imported when they are first named."""
    if name in ("decoding", "gradients", "interop", "tasks", "testing", "training"):
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
