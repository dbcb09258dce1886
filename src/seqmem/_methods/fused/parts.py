"""A cell taken apart for one kernel: z = s M + z_x, and a gate that works unit by unit."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ..._core.batching import per_example_parts, vmap_batch
from ..._core.precision import as_precision, precision
from ..._core.problem import Drive, Problem, State
from ..._core.vjp_rule import AbstractVJPRule
from ..readouts import drives_of
from ..scan.forward import rule_of
from .planes import MixesUnitsError, PlaneFunction, to_leaves
from .records import Weights, ZPlanes
from .traces import reached_results, used_arguments

Planes = list[Array]


class NotFusableError(Exception):
    """Why a cell cannot run in one kernel, as a clause."""


class Parts(NamedTuple):
    """What a kernel knows of a cell. The planes of z are numbered over all its leaves.

    Attributes:
        units: entries of each leaf of the state.
        dtype: of the state and of z.
        num_leaves: leaves of the state.
        read: the leaf of the state that the product reads.
        sees_state: for each plane of z, whether the product adds to it.
        gate: (planes of parameters, by leaf; state; z) -> next state.
        parameters: the places of the gate's parameters among the leaves of the cell.
        parameter_planes: how many planes each of them is.
        z: the shapes of the pre-activations of one example.
    """

    units: int
    dtype: Any
    num_leaves: int
    read: int
    sees_state: tuple[bool, ...]
    gate: Callable[[list[Planes], Planes, Planes], Planes]
    parameters: tuple[int, ...]
    parameter_planes: tuple[int, ...]
    z: PyTree

    @property
    def num_planes(self) -> int:
        """Planes of z."""
        return len(self.sees_state)


def take_apart(problem: Problem) -> Parts:
    """The parts of a problem's cell.

    Raises:
        NotFusableError: where the cell is not one product and a function of each unit.
    """
    cell, init = problem.cell, problem.init
    rule = rule_of(cell)
    if not rule.is_gated:
        raise NotFusableError(
            f"its family, {cell.family.name!r}, does not promise one product followed by gates"
        )
    if per_example_parts(cell):
        raise NotFusableError("a part of it differs between the examples of a batch")
    leaves = jax.tree.leaves(init)
    units = leaves[0].size
    if any(leaf.shape != (units,) or jnp.iscomplexobj(leaf) for leaf in leaves):
        raise NotFusableError(f"its state is {_shapes(leaves)}, not real vectors of one size")
    drive = _drive_of_one(problem)
    read, sees = _find_product(rule, cell, init, drive)
    z = jax.eval_shape(lambda drive: rule.prepare(cell, init, drive), drive)
    z_leaves = jax.tree.leaves(z)
    if any(leaf.shape[-1:] != (units,) for leaf in z_leaves):
        raise NotFusableError(
            f"its pre-activations are {_shapes(z_leaves)}, not vectors of {units} entries"
        )
    sees_state = [
        does for does, leaf in zip(sees, z_leaves, strict=True) for _ in range(_planes_of(leaf))
    ]
    gate, parameters, planes = _gate_of_planes(rule, cell, init, z)
    return Parts(
        units, precision(init), len(leaves), read, tuple(sees_state), gate, parameters, planes, z
    )


def z_of_inputs(parts: Parts, problem: Problem) -> ZPlanes:
    """What the inputs of a run with one batch axis add to z."""
    prepare = rule_of(problem.cell).prepare
    zeros = jax.tree.map(jnp.zeros_like, problem.init)
    drives = drives_of(problem.cell, problem.init, problem.inputs, 1)
    run = vmap_batch(lambda cell, drive: prepare(cell, zeros, drive), problem.cell, 1, time=True)
    return planes_of_z(parts, run(drives))


def weights_of(parts: Parts, problem: Problem, dtype: Any) -> Weights:
    """What a kernel reads of the cell, for products of some dtype."""
    wide = jax.tree.leaves(as_precision(eqx.filter(problem.cell, eqx.is_array), parts.dtype))
    parameters = [wide[place].reshape(-1, parts.units) for place in parts.parameters]
    seeing = [plane for plane, sees in enumerate(parts.sees_state) if sees]
    if not seeing:
        return Weights(None, parameters)
    rows = _rows_of_products(parts, problem)
    return Weights(rows[jnp.array(seeing)].astype(dtype), parameters)


def planes_of_z(parts: Parts, z: PyTree) -> Float[Array, "time plane batch units"]:
    """Pre-activations [time, batch, ...] as planes."""
    leaves = [
        jnp.moveaxis(leaf.reshape(*leaf.shape[:2], -1, parts.units), 2, 1)
        for leaf in jax.tree.leaves(z)
    ]
    return jnp.concatenate(leaves, 1)


def z_of_planes(parts: Parts, planes: Float[Array, "time plane batch units"]) -> PyTree:
    """The inverse of `planes_of_z`."""
    shapes, structure = jax.tree.flatten(parts.z)
    leaves, start = [], 0
    for shape in shapes:
        end = start + _planes_of(shape)
        leaf = jnp.moveaxis(planes[:, start:end], 1, 2)
        leaves.append(leaf.reshape(*leaf.shape[:2], *shape.shape))
        start = end
    return structure.unflatten(leaves)


def _planes_of(leaf: Any) -> int:
    return math.prod(leaf.shape[:-1])


def _shapes(leaves: list) -> str:
    return ", ".join(f"{leaf.dtype}{list(leaf.shape)}" for leaf in leaves)


def _drive_of_one(problem: Problem) -> Drive:
    """The drive of one example at one step, as shapes."""

    def drive(inputs: PyTree) -> Drive:
        one_step = jax.tree.map(lambda leaf: leaf[:1], inputs)
        drives = drives_of(problem.cell, problem.init, one_step, problem.batch_axes)
        first = (0,) * (1 + problem.batch_axes)
        return jax.tree.map(lambda leaf: leaf[first], drives)

    return jax.eval_shape(drive, problem.inputs)


def _find_product(
    rule: AbstractVJPRule, cell: Any, init: State, drive: Drive
) -> tuple[int, list[bool]]:
    """Which leaf of the state the product reads, and for each leaf of z whether it adds to it."""

    def derivative(state: State, drive: Drive, tangent: State) -> PyTree:
        return jax.jvp(lambda state: rule.prepare(cell, state, drive), (state,), (tangent,))[1]

    jaxpr = jax.make_jaxpr(derivative)(init, drive, init).jaxpr
    used = used_arguments(jaxpr)
    leaves = len(jax.tree.leaves(init))
    if any(used[:-leaves]):
        raise NotFusableError("what its state adds to the pre-activations is not one fixed product")
    read = [place for place, is_used in enumerate(used[-leaves:]) if is_used]
    if len(read) > 1:
        raise NotFusableError(f"its product reads {len(read)} parts of the state, not one")
    place = read[0] if read else 0
    return place, reached_results(jaxpr, len(used) - leaves + place)


def _gate_of_planes(
    rule: AbstractVJPRule, cell: Any, init: State, z: PyTree
) -> tuple[Callable[[list[Planes], Planes, Planes], Planes], tuple[int, ...], tuple[int, ...]]:
    """The gate of planes, which leaves of the cell it reads, and the planes of each of them."""
    arrays, constant = eqx.partition(cell, eqx.is_array)
    leaves, structure = jax.tree.flatten(arrays)

    def finish(leaves: list[Array], state: State, z: PyTree) -> list[Array]:
        cell = eqx.combine(structure.unflatten(leaves), constant)
        return jax.tree.leaves(rule.finish(cell, state, z))

    wide = jax.tree.leaves(as_precision(arrays, precision(init)))
    units = jax.tree.leaves(init)[0].size
    function = PlaneFunction(finish, units, wide, init, z)
    places = tuple(place for place in range(len(leaves)) if function.is_used[place])
    shapes = [wide[place].shape for place in places]
    if any(shape[-1:] != (units,) for shape in shapes):
        raise NotFusableError(f"its gate reads parameters of shapes {shapes}, not one per unit")
    z_shapes, z_structure = jax.tree.flatten(z)
    state_structure = jax.tree.structure(init)

    def gate(parameters: list[Planes], state: Planes, z: Planes) -> Planes:
        cell: list[Any] = [None] * len(leaves)
        for place, shape, planes in zip(places, shapes, parameters, strict=True):
            (cell[place],) = to_leaves(planes, [shape])
        states = to_leaves(state, [(units,)] * len(state))
        z_leaves = to_leaves(z, [leaf.shape for leaf in z_shapes])
        results = function(cell, state_structure.unflatten(states), z_structure.unflatten(z_leaves))
        return [result.item() for result in results]

    planes = tuple(math.prod(shape[:-1]) for shape in shapes)
    _try_gate(gate, planes, init, z)
    return gate, places, planes


def _try_gate(gate: Callable, parameters: tuple[int, ...], init: State, z: PyTree) -> None:
    """Trace the gate once, so that a gate without planes is refused before any kernel is made."""
    (plane, *_) = leaves = jax.tree.leaves(init)
    planes = [[plane] * count for count in parameters]
    num_z = sum(map(_planes_of, jax.tree.leaves(z)))
    try:
        jax.eval_shape(gate, planes, leaves, [plane] * num_z)
    except MixesUnitsError as error:
        raise NotFusableError(f"its gate does not treat units one by one: {error}") from None


def _rows_of_products(parts: Parts, problem: Problem) -> Float[Array, "plane units units"]:
    """What each unit of the state adds to each plane of z: M."""
    cell, init = problem.cell, problem.init
    prepare = rule_of(cell).prepare
    leaves, structure = jax.tree.flatten(jax.tree.map(jnp.zeros_like, init))
    drive = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), _drive_of_one(problem))

    def row(unit: Array) -> PyTree:
        tangent = [unit if place == parts.read else leaf for place, leaf in enumerate(leaves)]
        return jax.jvp(
            lambda state: prepare(cell, state, drive),
            (structure.unflatten(leaves),),
            (structure.unflatten(tangent),),
        )[1]

    rows = jax.vmap(row)(jnp.eye(parts.units, dtype=leaves[parts.read].dtype))
    return planes_of_z(parts, jax.tree.map(lambda leaf: leaf[None], rows))[0]
