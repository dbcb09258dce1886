"""Newton's methods where the cell declares the structure of its Jacobian."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem._core.precision import as_precision
from seqmem._testing.compiler import compiled
from tests.helpers.refusals import assert_refused
from tests.helpers.slow import slow_but
from tests.helpers.unrolling import normal

KEY = jax.random.key(0)
TIME, INPUT, HIDDEN = 61, 2, 13
CELLS = {
    "ParaGRU": (seqmem.ParaGRU, {}),
    "ParaLSTM": (seqmem.ParaLSTM, {}),
    "IndRNN": (seqmem.IndRNN, {"activation": jnp.tanh}),
    "NonlinearRTU": (seqmem.NonlinearRTU, {"activation": jnp.tanh}),
    "UnICORNN": (seqmem.UnICORNN, {}),
}


def make(name, **declaration):
    """The cell in float64, perhaps with another declaration; strong recurrence, where it has u."""
    cell_type, options = CELLS[name]
    cell_type = type(name, (cell_type,), declaration) if declaration else cell_type
    cell = as_precision(cell_type(INPUT, HIDDEN, **options, key=KEY), jnp.dtype(jnp.float64))
    return eqx.tree_at(lambda cell: cell.u, cell, 3 * cell.u) if hasattr(cell, "u") else cell


def solve(method, cell, xs):
    return seqmem.solve(cell, None, xs, method=method)


def iterations(method, cell):
    stats = compiled(solve, 0)(method, cell, normal(TIME, INPUT)).stats
    assert stats.converged
    return int(stats.iterations)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", CELLS)
def test_structured_jacobian_takes_the_iterations_of_the_matrix(name):
    """The diagonal, or the diagonal of blocks, is the Jacobian."""
    newton, quasi = (
        kind(chunk_size=None, fallback=None) for kind in (seqmem.Newton, seqmem.QuasiNewton)
    )
    of_matrix = iterations(newton, make(name, jacobian=None))
    assert of_matrix > 2
    assert iterations(newton, make(name)) == of_matrix
    assert iterations(quasi, make(name)) == of_matrix
    by_diagonals = iterations(quasi, make(name, jacobian=None))
    if isinstance(make(name).jacobian, seqmem.DiagonalJacobian):
        assert by_diagonals == of_matrix
    else:  # a diagonal of blocks of 2 × 2 leaves numbers out
        assert by_diagonals > of_matrix


def loss(method, cell, xs):
    return jnp.sum(seqmem.unroll(cell, None, xs, method=method)[1] ** 2)


def scan_lengths(jaxpr):
    """The steps of every loop of a program that runs over an array."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "scan":
            yield equation.params["length"]
        for leaf in jax.tree.leaves(
            tuple(equation.params.values()), is_leaf=lambda leaf: hasattr(leaf, "eqns")
        ):
            inner = getattr(leaf, "jaxpr", leaf)
            if hasattr(inner, "eqns"):
                yield from scan_lengths(inner)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", slow_but({"ParaLSTM"}, ["ParaGRU", "ParaLSTM"]))
def test_structured_gradient_has_no_matrix_and_no_loop_over_all_steps(name):
    xs = normal(TIME, INPUT)
    gradient = jax.grad(
        functools.partial(loss, seqmem.Newton(chunk_size=None, fallback=None)), argnums=0
    )
    programs = []
    for cell in (make(name), make(name, jacobian=None)):
        traced = jax.jit(gradient).trace(cell, xs)
        lengths = max(scan_lengths(traced.jaxpr.jaxpr))
        programs.append((lengths, f"{HIDDEN}x{HIDDEN}x" in traced.lower().as_text()))
    (steps, has_matrix), (steps_of_matrix, _) = programs
    assert steps == 16
    assert not has_matrix
    assert steps_of_matrix == TIME


@pytest.mark.usefixtures("float64")
def test_adjoint_of_all_steps_at_once_is_that_of_scan():
    cell, time, batch = make("IndRNN"), 5, 2
    xs, resets = normal(time, batch, INPUT), np.zeros((time, batch), bool)
    resets[[0, 2, 4], [0, 1, 0]] = True
    state = jax.tree.map(lambda leaf: leaf + 0.3, cell.init_state(batch))

    @functools.partial(jax.jit, static_argnums=0)
    def gradient(method, state, xs):
        def total(state, xs):
            options = {"lengths": np.array([5, 3]), "resets": resets, "reverse": True}
            return sum(
                jnp.sum(jnp.sin(leaf))
                for leaf in jax.tree.leaves(
                    seqmem.unroll(cell, state, xs, method=method, **options)
                )
            )

        return jax.grad(total, (0, 1))(state, xs)

    got = gradient(seqmem.Newton(chunk_size=None, fallback=None), state, xs)
    want = gradient(seqmem.Scan(), state, xs)
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", ["ParaLSTM", "NonlinearRTU", "UnICORNN"])
def test_structured_newton_matches_scan_with_resets_and_lengths(name):
    cell, time, batch = seqmem.with_learned_state(make(name)), 17, 3
    xs, resets = normal(time, batch, INPUT), np.zeros((time, batch), bool)
    resets[[0, 5, 6, 16], [0, 1, 1, 2]] = True
    options = {"lengths": np.array([17, 11, 0]), "resets": resets}
    state = jax.tree.map(lambda leaf: leaf + 0.3, cell.init_state(batch))

    def total(method, reverse, cell, state, xs):
        run = functools.partial(seqmem.unroll, method=method, reverse=reverse, **options)
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(run(cell, state, xs)))

    differentiate = compiled(jax.value_and_grad(total, (2, 3, 4)), 0, 1)
    for reverse in (False, True):
        got = differentiate(seqmem.Newton(chunk_size=7), reverse, cell, state, xs)
        want = differentiate(seqmem.Scan(), reverse, cell, state, xs)
        for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)


@pytest.mark.slow
@pytest.mark.optimised
@pytest.mark.parametrize("cell_type", [seqmem.ParaGRU, seqmem.ParaLSTM])
def test_newton_gradient_of_65536_steps_matches_scan(cell_type):
    """In one program, all steps at once, in float32."""
    cell = cell_type(3, 64, key=KEY)
    xs = jax.random.normal(jax.random.key(1), (65536, 3))

    @functools.partial(jax.jit, static_argnums=0)
    def run(method, cell, xs):
        def mean_square(cell, xs):
            solution = solve(method, cell, xs)
            return jnp.mean(solution.outputs**2), solution.stats

        return jax.value_and_grad(mean_square, (0, 1), has_aux=True)(cell, xs)

    newton = seqmem.Newton(chunk_size=None, fallback=None)
    (value, stats), gradients = run(newton, cell, xs)
    assert stats.converged
    (expected, _), expected_gradients = run(seqmem.Scan(), cell, xs)
    assert abs(value / expected - 1) <= 1e-6
    for got, want in zip(*map(jax.tree.leaves, (gradients, expected_gradients)), strict=True):
        assert float(jnp.max(jnp.abs(got - want)) / jnp.max(jnp.abs(want))) <= 1e-6


def of_blocks(state):
    """Two numbers per unit that read each other."""
    h, c = state["h"], state["c"]
    return {"h": jnp.tanh(1.3 * h - 0.7 * c), "c": jnp.sin(h) + 0.5 * c}


def of_rows(state):
    """The same, the two numbers as rows of one array."""
    new = of_blocks({"h": state[0], "c": state[1]})
    return jnp.stack([new["h"], new["c"]])


def of_entries(state):
    return jax.tree.map(lambda leaf: jnp.sin(1.3 * leaf) * leaf, state)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("structure", "step"),
    [
        (seqmem.BlockJacobian(), of_blocks),
        (seqmem.BlockJacobian(unit_axes=1), of_rows),
        (seqmem.DiagonalJacobian(), of_entries),
    ],
    ids=["blocks", "rows", "diagonal"],
)
def test_structure_solves_the_recurrence_of_its_jacobians(structure, step):
    """s_t = J_t s_{t−1} + r_t, from the end with transposed Jacobians, beginning again at a cut."""
    time, cut = 5, np.array([False, False, True, False, False])
    parts = normal(2, time, 2, 3)
    states, residuals = parts if step is of_rows else [{"h": p[:, 0], "c": p[:, 1]} for p in parts]

    @jax.jit
    def solve_both_ways(states, residuals):
        new, jacobians = jax.vmap(lambda state: structure.linearise(step, state))(states)
        forth = structure.solve(jacobians, residuals, cut, reverse=False)
        back = structure.solve(structure.transpose(jacobians), residuals, None, reverse=True)
        dense = jax.vmap(jax.jacfwd(lambda row: in_order(step(from_order(row)))))(
            jax.vmap(in_order)(states)
        )
        return new, dense, *(jax.vmap(in_order)(leaf) for leaf in (residuals, forth, back))

    def in_order(state):
        return jnp.concatenate(jax.tree.leaves(state), axis=None)

    def from_order(row):
        halves = row.reshape(2, 3)
        return halves if step is of_rows else {"c": halves[0], "h": halves[1]}

    one_state = jax.tree.map(lambda leaf: leaf[0], states)
    assert structure.entries(one_state) == (6 if step is of_entries else 12)
    new, J, r, forth, back = solve_both_ways(states, residuals)
    for one, other in zip(*map(jax.tree.leaves, (new, jax.vmap(step)(states))), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)
    s = np.zeros(6)
    for t in range(time):
        s = r[t] if cut[t] else J[t] @ s + r[t]
        np.testing.assert_allclose(forth[t], s, rtol=1e-10)
    s = np.zeros(6)
    for t in reversed(range(time)):
        s = J[t].T @ s + r[t]
        np.testing.assert_allclose(back[t], s, rtol=1e-10)


class Lopsided(seqmem.ParaLSTM):
    """h and c have different units."""

    def init_state(self):
        return seqmem.LSTMState(jnp.zeros(HIDDEN), jnp.zeros(HIDDEN + 1))


def test_block_jacobian_refuses_arrays_with_other_units():
    cell, xs = Lopsided(INPUT, HIDDEN, key=KEY), normal(5, INPUT).astype(np.float32)
    assert_refused(
        "BlockJacobian(unit_axes=None) was declared for a state of float32[13], float32[14].",
        functools.partial(solve, seqmem.Newton()),
        cell,
        xs,
    )


@pytest.mark.parametrize("axes", [0, -1, 1.5])
def test_block_jacobian_refuses_axes_out_of_range(axes):
    assert_refused("BlockJacobian got unit_axes=", seqmem.BlockJacobian, unit_axes=axes)


def test_wrapped_cell_has_the_structure_where_its_steps_are_those_of_the_cell():
    cell = seqmem.ParaLSTM(INPUT, HIDDEN, key=KEY)
    assert seqmem.with_learned_state(cell).jacobian == seqmem.BlockJacobian()
    assert seqmem.with_layer_norm(cell).jacobian is None
    assert seqmem.with_zoneout(cell).jacobian is None
