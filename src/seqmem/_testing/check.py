"""`check_cell`: every law of seqmem, on any cell."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from .._core.cell import AbstractCell, AbstractLayer
from .._core.errors import bad_input
from .._core.method import AbstractMethod
from .._core.shapes import zeros_like_input
from .._methods.scan.reference import ReferenceScan
from .._methods.scan.scan import Scan
from . import step_laws, time_laws, transform_laws
from .comparison import LawBroken, NotTested
from .subject import Subject

LAWS: dict[str, Callable[[Subject], None]] = {
    "separate": step_laws.separate,
    "finite": step_laws.finite,
    "promise": step_laws.promise,
    "compiled once": transform_laws.compiled_once,
    "methods": time_laws.methods,
    "lengths": time_laws.lengths,
    "resets": time_laws.resets,
    "padding": time_laws.padding,
    "reverse": time_laws.reverse,
    "causality": time_laws.causality,
    "perturbations": time_laws.perturbations,
    "states": time_laws.states,
    "examples": transform_laws.examples,
    "mask": transform_laws.mask,
    "splitting": time_laws.splitting,
    "ensembles": transform_laws.ensembles,
    "second order": transform_laws.second_order,
}


def family_methods(cell: AbstractLayer) -> tuple[AbstractMethod, ...]:
    """The methods that `check_cell` compares for a cell of this family."""
    default = Scan(), Scan(tile=3), Scan(recompute=True), ReferenceScan()
    return cell.family.methods or default


def check_cell(
    cell: AbstractCell,
    x: PyTree = None,
    *,
    methods: Sequence[AbstractMethod] | None = None,
    seed: int = 0,
) -> dict[str, str]:
    """Test every law of seqmem on a cell, also on one of your own.

        tree            every leaf of the cell is an array, and its structure equals itself
        pure            the cell's functions depend on their arguments and parameters alone
        types           a step keeps the state's shapes and dtypes, under strict promotion, whether
                        parameters are bfloat16, float32 or float64
        separate        no two leaves of a state are the same array
        finite          values and derivatives are finite at x = 0
        promise         the equations of the cell's family; for `seqmem.AbstractGatedCell`,
                        update(s, u) = gate(s, mix(s, u)) with mix affine in s and in u
        compiled once   equal shapes compile once, also with the state that `unroll` returns
        methods         every method, with and without `remat_every`, matches a Python loop of
                        single steps
        lengths         a padded sequence matches the sequence without padding; padded outputs are
                        exactly 0; length 0 returns the state, and the gradient of the state
        resets          after a reset nothing depends on earlier steps, not even on NaN
        padding         the values of padding change no bit of any result
        reverse         a run in reverse matches flipping the valid steps by hand
        causality       no output depends on a later input
        perturbations   the gradients of perturbations are those of the states
        states          `seqmem.solve(return_states=True)` returns the states of the loop, with
                        their gradients
        examples        `jax.vmap` over examples matches a batch axis
        mask            a masked run matches a run of the sequences without their masked steps
        splitting       two runs of the parts of a sequence, the state carried, match one run
        ensembles       `jax.vmap` over parameters matches one cell after another
        second order    the gradient of a gradient is that of a Python loop

    To match means: outputs, final state, and the gradients of parameters, state and inputs agree
    in float64 to ten digits. It works inside a float32 program and restores its configuration.
    Parameters that are 0 get small random values first, since a factor of 0 hides errors.

    Args:
        cell: the cell.
        x: one example of an input, for a cell whose `input_shape` leaves sizes open. Integers are
            drawn between 0 and the example's largest; floating numbers are normal, whatever the
            values of the example.
        methods: the methods to compare; None is all that the cell's family names.
        seed: for inputs and states.

    Returns:
        For each law "holds", or "not tested" with the reason: where XLA is known to compile loops
        wrongly, and the cell would be blamed for it.

    Raises:
        LawBroken: an AssertionError that names the law and the largest difference.
        ValueError: if an input is needed and not given.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.IndRNN(2, 3, activation=jax.numpy.tanh, key=jax.random.key(0))
        >>> set(seqmem.testing.check_cell(cell, methods=[seqmem.ReferenceScan()]).values())
        {'holds'}
    """
    if x is None:
        x = _example_input(cell)
    methods = family_methods(cell) if methods is None else tuple(methods)
    with (
        jax.enable_x64(True),
        jax.numpy_dtype_promotion("strict"),
        jax.debug_nans(False),
        jax.debug_infs(False),
    ):
        report = {
            "tree": _test("tree", step_laws.tree, cell),
            "pure": _test("pure", step_laws.pure, cell, x),
            "types": _test("types", step_laws.types, cell, x, methods),
        }
        subject = Subject(cell, x, methods, seed)
        for name, law in LAWS.items():
            report[name] = _test(name, law, subject)
    return report


def _test(name: str, law: Callable, *args: Any) -> str:
    try:
        law(*args)
    except NotTested as reason:
        return f"not tested: {reason}"
    except LawBroken:
        raise
    except Exception as error:
        raise LawBroken(name, f"its test raised {type(error).__name__}: {error}") from error
    return "holds"


def _example_input(cell: AbstractCell) -> PyTree:
    try:
        return zeros_like_input(cell.input_shape, np.float32)
    except ValueError as error:
        raise bad_input(
            f"check_cell got {type(cell).__name__} without an example of its input.",
            "one input, since the cell's input_shape leaves sizes open.",
            "pass x, e.g. jax.numpy.zeros(3), or jax.numpy.array(9) for tokens from 0 to 9.",
        ) from error
