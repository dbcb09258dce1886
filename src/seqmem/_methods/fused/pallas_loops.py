"""The two loops over time, each as one Pallas kernel: on TPU, and anywhere by interpretation.

The matrices stay in fast memory for all of time, and so does the state. A step is one product for
each plane of z that sees the state, and the gate; the backward step pulls the cotangent through the
same gate by `jax.vjp` and through the transposed matrices. The grid is (tiles of the batch, tiles
of time): tiles of time come in order, with the state in scratch memory between them.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jaxtyping import Array, Float

from .parts import Parts
from .records import BackwardResult, BackwardRun, ForwardResult, ForwardRun, Weights
from .tiles import Tiles


def run_forward(parts: Parts, tiles: Tiles, run: ForwardRun) -> ForwardResult:
    """The forward loop."""
    shape: Any = jax.ShapeDtypeStruct
    states = [shape((len(run.z_x), *leaf.shape), leaf.dtype) for leaf in run.state]
    result = ForwardResult(states, shape(run.z_x.shape, run.z_x.dtype), run.state)
    body = functools.partial(_forward_body, parts, tiles)
    return _call(body, tiles, run, result, backward=False)


def run_backward(parts: Parts, tiles: Tiles, run: BackwardRun) -> BackwardResult:
    """The backward loop."""
    body = functools.partial(_backward_body, parts, tiles)
    result = BackwardResult(run.before, run.d_state, run.d_init)
    return _call(body, tiles, run, result, backward=True)


def _forward_body(parts: Parts, tiles: Tiles, run: ForwardRun, result: ForwardResult) -> Any:
    """One tile: references in place of arrays; `result.state` is kept from tile to tile."""

    @pl.when(pl.program_id(1) == 0)
    def _():
        _write(result.state, _read(run.state))

    parameters = _planes(run.weights)

    def step(index: Array, _: None) -> None:
        t = tiles.time - 1 - index if tiles.reverse else index
        before = _read(result.state)
        start = _select(run.reset, t, _read(run.init), before)
        products = iter(_products(run.weights, start[parts.read], transposed=False))
        z = [
            run.z_x[t, plane] + (next(products) if sees else 0)
            for plane, sees in enumerate(parts.sees_state)
        ]
        new = parts.gate(parameters, start, z)
        if run.perturbation is not None:
            new = [leaf + ref[t] for leaf, ref in zip(new, run.perturbation, strict=True)]
        new = _select(run.padding, t, before, new)
        _write(result.state, new)
        for ref, leaf in zip(result.states, new, strict=True):
            ref[t] = leaf
        for plane, value in enumerate(z):
            result.z[t, plane] = value

    jax.lax.fori_loop(0, tiles.time, step, None)


def _backward_body(parts: Parts, tiles: Tiles, run: BackwardRun, result: BackwardResult) -> None:
    """One tile; `result.d_state` and `result.d_init` are kept from tile to tile."""

    @pl.when(pl.program_id(1) == 0)
    def _():
        _write(result.d_state, _read(run.d_state))
        _write(result.d_init, _read(run.d_init))

    parameters = _planes(run.weights)
    gate = functools.partial(parts.gate, parameters)

    def step(index: Array, _: None) -> None:
        t = index if tiles.reverse else tiles.time - 1 - index
        d_state = [
            leaf + ref[t] for leaf, ref in zip(_read(result.d_state), run.d_readout, strict=True)
        ]
        zeros = [jnp.zeros_like(leaf) for leaf in d_state]
        d_update = _select(run.padding, t, zeros, d_state)
        start = [ref[t] for ref in run.before]
        z = [run.z[t, plane] for plane in range(parts.num_planes)]
        d_start, d_z = jax.vjp(gate, start, z)[1](d_update)
        seeing = [d for d, sees in zip(d_z, parts.sees_state, strict=True) if sees]
        for product in _products(run.weights, seeing, transposed=True):
            d_start[parts.read] += product
        if run.reset is not None:
            d_init = _select(run.reset, t, d_start, zeros)
            _write(
                result.d_init, [ref[...] + d for ref, d in zip(result.d_init, d_init, strict=True)]
            )
        d_before = _select(run.reset, t, zeros, d_start)
        _write(result.d_state, _select(run.padding, t, d_state, d_before))
        for ref, leaf in zip(result.d_updates, d_update, strict=True):
            ref[t] = leaf

    jax.lax.fori_loop(0, tiles.time, step, None)


def _call(body: Callable, tiles: Tiles, run: Any, result: Any, *, backward: bool) -> Any:
    """Run a body over all tiles.

    Args:
        body: (references of `run`, references of `result`) -> None.
        tiles: of the batch and of time.
        run: the arrays that it reads.
        result: what it writes, as arrays or shapes.
        backward: whether time is run against the order of the forward pass.
    """
    time, batch = (run.z_x if isinstance(run, ForwardRun) else run.z).shape[::2]
    num_blocks = time // tiles.time

    def block(index: Any) -> Any:
        """Which tile of time is the `index`-th that is run."""
        return num_blocks - 1 - index if tiles.reverse != backward else index

    def spec(leaf: Any) -> pl.BlockSpec:
        if leaf.ndim == 2:  # [batch, units]
            return pl.BlockSpec((tiles.batch, leaf.shape[-1]), lambda b, t: (b, 0))
        shape = (tiles.time, *leaf.shape[1:-2], tiles.batch, leaf.shape[-1])
        middle = (0,) * (leaf.ndim - 3)
        return pl.BlockSpec(shape, lambda b, t: (block(t), *middle, b, 0))

    def whole(leaf: Array) -> pl.BlockSpec:
        return pl.BlockSpec(leaf.shape, lambda b, t: (0,) * leaf.ndim)

    specs = jax.tree.map(spec, run._replace(weights=None))
    kernel = pl.pallas_call(
        lambda run, *results: body(run, type(result)(*results)),
        grid=(batch // tiles.batch, num_blocks),
        in_specs=[specs._replace(weights=jax.tree.map(whole, run.weights))],
        out_specs=jax.tree.map(spec, result),
        out_shape=jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), result),
        compiler_params=pltpu.CompilerParams(dimension_semantics=("parallel", "arbitrary")),
        interpret=tiles.interpret,
    )
    return kernel(run)


def _products(
    weights: Weights, rows: Array | list[Array], *, transposed: bool
) -> list[Float[Array, "batch units"]]:
    """rows M, or rows Mᵀ, for every M; one array of rows stands for all."""
    if weights.matrices is None:
        return []
    count = weights.matrices.shape[0]
    rows = rows if isinstance(rows, list) else [rows] * count
    dtype = weights.matrices.dtype
    contracted = (((1,), (1 if transposed else 0,)), ((), ()))
    return [
        jax.lax.dot_general(
            rows[place].astype(dtype),
            weights.matrices[place],
            contracted,
            precision=jax.lax.Precision.HIGHEST if dtype != jnp.bfloat16 else None,
            preferred_element_type=rows[place].dtype,
        )
        for place in range(count)
    ]


def _planes(weights: Weights) -> list[list[Array]]:
    """The gate's parameters as planes of one row."""
    return [[ref[plane][None] for plane in range(ref.shape[0])] for ref in weights.parameters]


def _select(flag: Any, t: Array, if_true: list[Array], if_false: list[Array]) -> list[Array]:
    """By the flag of one step; without flags, the second."""
    if flag is None:
        return if_false
    chooses = flag[t] != 0
    return [jnp.where(chooses, a, b) for a, b in zip(if_true, if_false, strict=True)]


def _read(refs: list) -> list[Array]:
    return [ref[...] for ref in refs]


def _write(refs: list, values: list[Array]) -> None:
    for ref, value in zip(refs, values, strict=True):
        ref[...] = value
