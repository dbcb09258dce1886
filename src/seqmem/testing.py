"""Test a cell of your own: every law of seqmem in one call."""

from ._testing.check import check_cell as check_cell
from ._testing.comparison import LawBroken as LawBroken
