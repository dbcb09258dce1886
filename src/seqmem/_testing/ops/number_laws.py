"""The laws of numbers: strong decays, dtypes, and the same bits twice."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ..comparison import EXACT, label, largest_difference
from .arrays import in_float64
from .case import Case
from .functions import JaxRunner
from .op import TOLERANCES
from .subject import Broken, NotOffered, OpSubject


def strong_decay(subject: OpSubject) -> None:
    """With log-decays of −10, −300, −1000 and −inf at half of the places, all numbers are finite,
    and match single steps.
    """
    decays = subject.op.strong_decays()
    if isinstance(decays, str):
        raise NotOffered(decays)
    for decay in decays:
        case = subject.case(log_decay=decay)
        place = _not_finite(subject.results(case))
        if place:
            raise Broken(case, f"at a log-decay of {decay:g}, {place}")
        subject.check([case], f"a log-decay of {decay:g} does not match single steps")


def dtypes(subject: OpSubject) -> None:
    """Outputs and gradients have the dtype of their inputs, states that which is promised; with
    16-bit inputs, a long sequence is finite and within a few roundings of single steps in float64.
    """
    first, *others = subject.op.dtypes
    _check_dtypes(subject, subject.case())
    for dtype in others:
        for is_slow in (False, True)[: 1 + subject.op.has_slow_case]:
            case = subject.case(subject.long_time, dtype=dtype, is_slow=is_slow)
            _check_dtypes(subject, case)
            place = _not_finite(subject.results(case))
            if place:
                raise Broken(case, f"with {dtype} inputs, {place}")
            how = f"with {dtype} inputs, the numbers are not those of single steps"
            subject.check([case], how)
    if not others and TOLERANCES[first] < TOLERANCES["float16"]:
        raise NotOffered(f"it takes {first} alone, and keeps it")


def _check_dtypes(subject: OpSubject, case: Case) -> None:
    op, inputs, results = subject.op, subject.draw(case).inputs, subject.results(case)
    promised = {op.output_name: op.dtype_of(case), "final state": op.dtype_of_state()}
    for name, tree in results.items():
        if name in promised:
            expected = [promised[name]] * len(jax.tree.leaves(tree))
        else:
            like = _floating_leaves(inputs[name.removeprefix("gradient of ")])
            expected = [leaf.dtype.name for leaf in like][: len(jax.tree.leaves(tree))]
        for leaf, dtype in zip(_floating_leaves(tree), expected, strict=False):
            if leaf.dtype.name != dtype:
                raise Broken(
                    case,
                    f"with {op.dtype_of(case)} inputs, {name} is {leaf.dtype.name}, not {dtype}",
                )


def _not_finite(tree: PyTree) -> str | None:
    """The first number that is NaN or infinite, as the end of a sentence."""
    for path, leaf in jax.tree.leaves_with_path(in_float64(tree)):
        indices = np.argwhere(~np.isfinite(leaf))
        if len(indices):
            return f"{label(path)} is {leaf[tuple(indices[0])]} at {indices[0].tolist()}"
    return None


def _floating_leaves(tree: PyTree) -> list[np.ndarray]:
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]
    return [leaf for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.floating)]


def determinism(subject: OpSubject) -> None:
    """Two calls return the same bits; a call of a JAX function under jit matches one outside."""
    case = subject.case()
    difference = largest_difference(subject.evaluate(case), subject.results(case), EXACT)
    if difference:
        raise Broken(case, f"called twice, it returns other numbers; {difference}")
    if not isinstance(subject.runner, JaxRunner):
        return
    op = subject.op
    values = subject.runner.call_outside_jit(op.to_function(subject.draw(case).inputs, case))
    outside = {op.output_name: op.outputs_from_function(values.outputs, case)}
    if op.final_state:
        outside["final state"] = op.state_from_function(values.state, case)
    inside = {name: subject.results(case)[name] for name in outside}
    difference = largest_difference(in_float64(inside), in_float64(outside), op.tolerance(case))
    if difference:
        raise Broken(case, f"under jit it returns other numbers; {difference}")
