"""What every test starts from: an XLA that is right, strict dtypes, float64 on request."""

import importlib.metadata
import os
import pathlib
from collections.abc import Iterator

import pytest

# Up to jaxlib 0.11.0 XLA:CPU compiles some float64 loops wrongly (test_xla_fault.py watches it). It
# reads its flags once, so this comes before jax is imported.
JAXLIB = tuple(int(part) for part in importlib.metadata.version("jaxlib").split(".")[:3])
if JAXLIB < (0, 11, 1):
    flags = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_use_fusion_emitters=false"

import jax  # noqa: E402

jax.config.update("jax_numpy_dtype_promotion", "strict")

collect_ignore = ["reference"]  # scripts that want other people's code


@pytest.fixture(autouse=True)
def _in_a_hurry(request: pytest.FixtureRequest) -> None:
    """Programs are compiled without optimisation, which halves the suite's time: it is about
    numbers. What judges or runs long in a compiled program is marked `optimised`.
    """
    jax.config.update("jax_disable_most_optimizations", "optimised" not in request.keywords)


@pytest.fixture(autouse=True, scope="module")
def _compiled_anew() -> Iterator[None]:
    """Programs of a file are let go with it: thousands of them take gigabytes, and more mappings of
    memory than a process may have.
    """
    yield
    jax.clear_caches()


@pytest.fixture
def float64() -> Iterator[None]:
    """The test runs in float64."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="session")
def data() -> pathlib.Path:
    """The folder of real data sets that SEQMEM_DATA names."""
    folder = os.environ.get("SEQMEM_DATA")
    if not folder:
        pytest.skip("SEQMEM_DATA names no folder of data sets")
    return pathlib.Path(folder)
