"""The two loops over time on an NVIDIA Hopper GPU, each as one kernel of Pallas Mosaic GPU.

Arrays have units first and the batch last, and the products are transposed: zᵀ = Mᵀ hᵀ. A tensor
core of Hopper multiplies 64 rows by 8 columns or more, so rows are units and a small batch wastes
nothing. A block holds a tile of the batch and all units, and never waits for another block. Its
warpgroup g holds the units from 64 g to 64 g + 63 of every plane, in registers for all of time.
Only the factor of the products goes through shared memory, where the matrices stay for all of time.

Each step has one barrier of all warpgroups, between writing the factor and multiplying by it. Two
buffers take turns: a warpgroup that writes a buffer again has passed the barrier of the step
between, where every other warpgroup arrived after its products with that buffer.

What a step reads of the main memory is loaded during the step before it.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .hopper_access import Place, flag_of, load, place_of, rows_of, store
from .hopper_call import call_kernel
from .hopper_gates import pull_back, run_gate
from .hopper_products import Factors, multiply, multiply_and_add
from .parts import Parts
from .records import BackwardResult, BackwardRun, ForwardResult, ForwardRun
from .tiles import Tiles

Planes = list[jax.Array]


class ForwardInputs(NamedTuple):
    """What the forward loop reads at one step, as planes.

    Attributes:
        z_x: what the inputs add to z.
        reset: where the step starts from `init`.
        padding: where the step leaves the state as it is.
        perturbation: what is added to the updated state.
    """

    z_x: Planes
    reset: jax.Array | None
    padding: jax.Array | None
    perturbation: Planes | None


class BackwardInputs(NamedTuple):
    """What the backward loop reads at one step, as planes.

    Attributes:
        before: the state that the step starts from, resets applied.
        z: the pre-activations.
        d_readout: the cotangent of the state from what is read out of it.
        reset: where the step starts from `init`.
        padding: where the step leaves the state as it is.
    """

    before: Planes
    z: Planes
    d_readout: Planes
    reset: jax.Array | None
    padding: jax.Array | None


def run_forward(parts: Parts, tiles: Tiles, run: ForwardRun) -> ForwardResult:
    """The forward loop."""
    shape: Any = jax.ShapeDtypeStruct
    states = [shape((len(run.z_x), *leaf.shape), leaf.dtype) for leaf in run.state]
    result = ForwardResult(states, shape(run.z_x.shape, run.z_x.dtype), run.state)
    body = functools.partial(_forward_body, parts, tiles)
    return call_kernel(body, tiles, run, result, factors_per_step=1)


def run_backward(parts: Parts, tiles: Tiles, run: BackwardRun) -> BackwardResult:
    """The backward loop."""
    body = functools.partial(_backward_body, parts, tiles)
    result = BackwardResult(run.before, run.d_state, run.d_init)
    return call_kernel(body, tiles, run, result, factors_per_step=sum(parts.sees_state))


def _forward_body(
    parts: Parts, tiles: Tiles, run: ForwardRun, result: ForwardResult, factors: Factors | None
) -> None:
    """One warpgroup of one block: references in place of arrays."""
    place = place_of(tiles)
    time = run.z_x.shape[0]
    gate = _gate_of(place, parts, run)
    init = [load(place, ref) for ref in run.init]

    def inputs(index: Any) -> ForwardInputs:
        t = _step(tiles.reverse, time, index)
        return ForwardInputs(
            [load(place, run.z_x, t, plane) for plane in range(parts.num_planes)],
            flag_of(place, run.reset, t),
            flag_of(place, run.padding, t),
            None if run.perturbation is None else [load(place, ref, t) for ref in run.perturbation],
        )

    def step(index: jax.Array, carry: tuple[Planes, ForwardInputs]) -> tuple:
        before, now = carry
        upcoming = inputs(index + 1)
        t = _step(tiles.reverse, time, index)
        start = _select(now.reset, init, before)
        products = iter(multiply(place, factors, index, start[parts.read]))
        z = [
            z_x + next(products) if sees else z_x
            for z_x, sees in zip(now.z_x, parts.sees_state, strict=True)
        ]
        new = run_gate(gate, start, z)
        if now.perturbation is not None:
            new = [leaf + added for leaf, added in zip(new, now.perturbation, strict=True)]
        new = _select(now.padding, before, new)
        _store_all(place, result.states, new, t)
        for plane, value in enumerate(z):
            store(place, result.z, value, t, plane)
        return new, upcoming

    state = [load(place, ref) for ref in run.state]
    state, _ = jax.lax.fori_loop(0, time, step, (state, inputs(0)))
    _store_all(place, result.state, state)


def _backward_body(
    parts: Parts, tiles: Tiles, run: BackwardRun, result: BackwardResult, factors: Factors | None
) -> None:
    """One warpgroup of one block: references in place of arrays."""
    place = place_of(tiles)
    time = run.z.shape[0]
    gate = _gate_of(place, parts, run)

    def inputs(index: Any) -> BackwardInputs:
        t = _step(not tiles.reverse, time, index)
        return BackwardInputs(
            [load(place, ref, t) for ref in run.before],
            [load(place, run.z, t, plane) for plane in range(parts.num_planes)],
            [load(place, ref, t) for ref in run.d_readout],
            flag_of(place, run.reset, t),
            flag_of(place, run.padding, t),
        )

    def step(index: jax.Array, carry: tuple[Planes, Planes, BackwardInputs]) -> tuple:
        d_after, d_init, now = carry
        upcoming = inputs(index + 1)
        t = _step(not tiles.reverse, time, index)
        d_state = [leaf + added for leaf, added in zip(d_after, now.d_readout, strict=True)]
        zeros = [jnp.zeros_like(leaf) for leaf in d_state]
        d_update = _select(now.padding, zeros, d_state)
        _store_all(place, result.d_updates, d_update, t)
        d_start, d_z = pull_back(gate, now.before, now.z, d_update)
        seeing = [d for d, sees in zip(d_z, parts.sees_state, strict=True) if sees]
        product = multiply_and_add(place, factors, index, seeing)
        if product is not None:
            d_start[parts.read] += product
        if now.reset is not None:
            from_init = _select(now.reset, d_start, zeros)
            d_init = [leaf + added for leaf, added in zip(d_init, from_init, strict=True)]
        d_before = _select(now.reset, zeros, d_start)
        return _select(now.padding, d_state, d_before), d_init, upcoming

    d_state = [load(place, ref) for ref in run.d_state]
    d_init = [load(place, ref) for ref in run.d_init]
    d_state, d_init, _ = jax.lax.fori_loop(0, time, step, (d_state, d_init, inputs(0)))
    _store_all(place, result.d_state, d_state)
    _store_all(place, result.d_init, d_init)


def _gate_of(place: Place, parts: Parts, run: ForwardRun | BackwardRun) -> Callable:
    """(state, z) -> next state, with the parameters of the warpgroup's units."""
    parameters = [rows_of(place, ref) for ref in run.weights.parameters]
    return functools.partial(parts.gate, parameters)


def _step(last_first: bool, time: int, index: Any) -> Any:
    """Which step is run at `index`; after the last one, the last one again."""
    index = jnp.minimum(index, time - 1)
    return time - 1 - index if last_first else index


def _select(flag: jax.Array | None, if_true: Planes, if_false: Planes) -> Planes:
    """By the flag of one step; without flags, the second."""
    if flag is None:
        return if_false
    return [jnp.where(flag != 0, a, b) for a, b in zip(if_true, if_false, strict=True)]


def _store_all(place: Place, refs: list, planes: Planes, *index: Any) -> None:
    for ref, plane in zip(refs, planes, strict=True):
        store(place, ref, plane, *index)
