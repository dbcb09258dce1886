"""The kernels of a diagonal recurrence are lowered for a TPU and for an H200; their layouts fit."""

import importlib
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from tests.helpers.linear_scan import CELLS, HAS_HOPPER


def lowered(platform, name, time, size, **options):
    """The gradient of an unroll by the kernel, lowered for a platform."""
    with jax.enable_x64(False):
        cell = CELLS[name](size)
    xs = jax.ShapeDtypeStruct((time, 4, 2), jnp.float32)

    def loss(cell, xs):
        ys = seqmem.unroll(cell, None, xs, method=seqmem.Parallel(kernel=True), **options)[1]
        return jnp.sum(ys**2)

    with seqmem.target_platform(platform):
        traced = jax.jit(jax.grad(loss)).trace(cell, xs)
    lowering = {"tpu": "tpu", "gpu": "cuda"}[platform]
    return traced.lower(lowering_platforms=(lowering,)).as_text()


@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.parametrize(
    ("platform", "call"),
    [("tpu", "@tpu_custom_call"), pytest.param("gpu", "@mosaic_gpu_v2", marks=HAS_HOPPER)],
)
def test_gradient_is_a_kernel_each_way_or_two_where_a_step_is_small(platform, call, x64):
    resets = np.zeros((256, 4), bool)
    with jax.enable_x64(x64):
        whole = lowered(platform, "MinGRU", 256, 4096)
        split = lowered(platform, "LRU", 256, 128, resets=resets, reverse=True)
    assert (whole.count(call), split.count(call)) == (2, 4)


@pytest.mark.parametrize("module", ["tpu", pytest.param("hopper", marks=HAS_HOPPER)])
@pytest.mark.parametrize("num_planes", [3, 7])
def test_layouts_cover_all_steps_within_the_fast_memory(module, num_planes):
    module = importlib.import_module(f"seqmem._methods.linear_scan.{module}")
    kernel = module.TPUKernel() if hasattr(module, "TPUKernel") else module.HopperKernel()
    times, rests = (
        (1, 2, 63, 64, 130, 4097),
        ((), (0, 5), (1,), (3, 5), (8, 1536), (16, 256), (9, 384)),
    )
    for time, rest, chunk_size in itertools.product(times, rests, (None, 1, 3, 100, 5000)):
        layout = kernel.layout_of((time, *rest), num_planes, chunk_size)
        assert (layout.chunks - 1) * layout.chunk < time <= layout.chunks * layout.chunk
        assert layout.columns >= math.prod(rest)
        assert layout.step[-1] % layout.block[-1] == 0
        entries = layout.tile * math.prod(layout.block) * num_planes
        if module.__name__.endswith("tpu"):
            assert layout.block[0] % 8 == layout.block[1] % 128 == 0
            assert 2 * 4 * entries <= 2**23
            assert -layout.chunks * layout.step[0] % layout.block[0] < 8  # rows of padding
        else:
            assert min(4, layout.tiles) * 4 * entries <= 112 * 2**10
        if chunk_size is None:
            fills = math.prod(rest) >= (1024 if module.__name__.endswith("tpu") else 66 * 128)
            assert not (fills and layout.chunks > 1)
            assert fills or layout.chunks > 1 or time < 128
