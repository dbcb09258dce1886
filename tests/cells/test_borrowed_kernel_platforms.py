"""Platforms and versions that the kernels of jax-linear-attention are not for are refused."""

import importlib.metadata

import jax
import jax.numpy as jnp
import pytest

import seqmem
from seqmem._cells.fast_weights import borrowed_kernels
from tests.helpers.cells import CELLS
from tests.helpers.refusals import assert_refused

TIME, BATCH, INPUT = 7, 3, 2


@pytest.mark.parametrize("platform", ["cpu", "tpu"])
def test_other_platforms_are_refused(platform):
    with seqmem.target_platform(platform):
        clause = borrowed_kernels.refusal_of_platform()
    assert clause == f"the kernels are for a GPU, and the program is traced for a {platform}"


@pytest.mark.parametrize(
    ("kernel", "platform", "clause"),
    [
        (True, "tpu", "the kernels are for a GPU, and the program is traced for a tpu"),
        ("interpret", "gpu", "kernel='interpret' is for diagonal cells"),
    ],
)
def test_parallel_says_what_a_fast_weight_cell_has_no_kernel_for(kernel, platform, clause):
    xs = jnp.ones((TIME, BATCH, INPUT))
    with seqmem.target_platform(platform):
        assert_refused(
            f"Parallel(kernel=True) cannot run KDA: {clause}",
            *(seqmem.unroll, CELLS["KDA"](), None, xs),
            method=seqmem.Parallel(kernel=kernel),
        )


@pytest.mark.parametrize(
    ("version", "jax_version", "clause"),
    [
        (None, "0.11.2", "jax-linear-attention 0.1.0 is not installed"),
        ("0.1.1", "0.11.2", "the kernels were tested with jax-linear-attention 0.1.0 and JAX"),
        ("0.1.0", "0.12.0", "the kernels were tested with jax-linear-attention 0.1.0 and JAX"),
        ("0.1.0", "0.11.2", None),
    ],
)
def test_other_versions_are_refused(monkeypatch, version, jax_version, clause):
    def version_of(package):
        assert package == "jax-linear-attention"
        if version is None:
            raise importlib.metadata.PackageNotFoundError
        return version

    monkeypatch.setattr(importlib.metadata, "version", version_of)
    monkeypatch.setattr(jax, "__version__", jax_version)
    with seqmem.target_platform("gpu"):
        got = borrowed_kernels.refusal_of_platform()
    assert got is None if clause is None else got.startswith(clause)
