"""`unroll` refuses arguments that do not fit before it traces the cell, in three parts."""

import re
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem

TIME, BATCH, INPUT, HIDDEN = 7, 3, 2, 5
CELL = seqmem.LSTM(INPUT, HIDDEN, key=jax.random.key(0))
STATE = CELL.init_state()
XS = jnp.zeros((TIME, BATCH, INPUT))


class Tokens(seqmem.AbstractCell):
    """A cell without sizes or parameters, whose input is a token and a vector."""

    input_shape: ClassVar = {"token": (), "vector": (None,)}

    def init_state(self):
        return jnp.zeros(HIDDEN)

    def project(self, x):
        return x["vector"] @ jnp.zeros((INPUT, HIDDEN)) + x["token"].astype(jnp.float32)

    def update(self, h, u):
        raise AssertionError("traced before it was refused")

    def readout(self, h, u):
        raise AssertionError("traced before it was refused")


def call(**changes):
    """Arguments that fit, with some of them changed."""
    return {"cell": CELL, "state": STATE, "xs": XS} | changes


def tokens(**xs):
    fitting = {"token": jnp.zeros((TIME, BATCH), jnp.int32), "vector": XS}
    return {"cell": Tokens(), "state": Tokens().init_state(), "xs": fitting | xs}


def state(**leaves):
    return STATE._replace(**leaves)


REFUSED = {
    "a class": (
        call(cell=seqmem.LSTM),
        "the class LSTM.*instance of seqmem.AbstractCell",
    ),
    "parameters": (call(cell={"W": XS}), "a dict as its cell.*instance of seqmem.AbstractCell"),
    "a method by name": (call(method="scan"), "method='scan'.*instance of a method"),
    "a class of methods": (call(method=seqmem.Scan), "method=.*instance of a method"),
    "remat_every of zero": (call(remat_every=0), "remat_every=0.*at least 1"),
    "remat_every of a half": (call(remat_every=3.5), r"remat_every=3\.5.*at least 1"),
    "remat_every of a boolean": (call(remat_every=True), "remat_every=True.*at least 1"),
    "one step": (call(xs=XS[0, 0]), r"shape \(2,\).*at least 2 axes"),
    "no input": (call(xs=()), "xs.*tree|xs holds no array"),
    "features elsewhere": (
        call(xs=jnp.swapaxes(XS, 0, 2)),
        r"one input has shape \(7,\).*\(2,\), the cell's input_shape",
    ),
    "integers": (call(xs=XS.astype(jnp.int32)), "xs is int32.*floating point"),
    "another tree": (tokens() | {"xs": [XS]}, "xs is a tree.*begins like the cell's input_shape"),
    "leaves of other times": (
        tokens(token=jnp.zeros((TIME + 1, BATCH), jnp.int32)),
        r"disagree on time and batch.*same \(time, \*batch\)",
    ),
    "a leaf without batch": (
        tokens(token=jnp.zeros(TIME, jnp.int32)),
        r"disagree on time and batch.*same \(time, \*batch\)",
    ),
    "an input that is not projected": (
        tokens(vector=jnp.zeros((TIME, BATCH, INPUT + 1))),
        "Tokens.project refused one input.*that the cell can project",
    ),
    "a part of a state": (
        call(state=STATE.h),
        "state is a tree.*tree of the cell's init_state",
    ),
    "a state of another size": (
        call(state=state(c=jnp.zeros(HIDDEN + 1))),
        r"state\.c has shape \(6,\).*\(5,\) or \(3, 5\); nothing else broadcasts",
    ),
    "a state of one example": (
        call(state=state(h=jnp.zeros((1, HIDDEN)))),
        r"state\.h has shape \(1, 5\).*nothing else broadcasts",
    ),
    "batch axes after the state's": (
        call(state=state(h=jnp.zeros((HIDDEN, BATCH)))),
        r"state\.h has shape \(5, 3\).*nothing else broadcasts",
    ),
    "a narrow state": (
        call(state=state(h=STATE.h.astype(jnp.bfloat16))),
        r"state\.h is bfloat16.*float32, as cell.init_state\(\) says",
    ),
    "perturbations without time": (
        call(perturbations=jax.tree.map(lambda s: jnp.zeros((BATCH, *s.shape)), STATE)),
        r"perturbations\.h has shape \(3, 5\).*\(7, 3, 5\)",
    ),
    "a perturbation for all steps": (
        call(perturbations=STATE),
        r"perturbations\.h has shape \(5,\).*\(7, 3, 5\)",
    ),
    "perturbations of another tree": (
        call(perturbations=XS),
        "perturbations is a tree.*init_state",
    ),
    "one length for all sequences": (
        call(lengths=jnp.array(4)),
        r"lengths is int32 of shape \(\).*\(3,\)",
    ),
    "a length too many": (call(lengths=jnp.arange(4)), r"of shape \(4,\).*\(3,\)"),
    "half a length": (call(lengths=jnp.array([1.5, 2, 3])), "lengths is float32.*integers"),
    "a length beyond the time": (
        call(lengths=jnp.array([TIME, TIME + 1, 0])),
        "between 0 and 8.*0 <= length <= 7",
    ),
    "a negative length": (call(lengths=np.array([2, -1, 0])), "between -1 and 2.*0 <= length"),
    "resets without batch": (
        call(resets=jnp.zeros(TIME, bool)),
        r"resets is bool of shape \(7,\).*booleans of shape \(7, 3\)",
    ),
    "two arrays of inputs": (
        call(xs=(XS, XS)),
        r"xs is a tree.*one array \[time, \*batch, 2\]",
    ),
    "inputs in lists": (call(xs=XS.tolist()), r"xs\[0\].* is of type float.*arrays"),
    "lengths in a list of halves": (call(lengths=[7, 4, 0.5]), "lengths is float64.*integers"),
    "too few lengths in a list": (call(lengths=[7, 4]), r"of shape \(2,\).*\(3,\)"),
    "a length beyond the time in a list": (
        call(lengths=[7, 8, 0]),
        "between 0 and 8.*0 <= length <= 7",
    ),
    "a mask without batch": (
        call(mask=jnp.ones(TIME, bool)),
        r"mask is bool of shape \(7,\).*booleans of shape \(7, 3\)",
    ),
    "a mask of numbers": (call(mask=jnp.ones((TIME, BATCH))), "mask is float32.*booleans"),
    "resets in lists": (
        call(resets=[[False] * BATCH] * TIME),
        r"resets\[0\]\[0\] is of type bool.*arrays",
    ),
    "a state of numbers": (call(state=state(c=0.0)), r"state\.c is of type float.*arrays"),
    "resets, batch first": (call(resets=jnp.zeros((BATCH, TIME), bool)), r"\(3, 7\).*\(7, 3\)"),
    "resets in numbers": (
        call(resets=jnp.zeros((TIME, BATCH), jnp.int32)),
        r"resets is int32.*booleans",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_unroll_refuses_arguments_in_three_parts(case):
    arguments, sentence = REFUSED[case]
    with pytest.raises(ValueError, match="Expected: ") as refusal:
        seqmem.unroll(**arguments)
    came, expected, remedy = str(refusal.value).split("\n  ")
    assert came.endswith(".")
    assert expected.startswith("Expected: ")
    assert remedy.startswith("What to do: ")
    assert re.search(sentence, str(refusal.value), re.DOTALL), str(refusal.value)


def test_unroll_refuses_float64_arrays_of_jax_for_a_float32_cell():
    with jax.enable_x64(True):
        xs = jnp.zeros((TIME, INPUT), jnp.float64)
    with pytest.raises(ValueError, match=r"(?s)xs is float64.*no wider.*What to do"):
        seqmem.unroll(CELL, STATE, xs)


@pytest.mark.parametrize("options", [{"recompute": "yes"}, {"tile": 0}, {"tile": 2.5}])
def test_scan_refuses_settings_out_of_range(options):
    with pytest.raises(ValueError, match=r"(?s)Scan got .*Expected: .*What to do: "):
        seqmem.Scan(**options)
