"""The laws of time: every method, forward and backward, against the loop and against itself."""

import jax
import numpy as np
from jaxtyping import PyTree

from .._core.method import AbstractMethod
from .._unroll import unroll
from .compiler import compiled
from .evaluate import Setting, without_probes
from .loop import Variation
from .trial import BATCH, BOTH, LENGTHS, NONE, PLAIN, RESETS, SHORTER, TIME, WHOLE, Trial
from .verdict import EXACT, LawBroken, furthest, not_finite

CUT = 3
BORDER = NONE.copy()
BORDER[CUT] = True
PADDING = np.arange(TIME)[:, None] >= SHORTER


def methods(trial: Trial) -> None:
    """Every method, with and without chunks, is a Python loop of single steps."""
    found = not_finite(trial.loop(trial.settings[0], PLAIN))
    if found:
        raise LawBroken("finite", f"after {TIME} random inputs {found}")
    for setting in (Setting(trial.methods[0], bare=True), *trial.settings):
        _is_loop(trial, "methods", setting, PLAIN)


def lengths(trial: Trial) -> None:
    """A sequence in a batch is the sequence alone; nothing comes out of its padding."""
    for setting in trial.settings:
        _is_loop(trial, "lengths", setting, LENGTHS)
        got = trial.run(setting, LENGTHS)
        for name in ("ys", "gradient of xs"):
            # −0.0 is 0 too.
            beyond = jax.tree.map(lambda leaf: leaf + 0, _only(got[name], PADDING))
            _bits(
                "lengths",
                {name: beyond},
                {name: jax.tree.map(np.zeros_like, beyond)},
                f"with {setting}, beyond a length not exactly 0",
            )
        empty = SHORTER.tolist().index(0)
        _bits(
            "lengths",
            {"final state": _one(got["final state"], empty)},
            {"final state": _one(trial.state, empty)},
            f"with {setting}, length 0 does not give back the state it was given",
        )
        _bits(
            "lengths",
            {"gradient of the state": _one(got["gradient of the state"], empty)},
            {"gradient of the state": _one(trial.cotangents[0], empty)},
            f"with {setting}, length 0 does not pass the gradient of the final state through",
        )


def resets(trial: Trial) -> None:
    """A reset is a new beginning: nothing before it is seen after it, not even NaN."""
    cut = Variation(" cut", WHOLE, BORDER)
    other = trial.inputs(TIME, BATCH)
    for setting in trial.settings:
        before = np.arange(TIME) >= CUT if setting.reverse else np.arange(TIME) < CUT
        clean = _after(trial.run(setting, cut), ~before)
        poisons = {
            "inputs before it": {"xs": _replaced(trial.xs, before, other)},
            "a NaN before it": {
                "xs": _nan(trial.xs, before),
                "state": _nan(trial.state, slice(None)),
            },
        }
        for what, poison in poisons.items():
            trial.agree(
                "resets",
                lambda s=setting, p=poison, b=before: _after(trial.run(s, cut, **p), ~b),
                clean,
                f"with {setting}, what comes after a reset still depends on {what}",
            )
        for variation in (RESETS, BOTH):
            _is_loop(trial, "resets", setting, variation)


def padding(trial: Trial) -> None:
    """Whatever stands in the padding changes no bit of any output, state or gradient."""
    for setting in trial.settings:
        clean = trial.run(setting, BOTH)
        for name, number in {"NaN": np.nan, "inf": np.inf, "1e300": 1e300}.items():
            xs = jax.tree.map(
                lambda leaf, n=number: _replaced(leaf, PADDING, _absurd(leaf, n)), trial.xs
            )
            _bits(
                "padding",
                trial.run(setting, BOTH, xs=xs),
                clean,
                f"with {setting}, {name} in the padding is not without effect",
            )


def reverse(trial: Trial) -> None:
    """Running backward is flipping the valid steps by hand, running forward, and flipping back."""
    steps = np.arange(TIME)[:, None]
    back = np.where(PADDING, steps, SHORTER - 1 - steps)
    # What separates x[t] from x[t−1] comes, once flipped, before the place of x[t−1].
    cuts = np.zeros_like(BOTH.resets)
    for t, example in zip(*np.nonzero(BOTH.resets), strict=True):
        if 1 <= t < SHORTER[example]:
            cuts[SHORTER[example] - t, example] = True
    flipped = Variation(" flipped", SHORTER, cuts)
    d_final, d_ys = trial.cotangents
    for forward, backward in trial.both_ways:

        def by_hand(forward: Setting = forward) -> dict[str, PyTree]:
            out = trial.run(
                forward,
                flipped,
                xs=_flipped(trial.xs, back),
                cotangents=(d_final, _flipped(d_ys, back)),
            )
            over_time = {name: _flipped(out[name], back) for name in ("ys", "gradient of xs")}
            return without_probes(out | over_time)

        trial.agree(
            "reverse",
            by_hand,
            without_probes(trial.run(backward, BOTH)),
            f"with {backward}, running backward is not flipping by hand",
        )


def causality(trial: Trial) -> None:
    """No output depends on an input that comes later."""
    other = trial.inputs(TIME, BATCH)
    for setting in trial.settings:
        for t in range(TIME):
            later = np.arange(TIME) < t if setting.reverse else np.arange(TIME) > t
            xs = _replaced(trial.xs, later, other)
            trial.agree(
                "causality",
                lambda s=setting, xs=xs, seen=~later: {
                    "ys": _only(trial.run(s, PLAIN, xs=xs)["ys"], seen)
                },
                {"ys": _only(trial.run(setting, PLAIN)["ys"], ~later)},
                f"with {setting}, an output depends on an input that comes later",
            )


def splitting(trial: Trial) -> None:
    """A sequence run in two parts, the state carried, is the sequence run at once, and so are its
    gradients.
    """
    for setting in trial.settings:
        # Going back, a reset on the border lies before the first step of one part and behind the
        # last of the other, where neither sees it; `unroll` sees it, whatever the chunk.
        variation = LENGTHS if setting.reverse else BOTH
        for border in range(TIME + 1):
            trial.agree(
                "splitting",
                lambda s=setting, v=variation, k=border: _in_two(trial, s, v, k),
                without_probes(trial.run(setting, variation)),
                f"with {setting}, running {border} steps and then the rest is not running all",
            )
    method = trial.methods[0]
    trial.agree(
        "splitting",
        lambda: jax.tree.map(
            np.asarray, compiled(_halves, 0)(method, trial.cell, trial.state, trial.xs)
        ),
        {name: trial.run(Setting(method), PLAIN)[name] for name in ("ys", "final state")},
        f"with {method!r}, unrolling xs[:{CUT}] and then xs[{CUT}:] is not unrolling xs",
    )


def perturbations(trial: Trial) -> None:
    """The gradient of a perturbation is what a change of the state at its step does to all after it."""
    name = "gradient of the states"
    for setting in trial.settings:
        trial.agree(
            "perturbations",
            lambda s=setting: {name: trial.run(s, BOTH, perturbed=True)[name]},
            {name: trial.loop(setting, BOTH, perturbed=True)[name]},
            f"with {setting}, the gradients of the perturbations are not those of the states",
        )


def _is_loop(trial: Trial, law: str, setting: Setting, variation: Variation) -> None:
    trial.agree(
        law,
        lambda: without_probes(trial.run(setting, variation)),
        without_probes(trial.loop(setting, variation)),
        f"with {setting}, unroll{variation.name} is not a Python loop of single steps",
    )


def _bits(law: str, got: PyTree, want: PyTree, how: str) -> None:
    where = furthest(got, want, EXACT)
    if where:
        raise LawBroken(law, f"{how}; {where}")


def _halves(method: AbstractMethod, cell, state, xs) -> dict[str, PyTree]:
    state, early = unroll(cell, state, jax.tree.map(lambda x: x[:CUT], xs), method=method)
    state, late = unroll(cell, state, jax.tree.map(lambda x: x[CUT:], xs), method=method)
    ys = jax.tree.map(lambda *parts: jax.numpy.concatenate(parts), early, late)
    return {"ys": ys, "final state": state}


def _in_two(trial: Trial, setting: Setting, whole: Variation, border: int) -> dict[str, PyTree]:
    """`Trial.run` from two runs by the chain rule; by lengths, so that nothing is compiled anew."""
    d_final, d_ys = trial.cotangents

    def moved(tree: PyTree, by: int) -> PyTree:
        return jax.tree.map(lambda leaf: np.roll(leaf, by, axis=0), tree)

    head = Variation(" head", np.minimum(whole.lengths, border), whole.resets), trial.xs, d_ys
    tail = (
        Variation(" tail", np.maximum(whole.lengths - border, 0), moved(whole.resets, -border)),
        moved(trial.xs, -border),
        moved(d_ys, -border),
    )
    (one, x_one, d_one), (two, x_two, d_two) = (tail, head) if setting.reverse else (head, tail)
    # The first run twice: its final state is the second's beginning, whose gradient it then needs.
    middle = trial.run(setting, one, xs=x_one)["final state"]
    last = trial.run(setting, two, xs=x_two, state=middle, cotangents=(d_final, d_two))
    first = trial.run(setting, one, xs=x_one, cotangents=(last["gradient of the state"], d_one))
    early, late = (last, first) if setting.reverse else (first, last)
    joined = {
        name: jax.tree.map(
            lambda a, b: np.concatenate([a[:border], b[: TIME - border]]), early[name], late[name]
        )
        for name in ("ys", "gradient of xs")
    }
    name = "gradient of the parameters"
    total = {name: jax.tree.map(np.add, first[name], last[name])}
    begun = {"gradient of the state": first["gradient of the state"]}
    return without_probes(last | joined | total | begun)


def _only(tree: PyTree, where: np.ndarray) -> PyTree:
    """`tree` at some steps, zeros at the others, so that a complaint names the right step."""
    return _replaced(tree, ~where, jax.tree.map(np.zeros_like, tree))


def _one(tree: PyTree, example: int) -> PyTree:
    return jax.tree.map(lambda leaf: leaf[example], tree)


def _after(out: dict[str, PyTree], after: np.ndarray) -> dict[str, PyTree]:
    seen = {name: _only(out[name], after) for name in ("ys", "gradient of xs")}
    return seen | {"final state": out["final state"]}


def _replaced(tree: PyTree, where: np.ndarray, other: PyTree) -> PyTree:
    def replace(leaf: np.ndarray, other: np.ndarray) -> np.ndarray:
        return np.where(where.reshape(where.shape + (1,) * (leaf.ndim - where.ndim)), other, leaf)

    return jax.tree.map(replace, tree, other)


def _absurd(leaf: np.ndarray, number: float) -> np.ndarray:
    """`number` where it has a meaning, and no valid index elsewhere."""
    if np.issubdtype(leaf.dtype, np.inexact):
        return np.full_like(leaf, number)
    return np.full_like(leaf, True if leaf.dtype == bool else np.iinfo(leaf.dtype).max)


def _nan(tree: PyTree, where: slice | np.ndarray) -> PyTree:
    def spoil(leaf: np.ndarray) -> np.ndarray:
        leaf = leaf.copy()
        if np.issubdtype(leaf.dtype, np.inexact):
            leaf[where] = np.nan
        return leaf

    return jax.tree.map(spoil, tree)


def _flipped(tree: PyTree, back: np.ndarray) -> PyTree:
    return jax.tree.map(lambda leaf: leaf[back, np.arange(BATCH)], tree)
