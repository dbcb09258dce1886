"""How a kernel for Hopper is called: its arrays, its grid and its shared memory."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from .hopper_access import BLOCKS, ROWS, WARPGROUPS, place_of
from .hopper_mosaic import plgpu
from .hopper_products import Factors, factors_in_shared_memory, load_matrices
from .records import ForwardRun
from .tiles import Tiles


def call_kernel(
    body: Callable, tiles: Tiles, run: Any, result: Any, *, factors_per_step: int
) -> Any:
    """Run a body in every block and warpgroup.

    Args:
        body: (references of `run`, references of `result`, factors) -> None.
        tiles: of the batch.
        run: the arrays that it reads, batch before units.
        result: what it writes, as arrays or shapes, batch before units.
        factors_per_step: how many factors of products one step writes.
    """
    (batch, units), matrices = result[-1][0].shape, run.weights.matrices
    if matrices is not None and isinstance(run, ForwardRun):
        matrices = matrices.mT
    inputs = jax.tree.map(_units_first, run._replace(weights=None))
    inputs = inputs._replace(weights=run.weights._replace(matrices=matrices))
    leaves, structure = jax.tree.flatten(inputs)
    shapes, result_structure = jax.tree.flatten(jax.eval_shape(_all_units_first, result))
    factors = factors_in_shared_memory(matrices, factors_per_step, tiles.batch)

    def kernel(*refs: Any) -> None:
        ends = len(leaves), len(leaves) + len(shapes)
        run = structure.unflatten(refs[: ends[0]])
        result = result_structure.unflatten(refs[ends[0] : ends[1]])
        if factors is None:
            body(run, result, None)
            return
        in_block = Factors(*refs[ends[1] :])
        load_matrices(place_of(tiles), run.weights.matrices, in_block)
        body(run, result, in_block)

    # No thread reads what it writes in the main memory, and `commit_smem` is a barrier, so that the
    # barriers around every store are not needed.
    compiler_params = plgpu.CompilerParams(unsafe_no_auto_barriers=True)
    run_kernel = plgpu.kernel(
        kernel,
        out_type=tuple(shapes),
        scratch_types=tuple(factors or ()),
        compiler_params=compiler_params,
        grid=(batch // tiles.batch,),
        grid_names=(BLOCKS,),
        num_threads=units // ROWS,
        thread_name=WARPGROUPS,
        **({"interpret": tiles.interpret} if tiles.interpret else {}),
    )
    results = result_structure.unflatten(run_kernel(*leaves))
    return jax.tree.map(lambda leaf: leaf.mT, results)


def _units_first(leaf: jax.Array) -> jax.Array:
    """[..., batch, units] as [..., units, batch]; flags [time, batch, 1] as [time, batch]."""
    if jnp.issubdtype(leaf.dtype, jnp.integer):
        return leaf[..., 0]
    return leaf.mT


def _all_units_first(tree: Any) -> Any:
    return jax.tree.map(_units_first, tree)
