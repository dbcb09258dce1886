"""`check_op`: the laws of sequences, on any function."""

from collections.abc import Callable

import jax
import numpy as np

from ..._core.errors import bad_input
from . import number_laws, sequence_laws, value_laws
from .case import Case
from .functions import WrongShape
from .op import AbstractOp, Results
from .report import OpReport, Verdict
from .subject import Broken, NotOffered, OpSubject

LAWS: dict[str, Callable[[OpSubject], None]] = {
    "values": value_laws.values,
    "initial state": value_laws.initial_state,
    "final state": value_laws.final_state,
    "gradients": value_laws.gradients,
    "one step": value_laws.one_step,
    "any length": value_laws.any_length,
    "splitting": value_laws.splitting,
    "segments": sequence_laws.segments,
    "NaN across segments": sequence_laws.nan_across_segments,
    "padding": sequence_laws.padding,
    "strong decay": number_laws.strong_decay,
    "long time": value_laws.long_time,
    "dtypes": number_laws.dtypes,
    "determinism": number_laws.determinism,
}


def check_op(op: AbstractOp, *, seed: int = 0, long_time: int = 256) -> OpReport:
    """Test the laws of sequences on a function that is no cell of seqmem: a scan of any library, or
    a kernel of linear attention.

        values                the outputs match single steps
        initial state         so they do from an initial state
        final state           the final state matches single steps
        gradients             so do the gradients of all inputs, parameters and the initial state
        one step              a sequence of one step is a single step
        any length            times that are no multiples of a chunk match single steps
        splitting             two calls with the parts of a sequence, the state carried, match one
        segments              sequences that `resets`, `segment_ids` or `cu_seqlens` separate match
                              each by itself; a change of one before changes no bit, and no gradient
                              crosses
        NaN across segments   NaN in a sequence changes no bit of a later one
        padding               the same of padding; its values, NaN too, change no bit of any result
        strong decay          log-decays of −10, −300, −1000 and −inf give finite, right numbers
        long time             a sequence of `long_time` steps matches single steps
        dtypes                results have the dtypes that are promised; 16-bit inputs give the
                              numbers of single steps within a few roundings
        determinism           two calls return the same bits, and jit changes nothing but rounding

    To match means: outputs, final state and all gradients agree in each array, relative to its
    largest entry, to 10⁻⁹ in float64, 10⁻⁴ in float32 and 2⁻⁵ in bfloat16. Single steps of a
    `KernelOp` are a loop over its rule in NumPy's float64; those of a `ScanOp` are calls of its
    `step`, or of the function itself with one step. A gradient that breaks "gradients" is not
    judged by the laws after it. "segments" asks for equal bits, which an iterative method such as
    `seqmem.Newton` does not keep: values of other sequences change its number of iterations.

    Args:
        op: the function, with what it offers.
        seed: for inputs and states.
        long_time: the steps of a long sequence, rounded up to a multiple of the chunk.

    Returns:
        The report, in which every law "holds" or is "not offered".

    Raises:
        LawBroken: an AssertionError with a sentence for each broken law, and the case that shows
            it; `report_op` returns the report instead.
        ValueError: if `op` is no op.

    Example:
        >>> import jax.numpy as jnp
        >>> from seqmem.testing import ScanOp, check_op
        >>> def running_sum(params, state, xs):
        ...     ys = state + jnp.cumsum(params * xs, axis=0)
        ...     return ys, ys[-1]
        >>> op = ScanOp(running_sum, params=jnp.ones(3), state=jnp.zeros(3), x=jnp.zeros(3))
        >>> print(check_op(op)["splitting"])
        splitting: holds
    """
    report = report_op(op, seed=seed, long_time=long_time)
    report.raise_if_broken()
    return report


def report_op(op: AbstractOp, *, seed: int = 0, long_time: int = 256) -> OpReport:
    """The report of `check_op`, also where laws are broken.

    Args:
        op: the function, with what it offers.
        seed: for inputs and states.
        long_time: the steps of a long sequence, rounded up to a multiple of the chunk.

    Raises:
        ValueError: if `op` is no op.
    """
    if not isinstance(op, AbstractOp):
        raise bad_input(
            f"check_op got a {type(op).__name__}.",
            "a ScanOp or a KernelOp, which say what the function takes and returns.",
            "write KernelOp(function, rule='delta'), or ScanOp(function, params, state, x); for a "
            "cell of seqmem, call check_cell.",
        )
    subject = OpSubject(op, seed, long_time)
    with jax.debug_nans(False), jax.debug_infs(False):
        return OpReport(tuple(_verdict(name, law, subject) for name, law in LAWS.items()))


def run_case(op: AbstractOp, case: Case) -> tuple[Results, Results]:
    """What an op returns for a case, and what single steps return: outputs, final state and
    gradients by name, with time and batch in front.

    Args:
        op: the function, with what it offers.
        case: such as a report names for a broken law.
    """
    subject = OpSubject(op, case.seed, case.time)
    with jax.debug_nans(False), jax.debug_infs(False):
        return subject.results(case), subject.expected(case)


def _verdict(name: str, law: Callable[[OpSubject], None], subject: OpSubject) -> Verdict:
    try:
        with np.errstate(all="ignore"):
            law(subject)
    except NotOffered as reason:
        return Verdict(name, "not offered", str(reason))
    except Broken as broken:
        return Verdict(name, "broken", str(broken), broken.case)
    except WrongShape as error:
        return Verdict(name, "broken", str(error))
    except Exception as error:
        return Verdict(name, "broken", f"the function raised {type(error).__name__}: {error}")
    return Verdict(name, "holds")
