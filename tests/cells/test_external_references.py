"""Whole runs of NTM and DNC beside pytorch-ntm and pytorch-dnc, whose numbers in
tests/reference/external.npz make_external.py wrote.
"""

import pathlib

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem._testing.compiler import compiled

key = jax.random.key(0)
SIZE, READS = 3, 2

with np.load(pathlib.Path(__file__).parent.parent / "reference" / "external.npz") as file:
    REFERENCE = dict(file)


def reference(name):
    """The arrays of one program, by their names there."""
    prefix = f"{name}: "
    return {k.removeprefix(prefix): v for k, v in REFERENCE.items() if k.startswith(prefix)}


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
