"""The list: one line per cell. What stands here is held to every law of seqmem, on every method."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import seqmem

key = jax.random.key(0)

# Sizes are different primes: input 2, hidden 5, output 3 (where the width is one, 2).
CELLS = {
    "RNN": lambda: seqmem.RNN(2, 5, key=key),
    "RNN with output": lambda: seqmem.RNN(2, 5, output_size=3, key=key),
    "LSTM": lambda: seqmem.LSTM(2, 5, key=key),
    "PeepholeLSTM": lambda: seqmem.PeepholeLSTM(2, 5, key=key),
    "ProjectedLSTM": lambda: seqmem.ProjectedLSTM(2, 5, output_size=3, key=key),
    "GRU": lambda: seqmem.GRU(2, 5, key=key),
    "ResetBeforeGRU": lambda: seqmem.ResetBeforeGRU(2, 5, key=key),
    "MGU": lambda: seqmem.MGU(2, 5, key=key),
    "ResetAfterMGU": lambda: seqmem.ResetAfterMGU(2, 5, key=key),
    "ParaGRU": lambda: seqmem.ParaGRU(2, 5, key=key),
    "ParaLSTM": lambda: seqmem.ParaLSTM(2, 5, key=key),
    "GRU of low rank": lambda: seqmem.GRU(
        2, 5, recurrent=seqmem.LowRank(3, random_gain=0.5), key=key
    ),
    "AntisymmetricRNN": lambda: seqmem.AntisymmetricRNN(2, 5, key=key),
    "GatedAntisymmetricRNN": lambda: seqmem.GatedAntisymmetricRNN(2, 5, key=key),
    "LipschitzRNN": lambda: seqmem.LipschitzRNN(2, 5, step_size=0.3, key=key),
    "ExpRNN": lambda: seqmem.ExpRNN(2, 5, key=key),
    "NNRNN": lambda: seqmem.NNRNN(2, 6, key=key),
    "LeakyRNN": lambda: seqmem.LeakyRNN(
        2, 5, activation=jnp.tanh, recurrent=seqmem.Dale(0.6), key=key
    ),
    "CTRNN": lambda: seqmem.CTRNN(
        2, 5, recurrent=seqmem.Sparse(1 - np.eye(5), seqmem.Dale()), key=key
    ),
    "PLRNN": lambda: seqmem.PLRNN(2, 5, key=key),
    "ALRNN": lambda: seqmem.ALRNN(2, 5, num_rectified=3, key=key),
    "IndRNN": lambda: seqmem.IndRNN(2, 5, activation=jnp.tanh, key=key),
    "JANET": lambda: seqmem.JANET(2, 5, key=key),
    "MinimalRNN": lambda: seqmem.MinimalRNN(2, 5, key=key),
    "RAN": lambda: seqmem.RAN(2, 5, key=key),
    "UGRNN": lambda: seqmem.UGRNN(2, 5, key=key),
    "LiGRU": lambda: seqmem.LiGRU(2, 5, key=key),
    "CFN": lambda: seqmem.CFN(2, 5, key=key),
    "STAR": lambda: seqmem.STAR(2, 5, key=key),
    "BRC": lambda: seqmem.BRC(2, 5, key=key),
    "NBRC": lambda: seqmem.NBRC(2, 5, key=key),
    "ATR": lambda: seqmem.ATR(2, 5, key=key),
    "FastRNN": lambda: seqmem.FastRNN(2, 5, key=key),
    "FastGRNN": lambda: seqmem.FastGRNN(2, 5, key=key),
    "SCRN": lambda: seqmem.SCRN(2, 5, context_size=3, key=key),
    "MUT1": lambda: seqmem.MUT1(2, key=key),
    "MUT2": lambda: seqmem.MUT2(2, key=key),
    "MUT3": lambda: seqmem.MUT3(2, 5, key=key),
    "MultiplicativeLSTM": lambda: seqmem.MultiplicativeLSTM(2, 5, key=key),
    "RHN": lambda: seqmem.RHN(2, 5, depth=3, key=key),
    "MogrifierLSTM": lambda: seqmem.MogrifierLSTM(2, 5, rounds=3, key=key),
    "MinGRU": lambda: seqmem.MinGRU(2, 5, key=key),
    "MinLSTM": lambda: seqmem.MinLSTM(2, 5, key=key),
    "GILR": lambda: seqmem.GILR(2, 5, key=key),
    "QRNN": lambda: seqmem.QRNN(2, 5, key=key),
    "SRU": lambda: seqmem.SRU(2, key=key),
    "RGLRU": lambda: seqmem.RGLRU(2, key=key),
    "LRU": lambda: seqmem.LRU(2, 5, key=key),
    "RTU": lambda: seqmem.RTU(2, 5, key=key),
    "NonlinearRTU": lambda: seqmem.NonlinearRTU(2, 5, activation=jnp.tanh, key=key),
    "SHM": lambda: seqmem.SHM(2, 5, key=key),
    "HGRN": lambda: seqmem.HGRN(2, 5, key=key),
    "S4D": lambda: seqmem.S4D(2, 5, key=key),
    "S5": lambda: seqmem.S5(2, 5, key=key),
    "S6": lambda: seqmem.S6(2, 5, rank=3, key=key),
    "LinOSSIM": lambda: seqmem.LinOSSIM(2, 5, key=key),
    "LinOSSIMEX": lambda: seqmem.LinOSSIMEX(2, 5, key=key),
    "DLinOSS": lambda: seqmem.DLinOSS(2, 5, key=key),
    "CoRNN": lambda: seqmem.CoRNN(2, 5, key=key),
    "UnICORNN": lambda: seqmem.UnICORNN(2, 5, key=key),
    "LEM": lambda: seqmem.LEM(2, 5, key=key),
    "LIF": lambda: seqmem.LIF(
        2, 5, tau=3.0, reset=seqmem.spikes.ToZero(has_gradient=True), key=key
    ),
    "LIF, recurrent": lambda: seqmem.LIF(
        2, 5, is_recurrent=True, surrogate=seqmem.spikes.FastSigmoid(5.0), key=key
    ),
    "AdaptiveLIF": lambda: seqmem.AdaptiveLIF(2, 5, tau=3.0, tau_adaptation=7.0, key=key),
    "SynapticLIF": lambda: seqmem.SynapticLIF(
        2,
        5,
        is_recurrent=True,
        surrogate=seqmem.spikes.FastSigmoid(5.0),
        learns_tau=False,
        key=key,
    ),
    "SLSTM": lambda: seqmem.SLSTM(2, 6, num_heads=3, key=key),
    "CfC": lambda: seqmem.CfC(2, 5, backbone_size=7, num_layers=2, key=key),
    "LTC": lambda: seqmem.LTC(2, 5, num_steps=2, key=key),
    "GRUD": lambda: seqmem.GRUD(2, 5, key=key),
    "PhasedLSTM": lambda: seqmem.PhasedLSTM(2, 5, period_max=5.0, ratio_on=0.5, key=key),
    "ODELSTM": lambda: seqmem.ODELSTM(2, 5, num_steps=2, key=key),
    "S5 with_delta_t": lambda: seqmem.with_delta_t(seqmem.S5(2, 5, key=key)),
    "DLinOSS with_delta_t": lambda: seqmem.with_delta_t(seqmem.DLinOSS(2, 5, key=key)),
    "LinearAttention": lambda: seqmem.LinearAttention(2, 6, num_heads=3, key_size=5, key=key),
    "LightningAttention": lambda: seqmem.LightningAttention(
        2, 6, num_heads=3, key_size=5, layer=1, num_layers=3, key=key
    ),
    "RetNet": lambda: seqmem.RetNet(2, 6, num_heads=3, key_size=5, key=key),
    "GLA": lambda: seqmem.GLA(2, 6, num_heads=3, key_size=5, rank=7, key=key),
    "HGRN2": lambda: seqmem.HGRN2(2, 6, num_heads=3, lower_bound=0.25, key=key),
    "SSD": lambda: seqmem.SSD(2, 12, num_heads=6, key_size=5, num_groups=3, key=key),
    "MLSTM": lambda: seqmem.MLSTM(2, 6, num_heads=3, key=key),
    "DeltaRule": lambda: seqmem.DeltaRule(2, 6, num_heads=3, key_size=5, beta_max=2.0, key=key),
    "GatedDeltaRule": lambda: seqmem.GatedDeltaRule(2, 6, num_heads=3, key_size=5, key=key),
    "GatedDeltaRule2": lambda: seqmem.GatedDeltaRule2(
        2, 6, num_heads=3, key_size=5, beta_max=2.0, key=key
    ),
    "MomentumDeltaRule": lambda: seqmem.MomentumDeltaRule(2, 6, num_heads=3, key_size=5, key=key),
    "DeltaProduct": lambda: seqmem.DeltaProduct(2, 6, num_heads=3, key_size=5, key=key),
    "Comba": lambda: seqmem.Comba(2, 6, num_heads=3, key_size=5, key=key),
    "KDA": lambda: seqmem.KDA(2, 6, num_heads=3, key_size=5, key=key),
    "GatedOjaRule": lambda: seqmem.GatedOjaRule(2, 6, num_heads=3, key_size=5, key=key),
    "RWKV6": lambda: seqmem.RWKV6(2, 6, num_heads=3, key_size=5, rank=7, key=key),
    "MesaNet": lambda: seqmem.MesaNet(
        2, 6, num_heads=3, key_size=5, solver=seqmem.ConjugateGradients(3), key=key
    ),
    "GatedKalmaNet": lambda: seqmem.GatedKalmaNet(
        2, 6, num_heads=3, key_size=5, solver=seqmem.Chebyshev(3), key=key
    ),
    "GSA": lambda: seqmem.GSA(2, 6, num_heads=3, key_size=5, num_slots=7, key=key),
    "ABC": lambda: seqmem.ABC(2, 6, num_heads=3, key_size=5, num_slots=7, key=key),
    "RWKV7": lambda: seqmem.RWKV7(2, 6, num_heads=3, rank=5, key=key),
    "Mamba3": lambda: seqmem.Mamba3(2, 6, num_heads=3, key_size=5, key=key),
    "Mamba3 of rank 2": lambda: seqmem.Mamba3(
        2, 12, num_heads=4, key_size=5, num_groups=2, rank=2, num_angles=1, key=key
    ),
    "KDA with_learned_state": lambda: seqmem.with_learned_state(
        seqmem.KDA(2, 6, num_heads=3, key=key)
    ),
    "TTTLinear": lambda: seqmem.TTTLinear(3, 8, num_heads=2, mini_batch_size=3, key=key),
    "TTTMLP": lambda: seqmem.TTTMLP(3, 8, num_heads=2, mini_batch_size=3, key=key),
    "Titans": lambda: seqmem.Titans(2, 6, num_heads=2, inner_size=5, mini_batch_size=3, key=key),
    "Titans, chunks of one step": lambda: seqmem.Titans(
        2, 6, num_heads=2, num_layers=1, mini_batch_size=1, key=key
    ),
    "NTM": lambda: seqmem.NTM(
        2, 5, num_slots=7, slot_size=3, num_read_heads=2, num_write_heads=2, key=key
    ),
    "DNC": lambda: seqmem.DNC(
        2,
        5,
        num_slots=7,
        slot_size=3,
        num_read_heads=2,
        controller=seqmem.RNN(8, 5, key=key),
        key=key,
    ),
    "CausalConv": lambda: seqmem.CausalConv(2, 3, width=2, dilation=2, key=key),
    "DepthwiseConv": lambda: seqmem.DepthwiseConv(2, width=3, key=key),
    "SlidingWindowAttention": lambda: seqmem.SlidingWindowAttention(
        2, num_heads=1, window=3, key=key
    ),
    "SlidingWindowAttention with_learned_state": lambda: seqmem.with_learned_state(
        seqmem.SlidingWindowAttention(
            2, num_heads=2, window=5, num_key_value_heads=1, positions=seqmem.ALiBi(), key=key
        )
    ),
    "CausalAttention": lambda: seqmem.CausalAttention(
        2, num_heads=2, capacity=23, num_key_value_heads=1, head_size=6, norm_qk=True, key=key
    ),
    "CausalAttention, gated": lambda: seqmem.CausalAttention(
        2,
        num_heads=3,
        capacity=23,
        head_size=2,
        positions=seqmem.ALiBi(),
        gated=True,
        bias=True,
        output_bias=True,
        key=key,
    ),
    "MGU with_learned_state": lambda: seqmem.with_learned_state(seqmem.MGU(2, 5, key=key)),
    "ConvLSTM": lambda: seqmem.ConvLSTM((5, 2), 3, key=key),
    "ConvGRU": lambda: seqmem.ConvGRU((2, 3, 1), 5, key=key),
    "EchoState": lambda: seqmem.EchoState(2, 5, sparsity=0.3, leak=0.7, bias_scale=0.5, key=key),
    "tcn": lambda: seqmem.blocks.tcn(2, 3, num_levels=2, width=2, key=key),
    "gated_delta_net": lambda: seqmem.blocks.gated_delta_net_block(
        2, 30, num_heads=6, num_key_heads=3, key_size=3, width=2, key=key
    ),
    "mamba": lambda: seqmem.blocks.mamba_block(2, 6, state_size=5, rank=3, width=2, key=key),
    "falcon_mamba": lambda: seqmem.blocks.falcon_mamba_block(
        2, 6, state_size=5, rank=3, width=2, key=key
    ),
    "mamba2": lambda: seqmem.blocks.mamba2_block(
        2, 12, num_heads=6, key_size=5, num_groups=3, width=2, key=key
    ),
    "mamba3": lambda: seqmem.blocks.mamba3_block(2, 6, num_heads=3, key_size=5, rank=2, key=key),
    "gsa": lambda: seqmem.blocks.gsa_block(2, 6, num_heads=3, key_size=5, num_slots=7, key=key),
    "gla": lambda: seqmem.blocks.gla_block(2, 6, num_heads=3, key_size=5, rank=7, key=key),
    "mlstm": lambda: seqmem.blocks.xlstm_block(2, 6, num_heads=3, key_size=5, key=key),
    "mesa_net": lambda: seqmem.blocks.mesa_net_block(
        2, 6, num_heads=3, key_size=5, width=2, solver=seqmem.ConjugateGradients(5), key=key
    ),
    "delta_net": lambda: seqmem.blocks.delta_net_block(
        2, 6, num_heads=3, key_size=5, width=2, key=key
    ),
    "kda": lambda: seqmem.blocks.kda_block(2, 6, num_heads=3, key_size=5, width=2, key=key),
    "rwkv7_feed_forward": lambda: seqmem.blocks.rwkv7_feed_forward_block(2, 5, key=key),
    "rwkv7": lambda: seqmem.blocks.rwkv7_block(6, num_heads=3, rank=5, key=key),
    "gated_delta_net_2": lambda: seqmem.blocks.gated_delta_net_2_block(
        2, 30, num_heads=6, num_key_heads=3, key_size=3, width=2, key=key
    ),
    "comba": lambda: seqmem.blocks.comba_block(2, 6, num_heads=3, key_size=5, width=2, key=key),
    "rwkv6": lambda: seqmem.blocks.rwkv6_block(
        2, 6, num_heads=3, key_size=5, mix_rank=3, rank=7, key=key
    ),
    "preconditioned_gated_delta_net": lambda: seqmem.blocks.preconditioned_gated_delta_net_block(
        2, 6, num_heads=3, key_size=5, width=2, key=key
    ),
    "preconditioned_kda": lambda: seqmem.blocks.preconditioned_kda_block(
        2, 6, num_heads=3, key_size=5, width=2, key=key
    ),
    "lightning_attention": lambda: seqmem.blocks.lightning_attention_block(
        2, 6, num_heads=3, key=key
    ),
    "griffin": lambda: seqmem.blocks.griffin_block(2, 6, num_heads=3, width=2, key=key),
    "Stack": lambda: seqmem.layers.Stack([seqmem.RNN(2, 5, key=key), seqmem.MGU(5, 3, key=key)]),
    "Residual": lambda: seqmem.layers.Residual(
        seqmem.layers.Stack(
            [
                seqmem.layers.RMSNorm(2),
                seqmem.GRU(2, 5, key=key),
                seqmem.layers.Map(eqx.nn.Linear(5, 2, key=key)),
            ]
        )
    ),
}


def shapes_of(name: str) -> seqmem.AbstractCell:
    """A cell of the list with shapes in place of its parameters, which take long to draw."""
    return eqx.filter_eval_shape(CELLS[name])


# One of each family, and of each kind of state: trees, complex numbers, those of a stack, learned
# ones. With them a test is quick; with the rest of the list it is slow.
KINDS = {
    *("RNN", "LSTM", "GRU", "ResetBeforeGRU", "IndRNN", "MinGRU", "LRU", "S6"),
    *("DeltaRule", "DepthwiseConv"),
    *("MGU with_learned_state", "Stack"),
}

# Small cells that share all but their equations with others. Their laws, their papers and the
# numbers of kernels are tested; `JANET`, `MUT3`, `LeakyRNN` and `ExpRNN` stand for them where a
# test is about a family.
SMALL = {
    *("ATR", "BRC", "CFN", "FastGRNN", "FastRNN", "LiGRU", "MinimalRNN", "MogrifierLSTM"),
    *("MultiplicativeLSTM", "MUT1", "MUT2", "NBRC", "RAN", "RHN", "SCRN", "STAR", "UGRNN"),
    "ResetAfterMGU",
    *("AntisymmetricRNN", "GatedAntisymmetricRNN", "LipschitzRNN", "NNRNN"),
    *("CTRNN", "PLRNN", "ALRNN"),
}
LARGE = [name for name in CELLS if name not in SMALL]
