"""The kernels of jax-linear-attention for fast weights, with a loop in their place: values and
gradients are those of `Scan`; what they cannot do is refused, and what their numbers are not exact
for runs in chunks. `tests/reference/linear_attention_kernels.py` has the library's own numbers.
"""

import functools
import sys
import types
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem._cells.fast_weights import borrowed_kernels
from tests.helpers import linear_attention
from tests.helpers.cells import CELLS
from tests.helpers.refusals import assert_refused
from tests.helpers.slow import slow, slow_but

TIME, BATCH, INPUT = 7, 3, 2
LENGTHS = np.array([7, 4, 0])
RESETS = np.array([[0, 1, 0], [0, 0, 0], [1, 0, 0], [1, 0, 0], [0, 0, 0], [0, 1, 0], [0, 0, 0]])
NAMES = {
    **{"LinearAttention": "simple_gla", "RetNet": "simple_gla", "SSD": "simple_gla"},
    **{"GLA": "gla", "HGRN2": "gla", "DeltaRule": "deltanet", "GatedDeltaRule": "gated_deltanet"},
    **{"KDA": "kda", "GatedDeltaRule2": "gdn2"},
}

BY_KERNEL = seqmem.Parallel(kernel=True)


@pytest.fixture
def kinds(monkeypatch, float64):
    """The kinds of steps that the stand-in was called for; it multiplies float64."""
    called = []

    def run(kind, *args, **options):
        called.append(kind)
        return linear_attention.linear_attention(kind, *args, **options)

    ops = types.SimpleNamespace(linear_attention=run)
    monkeypatch.setitem(sys.modules, "jla", types.SimpleNamespace(ops=ops))
    monkeypatch.setattr(borrowed_kernels, "refusal_of_platform", lambda: None)
    monkeypatch.setattr(borrowed_kernels, "FACTORS", jnp.float64)
    return called


def normal(*shape):
    return np.random.default_rng(len(shape)).normal(size=shape)


def make(name, dtype=jnp.float64):
    return jax.tree.map(lambda leaf: leaf.astype(dtype), CELLS[name]())


@functools.partial(jax.jit, static_argnums=0, static_argnames="reverse")
def everything(method, cell, xs, **options):
    """Outputs, final state, and the gradients of parameters, state and inputs."""
    batch = xs.shape[1:-1]
    start = cell.init_state(*batch)
    state = jax.tree.map(lambda leaf: leaf + 0.1 * (1 + np.arange(leaf.shape[-1])), start)

    def loss(cell, state, xs):
        result = seqmem.unroll(cell, state, xs, method=method, **options)
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(result)), result

    return jax.value_and_grad(loss, (0, 1, 2), has_aux=True)(cell, state, xs)


def assert_close(got, want, tolerance=1e-9):
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(1, np.abs(b).max(initial=0)))


CASES = [
    (name, reverse, has_flags)
    for name in NAMES
    for reverse in (False, True)
    for has_flags in (False, True)
    if reverse == has_flags or name == "DeltaRule"  # one in all ways
]


@pytest.mark.parametrize(
    ("name", "reverse", "has_flags"),
    slow_but(
        [("DeltaRule", False, True)],
        CASES,
    ),
)
def test_kernels_give_the_numbers_of_scan(kinds, name, reverse, has_flags):
    cell, xs = make(name), normal(TIME, BATCH, INPUT)
    flags = {"lengths": LENGTHS, "resets": RESETS.astype(bool)} if has_flags else {}
    got = everything(BY_KERNEL, cell, xs, **flags, reverse=reverse)
    assert set(kinds) == {NAMES[name]}
    assert_close(got, everything(seqmem.Scan(), cell, xs, **flags, reverse=reverse))


@pytest.mark.slow
@pytest.mark.parametrize("batch", [(), (2, 3)])
def test_kernels_have_any_number_of_batch_axes(kinds, batch):
    cell, xs = make("GatedDeltaRule"), normal(TIME, *batch, INPUT)
    got = everything(BY_KERNEL, cell, xs)
    assert_close(got, everything(seqmem.Scan(), cell, xs))
    assert kinds


def nothing(*args, impl, **options):
    """A kernel whose numbers are wrong."""
    readings, state = linear_attention.linear_attention(*args, impl=impl, **options)
    return readings + jnp.nan, state


@pytest.mark.parametrize(
    ("case", "name"),
    [
        slow("strong decays", "SSD"),
        slow("growth", "GLA"),
        slow("keys of 0", "DeltaRule"),
        slow("keys of 0", "GatedDeltaRule2"),
        slow("erasing more than is there", "GatedDeltaRule2"),
        slow("removal of nothing", "KDA"),
        slow("infinite values", "RetNet"),
    ],
)
def test_what_kernels_are_not_exact_for_runs_in_chunks(kinds, monkeypatch, case, name):
    monkeypatch.setattr(sys.modules["jla"].ops, "linear_attention", nothing)
    cell, xs = make(name), normal(TIME + 2, BATCH, INPUT)  # another program than those above
    if case == "strong decays":
        cell = eqx.tree_at(lambda cell: cell.A_log, cell, cell.A_log + 7)
    elif case == "growth":
        cell = Changed(cell, lambda write: write._replace(log_decay=-write.log_decay))
    elif case == "erasing more than is there":
        cell = Changed(cell, lambda write: write._replace(remove=3 * write.remove))
    elif case == "keys of 0":
        xs[2] = 0
    elif case == "removal of nothing":
        cell = eqx.tree_at(lambda cell: cell.W_beta, cell, 0 * cell.W_beta - 40)
        xs = np.abs(xs)
    else:
        xs[3, 1, 0] = np.inf
    got, want = (everything(method, cell, xs) for method in (BY_KERNEL, seqmem.Parallel()))
    assert np.isfinite(jax.tree.leaves(want)[1]).any()
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_padding_keeps_no_run_from_the_kernels(kinds, monkeypatch):
    monkeypatch.setattr(sys.modules["jla"].ops, "linear_attention", nothing)
    xs = normal(TIME + 3, BATCH, INPUT)
    _, ys = seqmem.unroll(make("DeltaRule"), None, xs, lengths=LENGTHS, method=BY_KERNEL)
    assert np.isnan(ys[0, 0]).all()


class Changed(seqmem.AbstractFastWeightCell):
    """A cell that writes otherwise."""

    cell: seqmem.AbstractFastWeightCell
    change: Callable = eqx.field(static=True)

    @property
    def input_shape(self):
        return self.cell.input_shape

    def init_state(self):
        return self.cell.init_state()

    def project(self, x):
        write, extra = self.cell.project(x)
        return self.change(write), extra

    def output(self, reading, extra):
        return self.cell.output(reading, extra)


@pytest.mark.parametrize(
    "name",
    slow_but(
        {"DeltaRule", "GLA"}, [name for name in CELLS if name in NAMES or name == "DeltaProduct"]
    ),
)
def test_cells_that_declare_the_delta_rule_write_by_it(float64, name):
    cell = make(name)
    write, _ = jax.jit(jax.vmap(cell.project))(normal(TIME, INPUT))
    assert cell.is_delta_rule == (NAMES.get(name) in ("deltanet", "gated_deltanet", "kda"))
    if cell.is_delta_rule:
        assert write.erase is None
        decayed = write.key
        if write.log_decay is not None:
            decayed = decayed * jnp.exp(write.log_decay)
        beta = (write.remove * decayed).sum(-1) / (decayed**2).sum(-1)
        assert (beta > 0).all()
        np.testing.assert_allclose(write.remove, beta[..., None] * decayed, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "clause"),
    [
        ("MLSTM", "its gains are exponential, and the kernels keep no running maximum"),
        ("RWKV7", "it removes values from another key than it writes"),
        ("RWKV6", "its query reads before the write"),
        ("DeltaProduct", "a step writes several times"),
        ("GatedOjaRule", "its reading is transposed"),
        ("MesaNet", "it reads its memory more than once"),
        ("MomentumDeltaRule", "its writes have momentum"),
    ],
)
def test_other_writes_are_refused(kinds, name, clause):
    assert_refused(
        f"Parallel(kernel=True) cannot run {type(make(name)).__name__}: {clause}.",
        *(seqmem.unroll, make(name), None, normal(TIME, BATCH, INPUT)),
        method=BY_KERNEL,
    )


def test_a_reset_to_a_learned_state_is_refused(kinds):
    cell = jax.tree.map(
        lambda leaf: leaf.astype(jnp.float64), seqmem.with_learned_state(CELLS["GLA"]())
    )
    xs = normal(TIME, BATCH, INPUT)
    seqmem.unroll(cell, None, xs, method=BY_KERNEL)
    assert_refused(
        "Parallel(kernel=True) cannot run WrappedCell: a reset selects a state that may differ "
        "from 0, and the kernels empty theirs.",
        *(seqmem.unroll, cell, None, xs),
        resets=RESETS.astype(bool),
        method=BY_KERNEL,
    )


def test_parameters_of_another_precision_are_refused(kinds):
    xs = normal(TIME, BATCH, INPUT).astype(np.float32)
    assert_refused(
        "Parallel(kernel=True) cannot run GLA: its parameters are float32, and the kernels "
        "multiply bfloat16.",
        *(seqmem.unroll, make("GLA", jnp.float32), None, xs),
        method=BY_KERNEL,
    )


def test_what_the_library_refuses_is_refused_in_three_parts(kinds, monkeypatch):
    def refuse(*args, **options):
        raise ValueError("head dims K=5, V=2 must be in (64, 128)")

    xs = normal(TIME + 1, BATCH, INPUT)  # another program than those above
    monkeypatch.setattr(sys.modules["jla"].ops, "linear_attention", refuse)
    assert_refused(
        "Parallel(kernel=True) cannot run GLA: jax-linear-attention says: head dims K=5, V=2 must",
        *(seqmem.unroll, make("GLA"), None, xs),
        method=BY_KERNEL,
    )
