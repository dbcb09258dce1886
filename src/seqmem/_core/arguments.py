"""What `unroll` and `solve` accept. A refusal says what came, what was expected and what to do."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import PyTree

from .batching import per_example_parts, vmap_batch
from .calls import public_name
from .cell import AbstractCell, AbstractLayer
from .errors import bad_input, is_refused
from .method import AbstractMethod
from .perturbations import perturbation_values
from .precision import as_precision, precision
from .problem import State
from .remedies import array_remedy, flags_remedy, lengths_remedy, method_remedy, state_remedy
from .shapes import fits, leading_axes, leaf_shapes, tree_names, vector_size
from .validation import check_count


def check_layer(cell: Any) -> None:
    """Refuse what is no layer."""
    if isinstance(cell, AbstractLayer):
        return
    if isinstance(cell, type):
        remedy = f"make an instance first: {public_name(cell)}(..., key=jax.random.key(0))."
    else:
        remedy = "pass a cell such as seqmem.LSTM(3, 5, key=key), or a network of cells."
    kind = "the class " + cell.__name__ if isinstance(cell, type) else "a " + type(cell).__name__
    raise bad_input(
        f"unroll got {kind} as its cell.",
        "an instance of seqmem.AbstractCell or seqmem.AbstractLayer.",
        remedy,
    )


def check_method(cell: AbstractLayer, method: Any, remat_every: Any) -> None:
    """Refuse what is no method, and chunks of time that cannot be rematerialised."""
    if method is not None and not isinstance(method, AbstractMethod):
        raise bad_input(
            f"unroll got method={method!r}.",
            "an instance of a method, such as seqmem.Scan(), or None.",
            method_remedy(method),
        )
    if method is not None and method.needs_cell and not cell.can_step:
        raise bad_input(
            f"{method} got a {type(cell).__name__}, which has no single step.",
            "a method that runs a network layer by layer.",
            "leave the method out, or write seqmem.layers.LayerByLayer(method).",
        )
    if remat_every is None:
        return
    check_count(
        "unroll",
        "remat_every",
        remat_every,
        remedy="leave it out to keep every step, or choose about the square root of the time.",
    )
    if method is not None and method.time_shard.axis_name is not None:
        raise bad_input(
            f"unroll got remat_every={remat_every} with {method}.",
            "no remat_every where time is sharded: each device runs its share at once.",
            "use more devices, or put jax.checkpoint around the call.",
        )


def check_arrays(**trees: PyTree) -> None:
    """Refuse leaves that are no arrays."""
    for name, tree in trees.items():
        for path, leaf in jax.tree.leaves_with_path(tree):
            if not isinstance(leaf, jax.Array | np.ndarray | np.generic):
                raise bad_input(
                    f"{name}{jax.tree_util.keystr(path)} is of type {type(leaf).__name__}.",
                    "arrays of JAX or NumPy.",
                    array_remedy(leaf),
                )


def check_per_example(cell: AbstractLayer, batch: tuple[int, ...]) -> None:
    """Refuse a `PerExample` of another batch."""
    for part in per_example_parts(cell):
        for path, leaf in jax.tree.leaves_with_path(part.value):
            if np.shape(leaf)[: len(batch)] != batch:
                raise bad_input(
                    f"a PerExample of {type(cell).__name__} holds an array"
                    f"{jax.tree_util.keystr(path)} of shape {np.shape(leaf)}.",
                    f"the batch axes of xs, {batch}, in front.",
                    "give every example of this batch its own value, or replace the PerExample by "
                    "one value, which all examples share.",
                )


def check_input(cell: AbstractLayer, xs: PyTree) -> None:
    """Refuse inputs of another shape or dtype than the cell's."""
    leading = len(leading_axes(cell.input_shape, xs))
    dtype = precision(cell)
    for path, leaf, shape in leaf_shapes(cell.input_shape, xs):
        given = precision(leaf)
        if dtype is not None and given == jnp.float64 and dtype != jnp.float64:
            raise bad_input(
                f"xs{path} is {leaf.dtype} and the cell's parameters are {dtype}.",
                "inputs that are no wider than the parameters, or 32 bits.",
                "cast the inputs with astype, or the cell with jax.tree.map.",
            )
        if not fits(leaf.shape, shape):
            last = leaf.shape[leaf.ndim - len(shape) :]
            raise bad_input(
                f"xs{path} has shape {leaf.shape}: one input has shape {last}.",
                f"{shape}, the cell's input_shape, in the last axes.",
                "put time first and features last, or make the cell with the right input_size.",
            )
    if vector_size(cell.input_shape) is None:
        if isinstance(cell, AbstractCell):
            _try_project(cell, xs, leading)
    elif jax.tree.structure(xs) != jax.tree.structure(0):
        raise bad_input(
            f"xs is a tree {tree_names(xs)}.",
            f"one array [time, *batch, {vector_size(cell.input_shape)}].",
            "concatenate the arrays, or write a cell whose input_shape is a tree.",
        )
    elif not jnp.issubdtype(xs.dtype, jnp.inexact):
        raise bad_input(
            f"xs is {xs.dtype}.",
            "floating point inputs.",
            "write xs.astype(float), or put a seqmem.layers.Embedding of tokens below the cell.",
        )


def _try_project(cell: AbstractCell, xs: PyTree, leading: int) -> None:
    """Trace `project` alone where the input's shape says too little, for a readable refusal."""
    batch = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], jnp.result_type(leaf)), xs
    )

    def see(cell: AbstractCell, x: PyTree) -> PyTree:
        return cell.project(as_precision(x, precision(cell)))

    try:
        jax.eval_shape(vmap_batch(see, cell, leading - 1), batch)
    except (TypeError, ValueError) as error:
        one = jax.tree.map(lambda leaf: leaf.shape[leading:], xs)
        raise bad_input(
            f"{type(cell).__name__}.project refused one input of shape {one}: {error}",
            f"an input of shape {cell.input_shape} that the cell can project.",
            "check the order of the axes of xs: time first, then batch, then one input.",
        ) from error


def check_state(
    name: str, one_state: State, given: State, leading: tuple[int, ...], *, may_share: bool
) -> None:
    """Refuse a tree that is not like the state, with `leading` axes in front of its leaves.

    Args:
        name: in messages.
        one_state: the shapes of one state.
        given: the tree.
        leading: the axes in front.
        may_share: whether leaves without these axes stand for all examples.
    """
    if jax.tree.structure(one_state) != jax.tree.structure(given):
        raise bad_input(
            f"{name} is a tree {tree_names(given)}.",
            f"the tree of the cell's init_state(), {tree_names(one_state)}.",
            state_remedy(one_state, given),
        )
    leaves = jax.tree.leaves(given)
    for (path, own), leaf in zip(jax.tree.leaves_with_path(one_state), leaves, strict=True):
        label = f"{name}{jax.tree_util.keystr(path)}"
        allowed = [leading + own.shape] + [own.shape] * may_share
        if leaf.shape not in allowed:
            raise bad_input(
                f"{label} has shape {leaf.shape}.",
                " or ".join(map(str, dict.fromkeys(reversed(allowed))))
                + "; nothing else broadcasts.",
                f"put exactly the axes {leading} in front of what cell.init_state() has.",
            )
        if leaf.dtype != own.dtype:
            raise bad_input(
                f"{label} is {leaf.dtype}.",
                f"{own.dtype}, as cell.init_state() says; a state's dtype never changes.",
                "cast it with astype, or cast the cell.",
            )


def check_perturbations(one_state: State, perturbations: PyTree, leading: tuple[int, ...]) -> None:
    """Refuse perturbations that are not like the states of all steps."""
    values = perturbation_values(perturbations)
    check_arrays(perturbations=values)
    check_state("perturbations", one_state, values, leading, may_share=False)


def check_lengths(lengths: Any, time: int, batch: tuple[int, ...]) -> None:
    """Refuse lengths of another shape, dtype or range; of traced ones the range is not known."""
    shape, dtype = lengths.shape, lengths.dtype
    if shape != batch or not jnp.issubdtype(dtype, jnp.integer):
        raise bad_input(
            f"lengths is {dtype} of shape {shape}.",
            f"integers of shape {batch}, one for each sequence of the batch.",
            lengths_remedy(lengths, time, batch),
        )
    if isinstance(lengths, Tracer):
        return
    values = np.asarray(lengths)
    if values.size and (values.min() < 0 or values.max() > time):
        raise bad_input(
            f"lengths lie between {values.min()} and {values.max()}.",
            f"0 <= length <= {time}, the time in xs.",
            "pad xs to the longest sequence, or cut the lengths.",
        )


def check_mask_method(method: AbstractMethod) -> None:
    """Refuse a mask where a device does not have all steps."""
    if method.time_shard.axis_name is not None:
        raise bad_input(
            f"unroll got a mask with {method}.",
            "lengths, where time is sharded over devices.",
            "move the padding to the end of the sequences and pass lengths.",
        )


def check_step_flags(name: str, flags: Any, leading: tuple[int, ...]) -> None:
    """Refuse what is not one boolean per step and sequence."""
    shape, dtype = flags.shape, flags.dtype
    if shape != leading or dtype != jnp.bool_:
        raise bad_input(
            f"{name} is {dtype} of shape {shape}.",
            f"booleans of shape {leading}: [time, *batch].",
            flags_remedy(name, flags, leading),
        )


def check_run(cell: AbstractLayer, state: State | None, xs: PyTree) -> None:
    """Refuse a cell, a state and inputs that do not fit each other. None is the initial state."""
    check_layer(cell)
    check_arrays(state=state, xs=xs)
    one_state = None
    if state is not None:
        one_state = jax.eval_shape(lambda cell: cell.init_state(), cell)
    check_fit(cell, one_state, state, xs)


def check_fit(cell: AbstractLayer, one_state: State, state: State | None, xs: PyTree) -> None:
    """Refuse a state and inputs, trees of arrays, that do not fit the cell."""
    batch = leading_axes(cell.input_shape, xs)[1:]
    check_per_example(cell, batch)
    check_input(cell, xs)
    if state is not None:
        check_state("state", one_state, state, batch, may_share=True)


def check_order(cell: AbstractLayer, one_state: State, state: State | None, xs: PyTree) -> None:
    """Refuse what `check_fit` refuses, and say so where state and inputs were interchanged."""
    try:
        check_fit(cell, one_state, state, xs)
    except ValueError:
        if state is None or is_refused(check_fit, cell, one_state, xs, state):
            raise
        raise bad_input(
            "unroll got its inputs second and its state third.",
            "unroll(cell, state, xs).",
            "write state, ys = seqmem.unroll(cell, state, xs), with None for the initial state.",
        ) from None
