"""The laws of several sequences in one call: nothing of one reaches another, nor does padding."""

import dataclasses
import functools
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, PyTree

from ..comparison import EXACT, largest_difference
from .arrays import is_floating
from .case import Case
from .functions import Arguments, Values
from .op import Results
from .subject import Broken, NotOffered, OpSubject

SEQUENCE_FLAGS = ("resets", "segment_ids", "cu_seqlens")


def segments(subject: OpSubject) -> None:
    """A sequence after another in one call matches that sequence by itself; another sequence before
    it changes no bit of it, and gets no gradient from it.
    """
    for flag in _offered(subject):
        case = _case_of(subject, flag)
        subject.check([case], f"sequences that {flag} separates do not match single steps")
        is_later = _is_later(case)
        draw = subject.draw(case)
        other = subject.draw(_reseeded(case)).inputs
        changed = _replace(subject, draw.inputs, other, ~is_later)
        _check_later(
            subject,
            case,
            changed,
            f"with {flag}, a sequence depends on one before it",
        )
        if subject.runner.has_gradients:
            _check_crossing(subject, case)


def nan_across_segments(subject: OpSubject) -> None:
    """NaN in a sequence changes no bit of a later one."""
    for flag in _offered(subject):
        case = _case_of(subject, flag)
        inputs = subject.draw(case).inputs
        with_nan = _replace(subject, inputs, _nan_like(inputs), ~_is_later(case))
        _check_later(subject, case, with_nan, f"with {flag}, NaN reaches a later sequence")


def padding(subject: OpSubject) -> None:
    """A padded sequence matches the sequence by itself, also one without steps; NaN in the padding
    changes no bit of any result.
    """
    if "lengths" not in subject.op.flags:
        raise NotOffered("there is no argument lengths")
    time = 2 * subject.chunk
    lengths = (time - 1, 3, 0)[: 3 if subject.batch > 1 else 1]
    case = subject.case(batch=len(lengths), flag="lengths", lengths=lengths)
    subject.check([case], "padded sequences do not match single steps")
    inputs = subject.draw(case).inputs
    with_nan = dict(inputs)
    for name in subject.op.step_names:
        with_nan[name] = jax.tree.map(
            lambda leaf: _where(case.is_padding, _nan(leaf), leaf), inputs[name]
        )
    difference = largest_difference(subject.evaluate(case, with_nan), subject.results(case), EXACT)
    if difference:
        raise Broken(case, f"NaN in the padding is not without effect; {difference}")


def _offered(subject: OpSubject) -> list[str]:
    """The arguments that separate sequences."""
    offered = [flag for flag in SEQUENCE_FLAGS if flag in subject.op.flags]
    if not offered:
        raise NotOffered("there is no argument resets, segment_ids or cu_seqlens")
    return offered


def _case_of(subject: OpSubject, flag: str) -> Case:
    """Two chunks. Sequences begin inside of a chunk, and at the border of two in the second row."""
    if flag == "cu_seqlens":
        time = subject.chunk + 1
        return subject.case(time, batch=2, flag=flag, lengths=(time, subject.chunk - 1))
    starts = ((subject.chunk - 1, 0), (subject.chunk, 1))[: subject.batch]
    return subject.case(flag=flag, starts=starts)


def _is_later(case: Case) -> Bool[np.ndarray, "time batch"]:
    """The steps of the later sequences."""
    if case.flag == "cu_seqlens":
        return np.broadcast_to(np.arange(case.batch) > 0, (case.time, case.batch))
    return np.cumsum(case.resets, 0) > 0


def _reseeded(case: Case) -> Case:
    return dataclasses.replace(case, seed=case.seed + 1)


def _check_later(subject: OpSubject, case: Case, inputs: Arguments, how: str) -> None:
    """Refuse results of later sequences that differ by a bit from those of the case."""
    got, expected = (
        _unsigned(_later(subject, case, results))
        for results in (subject.evaluate(case, inputs), subject.results(case))
    )
    difference = largest_difference(got, expected, EXACT)
    if difference:
        raise Broken(case, f"{how}; {difference}")


def _check_crossing(subject: OpSubject, case: Case) -> None:
    """Refuse a gradient of sequences before that comes from later ones."""
    is_later = _is_later(case)
    d_outputs, d_state = subject.draw(case).cotangents
    d_outputs = jax.tree.map(lambda leaf: _keep(is_later, leaf), d_outputs)
    d_state = jax.tree.map(lambda leaf: _keep(is_later[-1], leaf), d_state)
    results = subject.evaluate(case, cotangents=Values(d_outputs, d_state))
    masks = {f"gradient of {name}": ~is_later for name in subject.op.step_names}
    masks[f"gradient of {subject.op.state_name}"] = ~is_later[0]
    crossing = _keep_all(masks, results)
    zeros = jax.tree.map(np.zeros_like, crossing)
    difference = largest_difference(_unsigned(crossing), zeros, EXACT)
    if difference:
        how = f"with {case.flag}, a gradient crosses into a sequence before"
        raise Broken(case, f"{how}; {difference}")


def _later(subject: OpSubject, case: Case, results: Results) -> Results:
    """The results of later sequences; all others are 0."""
    is_later, op = _is_later(case), subject.op
    masks = {op.output_name: is_later, "final state": is_later[-1]}
    masks |= {f"gradient of {name}": is_later for name in op.step_names}
    return _keep_all(masks, results)


def _replace(
    subject: OpSubject, inputs: Arguments, other: Arguments, where: Bool[np.ndarray, "time batch"]
) -> Arguments:
    """Inputs with others at some steps, and with another state before them."""
    replaced = dict(inputs)
    for name in subject.op.step_names:
        replaced[name] = jax.tree.map(
            lambda one, two: _where(where, two, one), inputs[name], other[name]
        )
    name = subject.op.state_name
    if name in inputs:
        replaced[name] = jax.tree.map(
            lambda one, two: _where(where[0], two, one), inputs[name], other[name]
        )
    return replaced


def _nan_like(tree: PyTree) -> PyTree:
    return jax.tree.map(_nan, tree)


def _nan(leaf: Any) -> np.ndarray:
    leaf = np.asarray(leaf)
    return np.full_like(leaf, np.nan) if is_floating(leaf) else leaf


def _where(mask: np.ndarray, one: Any, other: Any) -> np.ndarray:
    """A choice for arrays whose first axes are those of the mask."""
    one = np.asarray(one)
    return np.where(mask.reshape(mask.shape + (1,) * (one.ndim - mask.ndim)), one, other)


def _keep(mask: np.ndarray, leaf: Any) -> np.ndarray:
    """An array with 0 where the mask is False."""
    return _where(mask, leaf, np.zeros_like(leaf))


def _keep_all(masks: dict[str, np.ndarray], results: Results) -> Results:
    """The results that have a mask, with 0 where it is False."""
    return {
        name: jax.tree.map(functools.partial(_keep, mask), results[name])
        for name, mask in masks.items()
        if name in results
    }


def _unsigned(tree: PyTree) -> PyTree:
    """−0 as 0."""
    return jax.tree.map(lambda leaf: leaf + np.zeros_like(leaf), tree)
