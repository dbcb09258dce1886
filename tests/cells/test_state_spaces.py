"""State space cells: the numbers of their authors' code, weights from and to it, initial values.

The reference numbers are in tests/reference, written by make.py in that folder.
"""

import pathlib

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem._cells.initialisers import hippo_normal
from seqmem.interop import from_mamba, from_s5, to_mamba, to_s5

REFERENCE = pathlib.Path(__file__).parent.parent / "reference"
GRADIENT = "gradient of "


def reference(name):
    """The arrays of a file, and the gradients in it, by name."""
    with np.load(REFERENCE / f"{name}.npz") as file:
        arrays = dict(file)
    gradients = {name for name in arrays if name.startswith(GRADIENT)}
    return (
        {name: array for name, array in arrays.items() if name not in gradients},
        {name.removeprefix(GRADIENT): arrays[name] for name in gradients},
    )


def assert_same(ours, theirs, tolerance):
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert ours[name].shape == value.shape
        assert ours[name].dtype == value.dtype
        error = np.max(np.abs(ours[name] - value)) / np.max(np.abs(value))
        assert error <= tolerance, f"{name} differs by {error} of its largest entry"


def test_s6_outputs_states_and_gradients_match_hugging_faces_mixer():
    expected, gradients = reference("mamba")

    def loss(weights, xs):
        cell, _ = from_mamba(weights)
        state, ys = seqmem.unroll(cell, cell.init_state(), xs.swapaxes(0, 1))
        gated = ys.swapaxes(0, 1) * jax.nn.silu(expected["gate"])
        return (expected["weight"] * gated).sum(), {"gated": gated, "final state": state}

    weights = {name: jnp.asarray(expected[name]) for name in gradients if name != "xs"}
    compute = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))
    (d_weights, d_xs), results = compute(weights, expected["xs"])
    assert_same(results, {name: expected[name] for name in results}, 1e-5)
    assert_same(d_weights | {"xs": d_xs}, gradients, 1e-5)


@pytest.mark.usefixtures("float64")
def test_s5_outputs_and_gradients_match_its_authors_code():
    expected, gradients = reference("s5")

    def loss(params, xs):
        cell = from_s5(params)
        _, ys = seqmem.unroll(cell, cell.init_state(), xs)
        return (expected["weight"] * ys).sum(), ys

    params = {name: jnp.asarray(expected[name]) for name in gradients if name != "xs"}
    compute = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))
    (d_params, d_xs), ys = compute(params, expected["xs"])
    assert_same({"ys": ys}, {"ys": expected["ys"]}, 1e-10)
    assert_same(d_params | {"xs": d_xs}, gradients, 1e-10)


@pytest.mark.usefixtures("float64")
def test_s4d_is_a_convolution_with_the_kernel_of_its_paper():
    cell = seqmem.S4D(3, 5, key=jax.random.key(0))
    params = jax.tree.map(np.asarray, cell)
    xs = np.random.default_rng(2).standard_normal((7, 3))
    _, ys = seqmem.unroll(cell, cell.init_state(), xs)
    delta, A = np.exp(params.log_delta)[:, None], -np.exp(params.A_log) + 1j * params.A_imag
    C = (params.C[0] + 1j * params.C[1]) * (np.exp(delta * A) - 1) / A
    kernel = [2 * (C * np.exp(delta * A * lag)).sum(1).real for lag in range(7)]
    for t in range(7):
        expected = sum(kernel[lag] * xs[t - lag] for lag in range(t + 1)) + params.D * xs[t]
        np.testing.assert_allclose(ys[t], expected, rtol=0, atol=1e-12)


def test_hippo_normal_diagonalises_hippo_without_its_rank_one_part():
    n = np.arange(6)
    root = np.sqrt(2 * n + 1)
    legs = -np.tril(np.outer(root, root), -1) - np.diag(n + 1)
    normal = legs + np.outer(root, root) / 2
    eigenvalues, V = hippo_normal(6)
    np.testing.assert_allclose(normal @ V, V * eigenvalues, atol=1e-12)
    basis = np.hstack([V, V.conj()])
    np.testing.assert_allclose(basis.conj().T @ basis, np.eye(6), atol=1e-12)


@pytest.mark.usefixtures("float64")
def test_s5_initial_system_is_real_with_its_authors_eigenvalues():
    expected, _ = reference("s5")  # its Lambda are initial values
    cell = jax.tree.map(np.asarray, seqmem.S5(3, 4, blocks=2, key=jax.random.key(0)))
    np.testing.assert_allclose(cell.Lambda[0], expected["Lambda_re"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(cell.Lambda[1], expected["Lambda_im"], rtol=0, atol=1e-12)
    B = cell.B[0] + 1j * cell.B[1]
    V = np.kron(np.eye(2), hippo_normal(4)[1])
    real = 2 * (V @ B).real  # the input matrix of the real system
    np.testing.assert_allclose(V.conj().T @ real, B, rtol=0, atol=1e-12)
    assert np.all((np.exp(cell.log_delta) >= 1e-3) & (np.exp(cell.log_delta) <= 1e-1))


def test_s6_initial_decays_and_steps_are_those_of_its_paper():
    cell = seqmem.S6(37, 5, key=jax.random.key(0))
    np.testing.assert_allclose(np.exp(cell.A_log), np.tile(np.arange(1, 6), (37, 1)), rtol=1e-6)
    steps = jax.nn.softplus(cell.b)
    assert 0.99e-3 <= steps.min() < 5e-3  # on a logarithmic scale
    assert 3e-2 < steps.max() <= 1.01e-1
    assert cell.V_delta.shape == (3, 37)  # a sixteenth, rounded up


def test_s6_drive_is_smaller_than_its_state():
    def sizes():
        cell = seqmem.S6(17, 5, key=jax.random.key(0))
        return cell.project(jnp.zeros(17)), cell.init_state()

    drive, state = jax.eval_shape(sizes)
    assert sum(leaf.size for leaf in jax.tree.leaves(drive)) == 2 * (17 + 5)
    assert state.size == 17 * 5


def test_s5_blocks_that_do_not_divide_the_state_are_refused():
    with pytest.raises(ValueError, match=r"(?s)hidden_size=5 and blocks=2.\n  Expected: .+"):
        seqmem.S5(3, 5, blocks=2, key=jax.random.key(0))


KINDS = {
    "mamba": (lambda: seqmem.S6(7, 5, rank=3, key=jax.random.key(1)), from_mamba, to_mamba),
    "s5": (lambda: seqmem.S5(3, 5, key=jax.random.key(1)), from_s5, to_s5),
}


def make_cell(kind, dtype="float32"):
    """A cell of random NumPy arrays."""
    rng = np.random.default_rng(5)
    return jax.tree.map(
        lambda leaf: rng.standard_normal(leaf.shape).astype(dtype),
        eqx.filter_eval_shape(KINDS[kind][0]),
    )


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
def test_cell_survives_the_round_trip(kind, dtype):
    _, from_weights, to_weights = KINDS[kind]
    cell = make_cell(kind, dtype)
    weights = to_weights(cell)
    assert all(isinstance(array, np.ndarray) for array in weights.values())
    copy = from_weights(weights)
    copy = copy[0] if kind == "mamba" else copy
    assert jax.tree.structure(copy) == jax.tree.structure(cell)
    for leaf, other in zip(jax.tree.leaves(copy), jax.tree.leaves(cell), strict=True):
        assert leaf.dtype == other.dtype == dtype
        np.testing.assert_array_equal(leaf, other)


def test_from_mamba_returns_the_weights_around_the_core_unchanged():
    expected, gradients = reference("mamba")
    mixer = {name: expected[name] for name in expected if "." in name or name in gradients}
    del mixer["xs"]
    cell, rest = from_mamba(mixer)
    assert set(rest) == {"in_proj.weight", "conv1d.weight", "conv1d.bias", "out_proj.weight"}
    assert all(rest[name] is mixer[name] for name in rest)
    weights = rest | to_mamba(cell)
    assert weights.keys() == mixer.keys()
    for name, array in mixer.items():
        np.testing.assert_array_equal(weights[name], array)


def test_mixer_of_several_precisions_becomes_the_widest():
    weights = to_mamba(make_cell("mamba"))
    weights |= {"x_proj.weight": weights["x_proj.weight"].astype(jnp.bfloat16)}
    cell, _ = from_mamba(weights)
    assert {leaf.dtype for leaf in jax.tree.leaves(cell)} == {np.dtype("float32")}


MAMBA, S5 = to_mamba(make_cell("mamba", "float64")), to_s5(make_cell("s5", "float64"))


@pytest.mark.parametrize(
    ("from_weights", "weights", "came"),
    [
        (from_mamba, {f"mixer.{name}": array for name, array in MAMBA.items()}, "names ['mixer.A"),
        (from_mamba, MAMBA | {"D": np.ones(7, int)}, "D is int64 of shape (7,)."),
        (from_mamba, MAMBA | {"D": np.ones((7, 1))}, "D is float64 of shape (7, 1)."),
        (from_mamba, MAMBA | {"x_proj.weight": np.ones((11, 7))}, "x_proj.weight has shape (11"),
        (from_s5, {"C1" if name == "C" else name: S5[name] for name in S5}, "names ['B', 'C1'"),
        (from_s5, S5 | {"C": np.ones((3, 10, 2))}, "C has shape (3, 10, 2)."),
        (from_s5, S5 | {"B": np.ones((5, 3))}, "B is float64 of shape (5, 3)."),
    ],
)
def test_weights_that_do_not_fit_are_refused(from_weights, weights, came):
    with pytest.raises(ValueError, match=r"(?s)\n  Expected: .+\n  What to do: .+") as refusal:
        from_weights(weights)
    assert str(refusal.value).startswith(came)


@pytest.mark.parametrize("to_weights", [to_mamba, to_s5])
def test_cell_of_another_type_is_not_exported(to_weights):
    cell = eqx.filter_eval_shape(lambda: seqmem.LRU(2, 3, key=jax.random.key(0)))
    with pytest.raises(
        ValueError, match=r"a cell of type LRU.\n  Expected: S\d.\n  What to do: .+"
    ):
        to_weights(cell)
