"""What `unroll` accepts. Each refusal says what came, what was expected and what to do."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import PyTree

from .cell import AbstractCell, probe_values
from .errors import bad_input
from .method import AbstractMethod
from .batching import each, parts_of_examples
from .precision import as_precision, precision


def check_unroll(cell, state, xs, lengths, resets, perturbations, method, chunk) -> None:
    """Raise a `ValueError` where the arguments of `unroll` do not fit each other."""
    if not isinstance(cell, AbstractCell):
        raise bad_input(
            f"unroll got a cell of type {type(cell).__name__}.",
            "an instance of seqmem.AbstractCell.",
            "pass the cell itself, e.g. seqmem.LSTM(...), not its class or its parameters.",
        )
    if method is not None and not isinstance(method, AbstractMethod):
        raise bad_input(
            f"unroll got method={method!r}.",
            "an instance of a method, such as seqmem.Scan(), or None.",
            "leave it out, or write method=seqmem.Scan().",
        )
    if chunk is not None and (isinstance(chunk, bool) or not isinstance(chunk, int) or chunk < 1):
        raise bad_input(
            f"unroll got remat_every={chunk!r}.",
            "a number of steps, at least 1, or None.",
            "leave it out to keep every step, or choose about the square root of the time.",
        )
    if chunk is not None and method is not None and method.clock.axis_name is not None:
        raise bad_input(
            f"unroll got remat_every={chunk} with {method}.",
            "no chunk where time is sharded: each device has its share at once.",
            "use more devices, or put jax.checkpoint around the call.",
        )
    given = {"state": state, "xs": xs, "lengths": lengths, "resets": resets}
    given["perturbations"] = probe_values(perturbations)
    for name, tree in given.items():
        _check_arrays(name, tree)
    init = jax.eval_shape(cell.init_state)
    check_family(cell, init)
    time, *batch = leading_axes(cell, xs)
    _check_parts_of_examples(cell, tuple(batch))
    check_input(cell, xs, 1 + len(batch))
    _check_state("state", init, state, tuple(batch), shared=True)
    if perturbations is not None:
        _check_state("perturbations", init, probe_values(perturbations), (time, *batch), shared=False)
    if lengths is not None:
        check_lengths(lengths, time, tuple(batch))
    if resets is not None:
        _check_resets(resets, (time, *batch))


@functools.singledispatch
def check_family(cell: AbstractCell, init: PyTree) -> None:
    """Raise a `ValueError` where the initial state is none that the cell's family can have."""


def _check_arrays(name: str, tree: PyTree) -> None:
    for path, leaf in jax.tree.leaves_with_path(tree):
        if not isinstance(leaf, jax.Array | np.ndarray | np.generic):
            raise bad_input(
                f"{name}{jax.tree_util.keystr(path)} is of type {type(leaf).__name__}.",
                "arrays of JAX or NumPy.",
                "turn it into one array with jax.numpy.asarray.",
            )


def _check_parts_of_examples(cell: AbstractCell, batch: tuple[int, ...]) -> None:
    for part in parts_of_examples(cell):
        for path, leaf in jax.tree.leaves_with_path(part.value):
            if np.shape(leaf)[: len(batch)] != batch:
                raise bad_input(
                    f"a PerExample of {type(cell).__name__} holds an array"
                    f"{jax.tree_util.keystr(path)} of shape {np.shape(leaf)}.",
                    f"the batch axes of xs, {batch}, in front.",
                    "give every example of this batch its own value, or hand the bare value of "
                    "one, which all share.",
                )


def leading_axes(cell: AbstractCell, xs: PyTree) -> tuple[int, ...]:
    """(time, *batch): the axes of `xs` in front of one input, on which all leaves must agree."""
    try:
        axes = jax.tree.map(
            lambda own, part: jax.tree.map(lambda _: own, part), cell.input_axes, xs
        )
    except (ValueError, TypeError) as error:
        raise bad_input(
            f"xs is a tree {jax.tree.structure(xs)}.",
            f"a tree that begins like the cell's input_axes, {cell.input_axes}.",
            "pass the inputs in the structure that the cell declares.",
        ) from error
    named = list(zip(jax.tree.leaves_with_path(xs), jax.tree.leaves(axes), strict=True))
    if not named:
        raise bad_input(
            "xs holds no array.",
            "at least one array [time, *batch, ...].",
            "pass the inputs; a cell without input still needs something to count time by.",
        )
    found = {}
    for (path, leaf), own in named:
        shape = np.shape(leaf)
        if len(shape) < 1 + own:
            raise bad_input(
                f"xs{jax.tree_util.keystr(path)} has shape {shape}.",
                f"[time, *batch, ...] with {own} axes for one input: at least {1 + own} axes.",
                "add the missing axis; for one step use cell(state, x).",
            )
        found[jax.tree_util.keystr(path)] = shape[: len(shape) - own]
    if len(set(found.values())) > 1:
        raise bad_input(
            f"the leaves of xs disagree on time and batch: {found}.",
            "the same (time, *batch) in front of every leaf.",
            "check the cell's input_axes and the order of the axes.",
        )
    return next(iter(found.values()))


def check_input(cell: AbstractCell, xs: PyTree, leading: int) -> None:
    """Check the size and the dtype of one input."""
    own = precision(cell)
    for leaf in jax.tree.leaves(xs):
        given = precision(leaf)
        if own is not None and given == jnp.float64 and own != jnp.float64:
            raise bad_input(
                f"xs is {leaf.dtype} and the cell's parameters are {own}.",
                "inputs that are no wider than the parameters, or 32 bits.",
                "cast the inputs with astype, or the cell with jax.tree.map.",
            )
    size = getattr(cell, "input_size", None)
    if size is not None and cell.input_axes == 1:
        if not isinstance(xs, jax.Array | np.ndarray):
            raise bad_input(
                f"xs is a tree {jax.tree.structure(xs)}.",
                f"one array [time, *batch, {size}].",
                "stack the inputs into one array, or concatenate them along the last axis.",
            )
        shape, dtype = xs.shape, xs.dtype
        if shape[-1] != size:
            raise bad_input(
                f"xs has shape {shape}: {shape[-1]} entries in one input.",
                f"{size}, the cell's input_size, in the last axis.",
                "put time first and features last, or make the cell with the right input_size.",
            )
        if not jnp.issubdtype(dtype, jnp.inexact):
            raise bad_input(
                f"xs is {dtype}.",
                "floating point inputs.",
                "cast them with astype, or turn tokens into vectors with jax.nn.one_hot.",
            )
        return
    one, without_time = (
        jax.tree.map(
            lambda leaf, skip=skip: jax.ShapeDtypeStruct(
                np.shape(leaf)[skip:], jnp.result_type(leaf)
            ),
            xs,
        )
        for skip in (leading, 1)
    )
    try:
        each_sees = each(lambda cell, x: cell.project(as_precision(x, own)), cell, leading - 1)
        jax.eval_shape(each_sees, without_time)
    except (TypeError, ValueError) as error:
        raise bad_input(
            f"{type(cell).__name__}.project refused one input {one}: {error}",
            f"an input with input_axes = {cell.input_axes} that the cell can project.",
            "check the order of the axes of xs: time first, then batch, then one input.",
        ) from error


def _check_state(
    name: str, init: PyTree, given: PyTree, leading: tuple[int, ...], *, shared: bool
) -> None:
    if jax.tree.structure(init) != jax.tree.structure(given):
        raise bad_input(
            f"{name} is a tree {jax.tree.structure(given)}.",
            f"the tree of the cell's init_state(), {jax.tree.structure(init)}.",
            "start from cell.init_state().",
        )
    leaves = jax.tree.leaves(given)
    for (path, own), leaf in zip(jax.tree.leaves_with_path(init), leaves, strict=True):
        label = f"{name}{jax.tree_util.keystr(path)}"
        shape, dtype = leaf.shape, leaf.dtype
        allowed = [leading + own.shape] + [own.shape] * shared
        if shape not in allowed:
            raise bad_input(
                f"{label} has shape {shape}.",
                " or ".join(map(str, dict.fromkeys(reversed(allowed))))
                + "; nothing else broadcasts.",
                f"put exactly the axes {leading} in front of what cell.init_state() has.",
            )
        if dtype != own.dtype:
            raise bad_input(
                f"{label} is {dtype}.",
                f"{own.dtype}, as cell.init_state() says; a state's dtype never changes.",
                "cast it with astype, or cast the cell.",
            )


def check_lengths(lengths: Any, time: int, batch: tuple[int, ...]) -> None:
    """Check the valid steps of each sequence; where they are traced, their values are not known."""
    shape, dtype = lengths.shape, lengths.dtype
    if shape != batch or not jnp.issubdtype(dtype, jnp.integer):
        raise bad_input(
            f"lengths is {dtype} of shape {shape}.",
            f"integers of shape {batch}, one for each sequence of the batch.",
            "give one length per sequence, in the batch axes of xs.",
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


def _check_resets(resets: Any, expected: tuple[int, ...]) -> None:
    shape, dtype = resets.shape, resets.dtype
    if shape != expected or dtype != jnp.bool_:
        raise bad_input(
            f"resets is {dtype} of shape {shape}.",
            f"booleans of shape {expected}: [time, *batch].",
            "compare with astype(bool), and give one flag per step and sequence.",
        )
