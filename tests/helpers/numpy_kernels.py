"""A correct kernel of each rule in NumPy, and an op of it with a fault.

A fault is `fault(run, arrays, cotangents) -> (o, state, gradients)`, where `run` of the same
arguments is the correct kernel. Arrays are [time, batch, heads, ...].
"""

import numpy as np

from seqmem._testing.ops.recurrence import Marks
from seqmem._testing.ops.rules import RULES
from seqmem.testing import KernelOp, NumpyFunction

KEY_SIZE, CHUNK = 3, 4
MARKS = ("lengths", "resets", "segment_ids", "cu_seqlens")


def marks_of(arrays):
    """The starts and the padding of the flags among the arguments."""
    time, batch = arrays["q"].shape[:2]
    starts, lengths = np.zeros((time, batch), bool), np.full(batch, time)
    if "resets" in arrays:
        starts = arrays["resets"]
    if "segment_ids" in arrays:
        starts[1:] = np.diff(arrays["segment_ids"], axis=0) != 0
    lengths = arrays.get("lengths", lengths)
    return Marks(starts, np.arange(time)[:, None] >= lengths)


def correct(rule, scale=KEY_SIZE**-0.5):
    """The correct kernel of a rule, of one or several sequences in one batch entry."""

    def run(arrays, cotangents):
        rule_arrays = {name: arrays[name].astype(float) for name in RULES[rule].inputs}
        marks = marks_of(arrays)
        # Padding is never read.
        for name, leaf in rule_arrays.items():
            mask = marks.is_padding.reshape(marks.is_padding.shape + (1,) * (leaf.ndim - 2))
            rule_arrays[name] = np.where(mask, 0, leaf)
        state = arrays.get("initial_state")
        state = state if state is None else (state.astype(float),)
        d_o, d_state = cotangents
        kernel = RULES[rule].evaluate(rule_arrays, state, marks, scale, (d_o, (d_state,)))
        gradients = dict(kernel.gradients)
        if state is not None:
            gradients["initial_state"] = gradients["initial_state"][0]
        return kernel.outputs, kernel.state[0], gradients

    def run_each(arrays, cotangents):
        if "cu_seqlens" not in arrays:
            return run(arrays, cotangents)
        ends = arrays["cu_seqlens"]
        results = []
        for i in range(len(ends) - 1):
            steps = slice(ends[i], ends[i + 1])
            one = {name: arrays[name][steps] for name in RULES[rule].inputs}
            if "initial_state" in arrays:
                one["initial_state"] = arrays["initial_state"][i : i + 1]
            results.append(run(one, (cotangents[0][steps], cotangents[1][i : i + 1])))
        outputs, states, gradients = zip(*results, strict=True)
        joined = {name: np.concatenate([each[name] for each in gradients]) for name in gradients[0]}
        return np.concatenate(outputs), np.concatenate(states), joined

    return run_each


def kernel_op(fault, rule="gated_delta", **fields):
    """An op of a correct kernel with a fault."""
    run = correct(rule)

    def evaluate(arrays, cotangents):
        with np.errstate(all="ignore"):
            o, state, gradients = fault(run, arrays, cotangents)
        dtype = arrays["v"].dtype
        o = o if o.dtype != np.float64 else o.astype(dtype)
        state = state if state.dtype != np.float64 else state.astype(np.float32)
        gradients = {name: leaf.astype(arrays[name].dtype) for name, leaf in gradients.items()}
        return o, state, gradients

    def forward(**arrays):
        _, batch, heads, key = arrays["k"].shape
        if "cu_seqlens" in arrays:
            batch = len(arrays["cu_seqlens"]) - 1
        zeros = np.zeros(arrays["v"].shape), np.zeros((batch, heads, key, arrays["v"].shape[-1]))
        return evaluate(arrays, zeros)[:2]

    def vjp(arrays, cotangents):
        return evaluate(arrays, cotangents)[2]

    fields = {"layout": "TBHD", "chunk_size": CHUNK} | fields
    return KernelOp(NumpyFunction(forward, vjp), rule, **fields)


def without(arrays, name):
    return {other: leaf for other, leaf in arrays.items() if other != name}


def has_no_fault(run, arrays, d):
    return run(arrays, d)
