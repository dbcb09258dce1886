"""The fast-weight family: the state is a matrix per head, which each step decays, corrects and adds
to.

    S_t = S_{t−1} diag(w_t) − (S_{t−1} r_t) e_tᵀ + v_t k_tᵀ,    y_t = output(S_t q_t)

or output(S_tᵀ q_t), for a cell that reads from the side of the values.
"""

import abc
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import jax
from jaxtyping import Array, Float, PyTree

from ..._core.cell import AbstractCell
from ..._core.family import Family, Law, TransitionRule
from ..._core.problem import Drive, Output, State
from ..._methods.parallel import Parallel
from ..._methods.scan.reference import ReferenceScan
from ..._methods.scan.scan import Scan
from .chunkwise.parallel import solve_in_chunks
from .chunkwise.transition import apply_transition, compose_transitions, transition_of
from .chunkwise.view import MemoryView
from .write import Memory, Write, apply_writes, check_write, read


def _functions(cell: Any, state: State, drive: Drive) -> dict[str, Callable[[], PyTree]]:
    write, extra = drive
    reading = _reading(cell, state.matrix, write)
    reading = reading if state.log_scale is None else (reading, state.log_scale)
    return {"output(reading, extra)": lambda: cell.output(reading, extra)}


def _reading(cell: Any, matrix: Array, write: Write) -> Any:
    """What the cell reads of one matrix per head."""
    if cell.reads_once:
        return read(matrix, write)
    reading = cell.read(MemoryView(matrix), write.query[..., None, :])
    return jax.tree.map(lambda leaf: leaf[..., 0, :], reading)


def _equations(cell: Any, draws: Any) -> Iterator[tuple[str, PyTree, PyTree]]:
    state, drive = draws.random_state(1.0), draws.drive()
    yield (
        "update and readout as AbstractFastWeightCell has them: a cell writes project and output",
        (cell.update(state, drive), cell.readout(state, drive)),
        (
            AbstractFastWeightCell.update(cell, state, drive),
            AbstractFastWeightCell.readout(cell, state, drive),
        ),
    )


FAST_WEIGHTS = Family(
    "fast weights",
    default=Parallel(),
    parallel=solve_in_chunks,
    has_kernel=True,
    transition=TransitionRule(transition_of, compose_transitions, apply_transition),
    methods=(Parallel(), Parallel(chunk_size=2), Scan(), ReferenceScan()),
    laws=(Law(_equations, _functions),),
)
"""The family of `AbstractFastWeightCell`: the state is a matrix per head."""


class AbstractFastWeightCell(AbstractCell):
    """A cell whose state is a `Memory`, a matrix per head, and whose `project` returns a `Write`.

        S_t = S_{t−1} diag(w_t) − (S_{t−1} r_t) e_tᵀ + exp(i_t) v_t k_tᵀ,    y_t = output(S_t q_t)

    A subclass writes `init_state`, `project` and `output`, and `read` where it reads its memory
    more than once. A gain i_t can be combined with a decay per head, without removal. Then S is
    held as exp(m_t) · matrix, with m_t = max(ln w_t + m_{t−1}, i_t), and `output` gets both
    matrix · q_t and m_t. With momentum (a `Write` with `log_momentum`) a step changes M_t first,
    and S_t = w_t S_{t−1} + ρ_t M_t; then the matrix of the state is [S M], of which S is read.

    A write with `reading=seqmem.Transposed()` is read as S_tᵀ q_t. So a memory M whose value
    channels decay, M_t = diag(w_t) M_{t−1} + v_t k_tᵀ, read as M_t q_t, is held as S = Mᵀ, with
    its values as keys: `Write(query=q, key=v, value=k, log_decay=log_w, reading=Transposed())`.

    Attributes:
        is_delta_rule: whether every write is one of the delta rule: with one β > 0 for each head,
            r_t = β_t w_t ∘ k_t, e_t = k_t and v_t is β_t times some vector. `Parallel(kernel=True)`
            asks for it.
    """

    family = FAST_WEIGHTS
    is_delta_rule: ClassVar[bool] = False

    @abc.abstractmethod
    def init_state(self) -> Memory:
        """The matrices before the first input."""

    @abc.abstractmethod
    def project(self, x: PyTree, /) -> tuple[Write, Any]:
        """The write of one input, and whatever else `output` needs of the input."""

    @abc.abstractmethod
    def output(self, reading: Any, extra: Any, /) -> Output:
        """The output, given the reading S_t q_t, [*heads, value], or one for each query of a step
        (transposed: S_tᵀ q_t, [*heads, key]; with gains: that of the matrix, and m_t), or what else
        `read` returns, and the second result of `project`.
        """

    def read(self, memory: MemoryView, query: Float[Array, "*heads step key"], /) -> Any:
        """What `output` gets of the memory after each of several steps of one example: S_t q_t.

        A cell that reads again, with queries that come of earlier readings, writes its own: a tree
        of arrays [*heads, step, channel]. Its writes remove nothing and have no gains.
        """
        return memory.read(query)

    @property
    def reads_once(self) -> bool:
        """Whether `read` is that of this class."""
        return type(self).read is AbstractFastWeightCell.read

    def update(self, state: Memory, drive: tuple[Write, Any], /) -> Memory:
        write, _ = drive
        check_write(self, state, write)
        return apply_writes(state, write)

    def readout(self, state: Memory, drive: tuple[Write, Any], /) -> Output:
        write, extra = drive
        reading = _reading(self, state.matrix, write)
        if state.log_scale is None:
            return self.output(reading, extra)
        return self.output((reading, state.log_scale), extra)
