"""The platform that a program is traced for: who decides it, and what is chosen by it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem._core.platform import current_platform
from seqmem._methods.default import default_method
from tests.helpers.cells import CELLS as LISTED
from tests.helpers.laws import check_laws_of_time
from tests.helpers.refusals import assert_refused
from tests.helpers.slow import slow_but
from tests.helpers.unrolling import close, normal

KEY = jax.random.key(0)
PLATFORMS = {"cpu": "cpu", "gpu": "gpu", "cuda": "gpu", "rocm": "gpu", "tpu": "tpu"}
TIME, BATCH, INPUT, HIDDEN = 19, 3, 2, 5
CELLS = {
    "LSTM": lambda: seqmem.LSTM(INPUT, HIDDEN, key=KEY),
    "PeepholeLSTM": lambda: seqmem.PeepholeLSTM(INPUT, HIDDEN, key=KEY),
    "GRU": lambda: seqmem.GRU(INPUT, HIDDEN, key=KEY),
    "MGU": lambda: seqmem.MGU(INPUT, HIDDEN, key=KEY),
    "MinGRU": lambda: seqmem.MinGRU(INPUT, HIDDEN, key=KEY),
    "LRU": lambda: seqmem.LRU(INPUT, HIDDEN, key=KEY),
}


@dataclasses.dataclass(frozen=True)
class Constant(seqmem.AbstractMethod):
    """A method whose outputs are all one number."""

    number: float

    def run(self, problem):
        ys = jnp.full((problem.time, *problem.batch, HIDDEN), self.number)
        return seqmem.Solution(problem.state, ys)


class Numbered(seqmem.GRU):
    """A cell whose default method shows which platform it was chosen for."""

    family = seqmem.Family(
        "numbered",
        default=seqmem.PerPlatform(cpu=Constant(1.0), gpu=Constant(2.0), tpu=Constant(3.0)),
    )


@pytest.mark.parametrize(("name", "platform"), PLATFORMS.items())
def test_target_platform_is_the_platform_inside_of_the_context(name, platform):
    with seqmem.target_platform(name):
        assert current_platform() == platform
        with seqmem.target_platform("cpu"):
            assert current_platform() == "cpu"
        assert current_platform() == platform


def test_platform_is_that_of_the_default_device_or_else_of_the_default_backend(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    assert current_platform() == "tpu"
    for device in (jax.devices("cpu")[0], "cpu"):
        with jax.default_device(device):
            assert current_platform() == "cpu"
    with jax.default_device("gpu"):
        assert current_platform() == "gpu"
        with seqmem.target_platform("tpu"):
            assert current_platform() == "tpu"
    monkeypatch.setattr(jax, "default_backend", lambda: "another accelerator")
    assert current_platform() == "gpu"


@pytest.mark.parametrize("name", ["CUDA", "", None, 3, ("gpu",)])
def test_unknown_platform_is_refused(name):
    message = assert_refused("target_platform got", seqmem.target_platform, name)
    assert "'cuda'" in message


def test_function_under_jit_is_traced_once_for_each_platform():
    traced = []

    @jax.jit
    def run(x):
        traced.append(current_platform())
        return x + 1

    for name in ("cpu", "cuda", "gpu", "tpu", "cpu", "cuda"):
        with seqmem.target_platform(name):
            run(jnp.ones(2))
    assert traced == ["cpu", "gpu", "tpu"]


@pytest.mark.parametrize(
    "wrap",
    [
        lambda cell: cell,
        seqmem.with_learned_state,
        lambda cell: seqmem.layers.Stack([seqmem.layers.RMSNorm(HIDDEN), cell]),
        lambda cell: seqmem.layers.Stack([seqmem.layers.Residual(cell)]),
        lambda cell: seqmem.layers.Bidirectional(cell, cell),
    ],
    ids=["cell", "wrapped", "Stack", "Residual", "Bidirectional"],
)
@pytest.mark.parametrize("remat_every", [None, 4])
def test_default_method_is_the_one_of_the_platform_wherever_the_cell_stands(wrap, remat_every):
    layer, xs = wrap(Numbered(HIDDEN, HIDDEN, key=KEY)), jnp.zeros((8, BATCH, HIDDEN))
    for name, number in {"cpu": 1.0, "gpu": 2.0, "tpu": 3.0}.items():
        with seqmem.target_platform(name):
            _, ys = seqmem.unroll(layer, None, xs, remat_every=remat_every)
        np.testing.assert_array_equal(ys, number)


@pytest.mark.parametrize("platform", ["cpu", "gpu", "tpu"])
def test_default_method_of_each_family(platform):
    is_cpu = platform == "cpu"
    defaults = [
        (CELLS["LSTM"](), seqmem.Scan()),
        (CELLS["MGU"](), seqmem.Scan()),
        (CELLS["LRU"](), seqmem.Scan() if is_cpu else seqmem.Parallel()),
        (seqmem.DeltaRule(2, 6, num_heads=2, key=KEY), seqmem.Parallel()),
        (seqmem.DepthwiseConv(2, width=3, key=KEY), seqmem.Parallel()),
        (seqmem.layers.RMSNorm(2), seqmem.Parallel()),
    ]
    with seqmem.target_platform(platform):
        for cell, method in defaults:
            assert default_method(cell) == method, cell


@pytest.mark.parametrize("name", ["LSTM", "MGU"])
def test_tiles_of_cells_with_products(name):
    cell = CELLS[name]()
    rule = cell.family.vjp_rule or seqmem.PlainRule()
    cpu, gpu, tpu = (rule.tile_sizes(16, HIDDEN, name) for name in ("cpu", "gpu", "tpu"))
    assert (cpu.backward_unroll, cpu.separates_steps) == (1, False)
    assert gpu == seqmem.TileSizes(8, 8, 128, 8, separates_steps=True)
    assert tpu == gpu._replace(backward=32)
    backward = {batch: rule.tile_sizes(batch, HIDDEN, "gpu").backward for batch in (1, 32, 2**10)}
    assert backward == {1: 256, 32: 64, 2**10: 32}


def test_tiles_of_diagonal_cells():
    rule = CELLS["LRU"]().family.vjp_rule
    cpu, gpu, tpu = (rule.tile_sizes(16, 256, name) for name in ("cpu", "gpu", "tpu"))
    assert cpu == seqmem.TileSizes(64, 1, 64)
    assert gpu == tpu == seqmem.TileSizes(1024, 16, 1024, 16)


@pytest.mark.parametrize("platform", ["cpu", "gpu"])
def test_steps_with_a_product_are_separated_on_accelerators(platform):
    batch = 11  # no other array has the shape of the states

    def has_barrier(cell):
        def run(xs):
            return seqmem.unroll(cell, None, xs, method=seqmem.Scan())[0]

        with seqmem.target_platform(platform):
            text = jax.jit(run).lower(jnp.ones((8, batch, INPUT))).as_text()
        barriers = [line for line in text.splitlines() if "optimization_barrier" in line]
        return any(f"tensor<{batch}x{HIDDEN}xf32>" in line for line in barriers)

    assert has_barrier(CELLS["GRU"]()) == (platform == "gpu")
    assert not has_barrier(CELLS["MinGRU"]())


@pytest.mark.parametrize(
    ("name", "method"),
    slow_but(
        [("LRU", None)],
        [
            *((name, None) for name in CELLS),
            ("LSTM", seqmem.Scan(recompute=True, tile=11)),
            ("LRU", seqmem.Scan()),
        ],
    ),
    ids=str,
)
@pytest.mark.usefixtures("float64")
def test_schedules_of_accelerators_give_the_numbers_of_the_plain_scan(name, method):
    """Run on the CPU that traces them: several tiles, a remainder, padding, resets, reverse."""
    cell, xs = CELLS[name](), jnp.asarray(normal(TIME, BATCH, INPUT))
    flags = {
        "lengths": jnp.array([TIME, 0, TIME - 2]),
        "resets": jnp.asarray(np.random.default_rng(1).random((TIME, BATCH)) < 0.3),
    }
    state = jax.tree.map(lambda leaf: 0.3 + leaf, cell.init_state(BATCH))

    def loss(cell, state, xs, method):
        runs = [
            seqmem.unroll(cell, state, xs, reverse=reverse, method=method, **flags)
            for reverse in (False, True)
        ]
        return sum(jnp.sum(jnp.abs(jnp.sin(leaf)) ** 2) for leaf in jax.tree.leaves(runs))

    of = jax.jit(jax.value_and_grad(loss, (0, 1, 2)), static_argnums=3)
    want = of(cell, state, xs, seqmem.ReferenceScan())
    with seqmem.target_platform("gpu"):
        close(of(cell, state, xs, method), want)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["RNN", "GRU", "PeepholeLSTM", "ResetBeforeGRU", "S6"])
@pytest.mark.usefixtures("free_programs")
def test_laws_hold_for_scan_on_accelerators(name):
    """Every law for one gated and one diagonal cell."""
    with seqmem.target_platform("gpu"):
        if name in ("GRU", "S6"):
            report = seqmem.testing.check_cell(LISTED[name](), methods=[seqmem.Scan()])
            assert set(report.values()) == {"holds"}
        else:
            check_laws_of_time(LISTED[name](), [seqmem.Scan()])
