"""All layouts, by the `model_type` of a `config.json`."""

from .layout import Layout
from .mamba import FALCON_MAMBA, MAMBA
from .mamba2 import MAMBA2
from .qwen3_next import QWEN3_NEXT
from .recurrent_gemma import RECURRENT_GEMMA
from .xlstm import XLSTM

LAYOUTS: dict[str, Layout] = {
    layout.model_type: layout
    for layout in (
        FALCON_MAMBA,  # one layout a line
        MAMBA,
        MAMBA2,
        QWEN3_NEXT,
        RECURRENT_GEMMA,
        XLSTM,
    )
}
