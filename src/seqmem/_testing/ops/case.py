"""One run of a function under test."""

import dataclasses

import numpy as np
from jaxtyping import Bool

from .recurrence import Marks


@dataclasses.dataclass(frozen=True, repr=False)
class Case:
    """What a function under test is run on: `seqmem.testing.run_case(op, case)` runs it.

    Attributes:
        time: number of steps.
        batch: number of sequences.
        has_state: whether an initial state is given.
        flag: which argument says where sequences begin or end: "lengths", "resets", "segment_ids"
            or "cu_seqlens"; None: none of them is given.
        starts: (t, sequence) for each step before which the state is emptied.
        lengths: the number of valid steps of each sequence; None: all.
        log_decay: what half of the decays are; None: they are moderate.
        is_slow: whether all steps of a kernel are the same small one, whose sum needs a wide state.
        dtype: of q, k and v, or of params and xs; None: the first of those that the op has.
        seed: of the random numbers.
    """

    time: int
    batch: int = 2
    has_state: bool = True
    flag: str | None = None
    starts: tuple[tuple[int, int], ...] = ()
    lengths: tuple[int, ...] | None = None
    log_decay: float | None = None
    is_slow: bool = False
    dtype: str | None = None
    seed: int = 0

    def __repr__(self) -> str:
        fields = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != field.default
        }
        words = ", ".join(
            f"{name}=-np.inf" if value == -np.inf and name == "log_decay" else f"{name}={value!r}"
            for name, value in fields.items()
        )
        return f"Case({words})"

    @property
    def marks(self) -> Marks:
        """The starts and the padding as arrays [time, batch]."""
        return Marks(self.resets, self.is_padding)

    @property
    def resets(self) -> Bool[np.ndarray, "time batch"]:
        """Whether the state is emptied before a step."""
        resets = np.zeros((self.time, self.batch), bool)
        for start in self.starts:
            resets[start] = True
        return resets

    @property
    def sequence_lengths(self) -> np.ndarray:
        """The number of valid steps of each sequence."""
        return np.array([self.time] * self.batch if self.lengths is None else self.lengths)

    @property
    def is_padding(self) -> Bool[np.ndarray, "time batch"]:
        """Whether a step is padding."""
        return np.arange(self.time)[:, None] >= self.sequence_lengths
