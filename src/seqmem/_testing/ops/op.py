"""What both adapters say of the function they hold."""

import abc
from typing import ClassVar, NamedTuple

import jax
from jaxtyping import PyTree

from ..._core.errors import bad_input
from .case import Case
from .functions import Arguments, JaxRunner, NumpyRunner, Values
from .layout import flag_array, pack, rearrange, unpack

FLAGS = ("lengths", "resets", "segment_ids", "cu_seqlens")
# Relative to the largest entry of an array: rounding of each of many steps, and 8 units in the last
# place of 16-bit numbers, whose products are summed in float32.
TOLERANCES = {"float64": 1e-9, "float32": 1e-4, "bfloat16": 2.0**-5, "float16": 2.0**-8}

Results = dict[str, PyTree]


class OpDraw(NamedTuple):
    """The inputs of a case, and the cotangents of its results, with time and batch in front."""

    inputs: Arguments
    cotangents: Values


class AbstractOp(abc.ABC):
    """A function under test, with what it offers; `KernelOp` and `ScanOp` are the two kinds.

    Arrays of steps are [time, batch, ...] here, states [batch, ...], whatever the function takes.
    """

    step_names: tuple[str, ...]  # the inputs with a time axis
    has_slow_case: ClassVar[bool] = False  # whether `Case.is_slow` changes what is drawn
    output_name: ClassVar[str]
    state_name: ClassVar[str]  # of the input
    layout: str
    flags: tuple[str, ...]
    chunk_size: int | None
    any_length: bool
    dtypes: tuple[str, ...]
    state_dtype: str | None
    initial_state: bool
    final_state: bool

    @property
    def has_reference(self) -> bool:
        """Whether single steps come from elsewhere than the function."""
        return True

    @property
    def scales_state(self) -> bool:
        """Whether the state has a part that is a choice of the function."""
        return False

    @abc.abstractmethod
    def make_runner(self) -> NumpyRunner | JaxRunner:
        """What calls the function."""

    @abc.abstractmethod
    def draw(self, case: Case) -> OpDraw:
        """Random inputs of a case and cotangents, rounded to its dtype."""

    @abc.abstractmethod
    def to_function(self, inputs: Arguments, case: Case) -> Arguments:
        """The arguments of the function, in its axes."""

    @abc.abstractmethod
    def state_to_function(self, state: PyTree, case: Case) -> PyTree:
        """A state in the axes of the function."""

    @abc.abstractmethod
    def state_from_function(self, state: PyTree, case: Case) -> PyTree:
        """A state [batch, ...], of the part that has one right value."""

    @abc.abstractmethod
    def state_to_carry(self, state: PyTree, case: Case) -> PyTree:
        """A final state [batch, ...] as the function has it, to start another call from."""

    def unscaled_cotangents(self, cotangents: PyTree, state: PyTree) -> PyTree:
        """The inverse of `state_cotangents`, for a state as the function has it."""
        return cotangents

    @abc.abstractmethod
    def outputs_to_function(self, outputs: PyTree, case: Case) -> PyTree:
        """Outputs, or cotangents of them, in the axes of the function."""

    @abc.abstractmethod
    def outputs_from_function(self, outputs: PyTree, case: Case) -> PyTree:
        """The inverse of `outputs_to_function`."""

    @abc.abstractmethod
    def gradients_from_function(self, gradients: Arguments, case: Case) -> Results:
        """The gradients in the axes of the inputs."""

    @abc.abstractmethod
    def state_cotangents(self, cotangents: PyTree, state: PyTree, case: Case) -> PyTree:
        """Cotangents of the final state as the function returns it, for those of its one right
        value.
        """

    @abc.abstractmethod
    def expect(self, case: Case, draw: OpDraw) -> Results:
        """What the function has to return, by a loop of single steps."""

    def strong_decays(self) -> tuple[float, ...] | str:
        """The log-decays at which the function is tested, or why it is not."""
        return "the function has no decay among its arguments"

    def dtype_of(self, case: Case) -> str:
        """The dtype of the inputs of a case."""
        return case.dtype or self.dtypes[0]

    def dtype_of_state(self) -> str:
        """The dtype of initial and final states."""
        return self.state_dtype or self.dtypes[0]

    def tolerance(self, case: Case) -> float:
        """The error that is allowed, relative to the largest entry of an array."""
        return TOLERANCES[self.dtype_of(case)]

    def steps_to_function(self, tree: PyTree, case: Case, axes: str) -> PyTree:
        """Arrays [time, batch, ...] in the axes of the function, packed where it takes that."""
        tree = pack(tree, case) if case.flag == "cu_seqlens" else tree
        target = "".join(axis for axis in self.layout if axis in axes)
        return jax.tree.map(lambda leaf: rearrange(leaf, axes, target), tree)

    def steps_from_function(self, tree: PyTree, case: Case, axes: str) -> PyTree:
        """The inverse of `steps_to_function`."""
        source = "".join(axis for axis in self.layout if axis in axes)
        tree = jax.tree.map(lambda leaf: rearrange(leaf, source, axes), tree)
        return unpack(tree, case) if case.flag == "cu_seqlens" else tree

    def flags_to_function(self, case: Case) -> Arguments:
        """The argument that says where sequences begin or end."""
        if case.flag is None:
            return {}
        flags = flag_array(case)
        if flags.ndim == 2:
            flags = rearrange(flags, "TB", "".join(axis for axis in self.layout if axis in "TB"))
        return {case.flag: flags}


def check_op_fields(op: AbstractOp) -> None:
    """Refuse values that no function can have.

    Raises:
        ValueError: for an unknown flag or dtype, or a chunk size below 1.
    """
    owner = type(op).__name__
    unknown = set(op.flags) - set(FLAGS)
    if unknown:
        raise bad_input(
            f"{owner} got flags={op.flags!r}.",
            f"names out of {', '.join(map(repr, FLAGS))}.",
            "name the arguments of your function that say where sequences begin or end, and rename "
            "them in a function around it where they have other names.",
        )
    dtypes = {*op.dtypes, op.dtype_of_state()} if op.dtypes else set()
    if not dtypes or not dtypes <= set(TOLERANCES):
        raise bad_input(
            f"{owner} got dtypes={op.dtypes!r} and state_dtype={op.state_dtype!r}.",
            f"at least one of {', '.join(map(repr, TOLERANCES))}; the first is that of all laws "
            "but 'dtypes'.",
            "name the dtypes that your function takes, e.g. ('float32', 'bfloat16').",
        )
    if op.chunk_size is not None and op.chunk_size < 2:
        raise bad_input(
            f"{owner} got chunk_size={op.chunk_size}.",
            "the number of steps that the function takes at once, at least 2.",
            "leave it out where there are no chunks.",
        )
