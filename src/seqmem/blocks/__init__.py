"""Blocks: the networks in which papers run their cells, as stacks of cells.

Each is a function `name(input_size, hidden_size, ..., key=key)` that returns a `layers.Stack`:

    delta rules        delta_net_block, gated_delta_net_block, gated_delta_net_2_block, comba_block,
                       kda_block, preconditioned_gated_delta_net_block, preconditioned_kda_block
    state spaces       mamba_block, falcon_mamba_block, mamba2_block, mamba3_block, griffin_block
    linear attention   gla_block, gsa_block, lightning_attention_block, mesa_net_block, xlstm_block
    RWKV               rwkv6_block, rwkv7_block, rwkv7_feed_forward_block, rwkv7_body, RWKV7Ranks
    convolutions       tcn, with_channel_dropout
"""

from .comba import comba_block as comba_block
from .delta_net import delta_net_block as delta_net_block
from .gated_delta_net import gated_delta_net_block as gated_delta_net_block
from .gated_delta_net_2 import gated_delta_net_2_block as gated_delta_net_2_block
from .gla import gla_block as gla_block
from .griffin import griffin_block as griffin_block
from .gsa import gsa_block as gsa_block
from .kda import kda_block as kda_block
from .lightning_attention import lightning_attention_block as lightning_attention_block
from .mamba import falcon_mamba_block as falcon_mamba_block, mamba_block as mamba_block
from .mamba2 import mamba2_block as mamba2_block
from .mamba3 import mamba3_block as mamba3_block
from .mesa_net import mesa_net_block as mesa_net_block
from .preconditioned_gated_delta_net import (
    preconditioned_gated_delta_net_block as preconditioned_gated_delta_net_block,
)
from .preconditioned_kda import preconditioned_kda_block as preconditioned_kda_block
from .rwkv6 import rwkv6_block as rwkv6_block
from .rwkv7 import rwkv7_block as rwkv7_block
from .rwkv7_body import rwkv7_body as rwkv7_body
from .rwkv7_cores import RWKV7Ranks as RWKV7Ranks
from .rwkv7_feed_forward import rwkv7_feed_forward_block as rwkv7_feed_forward_block
from .tcn import tcn as tcn, with_channel_dropout as with_channel_dropout
from .xlstm import xlstm_block as xlstm_block
