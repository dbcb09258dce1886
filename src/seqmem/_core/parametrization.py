"""Parts of a cell that are computed from parameters: once per run, not once per step."""

import abc
from typing import TypeVar

import equinox as eqx
import jax
from jaxtyping import PyTree

Tree = TypeVar("Tree", bound=PyTree)


class AbstractParametrization(eqx.Module):
    """A part of a cell that is computed from parameters, such as an orthogonal matrix.

    `seqmem.unroll` puts `value()` in its place before the run begins, so that it is computed once,
    and JAX differentiates it: the parameters get their exact gradient. A single step computes it
    each time, so a subclass also offers what the cell does with the value, such as `mT`.
    """

    @abc.abstractmethod
    def value(self) -> PyTree:
        """What stands in its place during a run."""


def is_parametrization(node: object) -> bool:
    """Whether a node of a tree is computed from parameters."""
    return isinstance(node, AbstractParametrization)


def evaluate_parametrizations(tree: Tree) -> Tree:
    """The tree with the value of each part that is computed from parameters.

    Use it before a loop of your own over single steps, inside of the loss, so that the value is
    computed once.

    Args:
        tree: a cell, a network of cells, or any other tree.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.RNN(3, 5, recurrent=seqmem.Orthogonal(), key=jax.random.key(0))
        >>> type(cell.U).__name__, seqmem.evaluate_parametrizations(cell).U.shape
        ('StructuredMatrix', (5, 5))
    """

    def evaluate(node: PyTree) -> PyTree:
        return node.value() if isinstance(node, AbstractParametrization) else node

    return jax.tree.map(evaluate, tree, is_leaf=is_parametrization)
