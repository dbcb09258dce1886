"""What a newcomer from another library tries: refused with the line to write, or it works."""

import inspect
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem.layers import Stack, deep
from tests.helpers.refusals import THREE_PARTS

TIME, BATCH, INPUT, HIDDEN = 7, 3, 2, 5
KEY = jax.random.key(0)
LSTM = seqmem.LSTM(INPUT, HIDDEN, key=KEY)
GRU = seqmem.GRU(INPUT, HIDDEN, key=KEY)
XS = np.zeros((TIME, BATCH, INPUT), np.float32)
BATCH_FIRST = np.zeros((BATCH, TIME, INPUT), np.float32)
STATE = LSTM.init_state(BATCH)
LENGTHS = np.array([7, 4, 0])


class Tensor:
    """What a tensor of PyTorch is to JAX: an object of another library."""

    __module__ = "torch"


def unroll(*args, **options):
    return lambda: seqmem.unroll(*args, **options)


def on_xs(**options):
    return lambda: seqmem.unroll(LSTM, None, XS, **options)


CONSTRUCTION = {
    "no key": (
        lambda: seqmem.LSTM(3, 64),
        "seqmem.LSTM(3, 64): missing a required",
        "argument: 'key'.",
        "seqmem.LSTM(input_size, hidden_size, *, forget_bias=1.0, recurrent=None, key).",
        "write seqmem.LSTM(3, 64, key=jax.random.key(0)).",
    ),
    "neither a size nor a key": (
        lambda: seqmem.LSTM(3),
        "write seqmem.LSTM(3, hidden_size=..., key=jax.random.key(0)).",
    ),
    "too many sizes": (lambda: seqmem.LSTM(3, 64, 2), "too many", "see help(seqmem.LSTM)."),
    "no key for a network": (
        lambda: deep(seqmem.LSTM, 3, 64, num_layers=2),
        "write seqmem.layers.deep(seqmem.LSTM, 3, 64, num_layers=2, key=jax.random.key(0)).",
    ),
    "no key for a block": (
        lambda: seqmem.blocks.mamba_block(3, 6),
        "write seqmem.blocks.mamba_block(3, 6, key=jax.random.key(0)).",
    ),
    "a key by position": (
        lambda: seqmem.LSTM(3, 64, KEY),
        "pass the key by its name: seqmem.LSTM(3, 64, key=key).",
    ),
    "an old key by position": (
        lambda: seqmem.GRU(3, 64, np.zeros(2, np.uint32)),
        "pass the key by its name: seqmem.GRU(3, 64, key=key).",
    ),
    "a seed": (
        lambda: seqmem.LSTM(3, 64, key=42),
        "seqmem.LSTM got key=42.",
        "write seqmem.LSTM(3, 64, key=jax.random.key(42)).",
    ),
    "a seed for a network": (
        lambda: deep(seqmem.LSTM, 3, 64, key=1),
        "write seqmem.layers.deep(seqmem.LSTM, 3, 64, key=jax.random.key(1)).",
    ),
    "None for a key": (
        lambda: seqmem.MinGRU(3, 64, key=None),
        "got key=None",
        "write seqmem.MinGRU(3, 64, key=jax.random.key(0)).",
    ),
    "several keys": (
        lambda: seqmem.LSTM(3, 64, key=jax.random.split(KEY)),
        "got key=<key<fry> of shape (2,)>",
        "key=keys[0]",
    ),
    "several old keys": (
        lambda: seqmem.LSTM(3, 64, key=np.zeros((3, 2), np.uint32)),
        "got key=<uint32 of shape (3, 2)>",
        "key=keys[0]",
    ),
    "layers as in PyTorch": (
        lambda: seqmem.LSTM(3, 64, num_layers=2, dropout=0.1, key=KEY),
        "write seqmem.layers.deep(seqmem.LSTM, 3, 64, dropout=0.1, num_layers=2, key=key).",
    ),
    "batch first as in PyTorch": (
        lambda: seqmem.GRU(3, 64, batch_first=True, key=KEY),
        "leave it out, and pass xs with time first: jax.numpy.swapaxes(xs, 0, 1).",
    ),
    "a misspelt size": (
        lambda: seqmem.GRU(3, hiden_size=64, key=KEY),
        "write hidden_size= in place of hiden_size=.",
    ),
    "an option of another cell": (
        lambda: seqmem.GRU(3, 64, rngs=1, key=KEY),
        "leave rngs= out.",
    ),
    "a size of half": (
        lambda: seqmem.LSTM(3, 64.0, key=KEY),
        "LSTM got hidden_size=64.0.",
        "a whole number, at least 1.",
    ),
    "a size of zero": (lambda: seqmem.LSTM(3, 0, key=KEY), "hidden_size=0", "at least 1"),
    "layers without a list": (
        lambda: Stack(LSTM, GRU),
        "write seqmem.layers.Stack([<LSTM>, <GRU>]).",
    ),
    "one layer without a list": (lambda: Stack(LSTM), "write seqmem.layers.Stack([layer])."),
    "a class in a stack": (
        lambda: Stack([seqmem.LSTM]),
        "Stack got seqmem.LSTM among its layers.",
        "make an instance first: seqmem.LSTM(..., key=jax.random.key(0)).",
    ),
    "a cell for its class": (
        lambda: deep(LSTM, 3, 64, key=KEY),
        "seqmem.layers.deep got <LSTM> as its cell_type.",
        "write seqmem.layers.deep(seqmem.LSTM, 3, 64, key=key).",
    ),
    "a name for a class": (
        lambda: deep("LSTM", 3, 64, key=KEY),
        "seqmem.layers.deep got 'LSTM'",
        "write seqmem.layers.deep(seqmem.LSTM, 3, 64, key=key).",
    ),
    "no layer": (lambda: deep(seqmem.LSTM, 3, 64, num_layers=0, key=KEY), "num_layers=0"),
}
STEPS = {
    "a call as in PyTorch": (
        lambda: LSTM(XS),
        "cell(<float32 of shape (7, 3, 2)>): missing a required argument: 'x'.",
        "write state, y = cell(state, x)",
        "state, ys = seqmem.unroll(cell, None, xs)",
    ),
    "a mapped call as in Flax": (lambda: jax.vmap(LSTM)(XS), "seqmem.unroll(cell, None, xs)"),
    "input and state": (
        lambda: LSTM(XS[0, 0], LSTM.init_state()),
        "LSTM got its input first and its state second.",
        "write state, y = cell(state, x).",
    ),
    "input and state of one shape each": (
        lambda: GRU(XS[0, 0], GRU.init_state()),
        "GRU got its input first and its state second.",
    ),
    "a batch": (lambda: LSTM(STATE, XS[0]), "jax.vmap(cell)(states, xs)"),
}
UNROLL = {
    "no state": (
        unroll(LSTM, XS),
        "unroll(<LSTM>, <float32 of shape (7, 3, 2)>): missing a required argument: 'xs'.",
        "write state, ys = seqmem.unroll(cell, None, xs), where None is the initial state.",
    ),
    "no state, and xs by name": (
        unroll(LSTM, xs=XS),
        "write state, ys = seqmem.unroll(cell, None, xs)",
    ),
    "no state in solve": (
        lambda: seqmem.solve(LSTM, XS),
        "write solution = seqmem.solve(cell, None, xs), where None is the initial state.",
    ),
    "no inputs": (
        unroll(LSTM, state=None),
        "write state, ys = seqmem.unroll(cell, state, xs).",
    ),
    "lengths by position": (
        unroll(LSTM, None, XS, LENGTHS),
        "too many positional arguments",
        "all others by their names, such as lengths=lengths.",
    ),
    "another name of lengths": (on_xs(length=LENGTHS), "write lengths= in place of length=."),
    "a class": (
        unroll(seqmem.LSTM, None, XS),
        "make an instance first: seqmem.LSTM(..., key=jax.random.key(0)).",
    ),
    "a method by name": (
        on_xs(method="scan"),
        "method='scan'",
        "write method=seqmem.Scan(), or leave it out.",
    ),
    "a misspelt method": (on_xs(method="quasi_newtn"), "write method=seqmem.QuasiNewton()"),
    "a class of methods": (on_xs(method=seqmem.Parallel), "write method=seqmem.Parallel()."),
    "inputs and state": (
        unroll(LSTM, XS, STATE),
        "unroll got its inputs second and its state third.",
        "write state, ys = seqmem.unroll(cell, state, xs), with None for the initial state.",
    ),
    "inputs and no state": (unroll(LSTM, XS, None), "inputs second and its state third"),
    "a pair (h, c) as in PyTorch": (
        unroll(LSTM, (STATE.h, STATE.c), XS),
        "write seqmem.LSTMState(*state), whose fields are h, c.",
    ),
    "the state of another cell": (
        unroll(LSTM, GRU.init_state(BATCH), XS),
        "start from cell.init_state(), or pass None for the initial state.",
    ),
    "the state of another batch": (
        unroll(LSTM, LSTM.init_state(2), XS),
        "state.h has shape (2, 5).",
        "(5,) or (3, 5)",
    ),
    "a function for the state": (unroll(LSTM, LSTM.init_state, XS), "cell.init_state()."),
    "inputs in lists": (unroll(LSTM, None, XS.tolist()), "one array with jax.numpy.asarray."),
    "a tensor": (
        unroll(LSTM, None, Tensor()),
        "xs is of type Tensor.",
        "write jax.numpy.asarray(tensor.numpy()).",
    ),
    "integers": (
        unroll(LSTM, None, XS.astype(int)),
        "write xs.astype(float), or put a seqmem.layers.Embedding of tokens below the cell.",
    ),
    "one input": (unroll(LSTM, None, XS[0, 0]), "for one step use cell(state, x)."),
    "batch first, as lengths show": (
        unroll(LSTM, None, BATCH_FIRST, lengths=LENGTHS),
        "lengths is int64 of shape (3,).",
        "where xs is [batch, time, ...], pass jax.numpy.swapaxes(xs, 0, 1).",
    ),
    "a batch without time, as lengths show": (
        unroll(LSTM, None, XS[0], lengths=LENGTHS),
        "xs has no batch: it is [time, ...].",
    ),
    "lengths of a float mask": (
        on_xs(lengths=jnp.ones((TIME, BATCH)).sum(0)),
        "lengths is float32 of shape (3,).",
        "write lengths.astype(int).",
    ),
    "a mask for lengths": (
        on_xs(lengths=np.ones((TIME, BATCH), bool)),
        "pass flags of valid steps as mask=.",
    ),
    "lengths beyond the time": (on_xs(lengths=[8, 4, 0]), "between 0 and 8", "<= 7"),
    "negative lengths": (on_xs(lengths=[-1, 4, 0]), "between -1 and 4"),
    "resets, batch first": (
        on_xs(resets=np.zeros((BATCH, TIME), bool)),
        "write resets.T; time comes first.",
    ),
    "resets for all sequences": (
        on_xs(resets=np.zeros(TIME, bool)),
        "jax.numpy.broadcast_to(resets.reshape(-1, 1), (7, 3)).",
    ),
    "resets in numbers": (on_xs(resets=np.zeros((TIME, BATCH))), "write resets.astype(bool)."),
    "a mask in numbers": (on_xs(mask=np.ones((TIME, BATCH))), "write mask.astype(bool)."),
    "every step of none": (on_xs(remat_every=0), "remat_every=0"),
}


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=name) for name, case in (CONSTRUCTION | STEPS | UNROLL).items()],
)
def test_guess_is_refused_with_the_line_to_write(case):
    call, *sentences = case
    with pytest.raises(ValueError, match=THREE_PARTS) as refusal:
        call()
    message = str(refusal.value)
    assert not [sentence for sentence in sentences if sentence not in message], message


def test_remedies_in_code_are_code_that_runs():
    """Where a remedy is a call with all of its arguments, the call works."""
    names = {"seqmem": seqmem, "jax": jax, "key": KEY, "state": (STATE.h, STATE.c)}
    for case in (CONSTRUCTION | UNROLL).values():
        for line in re.findall(r"(?:write|name:) (seqmem\.[^;]*\))", case[-1]):
            if "<" not in line and "layer]" not in line and "64" in line:
                assert isinstance(eval(line, names), seqmem.AbstractLayer)


def test_keys_of_both_kinds_make_the_same_cell():
    cells = [seqmem.LSTM(3, 5, key=make(0)) for make in (jax.random.key, jax.random.PRNGKey)]
    assert (cells[0].W == cells[1].W).all()


def test_cells_are_made_under_vmap_by_a_batch_of_keys():
    cells = jax.vmap(lambda key: seqmem.LSTM(3, 5, key=key))(jax.random.split(KEY, 2))
    assert cells.W.shape == (2, 4, 5, 3)


def test_lengths_in_a_tuple_and_in_one_number_work():
    got = seqmem.unroll(LSTM, None, XS + 1, lengths=(7, 4, 0))[1]
    np.testing.assert_array_equal(got, seqmem.unroll(LSTM, None, XS + 1, lengths=LENGTHS)[1])
    one = seqmem.unroll(LSTM, None, XS[:, 0] + 1, lengths=4)[1]
    np.testing.assert_allclose(one, got[:, 1], rtol=1e-6)


def test_signatures_are_those_that_are_written():
    """Static checkers and `help` see the parameters, not those of a wrapper."""
    assert list(inspect.signature(seqmem.unroll).parameters)[:3] == ["cell", "state", "xs"]
    assert list(inspect.signature(seqmem.LSTM).parameters)[-1] == "key"
    assert list(inspect.signature(LSTM).parameters) == ["state", "x"]
    assert inspect.signature(deep).parameters["num_layers"].default == 1
