"""Newton's methods in time give the numbers of a scan, and say where they do not."""

import functools
import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.helpers.unrolling import close, normal

import seqmem
from seqmem._testing.compiler import compiled

SCAN = seqmem.Scan()
TIME, BATCH, INPUT, HIDDEN = 23, 3, 2, 5
METHODS = (seqmem.Newton(chunk_size=7), seqmem.QuasiNewton(chunk_size=7))
every_method = pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)

pytestmark = pytest.mark.usefixtures("float64")


def gru(gain, hidden=HIDDEN):
    """A GRU in float64 whose recurrent weights are so many times those it begins with."""
    cell = seqmem.GRU(INPUT, hidden, key=jax.random.key(0))
    cell = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), cell)
    return eqx.tree_at(lambda cell: cell.U, cell, gain * cell.U)


def unrolled(cell, xs, lengths=None, resets=None, state=None, *, method, reverse=False):
    """The final state, the outputs and the report."""
    return compiled(_unrolled, 0, 1)(method, reverse, cell, xs, lengths, resets, state)


def _unrolled(method, reverse, cell, xs, lengths, resets, state):
    state = cell.init_state() if state is None else state
    return seqmem.solve(
        cell, state, xs, lengths=lengths, resets=resets, method=method, reverse=reverse
    )


def differentiated(cell, xs, lengths=None, *, method):
    """The same, and the gradients of parameters, state and inputs, of everything but the report."""
    return compiled(_differentiated, 0)(method, cell, cell.init_state(), xs, lengths)


def _differentiated(method, cell, state, xs, lengths):
    def loss(cell, state, xs):
        out = _unrolled(method, False, cell, xs, lengths, None, state)
        return sum(jnp.sum(jnp.sin(leaf).real) for leaf in jax.tree.leaves(out[:2])), out

    grads, out = jax.grad(loss, (0, 1, 2), has_aux=True)(cell, state, xs)
    return *out, grads


def largest(got, want):
    """The largest difference, for the size of what is wanted."""
    pairs = zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True)
    return max(float(jnp.max(jnp.abs(a - b)) / jnp.max(jnp.abs(b))) for a, b in pairs)


@every_method
@pytest.mark.parametrize("gain", [1, 2])
def test_values_and_gradients_are_those_of_a_scan(method, gain):
    cell, xs = gru(gain, 32), normal(4096, INPUT)
    bare = type(method)(max_iters=256, fallback=None)  # a sweep per step is always enough
    *got, report, grads = differentiated(cell, xs, method=bare)
    assert report.converged
    *want, _, want_grads = differentiated(cell, xs, method=SCAN)
    assert largest((got, grads), (want, want_grads)) < 1e-6


def test_what_diverges_is_reported_and_taken_from_the_other_method():
    """At gain 3 the whole of a long sequence overflows; a short one needs a sweep per step."""
    cell, xs, lengths = gru(3, 17), normal(199, BATCH, INPUT), jnp.array([199, 5, 0])
    bare = seqmem.Newton(chunk_size=None, max_iters=31, fallback=None)
    _, wrong, report = unrolled(cell, xs, lengths, method=bare)
    assert report.converged.tolist() == [False, True, True]
    assert report.iterations[0] == 31
    assert report.iterations[1] <= 5
    assert report.iterations[2] == 0
    final, right, _ = unrolled(cell, xs, lengths, method=SCAN)
    assert largest(wrong[:, 0], right[:, 0]) > 0.1

    rescued = seqmem.Newton(chunk_size=None, max_iters=31)
    state, ys, again = unrolled(cell, xs, lengths, method=rescued)
    assert again.converged.tolist() == [False, True, True]
    close((state, ys), (final, right))
    np.testing.assert_array_equal(ys[:, 1:], wrong[:, 1:])


def test_the_gradient_of_quasi_newton_never_sees_the_diagonal():
    """The authors' program solves the backward recurrence with it (ELK)."""
    cell, xs = gru(2, 32), normal(4096, INPUT)

    _, states, _, (want, *_) = differentiated(cell, xs, method=SCAN)
    bare = seqmem.QuasiNewton(max_iters=256, fallback=None)
    assert largest(differentiated(cell, xs, method=bare)[-1][0], want) < 1e-6

    theirs = compiled(_by_the_diagonal)(cell, states, xs)
    assert jnp.linalg.norm(theirs.U - want.U) / jnp.linalg.norm(want.U) > 0.3


def _by_the_diagonal(cell, states, xs):
    """The gradient of the parameters when λ_t = ȳ_t + diag(J_{t+1}) ∘ λ_{t+1}."""
    before = jnp.concatenate([jnp.zeros_like(states[:1]), states[:-1]])

    def step(cell, state, x):
        return cell(state, x)[0]

    def back(d, here):
        d_y, state, x = here
        d = d + d_y
        return jnp.diag(jax.jacfwd(step, 1)(cell, state, x)) * d, d

    d_ys = jnp.cos(states).at[-1].multiply(2)  # the last state is an output too
    _, d = jax.lax.scan(back, jnp.zeros_like(states[0]), (d_ys, before, xs), reverse=True)
    _, pull = jax.vjp(lambda cell: jax.vmap(functools.partial(step, cell))(before, xs), cell)
    return pull(d)[0]


@every_method
def test_no_sequence_depends_on_its_batch_mates(method):
    """In one program to the bit, however many sweeps another takes; alone, to rounding."""
    cell, xs, method = gru(2), normal(TIME, 2, INPUT), type(method)(block=None)
    other = xs.copy()
    other[:, 1] = 0
    _, ys, report = unrolled(cell, xs, method=method)
    _, with_other, told = unrolled(cell, other, method=method)
    assert report.iterations[0] == told.iterations[0] > told.iterations[1]
    np.testing.assert_array_equal(ys[:, 0], with_other[:, 0])
    _, alone, own = unrolled(cell, xs[:, 0], method=method)
    assert own.iterations == report.iterations[0]
    close(ys[:, 0], alone)


@every_method
@pytest.mark.parametrize("reverse", [False, True])
def test_nan_before_a_reset_is_not_seen_after_it(method, reverse):
    cell, xs = gru(1), normal(TIME, BATCH, INPUT)
    resets = np.zeros((TIME, BATCH), bool)
    resets[11] = True
    after = slice(11) if reverse else slice(11, TIME)
    clean, state = np.full_like(xs, np.nan), np.full((BATCH, HIDDEN), np.nan)
    clean[after] = xs[after]
    run = functools.partial(unrolled, cell, resets=resets, state=state, reverse=reverse)
    _, ys, _ = run(clean, method=method)
    close(ys[after], run(xs, method=SCAN)[1][after])
    assert np.all(np.isnan(ys[11:] if reverse else ys[:11]))


@every_method
def test_nan_is_not_hidden(method):
    """A NaN in the inputs is in all that comes after it, as in a scan, and no reason to give up."""
    cell, xs = gru(1), normal(TIME, INPUT)
    xs[5] = np.nan
    _, ys, report = unrolled(cell, xs, method=method)
    assert report.converged
    np.testing.assert_array_equal(np.isnan(ys), np.isnan(unrolled(cell, xs, method=SCAN)[1]))


@every_method
def test_converging_at_the_last_allowed_sweep_is_success(method):
    cell, xs = gru(1), normal(TIME, INPUT)
    needed = int(unrolled(cell, xs, method=method)[2].iterations)
    for allowed, converged in ((needed, True), (needed - 1, False)):
        limited = type(method)(block=7, max_iters=allowed, fallback=None)
        report = unrolled(cell, xs, method=limited)[2]
        assert bool(report.converged) is converged
        assert report.iterations == allowed


class Mixed(seqmem.AbstractCell):
    """A state of real and complex entries whose update has no complex derivative."""

    W: jax.Array

    def init_state(self):
        return jnp.full(2, 0.1), jnp.full(3, 0.1 + 0.2j)

    def project(self, x):
        return self.W @ x

    def update(self, state, u):
        r, z = state
        turned = jnp.roll(jnp.conj(z), 1) * 0.5j + 0.3 * jnp.tanh(z.real).astype(z.dtype)
        return jnp.tanh(0.4 * r + z[:2].imag + u[:2]), turned + (0.1 * r.sum() + u).astype(z.dtype)

    def readout(self, state, u):
        return state[0].sum() + jnp.abs(state[1])


@every_method
def test_states_may_be_complex_and_mixed(method):
    cell, xs = Mixed(normal(3, INPUT)), normal(TIME, BATCH, INPUT)
    lengths = np.array([TIME, 7, 0])
    *got, report, grads = differentiated(cell, xs, lengths, method=method)
    assert report.converged.all()
    *want, _, want_grads = differentiated(cell, xs, lengths, method=SCAN)
    close((got, grads), (want, want_grads))


def test_of_narrow_parameters_the_states_are_as_right_as_these_are():
    cell = seqmem.GRU(INPUT, HIDDEN, key=jax.random.key(0))
    cell = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), cell)
    xs = normal(TIME, INPUT).astype(np.float32)
    _, ys, report = unrolled(cell, xs, method=seqmem.QuasiNewton(chunk_size=7))
    assert ys.dtype == jnp.float32
    assert report.converged
    np.testing.assert_allclose(ys, unrolled(cell, xs, method=SCAN)[1], atol=0.03)


class Counter(seqmem.AbstractCell):
    """A state that counts."""

    def init_state(self):
        return jnp.zeros(2), jnp.zeros((), jnp.int32)

    def project(self, x):
        return x

    def update(self, state, u):
        raise AssertionError("traced before it was refused")

    def readout(self, state, u):
        raise AssertionError("traced before it was refused")


@every_method
def test_a_state_that_counts_is_refused(method):
    cell = Counter()
    with pytest.raises(ValueError, match=r"(?s)int32.*Expected: floating.*What to do: .*Scan\(\)"):
        seqmem.unroll(cell, cell.init_state(), normal(TIME, INPUT), method=method)


def test_jacobians_that_are_too_large_are_refused_with_a_block_that_is_not():
    cell, xs = gru(1), normal(TIME, BATCH, INPUT)
    step = BATCH * HIDDEN**2 * 8
    method = seqmem.Newton(max_bytes=10 * step + 1)
    sentence = rf"(?s)take {TIME * step} bytes.*Expected: .*{10 * step + 1}.*QuasiNewton"
    with pytest.raises(ValueError, match=sentence) as refusal:
        seqmem.unroll(cell, cell.init_state(), xs, method=method)
    block = int(re.search(r"at most (\d+) steps", str(refusal.value)).group(1))
    assert block == 10
    fitting = seqmem.Newton(chunk_size=block, max_bytes=10 * step + 1)
    assert unrolled(cell, xs, method=fitting)[2].converged.all()


@pytest.mark.parametrize("kind", [seqmem.Newton, seqmem.QuasiNewton])
@pytest.mark.parametrize(
    "settings",
    [
        {"block": 0},
        {"block": 2.5},
        {"max_iters": 0},
        {"tolerance": 0.0},
        {"otherwise": "scan"},
        {"otherwise": seqmem.Scan(transform=seqmem.gradients.ClipNorm(1.0))},
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(kind, settings):
    name = next(iter(settings))
    with pytest.raises(ValueError, match=rf"(?s)Newton\({name}=.*Expected: .*What to do: "):
        kind(**settings)
