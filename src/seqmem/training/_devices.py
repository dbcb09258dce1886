"""One batch over several devices, of one process or of many."""

from collections.abc import Sequence
from typing import Any, TypeVar

import equinox as eqx
import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from .._core.errors import bad_input
from ._gradient import AbstractGradient
from ._placement import place_by
from ._step import TrainingState

Tree = TypeVar("Tree", bound=PyTree)
AXIS = "examples"


class DataParallel:
    """Every device has the parameters, and its share of the examples: data parallelism.

        L = Σ_d total_d / Σ_d weight_d,    g = Σ_d ∂total_d/∂θ / Σ_d weight_d

    It places arrays, and that is all: a step that is jitted, such as that of `make_step`, then runs
    on all devices, and XLA adds up what is summed over examples. So a script is the same for one
    device, for several, and for several processes after `jax.distributed.initialize()`. Each
    process makes the whole batch (`batches(key, position)` of `train` is the same in all) and its
    devices keep their shares; where making it is what takes long, hand `jax.Array`s of your own.

    Args:
        devices: those to use, in order; None is all that JAX knows of, in all processes.

    Example:
        >>> import jax, optax, seqmem
        >>> from seqmem import training
        >>> def loss(cell, state, xs):
        ...     state, ys = seqmem.unroll(cell, state, xs)
        ...     return ((ys - 0.1) ** 2).sum(), ys.size, state
        >>> everywhere = training.DataParallel()
        >>> gradient, optimiser = training.TruncatedBPTT(loss, window=7), optax.adam(0.01)
        >>> xs, cell = jax.numpy.ones((7, 8, 3)), seqmem.GRU(3, 5, key=jax.random.key(0))
        >>> carry = gradient.begin(jax.numpy.zeros((8, 5)), xs)
        >>> state = training.begin_training(cell, optimiser, carry)
        >>> state = everywhere.spread_training(state, gradient)
        >>> state, told = training.make_step(gradient, optimiser)(state, everywhere.spread(xs))
        >>> float(told["weight"])                                              # 7 · 8 · 5
        280.0
    """

    mesh: Mesh

    def __init__(self, devices: Sequence[Any] | None = None):
        found = jax.devices() if devices is None else list(devices)
        if not found:
            raise bad_input(
                "DataParallel got no devices.",
                "at least one.",
                "leave them out for all there are.",
            )
        self.mesh = Mesh(np.array(found), (AXIS,), axis_types=(AxisType.Auto,))

    @property
    def count(self) -> int:
        """How many devices there are, in all processes."""
        return self.mesh.size

    def share(self, tree: Tree) -> Tree:
        """The arrays of a tree, whole on every device."""
        return jax.tree.map(lambda leaf: self._placed(leaf, None), tree)

    def spread(self, tree: Tree, axis: Any = 1) -> Tree:
        """The arrays of a tree, with an equal part of the examples on every device.

        Args:
            tree: the whole of it; in several processes the same in each.
            axis: which one counts examples: 1 where time is first, 0 for lengths; or a tree of
                them, that begins like `tree`. Arrays without axes are on every device.

        Raises:
            ValueError: where the devices do not divide the examples.
        """
        return jax.tree.map(
            lambda own, part: jax.tree.map(lambda leaf: self._placed(leaf, own), part),
            axis,
            tree,
        )

    def spread_training(self, state: TrainingState, gradient: AbstractGradient) -> TrainingState:
        """What a step changes: model, optimiser and counts on every device, and the state of each
        example where the example is.

        Args:
            state: from `begin_training`; the same in every process.
            gradient: the one it begins.

        Raises:
            ValueError: where the devices do not divide the examples.
        """
        shared = self.share(eqx.tree_at(lambda s: s.carry, state, None))
        carry = self.spread(state.carry, gradient.batch_axes(state.carry))
        return eqx.tree_at(lambda s: s.carry, shared, carry, is_leaf=lambda x: x is None)

    def _placed(self, leaf: Any, axis: int | None) -> Any:
        if not isinstance(leaf, jax.Array | np.ndarray):
            return leaf
        shape = np.shape(leaf)
        spec = PartitionSpec()
        if axis is not None and shape:
            if axis >= len(shape) or shape[axis] % self.count:
                raise bad_input(
                    f"an array of shape {shape}, over {self.count} devices along axis {axis}.",
                    f"a multiple of {self.count} examples in that axis.",
                    "choose another batch, pass fewer devices, or say which axis counts examples.",
                )
            spec = PartitionSpec(*[None] * axis, AXIS)
        return place_by(leaf, NamedSharding(self.mesh, spec))


def sent(batch: Any) -> Any:
    """The batch on its way to the devices; what is there already stays where it is."""
    there, here = eqx.partition(batch, lambda leaf: isinstance(leaf, jax.Array))
    return eqx.combine(there, jax.device_put(here))
