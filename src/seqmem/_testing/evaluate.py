"""One way to run a sequence, and everything that follows from it."""

from collections.abc import Sequence
from typing import NamedTuple

from jaxtyping import Array, PyTree

from .._core.cell import AbstractCell
from .._core.method import AbstractMethod
from .._unroll import unroll
from .loop import pulled


class Setting(NamedTuple):
    """One way to run a sequence."""

    method: AbstractMethod
    remat_every: int | None = None
    reverse: bool = False
    bare: bool = (
        False  # without lengths, resets and perturbations, from the initial state that all share
    )

    def __str__(self) -> str:
        words = [repr(self.method)]
        if self.remat_every is not None:
            words.append(f"remat_every={self.remat_every}")
        if self.reverse:
            words.append("reverse=True")
        return ", ".join(words)


def both_ways(methods: Sequence[AbstractMethod]) -> list[tuple[Setting, Setting]]:
    """Every method forward and backward in time, with and without chunks.

    No chunk but 1 divides the time. One step is compiled fastest; a method with blocks gets chunks
    that are longer than they are.
    """
    settings = []
    for i, method in enumerate(methods):
        if i and _longest(method) is None:
            settings.append((Setting(method, remat_every=1), Setting(method, reverse=True)))
        else:
            backward = Setting(method, remat_every=5 if i else 3, reverse=True)
            settings.append((Setting(method), backward))
    return settings


def _longest(method: AbstractMethod) -> int | None:
    """The steps of a method's tiles or chunks, where they were chosen."""
    return getattr(method, "tile", None) or getattr(method, "chunk_size", None)


def evaluate(
    setting: Setting,
    cell: AbstractCell,
    state: PyTree,
    xs: PyTree,
    lengths: Array | None,
    resets: Array | None,
    perturbations: PyTree,
    cotangents: PyTree,
) -> dict[str, PyTree]:
    """Everything that `unroll` determines; the keys are the words of a complaint."""

    def run(cell, state, xs, perturbations):
        return unroll(
            cell,
            cell.init_state() if setting.bare else state,
            xs,
            lengths=lengths,
            resets=resets,
            perturbations=perturbations,
            reverse=setting.reverse,
            method=setting.method,
            remat_every=setting.remat_every,
        )

    (final, ys), (d_cell, d_state, d_xs, d_probes) = pulled(
        run, lambda _: cotangents, cell, state, xs, perturbations
    )
    return {
        "ys": ys,
        "final state": final,
        "gradient of the parameters": d_cell,
        "gradient of the state": d_state,
        "gradient of xs": d_xs,
        "gradient of the states": d_probes,
    }


def without_probes(out: dict[str, PyTree]) -> dict[str, PyTree]:
    """All but the gradients of the perturbations, which have a law of their own."""
    return {name: tree for name, tree in out.items() if name != "gradient of the states"}
