"""A function of one example, run on planes: one array for each vector over the units.

A plane holds one vector [units] for many examples at once: [rows, units] in one kernel, [units,
columns] in another. A value of shape [*lead, units] is an object array [*lead] of planes, so the
leading axes (which gate) are Python's, and a kernel stacks, slices and reshapes nothing.

Only functions that treat all units alike have such a form: entry by entry, and any choice among the
leading axes. A sum over units, a product with a matrix or a norm is refused by name.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core
from jaxtyping import PyTree

from .traces import inner_jaxpr, used_arguments

Leaf = np.ndarray  # of planes, with the leading axes of a value

ENTRYWISE = frozenset(
    {
        *("add", "add_any", "sub", "mul", "div", "neg", "abs", "sign", "rem", "max", "min"),
        *("clamp", "square", "integer_pow", "pow", "sqrt", "rsqrt", "cbrt"),
        *("exp", "exp2", "expm1", "log", "log1p", "logistic", "tanh", "erf", "erfc", "erf_inv"),
        *("sin", "cos", "tan", "asin", "acos", "atan", "atan2", "sinh", "cosh", "asinh"),
        *("acosh", "atanh"),
        *("select_n", "eq", "ne", "ge", "gt", "le", "lt", "and", "or", "not", "xor"),
        *("is_finite", "floor", "ceil", "round", "nextafter", "real"),
        *("convert_element_type", "copy", "stop_gradient"),
    }
)


class MixesUnitsError(Exception):
    """A function that does not treat all units alike; its message names the operation."""


class PlaneFunction:
    """A traced function of one example, to be called with planes.

    Args:
        fn: its results are trees of arrays [*lead, units].
        units: how many.
        args: trees of shapes [*lead, units], or of scalars.

    Raises:
        MixesUnitsError: when it is called, where the function has no such form.
    """

    def __init__(self, fn: Callable, units: int, *args: PyTree):
        closed, results = jax.make_jaxpr(fn, return_shape=True)(*args)
        self._jaxpr = closed
        self._units = units
        self._args = jax.tree.structure(args)
        self._results = jax.tree.structure(results)
        self.is_used = used_arguments(closed.jaxpr)

    def __call__(self, *args: PyTree) -> PyTree:
        """The results, trees of object arrays of planes; so are the arguments, or None for a leaf
        that is not used.
        """
        leaves = self._args.flatten_up_to(args)
        return self._results.unflatten(_run(self._jaxpr, leaves, self._units))


def to_leaf(planes: list, lead: tuple[int, ...]) -> Leaf:
    """Planes in order, as a value with these leading axes."""
    leaf = np.empty(lead, object)
    for place, plane in zip(np.ndindex(*lead), planes, strict=True):
        leaf[place] = plane
    return leaf


def to_leaves(planes: list, shapes: list[tuple[int, ...]]) -> list[Leaf]:
    """Planes in order, as values of these shapes, [*lead, units] each."""
    leaves, start = [], 0
    for shape in shapes:
        end = start + math.prod(shape[:-1])
        leaves.append(to_leaf(planes[start:end], shape[:-1]))
        start = end
    return leaves


def _run(closed: Any, args: list, units: int) -> list[Leaf]:
    values: dict[Any, Leaf] = {}

    def read(var: Any) -> Leaf:
        return _constant(var.val) if isinstance(var, core.Literal) else values[var]

    jaxpr = closed.jaxpr
    values |= zip(jaxpr.constvars, map(_constant, closed.consts), strict=True)
    values |= {var: arg for var, arg in zip(jaxpr.invars, args, strict=True) if arg is not None}
    for equation in jaxpr.eqns:
        results = _apply(equation, [read(var) for var in equation.invars], units)
        values |= zip(equation.outvars, results, strict=True)
    return [read(var) for var in jaxpr.outvars]


def _constant(value: Any) -> Leaf:
    """A constant of the function: a scalar, or [*lead, units]."""
    value = jnp.asarray(value)
    if value.ndim <= 1:
        return to_leaf([value], ())
    lead = value.shape[:-1]
    return to_leaf([value[place] for place in np.ndindex(*lead)], lead)


def _apply(equation: Any, args: list[Leaf], units: int) -> list[Leaf]:
    name = equation.primitive.name
    result = equation.outvars[0].aval
    lead = result.shape[:-1]
    inner = inner_jaxpr(equation)
    if inner is not None:
        return _run(inner, args, units)
    if name in ENTRYWISE and result.shape in ((), (*lead, units)):
        args = [np.broadcast_to(arg, lead) for arg in args]
        planes = [_bind(equation, [arg[place] for arg in args]) for place in np.ndindex(*lead)]
        return [to_leaf(planes, lead)]
    move = _along_leading_axes(equation, units)
    if move is None:
        shapes = ", ".join(var.aval.str_short() for var in equation.invars)
        raise MixesUnitsError(f"{name} of {shapes} to {result.str_short()}")
    return move(args)


def _bind(equation: Any, planes: list) -> Any:
    """An entrywise operation on planes."""
    shape = functools.reduce(jnp.broadcast_shapes, map(jnp.shape, planes))
    params = dict(equation.params)
    if equation.primitive.name == "convert_element_type":
        params["sharding"] = None
    if equation.primitive.name == "clamp":
        low, plane, high = planes
        planes = [low if not jnp.ndim(low) else jnp.broadcast_to(low, shape), plane, high]
    else:
        planes = [jnp.broadcast_to(plane, shape) for plane in planes]
    return equation.primitive.bind(*planes, **params)


def _along_leading_axes(equation: Any, units: int) -> Callable[[list[Leaf]], list[Leaf]] | None:
    """What an operation does to leading axes alone; None where it touches the units."""
    name, params = equation.primitive.name, equation.params
    (before, *_), result = (var.aval for var in equation.invars), equation.outvars[0].aval
    lead, last = result.shape[:-1], before.ndim - 1
    if name == "broadcast_in_dim" and not before.ndim:
        return lambda args: [np.broadcast_to(args[0], lead)]
    if not before.shape or before.shape[-1] != units or result.shape[-1:] != (units,):
        return None
    if name == "broadcast_in_dim" and params["broadcast_dimensions"][-1] == result.ndim - 1:
        shape = [1] * (result.ndim - 1)
        for axis, size in zip(params["broadcast_dimensions"][:-1], before.shape[:-1], strict=True):
            shape[axis] = size
        return lambda args: [np.broadcast_to(args[0].reshape(shape), lead)]
    if name in ("reshape", "expand_dims") or (
        name == "squeeze" and last not in params["dimensions"]
    ):
        return lambda args: [args[0].reshape(lead)]
    if name == "slice" and params["limit_indices"][-1] - params["start_indices"][-1] == units:
        strides = params["strides"] or (1,) * before.ndim
        bounds = zip(params["start_indices"], params["limit_indices"], strides, strict=True)
        index = tuple(slice(*bound) for bound in bounds)[:-1]
        return lambda args: [args[0][index]]
    if name == "transpose" and params["permutation"][-1] == last:
        return lambda args: [args[0].transpose(params["permutation"][:-1])]
    if name == "concatenate" and params["dimension"] < last:
        return lambda args: [np.concatenate(args, params["dimension"])]
    if name == "split" and params["axis"] < last:
        ends = np.cumsum(params["sizes"])[:-1]
        return lambda args: list(np.split(args[0], ends, params["axis"]))
    if name == "unstack" and params["axis"] < last:
        axis = params["axis"]
        return lambda args: [_entry(args[0], i, axis) for i in range(before.shape[axis])]
    return None


def _entry(leaf: Leaf, index: int, axis: int) -> Leaf:
    entry = np.moveaxis(leaf, axis, 0)[index]
    return entry if isinstance(entry, np.ndarray) else to_leaf([entry], ())
