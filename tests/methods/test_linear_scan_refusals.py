"""What `Parallel(kernel=...)` refuses of a diagonal recurrence."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AxisType, PartitionSpec as P

import seqmem
from seqmem._core.problem import Problem
from seqmem._methods.linear_scan import choice
from tests.helpers.linear_scan import CELLS, INTERPRETED, KEY
from tests.helpers.refusals import assert_refused


def unroll_by_kernel(cell, platform="tpu", kernel=True, **options):
    (width,) = cell.input_shape
    with seqmem.target_platform(platform):
        return seqmem.unroll(
            cell, None, jnp.ones((5, 2, width)), method=seqmem.Parallel(kernel=kernel), **options
        )


def test_kernel_on_a_cpu_is_refused():
    message = assert_refused(
        "Parallel(kernel=True) cannot run MinGRU: there is no kernel for a CPU",
        unroll_by_kernel,
        CELLS["MinGRU"](5),
        "cpu",
    )
    assert "seqmem.Parallel()" in message
    assert "seqmem.Scan()" in message


@pytest.mark.parametrize(
    "cell",
    [
        seqmem.DepthwiseConv(2, width=3, key=KEY),
        seqmem.layers.RMSNorm(2),
    ],
    ids=lambda cell: cell.family.name,
)
@pytest.mark.parametrize("kernel", [True, "interpret"])
def test_family_without_a_kernel_is_refused(cell, kernel):
    message = assert_refused("Parallel(kernel=", unroll_by_kernel, cell, "tpu", kernel)
    assert cell.family.name in message
    assert "seqmem.Parallel()" in message


def test_kernel_of_a_gpu_is_refused_with_another_version_of_jax(monkeypatch):
    monkeypatch.setattr(choice, "HOPPER_VERSIONS", ("0.0.1", "0.0.2"))
    message = assert_refused(
        "Parallel(kernel=True) cannot run LRU", unroll_by_kernel, CELLS["LRU"](5), "gpu"
    )
    assert f"0.0.1, 0.0.2, and this is jax {jax.__version__}" in message


@pytest.mark.usefixtures("float64")
def test_kernel_is_refused_for_states_of_float64_unless_it_is_interpreted():
    cell = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), CELLS["LRU"](5))
    assert_refused(
        "Parallel(kernel=True) cannot run LRU: its state is complex128", unroll_by_kernel, cell
    )
    unroll_by_kernel(cell, kernel="interpret")


def test_kernel_is_refused_where_the_batch_is_symbolic_or_spread_over_devices():
    cell = CELLS["LRU"](5)

    def run(xs):
        return seqmem.unroll(cell, None, xs, method=INTERPRETED)[1]

    xs = jnp.ones((7, 2, 2))
    for shape in ("(7, b, 2)", "(t, 2, 2)"):
        specs = jax.export.symbolic_args_specs(xs, shape)
        message = assert_refused("Parallel(", jax.export.export(jax.jit(run)), specs)
        assert "is symbolic" in message
    init = cell.init_state()
    state = jnp.broadcast_to(init, (2, *init.shape))
    problem = Problem(cell, init, state, xs, batch_axes=1, shares=2)
    assert "over devices" in assert_refused("Parallel(", INTERPRETED.run, problem)


def test_kernel_inside_of_shard_map_is_lowered_for_a_tpu_and_refused_elsewhere():
    cell, mesh = CELLS["LRU"](5), jax.make_mesh((1,), ("data",), axis_types=(AxisType.Auto,))

    def lower(platform, kernel):
        def loss(cell, xs):
            method = seqmem.Parallel(kernel=kernel)
            return jax.lax.psum(jnp.sum(seqmem.unroll(cell, None, xs, method=method)[1]), "data")

        specs = P(), P(None, "data")
        run = jax.shard_map(jax.grad(loss), mesh=mesh, in_specs=specs, out_specs=P())
        with seqmem.target_platform(platform):
            return jax.jit(run).trace(cell, jnp.ones((7, 2, 2))).lower(lowering_platforms=("tpu",))

    assert lower("tpu", True).as_text().count("@tpu_custom_call") == 2
    assert "shard_map" in assert_refused("Parallel(", lower, "tpu", "interpret")


@pytest.mark.parametrize("kernel", ["tpu", None, 2, "True"])
def test_another_kernel_is_refused(kernel):
    assert_refused(f"Parallel got kernel={kernel!r}", seqmem.Parallel, kernel=kernel)
