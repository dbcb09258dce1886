"""Fast weights match the code of other libraries in outputs, final states and gradients.

The reference numbers are in fast_weights.npz and delta_rules.npz in tests/reference, written by
make_fast_weights.py and make_delta_rules.py there. Their layout is [batch, time, heads, ...]; their
states are [heads, key, value].
"""

import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem import Memory, Write
from tests.helpers.slow import slow, slow_but

REFERENCE = {}
for name in ("fast_weights", "delta_rules", "slots"):
    with np.load(pathlib.Path(__file__).parent.parent / "reference" / f"{name}.npz") as file:
        REFERENCE |= dict(file)
METHODS = (
    slow(seqmem.ReferenceScan()),
    seqmem.Parallel(chunk_size=16),
    slow(seqmem.Parallel(chunk_size=64)),
)
PER_HEAD = ("A_log", "D", "dt_bias", "bonus")  # parameters, the same for all sequences


class GivenWrites(seqmem.AbstractFastWeightCell):
    """A cell whose inputs are a query and a write, and whose outputs are the readings."""

    learned: Memory
    write_axes: int = eqx.field(static=True)

    @property
    def input_shape(self) -> Any:
        return (None, None), (None,) * self.write_axes

    def init_state(self):
        return self.learned

    def project(self, x):
        query, write = x
        return write._replace(query=query), None

    def output(self, reading, extra):
        return reading


def linear(query, key, value, log_decay=None):
    return Write(scaled(query), key, value, log_decay)


def delta(query, key, value, beta, log_decay=None):
    remove = beta * key if log_decay is None else beta * jnp.exp(log_decay) * key
    return Write(scaled(query), key, beta * value, log_decay, remove)


def oja(query, key, value, beta, log_decay):
    """The delta rule of the transposed memory."""
    return delta(query, value, key, beta, log_decay)._replace(reading=seqmem.Transposed())


def scaled(query):
    return query * query.shape[-1] ** -0.5


def delta_product(query, keys, values, betas, log_decay=None):
    """Without the scale of the query; in their layout the writes of a step follow in time."""

    def of_steps(array):  # [batch, time · writes, heads, ...] as [batch, time, heads, writes, ...]
        steps = array.reshape(array.shape[0], query.shape[1], -1, *array.shape[2:])
        return jnp.moveaxis(steps, 2, 3)

    key, value, beta = map(of_steps, (keys, values, betas[..., None]))
    if log_decay is None:
        return Write(query, key, beta * value, remove=beta * key)
    later = jnp.zeros((*beta.shape[:3], beta.shape[3] - 1, 1))
    decay = jnp.concatenate([log_decay[..., None, None], later], 3)
    return Write(query, key, beta * value, decay, beta * jnp.exp(decay) * key)


def mlstm(query, key, value, input_gate, forget_gate):
    value = jnp.concatenate([value, jnp.ones_like(value[..., :1])], -1)
    write = linear(query, key, value, jax.nn.log_sigmoid(forget_gate)[..., None])
    return write._replace(log_gain=input_gate[..., None])


def normalised(reading, *_):
    y, m = reading
    return y[..., :-1] / jnp.maximum(jnp.abs(y[..., -1:]), jnp.exp(-m))


def qwen3_next(query, key, value, log_decay, beta):
    def unit(array):
        return array / jnp.sqrt(jnp.sum(array**2, -1, keepdims=True) + 1e-6)

    return delta(unit(query), unit(key), value, beta, log_decay)


def mamba2(value, dt, A_log, B, C, D, dt_bias):
    """The heads share keys and queries."""
    dt = jax.nn.softplus(dt + dt_bias)[..., None]
    return Write(C[..., None, :], B[..., None, :], dt * value, -jnp.exp(A_log)[:, None] * dt)


def gated_delta_2(query, key, value, log_decay, erase_gate, write_gate):
    remove = erase_gate * jnp.exp(log_decay) * key
    return Write(scaled(query), key, write_gate * value, log_decay, remove)


def comba(query, key, value, feedback, beta, log_decay):
    """The removed value is read before the decay."""
    beta = beta[..., None]
    return Write(scaled(query), key, beta * value, log_decay[..., None], beta * feedback)


def comba_after_decay(query, key, value, feedback, beta, log_decay):
    return comba(query, key, value, jnp.exp(log_decay)[..., None] * feedback, beta, log_decay)


def rwkv6(query, key, value, log_decays, bonus):
    reads_before = jnp.ones((*query.shape[:2], 1, 1))
    return Write(scaled(query), key, value, log_decays, reads_before=reads_before)


class Reference(NamedTuple):
    """The write, memory and outputs of ours that correspond to their inputs, states and outputs."""

    write: Callable  # from their inputs
    inputs: tuple[str, ...]
    states: tuple[str, ...] = ("state",)
    memory: Callable = lambda state: Memory(state.mT)
    states_of: Callable = lambda memory: (memory.matrix.mT,)
    outputs: Callable = lambda reading, *inputs: reading


def per_head(fn):
    """`fn`, whose inputs after query, key and value have one number per head."""
    return lambda *inputs: fn(*inputs[:3], *(array[..., None] for array in inputs[3:]))


QKV = ("query", "key", "value")
PRODUCTS = ("query", "keys", "values", "betas")
REFERENCES = {
    "delta rule": Reference(per_head(delta), (*QKV, "beta")),
    "gated delta rule": Reference(per_head(delta), (*QKV, "beta", "log_decay")),
    "simple GLA": Reference(per_head(linear), (*QKV, "log_decay")),
    "GLA": Reference(linear, (*QKV, "log_decays")),
    "HGRN2": Reference(
        lambda q, v, g: linear(q, -jnp.expm1(g), v, g), ("query", "value", "log_decays")
    ),
    "KDA": Reference(
        lambda q, k, v, g, beta: delta(q, k, v, beta[..., None], g), (*QKV, "log_decays", "beta")
    ),
    "DPLR": Reference(
        lambda q, k, v, a, b, g: Write(scaled(q), k, v, g, remove=-a, erase=b),
        (*QKV, "a", "b", "log_decays"),
    ),
    "RWKV-7": Reference(
        lambda q, g, k, v, kk, rate: Write(scaled(q), k, v, g, remove=kk, erase=kk * rate),
        ("query", "log_decays", "key", "value", "kk", "rate"),
    ),
    "GDN-2": Reference(gated_delta_2, (*QKV, "log_decays", "erase_gate", "write_gate")),
    "Comba": Reference(comba_after_decay, (*QKV, "feedback", "beta", "log_decay")),
    "Comba, before the decay": Reference(comba, (*QKV, "feedback", "beta", "log_decay")),
    "RWKV-6": Reference(
        rwkv6,
        (*QKV, "log_decays", "bonus"),
        memory=lambda state: Memory(jnp.concatenate([state.mT, 0 * state.mT[..., :1]], -1)),
        states_of=lambda memory: (memory.matrix[..., :-1].mT,),
        outputs=lambda reading, q, k, v, g, u: (
            reading + (scaled(q) * u * k).sum(-1, keepdims=True) * v
        ),
    ),
    "gated Oja rule": Reference(
        lambda q, k, v, beta, g: oja(q, k, v, beta[..., None], g),
        ("query", "key", "unit value", "beta", "value log_decays"),
        memory=Memory,
        states_of=lambda memory: (memory.matrix,),
    ),
    "DeltaProduct": Reference(delta_product, PRODUCTS),
    "gated DeltaProduct": Reference(delta_product, (*PRODUCTS, "log_decay")),
    "mLSTM": Reference(
        mlstm,
        (*QKV, "input_gate", "forget_gate"),
        states=("state", "n", "m"),
        memory=lambda c, n, m: Memory(jnp.concatenate([c.mT, n[..., None, :]], -2), m),
        states_of=lambda end: (end.matrix[..., :-1, :].mT, end.matrix[..., -1, :], end.log_scale),
        outputs=normalised,
    ),
    "Qwen3-Next": Reference(per_head(qwen3_next), (*QKV, "log_decay", "beta")),
    "Mamba-2": Reference(
        mamba2,
        ("value", "dt", "A_log", "B", "C", "D", "dt_bias"),
        states=("ssm_state",),
        memory=Memory,
        states_of=lambda memory: (memory.matrix,),
        outputs=lambda reading, value, *inputs: reading + inputs[4][:, None] * value,
    ),
}
QUICK = {"KDA"}
every_reference = pytest.mark.parametrize("name", slow_but(QUICK, REFERENCES))
every_method = pytest.mark.parametrize("method", METHODS, ids=repr)


def run(reference, method, inputs, states=None):
    """Our outputs and final states in their layout, from their inputs and initial states."""
    write = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 1, 0), reference.write(*inputs))
    zeros = (jnp.zeros_like(REFERENCE[name]) for name in reference.states)
    cell = GivenWrites(reference.memory(*zeros), write.key.ndim - 2)
    start = cell.init_state() if states is None else reference.memory(*states)
    xs = write.query, write._replace(query=None)
    memory, readings = seqmem.unroll(cell, start, xs, method=method)
    readings = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, 1), readings)
    return reference.outputs(readings, *inputs), reference.states_of(memory)


def theirs(name, *, sequences=slice(None)):
    outputs, *finals = (
        REFERENCE[f"{name}: {key}"][sequences]
        for key in ("outputs", *(f"final {state}" for state in REFERENCES[name].states))
    )
    return outputs, tuple(finals)


def after_zeros(*arrays):
    return tuple(jnp.stack([jnp.zeros_like(array), array]) for array in arrays)


def assert_same(ours, expected):
    assert jax.tree.structure(ours) == jax.tree.structure(expected)
    for got, want in zip(jax.tree.leaves(ours), jax.tree.leaves(expected), strict=True):
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-12)


@pytest.mark.usefixtures("float64")
@every_reference
def test_outputs_from_an_empty_memory_match_the_reference(name):
    method = seqmem.Parallel(chunk_size=16)
    reference, first = REFERENCES[name], slice(1)
    inputs = [
        REFERENCE[key] if key in PER_HEAD else REFERENCE[key][first] for key in reference.inputs
    ]
    ours = jax.jit(lambda *inputs: run(reference, method, inputs))(*inputs)
    assert_same(ours, theirs(name, sequences=first))


@pytest.mark.usefixtures("float64")
@every_method
@every_reference
def test_outputs_and_gradients_match_the_reference(name, method):
    """The first sequence starts from an empty memory; the gradients are of the second alone."""
    reference = REFERENCES[name]
    inputs = tuple(REFERENCE[key] for key in reference.inputs)
    states = after_zeros(*(REFERENCE[key] for key in reference.states))
    weights = (
        *after_zeros(REFERENCE["weight"]),
        after_zeros(*(REFERENCE[f"weight of {key}"] for key in reference.states)),
    )

    @jax.jit
    def compute(inputs, states):
        ours, pull = jax.vjp(lambda *arguments: run(reference, method, *arguments), inputs, states)
        return ours, pull(weights)

    ours, (by_inputs, by_states) = compute(inputs, states)
    assert_same(ours, theirs(name))
    gradients = zip((*reference.inputs, *reference.states), (*by_inputs, *by_states), strict=True)
    for key, gradient in gradients:
        expected = REFERENCE[f"{name}: gradient of {key}"]
        if key not in PER_HEAD:
            (expected,) = after_zeros(expected)
        assert_same(gradient, expected)
