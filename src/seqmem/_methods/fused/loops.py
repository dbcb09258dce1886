"""The two loops of `Scan`, each by one kernel, with the derivatives of the loops themselves."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, PyTree

from ..._core.perturbations import ZeroPerturbations
from ..._core.problem import Problem, State
from ..._core.vjp_rule import BackwardTile
from ..scan import forward
from ..scan.backward import backward_loop
from . import hopper_limits
from .operations import check_tpu_operations
from .parts import Parts, planes_of_z, take_apart, weights_of, z_of_inputs, z_of_planes
from .records import BackwardRun, Flag, ForwardRun
from .tiles import Tiles, pad, tile_sizes


class Kernels(NamedTuple):
    """How kernels are made.

    Attributes:
        products: the dtype of the factors of products.
        interpret: whether they run as ordinary operations.
        is_hopper: whether they are those for a Hopper GPU.
    """

    products: Any
    interpret: Any
    is_hopper: bool

    def tile_sizes(self, parts: Parts, time: int, batch: int) -> tuple[int, int]:
        """Steps and examples of one tile.

        Raises:
            NotFusableError: where there is no kernel for the cell, or one tile does not fit.
        """
        if self.is_hopper:
            return hopper_limits.tile_sizes(parts, time, batch, self.products)
        if not self.interpret:
            check_tpu_operations(parts)
        return tile_sizes(parts, time, batch, self.products)

    def loops(self) -> Any:
        """The module with `run_forward` and `run_backward`, imported when it is used: Pallas takes
        long to import.
        """
        if self.is_hopper:
            from . import hopper_loops

            return hopper_loops
        from . import pallas_loops

        return pallas_loops


def states_by_kernel(kernels: Kernels, problem: Problem) -> tuple[State, State, PyTree]:
    """The final state, the states after all steps, and z, of a problem with one batch axis."""

    def by_scan(problem: Problem) -> tuple[State, State, PyTree]:
        state, (states, z) = forward.run_forward(problem, lambda states, z, _: (states, z))
        return state, states, z

    def by_kernel(problem: Problem) -> tuple[State, State, PyTree]:
        parts = take_apart(problem)
        tiles = _tiles(kernels, parts, problem)
        leaves = jax.tree.leaves
        batch, time = problem.batch[0], problem.time
        rows = [jnp.broadcast_to(leaf, (batch, parts.units)) for leaf in leaves(problem.init)]
        reset, padding = _flags(problem, tiles)
        perturbation = problem.flags.perturbation
        if isinstance(perturbation, ZeroPerturbations):
            perturbation = None
        run = ForwardRun(
            weights_of(parts, problem, kernels.products),
            z_of_inputs(parts, problem),
            rows,
            leaves(problem.state),
            reset,
            padding,
            None if perturbation is None else leaves(perturbation),
        )
        result = kernels.loops().run_forward(parts, tiles, _pad(run, tiles))
        result = _cut(result, time, batch)
        unflatten = jax.tree.structure(problem.init).unflatten
        return unflatten(result.state), unflatten(result.states), z_of_planes(parts, result.z)

    return with_derivative_of(by_scan, by_kernel, problem)


def cotangents_by_kernel(
    kernels: Kernels, problem: Problem, steps: BackwardTile, carry: tuple, xs: tuple
) -> tuple[State, State, State, None]:
    """`backward_loop` over all of time, without a transform."""

    def by_scan(*args: Any) -> tuple[State, State, State]:
        return backward_loop(None, *args)[:3]

    def by_kernel(
        problem: Problem, steps: BackwardTile, carry: tuple, xs: tuple
    ) -> tuple[State, State, State]:
        parts = take_apart(problem)
        tiles = _tiles(kernels, parts, problem)
        leaves = jax.tree.leaves
        d_readout, _ = xs
        run = BackwardRun(
            weights_of(parts, problem, kernels.products),
            leaves(steps.states),
            planes_of_z(parts, steps.saved),
            leaves(d_readout),
            *_flags(problem, tiles),
            *map(leaves, carry),
        )
        result = kernels.loops().run_backward(parts, tiles, _pad(run, tiles))
        result = _cut(result, problem.time, problem.batch[0])
        unflatten = jax.tree.structure(problem.init).unflatten
        return tuple(map(unflatten, (result.d_state, result.d_init, result.d_updates)))

    return *with_derivative_of(by_scan, by_kernel, problem, steps, carry, xs), None


def with_derivative_of(reference: Callable, kernel: Callable, *args: PyTree) -> PyTree:
    """`kernel(*args)`, differentiated as `reference(*args)`."""
    arrays, constant = eqx.partition(args, eqx.is_array)

    @jax.custom_vjp
    def run(arrays: PyTree) -> PyTree:
        return kernel(*eqx.combine(arrays, constant))

    def backward(arrays: PyTree, d_result: PyTree) -> tuple[PyTree]:
        return jax.vjp(lambda arrays: reference(*eqx.combine(arrays, constant)), arrays)[1](
            d_result
        )

    run.defvjp(lambda arrays: (run(arrays), arrays), backward)
    return run(arrays)


def _tiles(kernels: Kernels, parts: Parts, problem: Problem) -> Tiles:
    sizes = kernels.tile_sizes(parts, problem.time, problem.batch[0])
    return Tiles(*sizes, problem.reverse, kernels.interpret)


def _flags(problem: Problem, tiles: Tiles) -> tuple[Flag | None, Flag | None]:
    """Resets and padding for a kernel; steps that fill up the last tile are padding."""

    def as_rows(flag: Bool[Array, "time batch"]) -> Flag:
        return flag[..., None].astype(jnp.int32)

    reset, padding = problem.flags.reset, problem.flags.padding
    if problem.time % tiles.time and padding is None:
        padding = jnp.zeros((problem.time, *problem.batch), bool)
    if padding is not None:
        padding = 1 - pad(1 - as_rows(padding), 0, tiles.time)
    return None if reset is None else as_rows(reset), padding


def _pad(run: Any, tiles: Tiles) -> Any:
    """A run whose time and batch are filled up to whole tiles."""

    def fill(leaf: Array) -> Array:
        if leaf.ndim > 2:
            leaf = pad(leaf, 0, tiles.time)
        return pad(leaf, -2, tiles.batch)

    return jax.tree.map(fill, run._replace(weights=None))._replace(weights=run.weights)


def _cut(result: Any, time: int, batch: int) -> Any:
    """A result without what `_pad` added."""

    def cut(leaf: Array) -> Array:
        leaf = leaf[:time] if leaf.ndim > 2 else leaf
        return jax.lax.slice_in_dim(leaf, 0, batch, axis=leaf.ndim - 2)

    return jax.tree.map(cut, result)
