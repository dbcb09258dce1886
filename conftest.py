"""Fixtures of all tests: an XLA without a known fault, strict dtypes, float64 on request."""

import importlib.metadata
import os
import pathlib
from collections.abc import Iterator

import pytest

# Up to jaxlib 0.11.0 XLA:CPU compiles some float64 loops wrongly (see laws/test_xla_fault.py). XLA
# reads its flags once, so they are set before jax is imported.
JAXLIB = tuple(int(part) for part in importlib.metadata.version("jaxlib").split(".")[:3])
flags = [os.environ.get("XLA_FLAGS", "")]
flags += ["--xla_cpu_parallel_codegen_split_count=1"]  # small programs compile faster in one part
if JAXLIB < (0, 11, 1):
    flags += ["--xla_cpu_use_fusion_emitters=false"]
os.environ["XLA_FLAGS"] = " ".join(flags)

# Programs of examples and of processes that tests start are compiled quickly too.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "true")

# Programs are traced faster if an operation does not record all functions that called it.
os.environ.setdefault("JAX_INCLUDE_FULL_TRACEBACKS_IN_LOCATIONS", "false")

import jax  # noqa: E402

jax.config.update("jax_numpy_dtype_promotion", "strict")

collect_ignore = ["tests/reference"]  # scripts that import other libraries


# Examples in docstrings, which cannot be marked.
OPTIMISED_EXAMPLES = {"seqmem.gradients._memory.memory_report"}
MEMORY_MAPS = pathlib.Path("/proc/self/maps")
MANY_MAPS = 45_000  # Linux allows a process 65,530 by default


@pytest.fixture(autouse=True)
def _float64_is_off_after_a_test() -> Iterator[None]:
    """The tests of a process share the configuration of JAX."""
    yield
    assert not jax.config.jax_enable_x64, "the test left float64 on"


@pytest.fixture(autouse=True)
def _compile_without_optimisation(request: pytest.FixtureRequest) -> None:
    """Programs are compiled without optimisation, which halves the time of the suite. Tests that
    judge a compiled program, or run long in it, are marked `optimised`.
    """
    optimised = "optimised" in request.keywords or request.node.name in OPTIMISED_EXAMPLES
    jax.config.update("jax_disable_most_optimizations", not optimised)


def _free_programs() -> None:
    if not MEMORY_MAPS.exists() or MEMORY_MAPS.read_bytes().count(b"\n") > MANY_MAPS:
        jax.clear_caches()


@pytest.fixture(autouse=True, scope="module")
def _free_programs_of_module() -> Iterator[None]:
    """Compiled programs are shared by all test files, until they take too many memory mappings."""
    yield
    _free_programs()


@pytest.fixture(autouse=True)
def _free_programs_of_slow_test(request: pytest.FixtureRequest) -> Iterator[None]:
    """The same after a slow test. Past the limit of Linux the compiler aborts the process."""
    yield
    if "slow" in request.keywords:
        _free_programs()


@pytest.fixture
def free_programs() -> Iterator[None]:
    """The same after one test, for tests with many programs."""
    yield
    _free_programs()


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
