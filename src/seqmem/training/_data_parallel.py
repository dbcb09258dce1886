"""Data parallelism: one batch over several devices, of one process or of several."""

from collections.abc import Sequence
from typing import Any, TypeVar

import equinox as eqx
import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from .._core.errors import bad_input
from ._gradient import AbstractGradient
from ._placement import place
from ._state import TrainingState

Tree = TypeVar("Tree", bound=PyTree)
AXIS = "batch"


class DataParallel:
    """Data parallelism: every device holds the parameters and an equal share of the examples.

        L = Σ_d total_d / Σ_d weight_d,    g = Σ_d ∂total_d/∂θ / Σ_d weight_d

    It places arrays and does nothing else. A jitted step, such as that of `make_step`, then runs on
    all devices, and XLA adds the sums over examples. The same script runs on one device, on
    several, and in several processes after `jax.distributed.initialize()`. Every process makes the
    whole batch and keeps the shares of its devices. Where making a batch is slow, build sharded
    `jax.Array`s yourself.

    Args:
        devices: the devices, in order, or a mesh of yours, over whose first axis the batch is
            spread; None is `jax.devices()`, of all processes.

    Raises:
        ValueError: for an empty list.

    Example:
        >>> import jax, optax, seqmem
        >>> from seqmem import training
        >>> def loss(cell, state, xs):
        ...     state, ys = seqmem.unroll(cell, state, xs)
        ...     return ((ys - 0.1) ** 2).sum(), ys.size, state
        >>> devices = training.DataParallel()
        >>> gradient, optimiser = training.TruncatedBPTT(loss, window=7), optax.adam(0.01)
        >>> xs, cell = jax.numpy.ones((7, 8, 3)), seqmem.GRU(3, 5, key=jax.random.key(0))
        >>> carry = gradient.init_carry(cell.init_state(8), xs)
        >>> state = training.begin_training(cell, optimiser, carry)
        >>> state = devices.shard_training(state, gradient)
        >>> state, metrics = training.make_step(gradient, optimiser)(state, devices.shard(xs))
        >>> float(metrics["weight"])                                           # 7 · 8 · 5
        280.0
    """

    mesh: Mesh

    def __init__(self, devices: Sequence[Any] | Mesh | None = None):
        if isinstance(devices, Mesh):
            self.mesh = devices
            return
        devices = jax.devices() if devices is None else list(devices)
        if not devices:
            raise bad_input(
                "DataParallel got no devices.",
                "at least one device.",
                "omit the argument to use all devices.",
            )
        self.mesh = Mesh(np.array(devices), (AXIS,), axis_types=(AxisType.Auto,))

    @property
    def num_devices(self) -> int:
        """The number of devices, in all processes."""
        return self.mesh.size

    def replicate(self, tree: Tree) -> Tree:
        """A tree whose arrays are on every device, in full."""
        return jax.tree.map(lambda leaf: self._place(leaf, None), tree)

    def shard(self, tree: Tree, axis: Any = 1) -> Tree:
        """A tree whose arrays are split over the devices along their batch axis.

        Args:
            tree: the whole arrays; in several processes the same in each.
            axis: the batch axis: 1 where time is first, 0 for lengths; or a tree of axes that is a
                prefix of `tree`. Arrays without axes are replicated.

        Raises:
            ValueError: where an array lacks the axis, or the devices do not divide its size.
        """
        return jax.tree.map(
            lambda axis, subtree: jax.tree.map(lambda leaf: self._place(leaf, axis), subtree),
            axis,
            tree,
        )

    def shard_training(self, state: TrainingState, gradient: AbstractGradient) -> TrainingState:
        """A training state with the model, the optimiser and the counts on every device, and the
        carry split over the devices like the batch.

        Arrays of the model and the optimiser that are on the mesh already stay as they are: a model
        that was split over a second axis before `begin_training` remains split.

        Args:
            state: from `begin_training`; in several processes the same in each.
            gradient: the gradient that made its carry.

        Raises:
            ValueError: where the devices do not divide the batch.
        """
        others = eqx.tree_at(lambda s: s.carry, state, None)
        replicated = jax.tree.map(lambda x: x if self._has(x) else self._place(x, None), others)
        carry = self.shard(state.carry, gradient.batch_axes(state.carry))
        return eqx.tree_at(lambda s: s.carry, replicated, carry, is_leaf=lambda x: x is None)

    def _has(self, leaf: Any) -> bool:
        return getattr(getattr(leaf, "sharding", None), "mesh", None) == self.mesh

    def _place(self, leaf: Any, axis: int | None) -> Any:
        if not isinstance(leaf, jax.Array | np.ndarray):
            return leaf
        name = self.mesh.axis_names[0]
        shape, count = np.shape(leaf), self.mesh.shape[name]
        spec = PartitionSpec()
        if axis is not None and shape:
            if axis >= len(shape) or shape[axis] % count:
                raise bad_input(
                    f"an array of shape {shape}, over {count} devices along axis {axis}.",
                    f"a multiple of {count} examples along that axis.",
                    "change the batch size, pass fewer devices, or pass another axis.",
                )
            spec = PartitionSpec(*[None] * axis, name)
        return place(leaf, NamedSharding(self.mesh, spec))
