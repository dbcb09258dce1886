"""Memories for sequences in JAX: cells, exact methods to run them, and gradient instruments.

A cell is project → update → readout over one tree of parameters. A method evaluates the recurrence
over time; every method returns the numbers of a plain `lax.scan`, gradients included. `unroll`
brings them together:

    import jax, seqmem
    cell = seqmem.LSTM(3, 64, key=jax.random.key(0))
    xs = jax.numpy.ones((100, 8, 3))                              # time, batch, input
    state, ys = seqmem.unroll(cell, None, xs)                     # None: the initial state
    state, ys = seqmem.unroll(cell, state, xs, lengths=[100] * 8, method=seqmem.Newton())

`help(seqmem.LSTM)` has the equations of a cell, `seqmem.cite(model)` the papers behind a model. The
pages are in docs/ of the repository: getting_started.md is the first one, cells.md compares all
cells, choose_a_memory.md and choose_a_method.md say which is for what.

Sub-packages, imported when they are first used:

    layers, blocks, models     networks of cells, those of papers, whole models for text
    gradients, dynamics        what gradients and what states do over time
    training, experiment       truncated BPTT, mixed precision, devices; a loop, checkpoints
    decoding, interop          beam search and sampling; weights from and to other libraries
    tasks, data, spikes        synthetic tasks, real data, surrogate gradients
    testing                    every law of seqmem, for a cell of your own
"""

import importlib as _importlib
import pathlib as _pathlib
from typing import Any as _Any

from ._cells.attention.causal_attention import CausalAttention as CausalAttention
from ._cells.attention.family import ATTENTION as ATTENTION
from ._cells.attention.positions import (
    AbstractPositions as AbstractPositions,
    ALiBi as ALiBi,
    RoPE as RoPE,
)
from ._cells.attention.rope_scaling import (
    AbstractRoPEScaling as AbstractRoPEScaling,
    LinearScaling as LinearScaling,
    Llama3Scaling as Llama3Scaling,
    YaRNScaling as YaRNScaling,
)
from ._cells.block_diagonal.d_lin_oss import DLinOSS as DLinOSS
from ._cells.block_diagonal.family import (
    BLOCK_DIAGONAL as BLOCK_DIAGONAL,
    AbstractBlockDiagonalCell as AbstractBlockDiagonalCell,
)
from ._cells.block_diagonal.lin_oss_im import LinOSSIM as LinOSSIM
from ._cells.block_diagonal.lin_oss_imex import LinOSSIMEX as LinOSSIMEX
from ._cells.continuous.cfc import CfC as CfC
from ._cells.continuous.gru_d import GRUD as GRUD, GRUDState as GRUDState
from ._cells.continuous.ltc import LTC as LTC
from ._cells.continuous.ode_lstm import ODELSTM as ODELSTM
from ._cells.continuous.phased_lstm import (
    PhasedLSTM as PhasedLSTM,
    PhasedLSTMState as PhasedLSTMState,
)
from ._cells.convolutional.conv_gru import ConvGRU as ConvGRU
from ._cells.convolutional.conv_lstm import ConvLSTM as ConvLSTM
from ._cells.diagonal.family import (
    DIAGONAL as DIAGONAL,
    AbstractDiagonalCell as AbstractDiagonalCell,
)
from ._cells.diagonal.gilr import GILR as GILR
from ._cells.diagonal.hgrn import HGRN as HGRN
from ._cells.diagonal.lru import LRU as LRU
from ._cells.diagonal.min_gru import MinGRU as MinGRU
from ._cells.diagonal.min_lstm import MinLSTM as MinLSTM
from ._cells.diagonal.qrnn import QRNN as QRNN
from ._cells.diagonal.rg_lru import RGLRU as RGLRU
from ._cells.diagonal.rtu import RTU as RTU
from ._cells.diagonal.s4d import S4D as S4D
from ._cells.diagonal.s5 import S5 as S5
from ._cells.diagonal.s6 import S6 as S6
from ._cells.diagonal.shm import SHM as SHM
from ._cells.diagonal.sru import SRU as SRU
from ._cells.external.dnc import DNC as DNC, DNCState as DNCState
from ._cells.external.ntm import NTM as NTM, NTMState as NTMState
from ._cells.fast_weights.bounded_memory import ABC as ABC
from ._cells.fast_weights.chunkwise.view import MemoryView as MemoryView
from ._cells.fast_weights.comba import Comba as Comba
from ._cells.fast_weights.delta_product import DeltaProduct as DeltaProduct
from ._cells.fast_weights.delta_rule import DeltaRule as DeltaRule
from ._cells.fast_weights.family import (
    FAST_WEIGHTS as FAST_WEIGHTS,
    AbstractFastWeightCell as AbstractFastWeightCell,
)
from ._cells.fast_weights.gated_delta_rule import GatedDeltaRule as GatedDeltaRule
from ._cells.fast_weights.gated_delta_rule_2 import GatedDeltaRule2 as GatedDeltaRule2
from ._cells.fast_weights.gated_kalma_net import GatedKalmaNet as GatedKalmaNet
from ._cells.fast_weights.gated_oja_rule import GatedOjaRule as GatedOjaRule
from ._cells.fast_weights.gla import GLA as GLA
from ._cells.fast_weights.gsa import GSA as GSA
from ._cells.fast_weights.hgrn2 import HGRN2 as HGRN2
from ._cells.fast_weights.kda import KDA as KDA
from ._cells.fast_weights.lightning_attention import LightningAttention as LightningAttention
from ._cells.fast_weights.linear_attention import LinearAttention as LinearAttention
from ._cells.fast_weights.mamba3 import Mamba3 as Mamba3
from ._cells.fast_weights.mesa_net import MesaNet as MesaNet
from ._cells.fast_weights.mlstm import MLSTM as MLSTM
from ._cells.fast_weights.momentum_delta_rule import MomentumDeltaRule as MomentumDeltaRule
from ._cells.fast_weights.ret_net import RetNet as RetNet
from ._cells.fast_weights.rwkv6 import RWKV6 as RWKV6
from ._cells.fast_weights.rwkv7 import RWKV7 as RWKV7
from ._cells.fast_weights.solvers import (
    AbstractSolver as AbstractSolver,
    Chebyshev as Chebyshev,
    ConjugateGradients as ConjugateGradients,
    Exact as Exact,
)
from ._cells.fast_weights.ssd import SSD as SSD
from ._cells.fast_weights.write import Memory as Memory, Transposed as Transposed, Write as Write
from ._cells.gated.antisymmetric_rnn import AntisymmetricRNN as AntisymmetricRNN
from ._cells.gated.atr import ATR as ATR
from ._cells.gated.brc import BRC as BRC
from ._cells.gated.cfn import CFN as CFN
from ._cells.gated.co_rnn import CoRNN as CoRNN
from ._cells.gated.echo_state import EchoState as EchoState
from ._cells.gated.exp_rnn import ExpRNN as ExpRNN
from ._cells.gated.family import GATED as GATED, AbstractGatedCell as AbstractGatedCell
from ._cells.gated.fast_grnn import FastGRNN as FastGRNN
from ._cells.gated.fast_rnn import FastRNN as FastRNN
from ._cells.gated.gated_antisymmetric_rnn import GatedAntisymmetricRNN as GatedAntisymmetricRNN
from ._cells.gated.gru import GRU as GRU
from ._cells.gated.indrnn import IndRNN as IndRNN
from ._cells.gated.janet import JANET as JANET
from ._cells.gated.leaky_rnn import LeakyRNN as LeakyRNN
from ._cells.gated.li_gru import LiGRU as LiGRU
from ._cells.gated.lipschitz_rnn import LipschitzRNN as LipschitzRNN
from ._cells.gated.lstm import LSTM as LSTM, LSTMState as LSTMState
from ._cells.gated.minimal_rnn import MinimalRNN as MinimalRNN
from ._cells.gated.nbrc import NBRC as NBRC
from ._cells.gated.nn_rnn import NNRNN as NNRNN
from ._cells.gated.nonlinear_rtu import NonlinearRTU as NonlinearRTU
from ._cells.gated.para_gru import ParaGRU as ParaGRU
from ._cells.gated.para_lstm import ParaLSTM as ParaLSTM
from ._cells.gated.peephole_lstm import PeepholeLSTM as PeepholeLSTM
from ._cells.gated.projected_lstm import ProjectedLSTM as ProjectedLSTM
from ._cells.gated.ran import RAN as RAN
from ._cells.gated.reset_after_mgu import ResetAfterMGU as ResetAfterMGU
from ._cells.gated.rnn import RNN as RNN
from ._cells.gated.scrn import SCRN as SCRN, SCRNState as SCRNState
from ._cells.gated.slstm import SLSTM as SLSTM
from ._cells.gated.star import STAR as STAR
from ._cells.gated.ugrnn import UGRNN as UGRNN
from ._cells.gated.unicornn import UnICORNN as UnICORNN
from ._cells.gates import gate as gate, with_chrono_bias as with_chrono_bias, with_gate as with_gate
from ._cells.matrices.antisymmetric import Antisymmetric as Antisymmetric
from ._cells.matrices.dale import Dale as Dale
from ._cells.matrices.dense import Dense as Dense
from ._cells.matrices.low_rank import LowRank as LowRank
from ._cells.matrices.orthogonal import Orthogonal as Orthogonal
from ._cells.matrices.schur import Schur as Schur
from ._cells.matrices.sparse import Sparse as Sparse
from ._cells.matrices.structure import (
    AbstractStructure as AbstractStructure,
    StructuredMatrix as StructuredMatrix,
)
from ._cells.matrices.symmetric_skew import SymmetricSkew as SymmetricSkew
from ._cells.pointwise import POINTWISE as POINTWISE, AbstractPointwiseCell as AbstractPointwiseCell
from ._cells.spiking.adaptive_lif import AdaptiveLIF as AdaptiveLIF
from ._cells.spiking.lif import LIF as LIF
from ._cells.spiking.synaptic_lif import SynapticLIF as SynapticLIF
from ._cells.unstructured.al_rnn import ALRNN as ALRNN
from ._cells.unstructured.ctrnn import CTRNN as CTRNN
from ._cells.unstructured.lem import LEM as LEM
from ._cells.unstructured.mgu import MGU as MGU
from ._cells.unstructured.mogrifier_lstm import MogrifierLSTM as MogrifierLSTM
from ._cells.unstructured.multiplicative_lstm import MultiplicativeLSTM as MultiplicativeLSTM
from ._cells.unstructured.mut1 import MUT1 as MUT1
from ._cells.unstructured.mut2 import MUT2 as MUT2
from ._cells.unstructured.mut3 import MUT3 as MUT3
from ._cells.unstructured.plrnn import PLRNN as PLRNN
from ._cells.unstructured.reset_before_gru import ResetBeforeGRU as ResetBeforeGRU
from ._cells.unstructured.rhn import RHN as RHN
from ._cells.unstructured.titans import Titans as Titans, TitansState as TitansState
from ._cells.unstructured.ttt_linear import TTTLinear as TTTLinear
from ._cells.unstructured.ttt_mlp import TTTMLP as TTTMLP
from ._cells.window.causal_conv import CausalConv as CausalConv
from ._cells.window.depthwise_conv import DepthwiseConv as DepthwiseConv
from ._cells.window.family import WINDOW as WINDOW, AbstractWindowCell as AbstractWindowCell
from ._cells.window.history import History as History
from ._cells.window.sliding_window_attention import SlidingWindowAttention as SlidingWindowAttention
from ._citation.cite import cite as cite
from ._core.batching import PerExample as PerExample, vmap_batch as vmap_batch
from ._core.cache import Cache as Cache
from ._core.cell import (
    AbstractCell as AbstractCell,
    AbstractLayer as AbstractLayer,
    project as project,
    readout as readout,
    update as update,
)
from ._core.container import (
    AbstractContainer as AbstractContainer,
    AbstractContainerCell as AbstractContainerCell,
)
from ._core.cpu_cores import use_cpu_cores as use_cpu_cores
from ._core.family import (
    UNSTRUCTURED as UNSTRUCTURED,
    Family as Family,
    Law as Law,
    PerPlatform as PerPlatform,
    TransitionRule as TransitionRule,
)
from ._core.jacobian import AbstractJacobian as AbstractJacobian
from ._core.method import AbstractMethod as AbstractMethod
from ._core.names import overview as _overview, unknown_name as _unknown_name
from ._core.packing import Packed as Packed, pack as pack, unpack as unpack
from ._core.parametrization import (
    AbstractParametrization as AbstractParametrization,
    evaluate_parametrizations as evaluate_parametrizations,
)
from ._core.perturbations import (
    PerturbationRecorder as PerturbationRecorder,
    ZeroPerturbations as ZeroPerturbations,
)
from ._core.platform import target_platform as target_platform
from ._core.precision import (
    as_precision as as_precision,
    precision as precision,
    state_dtype as state_dtype,
)
from ._core.problem import (
    Problem as Problem,
    Solution as Solution,
    Stats as Stats,
    StepFlags as StepFlags,
)
from ._core.resets import (
    resets_from_cu_seqlens as resets_from_cu_seqlens,
    resets_from_dones as resets_from_dones,
    resets_from_segments as resets_from_segments,
)
from ._core.step import (
    advance as advance,
    apply_padding as apply_padding,
    apply_reset as apply_reset,
)
from ._core.time_shard import TimeShard as TimeShard
from ._core.timed import Observed as Observed, Timed as Timed
from ._core.vjp_rule import (
    AbstractVJPRule as AbstractVJPRule,
    BackwardTile as BackwardTile,
    TileSizes as TileSizes,
)
from ._methods.fused.fused import Fused as Fused
from ._methods.newton.jacobians import (
    BlockJacobian as BlockJacobian,
    DenseJacobian as DenseJacobian,
    DiagonalJacobian as DiagonalJacobian,
)
from ._methods.newton.newton import Newton as Newton
from ._methods.newton.quasi_newton import QuasiNewton as QuasiNewton
from ._methods.parallel import Parallel as Parallel
from ._methods.remat import Remat as Remat
from ._methods.scan.reference import ReferenceScan as ReferenceScan
from ._methods.scan.scan import Scan as Scan
from ._methods.scan.vjp_rules import PlainRule as PlainRule
from ._methods.sharded import Sharded as Sharded
from ._unroll import solve as solve, unroll as unroll
from ._wrappers.delta_t import with_delta_t as with_delta_t
from ._wrappers.forcing import Forced as Forced, with_forcing as with_forcing
from ._wrappers.input_dropout import with_input_dropout as with_input_dropout
from ._wrappers.layer_norm import with_layer_norm as with_layer_norm
from ._wrappers.learned_state import with_learned_state as with_learned_state
from ._wrappers.recurrent_weights import (
    with_gain as with_gain,
    with_recurrent_weights as with_recurrent_weights,
    with_spectral_radius as with_spectral_radius,
)
from ._wrappers.variational_dropout import with_variational_dropout as with_variational_dropout
from ._wrappers.weight_dropout import with_weight_dropout as with_weight_dropout
from ._wrappers.zoneout import with_zoneout as with_zoneout

__version__ = "0.2.0"

_SUBPACKAGES = (
    *("blocks", "data", "decoding", "dynamics", "experiment", "gradients"),
    *("interop", "layers", "models", "spikes", "tasks", "testing", "training"),
)
# What is imported above under its own name, and the sub-packages.
__all__ = sorted(_SUBPACKAGES + tuple(name for name in globals() if not name.startswith("_")))
__doc__ = f"{__doc__}\nNames:\n\n{_overview(globals())}\n"


def __getattr__(name: str) -> _Any:
    if name in _SUBPACKAGES:
        return _importlib.import_module(f".{name}", __name__)
    raise _unknown_name(__name__, _pathlib.Path(__file__).parent, name, __all__)


def __dir__() -> list[str]:
    return __all__
