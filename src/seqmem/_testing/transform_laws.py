"""The laws of transformations: jit, vmap and grad of a cell's sequences against the loop."""

import functools

import jax
import numpy as np
from jaxtyping import PyTree

from .._core.cell import AbstractCell
from .._core.method import AbstractMethod
from .._core.precision import inexact
from .._unroll import unroll
from .compiler import compiled
from .evaluate import Setting, evaluate, without_probes
from .loop import looped, pulled, time_second
from .trial import BOTH, Trial
from .verdict import LawBroken, NotJudged

SHORT = 2  # steps that are enough for second derivatives through time


def compiled_once(trial: Trial) -> None:
    """The same shapes are compiled once: called again, and with the state that comes back."""
    traces = 0

    @jax.jit
    def counted(cell: AbstractCell, state: PyTree, xs: PyTree) -> tuple[PyTree, PyTree]:
        nonlocal traces
        traces += 1
        return unroll(cell, state, xs)

    xs = jax.tree.map(lambda leaf: leaf[:SHORT, 0], trial.xs)
    state = trial.cell.init_state()
    carried, _ = counted(trial.cell, state, xs)
    for when, again in (("called again", state), ("called with the state it returned", carried)):
        counted(trial.cell, again, xs)
        if traces > 1:
            raise LawBroken(
                "compiled once",
                f"{when}, unroll was compiled anew; what init_state and update return must "
                "have the same types, weak ones included, and static fields must equal themselves",
            )


def examples(trial: Trial) -> None:
    """`jax.vmap` over examples is a batch axis."""
    method = trial.methods[0]
    mapped = compiled(_per_example, 0)

    def compute() -> dict[str, PyTree]:
        out = mapped(
            Setting(method),
            trial.cell,
            trial.state,
            time_second(trial.xs),
            BOTH.lengths,
            BOTH.resets.T,
            (trial.cotangents[0], time_second(trial.cotangents[1])),
        )
        out = jax.tree.map(np.asarray, out)
        over_time = {name: time_second(out[name]) for name in ("ys", "gradient of xs")}
        name = "gradient of the parameters"
        total = {name: jax.tree.map(lambda leaf: leaf.sum(0), out[name])}
        return out | over_time | total

    trial.agree(
        "examples",
        compute,
        without_probes(trial.loop(Setting(method), BOTH)),
        f"with {method!r}, vmap over examples is not a Python loop of single steps",
    )


def _per_example(setting: Setting, cell, *examples: PyTree) -> dict[str, PyTree]:
    def one(state, xs, length, resets, cotangents):
        return without_probes(evaluate(setting, cell, state, xs, length, resets, None, cotangents))

    return jax.vmap(one)(*examples)


def _ends(methods: tuple[AbstractMethod, ...]) -> tuple[AbstractMethod, ...]:
    """The first and the last method: these transformations take long to compile."""
    return tuple(dict.fromkeys((methods[0], methods[-1])))


def ensembles(trial: Trial) -> None:
    """`jax.vmap` over parameters is one cell after another."""
    if not jax.tree.leaves(inexact(trial.cell)):
        raise NotJudged("the cell has no parameters")
    members = [trial.cell, jax.tree.map(trial.near, trial.cell)]
    cells = jax.tree.map(lambda *leaves: jax.numpy.stack(leaves), *members)
    alone = [
        without_probes(looped(cell, trial.state, trial.xs, BOTH, trial.cotangents, reverse=False))
        for cell in members
    ]
    want = jax.tree.map(lambda *leaves: np.stack(leaves), *alone)
    for method in _ends(trial.methods):
        trial.agree(
            "ensembles",
            lambda m=method: jax.tree.map(
                np.asarray,
                compiled(_per_member, 0)(
                    Setting(m),
                    cells,
                    trial.state,
                    trial.xs,
                    BOTH.lengths,
                    BOTH.resets,
                    trial.cotangents,
                ),
            ),
            want,
            f"with {method!r}, vmap over parameters is not one cell after another",
        )


def _per_member(setting: Setting, cells, state, xs, lengths, resets, cotangents) -> PyTree:
    def one(cell):
        return without_probes(evaluate(setting, cell, state, xs, lengths, resets, None, cotangents))

    return jax.vmap(one)(cells)


def second_order(trial: Trial) -> None:
    """The gradient of a gradient, reverse mode over reverse mode."""
    d_final, d_ys = trial.cotangents
    state, d_final = jax.tree.map(lambda leaf: leaf[0], (trial.state, d_final))
    xs, d_ys = jax.tree.map(lambda leaf: leaf[:SHORT, 0], (trial.xs, d_ys))
    second = jax.tree.map(trial.normal, inexact((trial.cell, state, xs)))
    given = trial.cell, state, xs, (d_final, d_ys), second
    want = compiled(_twice, 0)(_by_hand, *given)
    for method in _ends(trial.methods):
        trial.agree(
            "second order",
            lambda m=method: compiled(_twice_unrolled, 0)(m, *given),
            want,
            f"with {method!r}, the gradient of a gradient is not that of a Python loop",
        )


def _by_hand(cell: AbstractCell, state: PyTree, xs: PyTree) -> tuple[PyTree, PyTree]:
    ys = []
    for t in range(SHORT):
        state, y = cell(state, jax.tree.map(lambda leaf, t=t: leaf[t], xs))
        ys.append(y)
    return state, jax.tree.map(lambda *steps: jax.numpy.stack(steps), *ys)


def _twice_unrolled(method: AbstractMethod, *args: PyTree) -> dict[str, PyTree]:
    return _twice(functools.partial(unroll, method=method), *args)


def _twice(run, cell, state, xs, first, second) -> dict[str, PyTree]:
    """The gradients of ⟨gradients of ⟨run, first⟩, second⟩."""

    def gradients(cell, state, xs):
        return pulled(run, lambda _: first, cell, state, xs)[1]

    _, (d_cell, d_state, d_xs) = pulled(gradients, lambda _: second, cell, state, xs)
    return {
        "gradient of the parameters": d_cell,
        "gradient of the state": d_state,
        "gradient of xs": d_xs,
    }
