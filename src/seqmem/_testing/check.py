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
from .trial import Trial
from .verdict import LawBroken, NotJudged

LAWS: dict[str, Callable[[Trial], None]] = {
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
    "splitting": time_laws.splitting,
    "perturbations": time_laws.perturbations,
    "examples": transform_laws.examples,
    "ensembles": transform_laws.ensembles,
    "second order": transform_laws.second_order,
}


def family_methods(cell: AbstractLayer) -> tuple[AbstractMethod, ...]:
    """Every method that a cell's family offers."""
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
        pure            the cell's functions look at nothing but their arguments and parameters
        types           a step keeps the state's shapes and dtypes, under strict promotion, whether
                        parameters are bfloat16, float32 or float64
        separate        no two leaves of a state are the same array
        finite          values and derivatives are finite at x = 0
        promise         what the cell's family promises; for `seqmem.AbstractGatedCell`,
                        update(s, u) = gate(s, mix(s, u)) with mix affine in s and in u
        compiled once   equal shapes are compiled once, also with the state that comes back
        methods         every method, with and without chunks, is a Python loop of single steps
        lengths         a sequence in a batch is the sequence alone; outputs beyond its length are
                        exactly 0, length 0 gives back the state and passes gradients through
        resets          a reset is a new beginning: nothing before it, not even NaN, is seen after
        padding         whatever stands in the padding changes no bit of anything
        reverse         running backward is flipping the valid steps by hand
        causality       no output depends on a later input
        splitting       a sequence run in two parts, the state carried, is the sequence at once
        perturbations          the gradients of perturbations are those of the states
        examples        `jax.vmap` over examples is a batch axis
        ensembles       `jax.vmap` over parameters is one cell after another
        second order    the gradient of a gradient is that of a Python loop

    Equal means: outputs, final state, and the gradients of parameters, state and inputs, in
    float64, to ten digits; this works inside a float32 program and leaves its configuration alone.
    Parameters that are 0 are moved a little for it, since what is multiplied by 0 tells nothing.

    Args:
        cell: the cell.
        x: one example of an input, for a cell whose `input_shape` does not say all sizes. Whole numbers are drawn
            between 0 and the example's largest; others are normal, whatever the example's values.
        methods: the ways to run the cell that are compared; None is all that its family offers.
        seed: for inputs and states.

    Returns:
        For each law "holds", or "not judged" with the reason: where XLA is known to compile loops
        wrongly, and would be blamed on the cell.

    Raises:
        LawBroken: an AssertionError that says which law is broken and how.
        ValueError: where an input is needed and none is given.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.IndRNN(2, 3, activation=jax.numpy.tanh, key=jax.random.key(0))
        >>> set(seqmem.testing.check_cell(cell, methods=[seqmem.ReferenceScan()]).values())
        {'holds'}
    """
    if x is None:
        x = _example(cell)
    ways = family_methods(cell) if methods is None else tuple(methods)
    with (
        jax.enable_x64(True),
        jax.numpy_dtype_promotion("strict"),
        jax.debug_nans(False),
        jax.debug_infs(False),
    ):
        report = {
            "tree": _judged("tree", step_laws.tree, cell),
            "pure": _judged("pure", step_laws.pure, cell, x),
            "types": _judged("types", step_laws.types, cell, x, ways),
        }
        trial = Trial(cell, x, ways, seed)
        for name, law in LAWS.items():
            report[name] = _judged(name, law, trial)
    return report


def _judged(name: str, law: Callable, *args: Any) -> str:
    try:
        law(*args)
    except NotJudged as reason:
        return f"not judged: {reason}"
    except LawBroken:
        raise
    except Exception as error:
        raise LawBroken(name, f"testing it raised {type(error).__name__}: {error}") from error
    return "holds"


def _example(cell: AbstractCell) -> PyTree:
    try:
        return zeros_like_input(cell.input_shape, np.float32)
    except ValueError as error:
        raise bad_input(
            f"check_cell got {type(cell).__name__} without an example of its input.",
            "one input, since the cell's input_shape does not say all sizes.",
            "pass x, e.g. jax.numpy.zeros(3), or jax.numpy.array(9) for tokens from 0 to 9.",
        ) from error
