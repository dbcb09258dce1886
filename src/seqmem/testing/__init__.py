"""Test a cell, a scan or a kernel of your own: every law of seqmem in one call.

check_cell                            a cell of your own; LawBroken is what it raises
check_op, report_op, run_case         a scan or a kernel: ScanOp, KernelOp, against NumpyFunction
Case, OpReport, Verdict               what is run, and what is found
SequenceRun, strategies               a run in plain data, and Hypothesis strategies that draw it
"""

from .._testing.check import check_cell as check_cell
from .._testing.comparison import LawBroken as LawBroken
from .._testing.ops.case import Case as Case
from .._testing.ops.check_op import (
    check_op as check_op,
    report_op as report_op,
    run_case as run_case,
)
from .._testing.ops.functions import NumpyFunction as NumpyFunction
from .._testing.ops.kernel_op import KernelOp as KernelOp
from .._testing.ops.report import OpReport as OpReport, Verdict as Verdict
from .._testing.ops.scan_op import ScanOp as ScanOp
from .._testing.sequence_run import SequenceRun as SequenceRun
