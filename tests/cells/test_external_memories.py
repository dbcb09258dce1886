"""NTM and DNC: their addressing at the edges of its domain, and whole runs beside pytorch-ntm and
pytorch-dnc, whose numbers in tests/reference/external.npz make_external.py wrote.
"""

import pathlib

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem._cells.external import addressing, allocation
from seqmem._testing.compiler import compiled
from tests.helpers.refusals import assert_refused

key = jax.random.key(0)
SIZE, READS = 3, 2

with np.load(pathlib.Path(__file__).parent.parent / "reference" / "external.npz") as file:
    REFERENCE = dict(file)


def reference(name):
    """The arrays of one program, by their names there."""
    prefix = f"{name}: "
    return {k.removeprefix(prefix): v for k, v in REFERENCE.items() if k.startswith(prefix)}


# Addressing


@pytest.mark.usefixtures("float64")
def test_cosine_similarity_is_the_cosine_of_vectors_that_are_not_short():
    rng = np.random.default_rng(0)
    keys, memory = rng.normal(size=(2, SIZE)), rng.normal(size=(5, SIZE))
    memory[0] *= 1.01e-3 / np.linalg.norm(memory[0])
    lengths = np.linalg.norm(keys, axis=1)[:, None] * np.linalg.norm(memory, axis=1)
    cosines = addressing.cosine_similarity(jnp.asarray(keys), jnp.asarray(memory))
    np.testing.assert_allclose(cosines, keys @ memory.T / lengths, rtol=1e-14)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("factor", [0.0, 1e-300])
def test_cosine_similarity_of_short_vectors_has_a_known_gradient(factor):
    rng = np.random.default_rng(1)
    k, m = rng.normal(size=SIZE), factor * rng.normal(size=SIZE)
    d_k, d_m = jax.grad(
        lambda k, m: addressing.cosine_similarity(k[None], m[None])[0, 0], argnums=(0, 1)
    )(jnp.asarray(k), jnp.asarray(m))
    unit = k / np.linalg.norm(k)
    np.testing.assert_allclose(d_m, 1e3 * unit, rtol=1e-14)
    across = (m - unit * (unit @ m)) / np.linalg.norm(k)
    np.testing.assert_allclose(d_k, 1e3 * across, rtol=1e-12, atol=0)


@pytest.mark.slow
def test_gradients_of_content_weightings_are_finite_at_zeros_and_large_strengths():
    def entropy(keys, strengths, memory):
        w = addressing.focus_by_content(keys, strengths, memory)
        return jnp.sum(w[:, 0]) + jnp.sum(w**2)

    keys = jnp.zeros((2, SIZE)).at[1, 0].set(1e19)
    memory = jnp.zeros((5, SIZE)).at[2, 1].set(1e-30)
    gradients = jax.grad(entropy, argnums=(0, 1, 2))(keys, jnp.array([1e4, 1e4]), memory)
    assert all(np.isfinite(leaf).all() for leaf in gradients)


def test_shift_moves_a_weighting_around_the_circle():
    w = jnp.eye(5)[jnp.array([1, 4])]
    moved = addressing.shift(w, jnp.eye(5)[jnp.array([0, 3])])  # by −2 and by +1
    np.testing.assert_array_equal(moved.argmax(-1), [4, 0])
    np.testing.assert_array_equal(moved.sum(-1), [1, 1])


@pytest.mark.usefixtures("float64")
def test_sharpened_weighting_is_a_ratio_of_powers():
    rng = np.random.default_rng(2)
    w, gamma = rng.uniform(0, 1, (3, 7)), rng.uniform(1, 5, 3)
    powers = w ** gamma[:, None]
    sharp = addressing.sharpen(jnp.asarray(w), jnp.asarray(gamma))
    np.testing.assert_allclose(sharp, powers / powers.sum(1, keepdims=True), rtol=1e-14)


@pytest.mark.slow
def test_sharpening_survives_zeros_and_powers_that_underflow():
    w = jnp.array([[0.0, 1.0e-3, 1.1e-3, 0.0], [0.0, 0.0, 0.0, 0.0], [1.0, -1e-8, 0.0, 0.0]])
    gamma = jnp.array([40.0, 3.0, 1.5])  # 0.0011⁴⁰ is 0 in float32, (−10⁻⁸)^1.5 is no number

    def first_moment(w, gamma):
        return jnp.sum(addressing.sharpen(w, gamma) * jnp.arange(4.0))

    sharp = addressing.sharpen(w, gamma)
    np.testing.assert_allclose(sharp.sum(-1), [1, 0, 1], rtol=1e-6)
    p = 1 / (1 + 1.1**40)
    np.testing.assert_allclose(sharp[0, 1], p, rtol=1e-4)
    d_w, d_gamma = jax.grad(first_moment, argnums=(0, 1))(w, gamma)
    assert np.isfinite(d_w).all()
    expected = [0, -p * (1 - p) * 40 / 1e-3, p * (1 - p) * 40 / 1.1e-3, 0]
    np.testing.assert_allclose(d_w[0], expected, rtol=1e-4)
    np.testing.assert_allclose(d_gamma, [p * (1 - p) * np.log(1.1), 0, 0], rtol=1e-4)


# Allocation


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    "usage", [[0.3, 0.9, 0.1, 0.5], [0, 0, 0, 0], [1, 1, 1, 1], [1, 0, 0.5, 0]]
)
def test_allocation_by_sorting_matches_the_products_over_all_pairs(usage):
    """Slot j comes before slot i where it is used less, or as much and stands before it."""

    def by_pairs(u):
        i, j = np.indices((4, 4))
        comes_before = (u < u[:, None]) | ((u == u[:, None]) & (j < i))
        return (1 - u) * jnp.prod(jnp.where(comes_before, u, 1), axis=1)

    usage = jnp.asarray(usage, float)
    np.testing.assert_allclose(allocation.allocate(usage), by_pairs(usage), rtol=0, atol=1e-15)
    d_usage, expected = jax.jacobian(allocation.allocate)(usage), jax.jacobian(by_pairs)(usage)
    np.testing.assert_allclose(d_usage, expected, rtol=0, atol=1e-15)


def test_links_and_precedence_follow_the_order_of_the_writes():
    links, precedence = jnp.zeros((5, 5)), jnp.zeros(5)
    for slot in (3, 0, 4, 0):
        links, precedence = allocation.update_links(links, precedence, jnp.eye(5)[slot])
    expected = np.zeros((5, 5))
    expected[0, 4] = 1  # the second write to slot 0 removed its links to slots 3 and 4
    np.testing.assert_array_equal(links, expected)
    np.testing.assert_array_equal(precedence, np.eye(5)[0])


def test_usage_grows_by_writes_and_is_freed_by_reads():
    usage = allocation.update_usage(
        jnp.array([0.5, 0.5, 0.0]),
        jnp.array([0.5, 0.0, 1.0]),
        jnp.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),
        jnp.array([1.0, 0.25]),
    )
    np.testing.assert_allclose(usage, [0.75, 0, 0.75])


# Beside PyTorch


def lstm_from(arrays, *names):
    weights = dict(zip(("weight_ih", "weight_hh", "bias_ih", "bias_hh"), names, strict=True))
    return seqmem.interop.from_torch(
        seqmem.LSTM, {f"{ours}_l0": arrays[theirs] for ours, theirs in weights.items()}
    )


def broadcast(leaf, batch):
    return jnp.broadcast_to(leaf, (batch, *leaf.shape))


def rows_in_our_order(array):
    """The rows of pytorch-ntm's heads: key, β, g, shifts from +1 to −1, γ, and of a head that
    writes e and a, as e, a, key, β, g, γ, shifts from −1 to +1.
    """
    k, scalars, shifts, gamma, ea = np.split(array, [SIZE, SIZE + 2, SIZE + 5, SIZE + 6])
    return np.concatenate([ea, k, scalars, gamma, shifts[::-1]])


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_ntm_matches_pytorch_ntm():
    arrays = reference("NTM")
    batch = arrays["inputs"].shape[1]
    lstm = [f"controller.lstm.{kind}_l0" for kind in ("weight_ih", "weight_hh")]
    lstm += [f"controller.lstm.{kind}_l0" for kind in ("bias_ih", "bias_hh")]
    heads = ["heads.0.fc_write", "heads.1.fc_read", "heads.2.fc_read"]

    def parameters(prefix):
        weights = [rows_in_our_order(arrays[f"{prefix}{head}.weight"]) for head in heads]
        biases = [rows_in_our_order(arrays[f"{prefix}{head}.bias"]) for head in heads]
        return (
            np.stack(weights[:1]),
            np.stack(biases[:1]),
            np.stack(weights[1:]),
            np.stack(biases[1:]),
        )

    def fields(cell):
        return cell.W_write, cell.b_write, cell.W_read, cell.b_read

    controller = lstm_from(arrays, *lstm)
    cell = seqmem.NTM(
        2, 5, num_slots=7, slot_size=SIZE, num_read_heads=READS, controller=controller, key=key
    )
    cell = eqx.tree_at(fields, cell, tuple(map(jnp.asarray, parameters(""))))
    state = seqmem.NTMState(
        seqmem.LSTMState(arrays["h"], arrays["c"]),
        np.concatenate([np.zeros(5), arrays["reads"].ravel()]),
        arrays["memory"],
        np.zeros((READS, 7)),
        np.zeros((1, 7)),
    )
    state = jax.tree.map(lambda leaf: broadcast(jnp.asarray(leaf), batch), state)

    def loss(cell, state, xs):
        final, ys = seqmem.unroll(cell, state, xs)
        outputs = jax.nn.sigmoid(ys @ arrays["fc.weight"].T + arrays["fc.bias"])
        return jnp.sum(outputs * arrays["cotangent"]), (final, outputs)

    gradients, (final, outputs) = compiled(jax.grad(loss, (0, 1, 2), has_aux=True))(
        cell, state, jnp.asarray(arrays["inputs"])
    )
    close = {"rtol": 1e-10, "atol": 1e-10}
    np.testing.assert_allclose(outputs, arrays["outputs"], **close)
    np.testing.assert_allclose(final.memory, arrays["final memory"], **close)
    weights = jnp.concatenate([final.write_weights, final.read_weights], 1).swapaxes(0, 1)
    np.testing.assert_allclose(weights, arrays["final weights"], **close)
    d_cell, d_state, d_xs = gradients
    np.testing.assert_allclose(d_xs, arrays["gradient of inputs"], **close)
    for ours, theirs in zip(fields(d_cell), parameters("gradient of "), strict=True):
        np.testing.assert_allclose(ours, theirs, **close)
    d_lstm = [arrays[f"gradient of {name}"] for name in lstm[:3]]
    for ours, theirs in zip(gates(d_cell.controller), d_lstm, strict=True):
        np.testing.assert_allclose(ours, theirs, **close)
    d_h = arrays["gradient of controller.lstm_h_bias"][0, 0]
    np.testing.assert_allclose(d_state.controller.h.sum(0), d_h, **close)


def gates(lstm):
    """Its parameters, gates below each other, as PyTorch has them."""
    return (
        lstm.W.reshape(-1, lstm.W.shape[-1]),
        lstm.U.reshape(-1, lstm.U.shape[-1]),
        lstm.b.ravel(),
    )


def dnc_interface(array):
    """pytorch-dnc's rows as ours: those of the write, and those of each head that reads. Its modes
    are backward, forward, content.
    """
    ends = np.cumsum([READS * SIZE, READS, SIZE, 1, SIZE, SIZE, READS, 1, 1])
    k, beta, k_w, beta_w, e, v, free, g_a, g_w, modes = np.split(array, ends)
    heads = [
        np.concatenate(
            [
                k[i * SIZE : (i + 1) * SIZE],
                beta[i : i + 1],
                free[i : i + 1],
                modes[3 * i : 3 * i + 3][[0, 2, 1]],
            ]
        )
        for i in range(READS)
    ]
    return np.concatenate([k_w, e, v, beta_w, g_a, g_w]), np.stack(heads)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_dnc_matches_pytorch_dnc():
    arrays = reference("DNC")
    batch = arrays["inputs"].shape[1]
    lstm = [f"lstm.{kind}" for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]

    def parameters(prefix):
        name = f"{prefix}memory.interface_weights"
        W_write, W_read = dnc_interface(arrays[f"{name}.weight"])
        b_write, b_read = dnc_interface(arrays[f"{name}.bias"])
        return W_write, b_write, W_read, b_read

    def fields(cell):
        return cell.W_write, cell.b_write, cell.W_read, cell.b_read

    controller = lstm_from(arrays, *lstm)
    cell = seqmem.DNC(
        2, 5, num_slots=7, slot_size=SIZE, num_read_heads=READS, controller=controller, key=key
    )
    cell = eqx.tree_at(fields, cell, tuple(map(jnp.asarray, parameters(""))))
    reads = arrays["reads"].reshape(batch, -1)
    state = seqmem.DNCState(
        cell.controller.init_state(batch),
        np.concatenate([np.zeros((batch, 5)), reads], 1),
        arrays["memory"],
        arrays["usage_vector"],
        arrays["link_matrix"][:, 0],
        arrays["precedence"][:, 0],
        arrays["read_weights"],
        arrays["write_weights"][:, 0],
    )

    def loss(cell, state, xs):
        final, ys = seqmem.unroll(cell, state, xs)
        return jnp.sum(ys * arrays["cotangent"]), (final, ys)

    gradients, (final, ys) = compiled(jax.grad(loss, (0, 2), has_aux=True))(
        cell, jax.tree.map(jnp.asarray, state), jnp.asarray(arrays["inputs"])
    )
    close = {"rtol": 1e-10, "atol": 1e-10}
    np.testing.assert_allclose(ys, arrays["outputs"], **close)
    np.testing.assert_allclose(final.memory, arrays["final memory"], **close)
    np.testing.assert_allclose(final.usage, arrays["final usage_vector"], **close)
    np.testing.assert_allclose(final.links, arrays["final link_matrix"][:, 0], **close)
    np.testing.assert_allclose(final.read_weights, arrays["final read_weights"], **close)
    d_cell, d_xs = gradients
    np.testing.assert_allclose(d_xs, arrays["gradient of inputs"], **close)
    for ours, theirs in zip(fields(d_cell), parameters("gradient of "), strict=True):
        np.testing.assert_allclose(ours, theirs, **close)
    d_lstm = [arrays[f"gradient of {name}"] for name in lstm[:3]]
    for ours, theirs in zip(gates(d_cell.controller), d_lstm, strict=True):
        np.testing.assert_allclose(ours, theirs, **close)


# Initial states, sizes and refusals


@pytest.mark.slow
def test_initial_state_of_an_ntm_has_its_learned_parts_where_they_belong():
    cell = seqmem.NTM(2, 5, num_slots=7, slot_size=SIZE, num_read_heads=READS, key=key)
    assert (cell.init_state().write_weights[:, 0] > 0.999).all()
    w_0, M_0 = jax.random.normal(key, (READS + 1, 7)), jax.random.normal(key, (7, SIZE))
    cell = eqx.tree_at(lambda cell: (cell.w_0, cell.M_0), cell, (w_0, M_0))
    state, weights = cell.init_state(), jax.nn.softmax(w_0)
    np.testing.assert_array_equal(state.read_weights, weights[:READS])
    np.testing.assert_array_equal(state.write_weights, weights[READS:])
    np.testing.assert_array_equal(state.memory, M_0)
    np.testing.assert_array_equal(state.output, np.append(np.zeros(5), cell.r_0))


@pytest.mark.slow
def test_any_cell_is_a_controller():
    fast = seqmem.DeltaRule(2 + 3, 6, num_heads=2, key=key)
    cell = seqmem.DNC(2, 6, num_slots=7, slot_size=3, controller=fast, key=key)
    assert cell.input_shape == (2,)
    assert cell.output_shape == (9,)
    before = seqmem.NTM(2, 6, num_slots=7, slot_size=3, key=key)
    assert isinstance(before.controller, seqmem.LSTM)
    assert before.output_shape == (9,)


def test_sizes_and_controllers_that_do_not_fit_are_refused():
    sizes = {"num_slots": 7, "slot_size": 3, "key": key}
    for cell in (seqmem.NTM, seqmem.DNC):
        name = cell.__name__
        assert_refused(f"{name} got hidden_size=0", cell, 2, 0, **sizes)
        assert_refused(f"{name} got num_read_heads=0", cell, 2, 5, num_read_heads=0, **sizes)
        assert_refused(f"{name} got slot_size=0", cell, 2, 5, **sizes | {"slot_size": 0})
        assert_refused(f"{name} got num_slots=0", cell, 2, 5, **sizes | {"num_slots": 0})
        small, function = seqmem.GRU(2, 5, key=key), jnp.tanh
        assert_refused(f"{name} got a GRU from (2,) to (5,)", cell, 2, 5, controller=small, **sizes)
        assert_refused(
            f"{name} got a controller that is a", cell, 2, 5, controller=function, **sizes
        )
    assert_refused("NTM got num_write_heads=0", seqmem.NTM, 2, 5, num_write_heads=0, **sizes)
    assert_refused("NTM got max_shift=-1", seqmem.NTM, 2, 5, max_shift=-1, **sizes)
    assert_refused("NTM got num_slots=7", seqmem.NTM, 2, 5, max_shift=4, **sizes)
