"""Rematerialisation with kept states on the device, and in the memory of the host."""

import collections
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem import layers
from tests.helpers.refusals import assert_refused
from tests.helpers.slow import slow_but
from tests.helpers.unrolling import close, normal

TIME, BATCH, INPUT, HIDDEN = 17, 3, 2, 6
KEY = jax.random.key(0)
CELLS = {
    "LSTM": lambda: seqmem.LSTM(INPUT, HIDDEN, key=KEY),
    "LRU": lambda: seqmem.LRU(INPUT, HIDDEN, key=KEY),
    "GatedDeltaRule": lambda: seqmem.GatedDeltaRule(INPUT, HIDDEN, num_heads=2, key=KEY),
    "Bidirectional": lambda: layers.Bidirectional(
        seqmem.GRU(INPUT, HIDDEN, key=KEY), seqmem.MinGRU(INPUT, HIDDEN, key=KEY)
    ),
}
OFFLOADED = seqmem.Remat(5, offload=True)


def final_state_loss(method, cell, xs):
    return jnp.sum(seqmem.unroll(cell, None, xs, method=method)[0].h ** 2)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", slow_but({"LSTM"}, CELLS))
def test_offloaded_states_give_the_gradients_of_the_default_method(name):
    cell = seqmem.as_precision(CELLS[name](), jnp.dtype(jnp.float64))
    rng = np.random.default_rng(0)
    options = {"lengths": np.array([17, 0, 11]), "resets": rng.random((TIME, BATCH)) < 0.2}

    @functools.partial(jax.jit, static_argnums=2)
    def gradients(cell, xs, method):
        def loss(cell, xs):
            out = seqmem.unroll(cell, None, xs, method=method, **options)
            return sum(jnp.sum(jnp.sin(jnp.abs(leaf))) for leaf in jax.tree.leaves(out))

        return jax.grad(loss, (0, 1))(cell, xs)

    xs = normal(TIME, BATCH, INPUT)
    close(gradients(cell, xs, OFFLOADED), gradients(cell, xs, None))


@pytest.mark.parametrize("offload", [False, True])
@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_the_states_before_segments_alone_go_to_the_host_and_come_back(offload, platform):
    cell, xs = CELLS["LSTM"](), jax.ShapeDtypeStruct((TIME, BATCH, INPUT), jnp.float32)
    loss = functools.partial(final_state_loss, seqmem.Remat(5, offload=offload))
    with seqmem.target_platform(platform):
        traced = jax.jit(jax.grad(loss)).trace(cell, xs)
    program = traced.lower(lowering_platforms=(platform,)).as_text()
    moves = re.findall(r'_placement = "(\w+)".*-> tensor<(\w+)xf32>', program)
    state = f"{BATCH}x{HIDDEN}"
    # Both leaves of the state, in the loop over whole segments and in the shorter last one.
    expected = {("pinned_host", state): 4, ("device", state): 4} if offload else {}
    assert collections.Counter(moves) == expected


@pytest.mark.slow
@pytest.mark.optimised
@pytest.mark.usefixtures("float64")
def test_gradient_through_a_million_steps_is_that_of_scan():
    cell = seqmem.as_precision(seqmem.LSTM(1, 3, key=KEY), jnp.dtype(jnp.float64))
    cell = seqmem.with_gate(cell, "forget", b=9.0)  # remembers some thousands of steps
    xs = normal(1_000_000, 1, 1)

    def compiled(method):
        loss = functools.partial(final_state_loss, method)
        return jax.jit(jax.grad(loss)).lower(cell, xs).compile()

    kept, whole = compiled(seqmem.Remat(1000, offload=True)), compiled(seqmem.Scan())
    close(kept(cell, xs), whole(cell, xs))
    states = 2 * 3 * 8  # bytes of one state
    bytes_kept, bytes_whole = (
        program.memory_analysis().temp_size_in_bytes for program in (kept, whole)
    )
    assert bytes_kept < 100 * 1000 * states  # 1000 states and a segment, not a million steps
    assert bytes_whole > 1_000_000 * states


@pytest.mark.parametrize("every", [0, 2.5, True])
def test_segments_of_no_whole_number_of_steps_are_refused(every):
    assert_refused(f"Remat got every={every!r}.", seqmem.Remat, every)


@pytest.mark.parametrize("method", [seqmem.Sharded("time"), seqmem.Scan, 3])
def test_method_that_runs_no_segment_is_refused(method):
    assert_refused(f"Remat got method={method!r}.", seqmem.Remat, 5, method)
