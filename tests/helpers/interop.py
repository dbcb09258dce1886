"""A cell of another library against ours with its weights: outputs, states, and all gradients."""

import functools
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import seqmem
from seqmem.interop._kernels import nest

REFERENCE = pathlib.Path(__file__).parent.parent / "reference" / "interop.npz"
TIME, BATCH, INPUT, HIDDEN = 3, 2, 3, 5


def draw(shape: Sequence[int], seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng([seed, *shape])
    return rng.standard_normal(shape)


def draw_like(tree: Any) -> Any:
    """A tree of random arrays of these shapes in float64, no two alike."""
    leaves, structure = jax.tree.flatten(tree)
    return jax.tree.unflatten(structure, [draw(x.shape, i) for i, x in enumerate(leaves)])


def cell_of(cell_type: Callable, **options: Any) -> Any:
    """A cell of random arrays in float64, none of them drawn by JAX, which takes long."""
    make = functools.partial(cell_type, INPUT, HIDDEN, **options)
    return draw_like(eqx.filter_eval_shape(make, key=jax.random.key(0)))


def loss(state: Any, ys: Any) -> jax.Array:
    """A number in which every entry of the outputs and of the last state has another weight."""
    weights = [draw(leaf.shape, 7) for leaf in jax.tree.leaves((state, ys))]
    leaves = jax.tree.leaves((state, ys))
    return sum(jnp.sum(weight * leaf) for weight, leaf in zip(weights, leaves, strict=True))


def run_ours(make: Callable, params: Any, states: tuple, xs: Any) -> tuple[Any, Any]:
    """`make(params)` over the inputs, from the arrays of a state in our order."""
    net = make(params)
    state = jax.tree.unflatten(jax.tree.structure(net.init_state()), states)
    method = seqmem.ReferenceScan()
    if isinstance(net, seqmem.layers.Bidirectional):
        method = seqmem.layers.LayerByLayer(method)
    state, ys = seqmem.unroll(net, state, xs, method=method)
    return jax.tree.leaves(state), ys


def assert_same_function(make: Callable, step: Callable, params: Any, num_states: int) -> None:
    """Ours and theirs agree in float64.

    Args:
        make: their parameters to our network.
        step: `step(params, states, x)` to the next states and the output, for a batch, with the
            arrays of the state in our order.
        params: a tree of arrays.
        num_states: how many arrays a state has.
    """
    states = tuple(draw((BATCH, HIDDEN), i) for i in range(num_states))
    xs = draw((TIME, BATCH, INPUT))

    def run_theirs(params: Any, states: tuple, xs: Any) -> tuple[Any, Any]:
        ys = []
        for x in xs:
            states, y = step(params, states, x)
            ys.append(y)
        return list(states), jnp.stack(ys)

    def with_gradients(run: Callable) -> Callable:
        def value(*arguments: Any) -> tuple[jax.Array, Any]:
            results = run(*arguments)
            return loss(*results), results

        return jax.value_and_grad(value, argnums=(0, 1, 2), has_aux=True)

    def both(params: Any, states: tuple, xs: Any) -> tuple[Any, Any]:
        ours = with_gradients(lambda *arguments: run_ours(make, *arguments))
        return ours(params, states, xs), with_gradients(run_theirs)(params, states, xs)

    ours, theirs = jax.jit(both)(jax.tree.map(jnp.asarray, params), states, xs)
    assert_close(ours, theirs, 1e-10)


def assert_close(ours: Any, theirs: Any, tolerance: float) -> None:
    """Trees of one structure, whose arrays differ by no more than this part of their largest
    entry.
    """
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for (path, mine), other in zip(
        jax.tree.leaves_with_path(ours), jax.tree.leaves(theirs), strict=True
    ):
        error = np.max(np.abs(mine - other)) / np.max(np.abs(other))
        assert error <= tolerance, f"{jax.tree_util.keystr(path)} differs by {error}"


def assert_identical(ours: Any, theirs: Any) -> None:
    """Trees of one structure with the same numbers, bit for bit."""
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for mine, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert mine.dtype == other.dtype
        np.testing.assert_array_equal(mine, other)


def assert_same_as_reference(make: Callable, case: str, parameters: dict[str, np.ndarray]) -> None:
    """Ours and what tests/reference/make_interop.py wrote agree.

    Args:
        make: parameters by their names in the file to our network.
        case: the name of the case there.
        parameters: those of the file, from `reference_of`.
    """
    kinds = {kind: reference_of(case, kind) for kind in ("state", "final", "d_state", "value")}
    states = tuple(kinds["state"].values())

    def value(*arguments: Any) -> tuple[jax.Array, Any]:
        finals, ys = run_ours(make, *arguments)
        weights = (np.cos(1.0 + np.arange(x.size)).reshape(x.shape) for x in (ys, *finals))
        leaves = zip(weights, (ys, *finals), strict=True)
        return sum(jnp.sum(weight * leaf) for weight, leaf in leaves), (finals, ys)

    run = jax.jit(jax.grad(value, argnums=(0, 1, 2), has_aux=True))
    inputs = jax.tree.map(jnp.asarray, (parameters, states, kinds["value"]["xs"]))
    (d_parameters, d_states, d_xs), (finals, ys) = run(*inputs)
    ours = (d_parameters, list(d_states), d_xs, finals, ys)
    theirs = (
        reference_of(case, "gradient"),
        list(kinds["d_state"].values()),
        kinds["value"]["d_xs"],
        list(kinds["final"].values()),
        kinds["value"]["ys"],
    )
    assert_close(ours, theirs, 1e-10)


def reference_of(case: str, kind: str) -> dict[str, np.ndarray]:
    """The arrays of one kind of a case, by name."""
    arrays = _arrays()
    start = f"{case} | {kind} | "
    return {name[len(start) :]: a for name, a in arrays.items() if name.startswith(start)}


@functools.cache
def _arrays() -> dict[str, np.ndarray]:
    with np.load(REFERENCE) as file:
        return dict(file)


def as_keras(parameters: dict[str, np.ndarray]) -> dict[str, Any]:
    """The weights of a layer of Keras, of which a bidirectional one has two groups."""
    return nest({name.replace(":", "."): array for name, array in parameters.items()})
