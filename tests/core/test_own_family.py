"""A family and a method written outside of seqmem, from its public names alone."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem


def drives_of(problem):
    def project_one(cell, x):
        return seqmem.project(cell, x, problem.init)

    run = seqmem.vmap_batch(project_one, problem.cell, problem.batch_axes, time=True)
    drives, padding = run(problem.inputs), problem.flags.padding
    return drives if padding is None else jnp.where(padding[..., None], 0, drives)


def sum_in_parallel(problem, method):
    """s_t = s_{t−1} + u_t for all t by one cumulative sum, and by a loop with resets."""
    flags = problem.flags
    if flags.reset is not None or flags.perturbation is not None:
        return seqmem.ReferenceScan().run(problem)
    states = problem.state + jax.lax.cumsum(drives_of(problem), reverse=problem.reverse)
    final = states[0 if problem.reverse else -1]
    return seqmem.Solution(final, states, states if problem.return_states else None)


def sum_of(problem):
    """The transition of a stretch of time: the sum of its drives, which knows of no reset."""
    if problem.flags.reset is not None:
        raise ValueError("A sum over devices cannot be reset.")
    return drives_of(problem).sum(0)


def equations(cell, draws):
    state, drive = draws.random_state(10.0), draws.drive()
    yield "update(s, u) = s + u", cell.update(state, drive), state + drive


SUM = seqmem.Family(
    "sum",
    default=seqmem.Parallel(),
    parallel=sum_in_parallel,
    transition=seqmem.TransitionRule(sum_of, jnp.add, jnp.add),
    methods=(seqmem.Parallel(), seqmem.Scan()),
    laws=(seqmem.Law(equations),),
)


class Sum(seqmem.AbstractCell):
    """s_t = s_{t−1} + W x_t, and y_t = s_t."""

    input_shape = (2,)
    family = SUM

    W: jax.Array

    def init_state(self):
        return jnp.zeros(3, seqmem.state_dtype(self.W))

    def project(self, x):
        return self.W @ x

    def update(self, state, drive):
        return state + drive

    def readout(self, state, drive):
        return state


class Doubled(Sum):
    """A cell that breaks the promise of the family."""

    def update(self, state, drive):
        return 2 * state + drive


def draw(*shape):
    return jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)


@pytest.mark.slow
def test_own_family_passes_every_law():
    assert set(seqmem.testing.check_cell(Sum(draw(3, 2))).values()) == {"holds"}


def test_own_family_is_held_to_its_promise():
    with pytest.raises(seqmem.testing.LawBroken, match=r"^promise: .*update\(s, u\) = s \+ u"):
        seqmem.testing.check_cell(Doubled(draw(3, 2)), methods=[seqmem.Scan()])


def test_own_family_has_no_kernel_unless_it_says_so():
    with pytest.raises(ValueError, match=r"its family, '\w+', has no kernel"):
        seqmem.unroll(Sum(draw(3, 2)), None, draw(8, 5, 2), method=seqmem.Parallel(kernel=True))


def test_own_family_runs_on_parallel_newton_and_sharded():
    cell, xs = Sum(draw(3, 2)), draw(8, 5, 2)
    want = np.cumsum(xs @ cell.W.T, 0)
    for method in (None, seqmem.Parallel(), seqmem.Newton(chunk_size=3)):
        np.testing.assert_allclose(seqmem.unroll(cell, None, xs, method=method)[1], want, rtol=1e-5)

    def run(share, resets=None):
        options = {"method": seqmem.Sharded("time"), "resets": resets}
        return seqmem.unroll(cell, None, share, **options)[1]

    in_shares = xs.reshape(4, 2, 5, 2)
    shares = jax.vmap(run, axis_name="time")(in_shares)
    np.testing.assert_allclose(shares.reshape(8, 5, 3), want, rtol=1e-5)
    with pytest.raises(ValueError, match="cannot be reset"):
        jax.vmap(run, axis_name="time")(in_shares, np.ones((4, 2, 5), bool))


@dataclasses.dataclass(frozen=True)
class OneByOne(seqmem.AbstractMethod):
    """A Python loop over the steps of a problem, with flags and in both directions."""

    def run(self, problem):
        def step(cell, state, inputs, flags):
            drive = seqmem.project(cell, inputs, state)
            state = seqmem.advance(cell, problem.init, state, drive, flags)
            return state, seqmem.readout(cell, state, drive)

        run_step = seqmem.vmap_batch(step, problem.cell, problem.batch_axes)
        state, outputs, states = problem.state, [None] * problem.time, [None] * problem.time
        order = range(problem.time)
        for t in reversed(order) if problem.reverse else order:
            inputs, flags = jax.tree.map(lambda leaf, t=t: leaf[t], problem.steps)
            state, outputs[t] = run_step(state, inputs, flags)
            states[t] = state
        states = jnp.stack(states) if problem.return_states else None
        return seqmem.Solution(state, jnp.stack(outputs), states)


@pytest.mark.slow
def test_own_method_passes_every_law():
    cell = seqmem.MGU(2, 3, key=jax.random.key(0))
    assert set(seqmem.testing.check_cell(cell, methods=[OneByOne()]).values()) == {"holds"}


def test_own_method_matches_scan():
    cell, xs = seqmem.MGU(2, 3, key=jax.random.key(0)), draw(5, 2, 2)
    options = {"lengths": [5, 3], "resets": np.eye(5, 2, dtype=bool), "reverse": True}
    got = seqmem.solve(cell, None, xs, method=OneByOne(), return_states=True, **options)
    want = seqmem.solve(cell, None, xs, return_states=True, **options)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
