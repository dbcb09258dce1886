"""cuDNN's LSTM under `Fused`, with the reference of `jax.experimental.rnn` in the kernel's place.

The stand-in is a primitive without rules for derivatives and batching, as cuDNN's is.
"""

import functools

import jax
import jax.numpy as jnp
import pytest
from jax.experimental import rnn
from jax.extend.core import Primitive
from jax.interpreters import mlir

import seqmem
from seqmem._methods.fused import cudnn_lstm

TIME, BATCH, INPUT, UNITS = 7, 5, 2, 11
KEY = jax.random.key(0)
METHOD = seqmem.Fused("float32")
CALLS: list[jax.lax.Precision] = []


def opaque(function):
    """A function as a primitive that JAX can neither differentiate nor map."""
    primitive = Primitive(function.__name__)
    primitive.multiple_results = True
    lower = mlir.lower_fun(lambda *args: jax.tree.leaves(function(*args)), True)
    mlir.register_lowering(primitive, lower)

    def abstract(*avals):
        shapes = [jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in avals]
        leaves = jax.tree.leaves(jax.eval_shape(function, *shapes))
        return [jax.core.ShapedArray(leaf.shape, leaf.dtype) for leaf in leaves]

    primitive.def_abstract_eval(abstract)
    return primitive


def reference(x, h, c, weights, lengths):
    units = h.shape[-1]
    parts = rnn.unpack_lstm_weights(weights, x.shape[-1], units, 1, False)
    return rnn.lstm_ref(x, h, c, *parts, lengths, x.shape[-1], units, 1, 0.0, False)


def pull_back(x, h, c, weights, lengths, *d_results):
    run = functools.partial(reference, lengths=lengths)
    return jax.vjp(run, x, h, c, weights)[1](d_results)


FORWARD, BACKWARD = opaque(reference), opaque(pull_back)


def lstm_fwd(x, h, c, weights, lengths, *sizes):
    assert lengths.dtype == jnp.int32
    assert sizes[:-1] == (x.shape[-1], h.shape[-1], 1, 0.0, False)
    CALLS.append(sizes[-1])
    results = tuple(FORWARD.bind(x, h, c, weights, lengths))
    reserve = jnp.where((lengths >= 1).all(), jnp.ones(3), jnp.nan)
    return results, (x, h, c, weights, lengths, results[0], reserve)


def lstm_bwd(*args):
    *_, (x, h, c, weights, lengths, _, reserve), d_results = args
    gradients = BACKWARD.bind(x, h, c, weights, lengths, *d_results)
    return *(gradient * reserve[0] for gradient in gradients), jnp.zeros_like(lengths)


@pytest.fixture
def stand_in(monkeypatch):
    """A program for a GPU, on which the stand-in runs in place of cuDNN."""
    monkeypatch.setattr(cudnn_lstm, "_refusal_of_device", lambda: None)
    monkeypatch.setattr(rnn, "lstm_fwd", lstm_fwd)
    monkeypatch.setattr(rnn, "lstm_bwd", lstm_bwd)
    CALLS.clear()
    with seqmem.target_platform("gpu"):
        yield


def make(make_cell=seqmem.LSTM, units=UNITS, dtype=jnp.float32):
    cell = make_cell(INPUT, units, key=KEY)
    return jax.tree.map(lambda leaf: leaf.astype(dtype), cell)


def draw(*shape):
    return jax.random.normal(jax.random.key(1), shape)
