"""mlstm_kernels: the native forms of its mLSTM in JAX and in PyTorch."""

import functools
import sys
import types
from collections.abc import Callable
from typing import Any

from seqmem.testing import KernelOp

from .entry import Entry

CHUNK = 32
WHOLE_CHUNKS: dict[str, Any] = {"chunk_size": CHUNK, "any_length": False}
STATELESS: dict[str, Any] = {"initial_state": False, "final_state": False}


def jax_entries() -> list[Entry]:
    _import_jax_triton()
    from mlstm_kernels.jax.chunkwise import native as chunkwise
    from mlstm_kernels.jax.parallel import native_stablef as parallel
    from mlstm_kernels.jax.recurrent import native_sequence, native_sequence_scan

    scan = _stateful(native_sequence_scan.mlstm_recurrent_sequence__native_fw)
    loop = _stateful(native_sequence.mlstm_recurrent_sequence__native_fw)
    return [
        _entry("recurrent, native scan", scan),
        _entry("recurrent, native scan, from zeros", scan, initial_state=False),
        _entry("recurrent, native loop", loop),
        _entry(
            "chunkwise, native autograd",
            _stateful(chunkwise.mlstm_chunkwise__native_autograd, chunk_size=CHUNK),
            **WHOLE_CHUNKS,
        ),
        *(
            _entry(f"parallel, native_stablef {form}", _stateless(function), **STATELESS)
            for form, function in {
                "autograd": parallel.mlstm_parallel__native_stablef_autograd,
                "custbw": parallel.mlstm_parallel__native_stablef_custbw,
            }.items()
        ),
    ]


def torch_entries() -> list[Entry]:
    from mlstm_kernels.torch.chunkwise import native as chunkwise
    from mlstm_kernels.torch.parallel import native_stablef as parallel
    from mlstm_kernels.torch.recurrent import native_sequence

    from .torch_function import numpy_function

    loop = _stateful(native_sequence.mlstm_recurrent_sequence__native_fw, m_has_axis=True)
    return [
        _entry("recurrent, native loop", numpy_function(loop)),
        *(
            _entry(
                f"chunkwise, native {form}",
                numpy_function(_stateful(function, m_has_axis=True, chunk_size=CHUNK)),
                **WHOLE_CHUNKS,
            )
            for form, function in {
                "autograd": chunkwise.mlstm_chunkwise__native_autograd,
                "custbw": chunkwise.mlstm_chunkwise__native_custbw,
            }.items()
        ),
        *(
            _entry(
                f"parallel, native_stablef {form}",
                numpy_function(_stateless(function)),
                **STATELESS,
            )
            for form, function in {
                "autograd": parallel.mlstm_parallel__native_stablef_autograd,
                "custbw": parallel.mlstm_parallel__native_stablef_custbw,
            }.items()
        ),
    ]


def _entry(name: str, function: Any, **fields: Any) -> Entry:
    return Entry(name, KernelOp(function, "mlstm", layout="BHTD", **fields))


def _stateless(run: Callable[..., Any]) -> Callable[..., Any]:
    """Without the ε in the divisor, which the equations do not have."""
    return functools.partial(run, eps=0.0)


def _stateful(
    run: Callable[..., Any], *, m_has_axis: bool = False, **options: Any
) -> Callable[..., Any]:
    """The same with states: `m_has_axis` says whether an initial m is [batch, heads, 1]."""

    def kernel(*, initial_state: Any = None, **inputs: Any) -> Any:
        given = {}
        if initial_state is not None:
            C, n, m = initial_state
            m = m[..., None] if m_has_axis else m
            given = {"c_initial": C, "n_initial": n, "m_initial": m}
        o, (C, n, m) = run(**inputs, **given, **options, return_last_states=True, eps=0.0)
        return o, (C, n, m.reshape(m.shape[:2]))

    return kernel


def _import_jax_triton() -> None:
    """The JAX package imports jax_triton, which refuses a CPU; the native forms do not call it."""
    try:
        import jax_triton  # noqa: F401
    except ImportError:
        sys.modules["jax_triton"] = types.ModuleType("jax_triton")
