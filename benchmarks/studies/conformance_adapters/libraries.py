"""The libraries by their names, with what they promise of sequences."""

import functools
import importlib

from .entry import Entry, Library

Unpromised = dict[str, dict[str, str]]


def _built(module: str, function: str = "entries") -> list[Entry]:
    adapter = importlib.import_module(f"{__package__}.{module}")
    return getattr(adapter, function)()


def _library(
    packages: str,
    module: str,
    promises: str,
    unpromised: Unpromised | None = None,
    function: str = "entries",
) -> Library:
    build = functools.partial(_built, module, function)
    return Library(tuple(packages.split()), build, promises, unpromised or {})


OF_CHUNKS = {
    "segments": "a gradient that is 0 changes its sign with the values of a sequence before",
    "NaN across segments": "segments are separated by a product with 0, which keeps NaN",
    "strong decay": "no exponential overflows; nothing is said of the digits of sums of decays",
}
OF_TESTS = {"strong decay": "nothing is said of strong decays in the forms for tests"}
OF_ZEROS = {"one step": "a gradient that is 0 comes out as its rounding, 10⁻⁷"}
OF_MLSTM = {"strong decay": "nothing is said of strong decays in the native forms"}

LIBRARIES = {
    "jla": _library(
        "jax-linear-attention",
        "jla_kernels",
        "any time; initial and final states in float32; `segment_ids`, in the token-by-token forms "
        "also `cu_seqlens`; no exponential overflows for any gate",
        {"chunked": OF_CHUNKS},
    ),
    "tokamax": _library(
        "tokamax",
        "tokamax_kernels",
        "experimental; initial and final states; `segment_ids`; whole chunks of 64 and log-decays "
        "above −5 in `xla_chunked`",
    ),
    "mlstm_jax": _library(
        "mlstm_kernels",
        "mlstm_forms",
        "initial and final states (not in the parallel forms); whole chunks in the chunkwise form",
        {"": OF_MLSTM, "from zeros": OF_ZEROS},
        "jax_entries",
    ),
    "mlstm_torch": _library(
        "mlstm_kernels torch",
        "mlstm_forms",
        "initial and final states (not in the parallel forms); whole chunks in the chunkwise forms",
        {"": OF_MLSTM},
        "torch_entries",
    ),
    "fla": _library(
        "flash-linear-attention fla-core torch",
        "fla_kernels",
        "references for its tests: states where there is an argument, whole chunks where it asks "
        "for them",
        {"": OF_TESTS},
    ),
    "memax": _library(
        "memax",
        "memax_layers",
        "initial and final states; start flags, at which sequences do not interfere",
    ),
    "flax": _library(
        "flax",
        "flax_rnn",
        "initial and final states; in linen `seq_lengths`, beyond which elements are ignored",
        {"nnx": {"padding": "the docstrings of nnx say nothing of `seq_lengths`"}},
    ),
    "haiku": _library(
        "dm-haiku",
        "haiku_rnn",
        "initial and final states; resets of single sequences of a batch by `ResetCore`",
    ),
    "equinox": _library(
        "equinox", "equinox_cells", "initial and final states, by the loop around it"
    ),
    "seqmem": _library(
        "seqmem",
        "seqmem_cells",
        "every law; lengths for cells, resets for cells and rules",
    ),
}
