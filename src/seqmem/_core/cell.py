"""Layers and cells: what can be run over a sequence, and what can also be run for one step.

    u_t = project(x_t)            what the cell sees of an input
    s_t = update(s_{t−1}, u_t)    how it remembers
    y_t = readout(s_t, u_t)       what it shows

The functions below the classes are the cell's three with the dtypes of the contract; all methods
run a cell through them, so that all compute the same step.
"""

import abc
import functools
from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from .batching import per_example_parts
from .cache import check_caches
from .calls import Call, check_construction, refuse_misfits
from .errors import bad_input, is_refused
from .family import UNSTRUCTURED, Family
from .jacobian import AbstractJacobian
from .precision import as_precision, precision
from .problem import Drive, Output, State
from .shapes import fits, leaf_shapes, tree_names, zeros_like_input
from .summary import summary


class AbstractLayer(eqx.Module):
    """What `seqmem.unroll` can run over a sequence: a cell, or a network of cells.

    Its `repr` says the shapes of input, output and state, the number of parameters and the family;
    `equinox.tree_pprint` prints the arrays.

    Attributes:
        input_shape: the shape of one input: `()` for a token, `(3,)` for a vector, `(5, 7, 2)` for
            an image, a tree of shapes for a tree of inputs. None in place of a size is any size.
        family: the promise that the layer makes, which decides what the methods do with it.

    Example:
        >>> import jax, seqmem
        >>> seqmem.LSTM(3, 64, key=jax.random.key(0))
        LSTM((3,) -> (64,); state h (64,), c (64,); 17,408 float32 parameters; gated)
        >>> seqmem.layers.deep(seqmem.GRU, 3, 5, num_layers=3, key=jax.random.key(0))
        Stack((3,) -> (5,); 480 float32 parameters; composite)
          GRU((3,) -> (5,); state (5,); 140 float32 parameters; gated)
          2 × GRU((5,) -> (5,); state (5,); 170 float32 parameters; gated)
    """

    input_shape: ClassVar[Any] = (None,)
    family: ClassVar[Family] = UNSTRUCTURED

    def __init_subclass__(cls, **options: Any):
        super().__init_subclass__(**options)
        if "__init__" in cls.__dict__:
            cls.__init__ = check_construction(cls.__dict__["__init__"], cls, skip=1)
        written = cls.__dict__.get("init_state")
        if written is not None and not getattr(written, "__isabstractmethod__", False):
            cls.init_state = _with_batch(written)

    @abc.abstractmethod
    def init_state(self, *batch: int) -> State:
        """The state before the first input, `batch` in front of every leaf.

        A subclass writes it for one example, `init_state(self)`. The dtypes are the state's for
        good. The values may be learned.
        """

    def __repr__(self) -> str:
        return summary(self)

    @property
    def _title(self) -> str:
        """The name in the `repr`."""
        return type(self).__name__

    @property
    def can_step(self) -> bool:
        """Whether the layer is also a function of one step, `layer(state, x)`."""
        return False

    @property
    @abc.abstractmethod
    def output_shape(self) -> PyTree:
        """The shape of one output, or a tree of shapes."""


def _step_remedy(call: Call) -> str:
    return (
        "for one step write state, y = cell(state, x), from state = cell.init_state(); for a "
        "sequence state, ys = seqmem.unroll(cell, None, xs)."
    )


class AbstractCell(AbstractLayer):
    """A memory for sequences: three pure functions over one tree of parameters.

    A subclass writes `init_state`, `project`, `update` and `readout` for one example and one step,
    with no batch, mask, loop or dtype in them; `seqmem.unroll` adds the rest. It reads parameters
    only through `self` (arrays are leaves, sizes and functions static fields), and its functions
    and their derivatives are finite at x = 0, since padded inputs are replaced by zeros.
    `seqmem.testing.check_cell` tests all of it.

    Where the docstring of a cell of seqmem says nothing else, its matrices are normal at the start,
    of variance 1/columns, and its biases 0.

    Attributes:
        input_shape: the shape of one input, as for `seqmem.AbstractLayer`; by default any vector.
        gates: the names of the gates along the first axis of the parameters `W`, `U` and `b`.
        recurrent_weights: the names of the parameters that multiply the state.
        jacobian: the structure of ∂update/∂state, which makes `seqmem.Newton` fast; None is that of
            the family, or else a matrix.
        is_composite: whether the cell hands its work to other cells, each in its own precision.
    """

    gates: ClassVar[tuple[str, ...]] = ()
    recurrent_weights: ClassVar[tuple[str, ...]] = ()
    jacobian: ClassVar[AbstractJacobian | None] = None
    is_composite: ClassVar[bool] = False

    @abc.abstractmethod
    def project(self, x: PyTree, /) -> Drive:
        """What the cell sees of one input. It does not depend on the state."""

    @abc.abstractmethod
    def update(self, state: State, drive: Drive, /) -> State:
        """The next state: the only part that must run in order."""

    @abc.abstractmethod
    def readout(self, state: State, drive: Drive, /) -> Output:
        """What the cell shows of its new state. It does not depend on other steps."""

    @refuse_misfits("cell", _step_remedy, skip=1)
    def __call__(self, state: State, x: PyTree) -> tuple[State, Output]:
        """One step of one example: `state, y = cell(state, x)`.

        In a loop of your own, write `jax.lax.scan(lambda s, x: cell(s, x), state, xs)`: `lax.scan`
        hashes its function, and a module with arrays has no hash.

        Args:
            state: as `init_state()` returns it, without batch axes.
            x: one input, of the cell's `input_shape`.

        Raises:
            ValueError: for a full cache, and for a batch. Use `jax.vmap(cell)(states, xs)` for one
                step of a batch, or `seqmem.unroll` for sequences.
        """
        try:
            _check_step(self, state, x)
        except ValueError:
            if is_refused(_check_step, self, x, state):
                raise
            raise bad_input(
                f"{type(self).__name__} got its input first and its state second.",
                "cell(state, x).",
                "write state, y = cell(state, x).",
            ) from None
        drive = project(self, x, state)
        state = update(self, state, drive)
        return state, readout(self, state, drive)

    @property
    def can_step(self) -> bool:
        return True

    @property
    def output_shape(self) -> PyTree:
        """The shape of one output, derived from `input_shape` without computing anything.

        Raises:
            ValueError: where the cell does not say the sizes of its input.
        """
        x = zeros_like_input(self.input_shape, precision(self) or jnp.result_type(float))
        _, y = jax.eval_shape(lambda cell, x: cell(cell.init_state(), x), self, x)
        return jax.tree.map(lambda leaf: leaf.shape, y)


def _with_batch(init_state: Callable[[Any], State]) -> Callable[..., State]:
    """`init_state` of one example as one that takes batch axes."""

    @functools.wraps(init_state)
    def batched(self: AbstractLayer, *batch: int) -> State:
        state = init_state(self)
        if not batch:
            return state
        return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (*batch, *leaf.shape)), state)

    return batched


def _check_step(cell: AbstractCell, state: State, x: PyTree) -> None:
    """Refuse a batch of states or inputs, which some cells would compute wrongly."""
    name = type(cell).__name__
    if per_example_parts(cell):
        raise bad_input(
            f"one step of a {name} with a PerExample in it.",
            "the value of one example.",
            "run it over a batch by seqmem.unroll, or give it one value without PerExample.",
        )
    remedy = (
        "for one step of a batch write jax.vmap(cell)(states, xs), for sequences "
        "seqmem.unroll(cell, state, xs)."
    )
    for path, leaf, shape in leaf_shapes(cell.input_shape, x):
        if jnp.ndim(leaf) != len(shape) or not fits(jnp.shape(leaf), shape):
            raise bad_input(
                f"{name} got an input{path} of shape {jnp.shape(leaf)}.",
                f"one input of shape {shape}.",
                remedy,
            )
    one_state = jax.eval_shape(lambda cell: cell.init_state(), cell)
    if jax.tree.map(jnp.shape, state) != jax.tree.map(jnp.shape, one_state):
        raise bad_input(
            f"{name} got a state {tree_names(state)}.",
            f"the state of one example, {tree_names(one_state)}.",
            remedy,
        )
    check_caches(one_state, state, 1)


def project(cell: AbstractCell, x: PyTree, state: State) -> Drive:
    """`cell.project` in the parameters' precision, returned in that of `state`."""
    return as_precision(cell.project(as_precision(x, precision(cell))), precision(state))


def update(cell: AbstractCell, state: State, drive: Drive) -> State:
    """`cell.update` in the state's precision, unless the family or the cell's parts say which."""
    if cell.family.update is not None:
        return cell.family.update(cell, state, drive)
    if cell.is_composite:
        return cell.update(state, drive)
    return as_precision(cell, precision(state)).update(state, drive)


def readout(cell: AbstractCell, state: State, drive: Drive) -> Output:
    """`cell.readout` in the state's precision, unless the cell's parts say which."""
    if cell.is_composite:
        return cell.readout(state, drive)
    return as_precision(cell, precision(state)).readout(state, drive)
