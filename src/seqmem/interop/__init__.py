"""Weights from and to other libraries, which need not be installed, and exported programs.

`from_x` makes the layer that computes what a module of library x computes, from the arrays of its
parameters by its names for them; `to_x` is the inverse. x is one of

    equinox, flax, haiku, keras, torch, nir, onnx          libraries of layers
    linoss, s5, mamba, mamba2, mamba3, minimax, qwen3_next, xlstm
                                                           programs of papers
    fla_comba, fla_delta_net, fla_gated_delta_net, fla_gated_delta_net_2, fla_gla, fla_gsa, fla_kda,
    fla_mesa_net, fla_preconditioned_gated_delta_net, fla_preconditioned_kda, fla_rwkv6, fla_rwkv7
                                                           layers of flash-linear-attention

`read_keras` reads a file of Keras, `register_for_export` lets `jax.export` store programs that take
a cell. All agree on this:

    names        those of one module, prefixes such as "model.layers.0.attn." cut off, in nested
                 dicts where the library has them; a name that is missing or unknown raises a
                 ValueError, and so does a shape that does not fit
    arrays       of NumPy, of JAX, or PyTorch tensors on the CPU, so a `state_dict()` will do
    dtype        the widest among the arrays; float64 becomes float32 without JAX's x64 mode
    gradients    `from_x` can be differentiated: a gradient with respect to its arrays has x's names
    the way back `to_x` returns NumPy arrays; for `module.load_state_dict`, `torch.from_numpy` makes
                 tensors of them; `to_equinox` returns a module

    >>> import jax, seqmem
    >>> from seqmem.interop import from_xlstm, to_xlstm
    >>> sizes = {"num_heads": 2, "key_size": 3}
    >>> block = seqmem.blocks.xlstm_block(10, 14, **sizes, key=jax.random.key(0))
    >>> from_xlstm(to_xlstm(block)).init_state()[0].matrix.shape
    (2, 8, 3)

`seqmem.interop.nnx` runs a cell as a module of Flax, and needs it.
"""

from ._keras_file import read_keras as read_keras
from .equinox import from_equinox as from_equinox, to_equinox as to_equinox
from .export import register_for_export as register_for_export
from .fla_comba import from_fla_comba as from_fla_comba, to_fla_comba as to_fla_comba
from .fla_delta_net import (
    from_fla_delta_net as from_fla_delta_net,
    to_fla_delta_net as to_fla_delta_net,
)
from .fla_gated_delta_net import (
    from_fla_gated_delta_net as from_fla_gated_delta_net,
    to_fla_gated_delta_net as to_fla_gated_delta_net,
)
from .fla_gated_delta_net_2 import (
    from_fla_gated_delta_net_2 as from_fla_gated_delta_net_2,
    to_fla_gated_delta_net_2 as to_fla_gated_delta_net_2,
)
from .fla_gla import from_fla_gla as from_fla_gla, to_fla_gla as to_fla_gla
from .fla_gsa import from_fla_gsa as from_fla_gsa, to_fla_gsa as to_fla_gsa
from .fla_kda import from_fla_kda as from_fla_kda, to_fla_kda as to_fla_kda
from .fla_mesa_net import from_fla_mesa_net as from_fla_mesa_net, to_fla_mesa_net as to_fla_mesa_net
from .fla_preconditioned import (
    from_fla_preconditioned_gated_delta_net as from_fla_preconditioned_gated_delta_net,
    from_fla_preconditioned_kda as from_fla_preconditioned_kda,
    to_fla_preconditioned_gated_delta_net as to_fla_preconditioned_gated_delta_net,
    to_fla_preconditioned_kda as to_fla_preconditioned_kda,
)
from .fla_rwkv6 import from_fla_rwkv6 as from_fla_rwkv6, to_fla_rwkv6 as to_fla_rwkv6
from .fla_rwkv7 import from_fla_rwkv7 as from_fla_rwkv7, to_fla_rwkv7 as to_fla_rwkv7
from .flax import from_flax as from_flax, to_flax as to_flax
from .haiku import from_haiku as from_haiku, to_haiku as to_haiku
from .keras import from_keras as from_keras, to_keras as to_keras
from .linoss import from_linoss as from_linoss, to_linoss as to_linoss
from .mamba import from_mamba as from_mamba, to_mamba as to_mamba
from .mamba2 import from_mamba2 as from_mamba2, to_mamba2 as to_mamba2
from .mamba3 import from_mamba3 as from_mamba3, to_mamba3 as to_mamba3
from .minimax import from_minimax as from_minimax, to_minimax as to_minimax
from .nir import from_nir as from_nir, to_nir as to_nir
from .onnx import from_onnx as from_onnx, to_onnx as to_onnx
from .pytorch import from_torch as from_torch, to_torch as to_torch
from .qwen3_next import from_qwen3_next as from_qwen3_next, to_qwen3_next as to_qwen3_next
from .s5 import from_s5 as from_s5, to_s5 as to_s5
from .xlstm import from_xlstm as from_xlstm, to_xlstm as to_xlstm
