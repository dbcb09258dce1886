"""Families: what a kind of cell promises, and what the methods make of the promise."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from jaxtyping import PyTree

from .jacobian import AbstractJacobian
from .method import AbstractMethod
from .problem import Drive, Problem, Solution, State
from .vjp_rule import AbstractVJPRule


class TransitionRule(NamedTuple):
    """The map of a state that a stretch of time is, in a compact form: what `Sharded` runs.

        apply(of(problem), problem.state)    is the state after all steps of the problem
        compose(first, then)                 is then after first

    Attributes:
        of: (problem) -> transition, resets and padding included, for all examples of the batch.
        compose: (transition, transition) -> transition.
        apply: (transition, state) -> state.
    """

    of: Callable[[Problem], Any]
    compose: Callable[[Any, Any], Any]
    apply: Callable[[Any, State], State]


class Law(NamedTuple):
    """A part of a family's promise that `seqmem.testing.check_cell` tests.

    Attributes:
        equations: (cell, draws) -> iterator of (statement, left side, right side), which must be
            equal. `draws.random_state(scale)` and `draws.drive()` make arguments.
        functions: (cell, state, drive) -> the functions that the family adds to project, update
            and readout, by name, ready to be called; None where it adds none.
    """

    equations: Callable[[Any, Any], Iterator[tuple[str, PyTree, PyTree]]]
    functions: Callable[[Any, State, Drive], dict[str, Callable[[], PyTree]]] | None = None


@dataclasses.dataclass(frozen=True)
class PerPlatform:
    """A default method for each platform that a program may be traced for.

    Attributes:
        cpu: the method on a CPU.
        gpu: the method on a GPU.
        tpu: the method on a TPU.
    """

    cpu: AbstractMethod
    gpu: AbstractMethod
    tpu: AbstractMethod


@dataclasses.dataclass(frozen=True)
class Family:
    """A promise that cells make, and what each method does with it.

    What is None is what a cell without a promise gets.

    Attributes:
        name: in messages.
        default: the method of `unroll(method=None)`, perhaps one for each platform; None is
            `Scan()`.
        vjp_rule: how `Scan` takes the update apart for its backward pass; None linearises each
            step by itself.
        parallel: (problem, method) -> solution, which `Parallel` runs; None refuses. `method` is
            the `Parallel` with its `chunk_size` and `kernel`.
        has_kernel: whether `parallel` has a kernel for `Parallel(kernel=True)`, which is refused
            otherwise.
        transition: the maps of stretches of time, which `Sharded` runs; None refuses.
        jacobian: the structure of ∂update/∂state, for `Newton` and `QuasiNewton`; None is what the
            cell declares, or else a matrix.
        jacobian_diagonal: (cell, init, x) -> ((state, drive) -> diag ∂update/∂state), for
            `QuasiNewton`, where no structure is declared; None takes one derivative per entry.
        update: (cell, state, drive) -> state, where the update runs in several precisions; None
            runs all of it in the state's.
        check: (cell, init) -> None, raises `ValueError` where the initial state or the shapes
            break the promise.
        methods: the methods that `check_cell` compares; empty for `Scan` and `ReferenceScan`.
        laws: what else `check_cell` tests.
    """

    name: str
    default: AbstractMethod | PerPlatform | None = None
    vjp_rule: AbstractVJPRule | None = None
    parallel: Callable[[Problem, Any], Solution] | None = None
    has_kernel: bool = False
    transition: TransitionRule | None = None
    jacobian: AbstractJacobian | None = None
    jacobian_diagonal: Callable | None = None
    update: Callable[[Any, State, Drive], State] | None = None
    check: Callable[[Any, State], None] | None = None
    methods: tuple[AbstractMethod, ...] = ()
    laws: tuple[Law, ...] = ()

    def __repr__(self) -> str:
        return f"Family({self.name!r})"


UNSTRUCTURED = Family("unstructured")
"""The family of cells that make no promise, which is that of `AbstractCell`."""
