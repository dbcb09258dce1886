"""A function that treats all units alike gives the same values on planes, one for each vector."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmem._methods.fused.planes import MixesUnitsError, PlaneFunction, to_leaf, to_leaves

UNITS = 5
Z = np.random.default_rng(0).normal(size=(6, UNITS)).astype(np.float32)
B = np.random.default_rng(1).normal(size=UNITS).astype(np.float32)
GAIN = np.arange(6 * UNITS, dtype=np.float32).reshape(6, UNITS)

ALIKE = {
    "gates": lambda z, b: z[:2] * jnp.tanh(z[2:4]) + z[4:] - b,
    "strides": lambda z, b: z[1::2] * b,
    "axes": lambda z, b: jnp.swapaxes(z.reshape(2, 3, UNITS), 0, 1) + b[None, None],
    "a spread axis": lambda z, b: jnp.broadcast_to(z[:, None], (6, 2, UNITS)),
    "one axis less": lambda z, b: z.reshape(6, 1, UNITS).squeeze(1),
    "parts": lambda z, b: jnp.split(z, [1, 3], 0),
    "joined": lambda z, b: jnp.concatenate([z[4:], b[None], z[:1]], 0),
    "rows": lambda z, b: [row * 2 for row in z],
    "constants": lambda z, b: jnp.where(z > 0, GAIN * z, jnp.zeros_like(z)),
    "limits": lambda z, b: jax.lax.clamp(jnp.float32(-0.2), z, jnp.float32(0.3)),
    "limits of each": lambda z, b: jax.lax.clamp(-jnp.abs(z), 2 * z, jnp.abs(z)),
}

MIXED = {
    "a sum": (lambda z: z.sum(-1), "reduce_sum of float32[6,5] to float32[6]"),
    "a reversed axis": (lambda z: z[:, ::-1], "rev of float32[6,5] to float32[6,5]"),
    "some units": (lambda z: z[:, :3], "slice of float32[6,5] to float32[6,3]"),
    "units in front": (lambda z: z.T, "transpose of float32[6,5] to float32[5,6]"),
}


def planes_of(value):
    lead = value.shape[:-1]
    return to_leaf([jnp.asarray(value[place]) for place in np.ndindex(*lead)], lead)


def array_of(leaf):
    planes = [np.broadcast_to(leaf[place], UNITS) for place in np.ndindex(*leaf.shape)]
    return np.stack(planes).reshape(*leaf.shape, UNITS)


@pytest.mark.parametrize("name", ALIKE)
def test_function_on_planes_gives_its_own_values(name):
    got = PlaneFunction(ALIKE[name], UNITS, Z, B)(planes_of(Z), planes_of(B))
    want = ALIKE[name](Z, B)
    got, want = map(jax.tree.leaves, (got, want))
    assert [leaf.shape for leaf in map(array_of, got)] == [leaf.shape for leaf in want]
    for one, other in zip(got, want, strict=True):
        np.testing.assert_allclose(array_of(one), other, rtol=1e-6)


@pytest.mark.parametrize("name", MIXED)
def test_function_that_mixes_units_is_refused_with_its_operation(name):
    function, operation = MIXED[name]
    with pytest.raises(MixesUnitsError) as refusal:
        PlaneFunction(function, UNITS, Z)(planes_of(Z))
    assert str(refusal.value) == operation


def test_planes_in_order_are_values_of_several_shapes():
    matrix, vector = to_leaves(list("abcdefg"), [(2, 3, UNITS), (UNITS,)])
    assert matrix.tolist() == [["a", "b", "c"], ["d", "e", "f"]]
    assert vector.item() == "g"
