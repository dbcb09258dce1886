"""All layouts, by the `model_type` of a `config.json`."""

from .delta_net import DELTA_NET
from .gated_deltanet import GATED_DELTANET
from .gla import GLA
from .kda import KDA
from .layout import Layout
from .mamba import FALCON_MAMBA, MAMBA
from .mamba2 import MAMBA2
from .qwen3_next import QWEN3_NEXT
from .recurrent_gemma import RECURRENT_GEMMA
from .rwkv7 import RWKV7
from .xlstm import XLSTM

LAYOUTS: dict[str, Layout] = {
    layout.model_type: layout
    for layout in (
        DELTA_NET,  # one layout a line
        FALCON_MAMBA,
        GATED_DELTANET,
        GLA,
        KDA,
        MAMBA,
        MAMBA2,
        QWEN3_NEXT,
        RECURRENT_GEMMA,
        RWKV7,
        XLSTM,
    )
}
