"""unroll refuses what does not fit before it traces the cell, and says why in three parts."""

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
    """A cell with neither size nor parameters, whose input is a token and a vector."""

    input_axes: ClassVar = {"token": 0, "vector": 1}

    def init_state(self):
        return jnp.zeros(HIDDEN)

    def project(self, x):
        return x["vector"] @ jnp.zeros((INPUT, HIDDEN)) + x["token"].astype(jnp.float32)

    def update(self, h, u):
        raise AssertionError("traced before it was refused")

    def readout(self, h, u):
        raise AssertionError("traced before it was refused")


def unrolled(**changes):
    """The arguments of a call that is right, but for some changes."""
    return {"cell": CELL, "state": STATE, "xs": XS} | changes


def tokens(**xs):
    fitting = {"token": jnp.zeros((TIME, BATCH), jnp.int32), "vector": XS}
    return {"cell": Tokens(), "state": Tokens().init_state(), "xs": fitting | xs}


def state(**leaves):
    return STATE._replace(**leaves)


REFUSED = {
    "a class": (unrolled(cell=seqmem.LSTM), "cell of type .*instance of seqmem.AbstractCell"),
    "parameters": (unrolled(cell={"W": XS}), "cell of type dict.*instance of seqmem.AbstractCell"),
    "a method by name": (unrolled(method="scan"), "method='scan'.*instance of a method"),
    "a class of methods": (unrolled(method=seqmem.Scan), "method=.*instance of a method"),
    "chunk of nothing": (unrolled(remat_every=0), "remat_every=0.*at least 1"),
    "chunk of a half": (unrolled(remat_every=3.5), r"remat_every=3\.5.*at least 1"),
    "chunk of truth": (unrolled(remat_every=True), "remat_every=True.*at least 1"),
    "one step": (unrolled(xs=XS[0, 0]), r"shape \(2,\).*at least 2 axes"),
    "no input": (unrolled(xs=()), "xs.*tree|xs holds no array"),
    "features elsewhere": (
        unrolled(xs=jnp.swapaxes(XS, 0, 2)),
        r"7 entries in one input.*2, the cell's",
    ),
    "whole numbers": (unrolled(xs=XS.astype(jnp.int32)), "xs is int32.*floating point"),
    "another tree": (tokens() | {"xs": [XS]}, "xs is a tree.*begins like the cell's input_axes"),
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
    "half a state": (unrolled(state=STATE.h), "state is a tree.*the tree of the cell's init_state"),
    "a state of another size": (
        unrolled(state=state(c=jnp.zeros(HIDDEN + 1))),
        r"state\.c has shape \(6,\).*\(5,\) or \(3, 5\); nothing else broadcasts",
    ),
    "a state of one example": (
        unrolled(state=state(h=jnp.zeros((1, HIDDEN)))),
        r"state\.h has shape \(1, 5\).*nothing else broadcasts",
    ),
    "batch behind the state": (
        unrolled(state=state(h=jnp.zeros((HIDDEN, BATCH)))),
        r"state\.h has shape \(5, 3\).*nothing else broadcasts",
    ),
    "a narrow state": (
        unrolled(state=state(h=STATE.h.astype(jnp.bfloat16))),
        r"state\.h is bfloat16.*float32, as cell.init_state\(\) says",
    ),
    "perturbations without time": (
        unrolled(perturbations=jax.tree.map(lambda s: jnp.zeros((BATCH, *s.shape)), STATE)),
        r"perturbations\.h has shape \(3, 5\).*\(7, 3, 5\)",
    ),
    "a perturbation for all": (
        unrolled(perturbations=STATE),
        r"perturbations\.h has shape \(5,\).*\(7, 3, 5\)",
    ),
    "perturbations of another tree": (
        unrolled(perturbations=XS),
        "perturbations is a tree.*init_state",
    ),
    "one length for all": (
        unrolled(lengths=jnp.array(4)),
        r"lengths is int32 of shape \(\).*\(3,\)",
    ),
    "a length too many": (unrolled(lengths=jnp.arange(4)), r"of shape \(4,\).*\(3,\)"),
    "half a length": (unrolled(lengths=jnp.array([1.5, 2, 3])), "lengths is float32.*integers"),
    "a length beyond": (
        unrolled(lengths=jnp.array([TIME, TIME + 1, 0])),
        "between 0 and 8.*0 <= length <= 7",
    ),
    "a negative length": (unrolled(lengths=np.array([2, -1, 0])), "between -1 and 2.*0 <= length"),
    "resets without batch": (
        unrolled(resets=jnp.zeros(TIME, bool)),
        r"resets is bool of shape \(7,\).*booleans of shape \(7, 3\)",
    ),
    "two arrays of inputs": (
        unrolled(xs=(XS, XS)),
        r"xs is a tree.*one array \[time, \*batch, 2\]",
    ),
    "inputs in lists": (unrolled(xs=XS.tolist()), r"xs\[0\].* is of type float.*arrays"),
    "lengths in a list": (unrolled(lengths=[7, 4, 0]), r"lengths\[0\] is of type int.*arrays"),
    "resets in lists": (
        unrolled(resets=[[False] * BATCH] * TIME),
        r"resets\[0\]\[0\] is of type bool.*arrays",
    ),
    "a state of numbers": (unrolled(state=state(c=0.0)), r"state\.c is of type float.*arrays"),
    "resets, batch first": (unrolled(resets=jnp.zeros((BATCH, TIME), bool)), r"\(3, 7\).*\(7, 3\)"),
    "resets in numbers": (
        unrolled(resets=jnp.zeros((TIME, BATCH), jnp.int32)),
        r"resets is int32.*booleans",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_does_not_fit_is_refused_in_three_parts(what):
    arguments, sentence = REFUSED[what]
    with pytest.raises(ValueError, match="Expected: ") as refusal:
        seqmem.unroll(**arguments)
    came, expected, remedy = str(refusal.value).split("\n  ")
    assert came.endswith(".")
    assert expected.startswith("Expected: ")
    assert remedy.startswith("What to do: ")
    assert re.search(sentence, str(refusal.value), re.DOTALL), str(refusal.value)


def test_wider_inputs_than_parameters_are_refused():
    with jax.enable_x64(True):
        xs = jnp.zeros((TIME, INPUT), jnp.float64)
    with pytest.raises(ValueError, match=r"(?s)xs is float64.*no wider.*What to do"):
        seqmem.unroll(CELL, STATE, xs)


@pytest.mark.parametrize("options", [{"gradient": "bppt"}, {"block": 0}])
def test_a_scan_that_makes_no_sense_is_refused(options):
    with pytest.raises(ValueError, match=r"(?s)Scan\(.*Expected: .*What to do: "):
        seqmem.Scan(**options)
