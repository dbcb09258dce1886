"""`Dropout`: entries dropped at every step by itself."""

from typing import Any

import equinox as eqx
import jax
from jaxtyping import PRNGKeyArray, PyTree

from .._core.calls import makes_layer
from .._core.container import AbstractContainerCell
from .._core.errors import bad_input
from .._core.problem import Solution
from .._core.validation import check_rate
from .._methods.layer_by_layer import COMPOSITE


class Dropout(AbstractContainerCell):
    """Dropout between layers, as in `torch.nn.LSTM(dropout=...)`: a new mask at every step.

        y_t = m_t ∘ x_t / (1 − rate)        m_t ~ Bernoulli(1 − rate) for every entry

    Without a key it does nothing, which is right for testing and for single steps. For one step of
    training, `seqmem.layers.with_dropout_keys(net, key)` gives a key to every `Dropout` of a
    network. `seqmem.with_input_dropout` is variational dropout instead: one mask for all steps of
    a sequence.

    Args:
        rate: the share of entries to drop, 0 <= rate < 1.

    Raises:
        ValueError: if rate is not in [0, 1).

    Example:
        >>> import jax, seqmem
        >>> from seqmem.layers import Dropout, Stack, with_dropout_keys
        >>> low, high, draw = jax.random.split(jax.random.key(0), 3)
        >>> net = Stack([seqmem.LSTM(3, 5, key=low), Dropout(0.5), seqmem.GRU(5, 5, key=high)])
        >>> xs = jax.numpy.ones((7, 2, 3))
        >>> _, ys = seqmem.unroll(with_dropout_keys(net, draw), None, xs)     # training
        >>> _, ys = seqmem.unroll(net, None, xs)                              # testing
    """

    family = COMPOSITE

    rate: float = eqx.field(static=True)
    key: PRNGKeyArray | None

    def __init__(self, rate: float, *, key: PRNGKeyArray | None = None):
        check_rate("Dropout", rate)
        self.rate, self.key = rate, key

    @property
    def can_step(self) -> bool:
        return self.key is None

    def init_state(self):
        return ()

    def project(self, x):
        return x

    def update(self, state, drive):
        return state

    def readout(self, state, drive):
        return drive

    def map_first(self, change):
        raise bad_input(
            "a Dropout as the first layer, which has no cell to change.",
            "a network that begins with a cell.",
            "put the call on the first cell.",
        )

    def run_parts(self, problem, methods):
        states = () if problem.return_states else None
        return Solution(problem.state, self._drop(problem.inputs), states)

    def _drop(self, xs: PyTree) -> PyTree:
        if self.key is None or not self.rate:
            return xs
        leaves, structure = jax.tree.flatten(xs)
        keys = jax.random.split(self.key, len(leaves))
        masks = [
            jax.random.bernoulli(key, 1 - self.rate, x.shape)
            for key, x in zip(keys, leaves, strict=True)
        ]
        scaled = [
            jax.numpy.where(mask, x / (1 - self.rate), 0)
            for mask, x in zip(masks, leaves, strict=True)
        ]
        return structure.unflatten(scaled)


@makes_layer
def with_dropout_keys(net: Any, key: PRNGKeyArray) -> Any:
    """The same network for one step of training: every `Dropout` in it gets a key of its own.

    Args:
        net: any tree with `Dropout` layers in it.
        key: for the draws of this step.
    """
    is_dropout = lambda node: isinstance(node, Dropout)  # noqa: E731
    leaves, structure = jax.tree.flatten(net, is_leaf=is_dropout)
    keys = iter(jax.random.split(key, sum(map(is_dropout, leaves)) + 1))
    leaves = [Dropout(leaf.rate, key=next(keys)) if is_dropout(leaf) else leaf for leaf in leaves]
    return structure.unflatten(leaves)
