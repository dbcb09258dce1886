"""How a function under test is called, and where its gradients come from."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ..._core.precision import keep_inexact, split_inexact
from ..compiler import compiled
from .arrays import keep_floating

Arguments = dict[str, PyTree]


class WrongShape(Exception):  # noqa: N818
    """A result of a function that has another shape than it should."""


class Values(NamedTuple):
    """What a function returns, or the cotangents of it; None is what it does not return."""

    outputs: PyTree
    state: PyTree


@dataclasses.dataclass(frozen=True)
class NumpyFunction:
    """A function of NumPy arrays, such as one around PyTorch, with its gradients.

    Attributes:
        function: called with NumPy arrays; returns NumPy arrays.
        vjp: `(arguments, cotangents) -> gradients`. The arguments are a dict by name, of all that
            the function gets; the cotangents are `(outputs, state)`, shaped like what the function
            returns, where the second is None if it returns no state; the gradients are a dict with
            an entry for each argument that has one. None: the gradients are not tested.

    Example:
        A function of PyTorch tensors `kernel(q, k, v, beta)`:

            def forward(**arrays):
                o, state = kernel(**{name: torch.tensor(x) for name, x in arrays.items()})
                return o.numpy(), state.numpy()

            def vjp(arrays, cotangents):
                tensors = {name: torch.tensor(x, requires_grad=True) for name, x in arrays.items()}
                torch.autograd.backward(kernel(**tensors), [torch.tensor(c) for c in cotangents])
                return {name: x.grad.numpy() for name, x in tensors.items()}

            op = seqmem.testing.KernelOp(NumpyFunction(forward, vjp), "delta")
    """

    function: Callable
    vjp: Callable | None = None


class NumpyRunner:
    """Calls a function of NumPy arrays."""

    is_jax = False

    def __init__(self, call: Callable[[Arguments], Values], vjp: Callable | None):
        self.call, self.vjp = call, vjp
        self.has_gradients = vjp is not None

    def evaluate(
        self, arguments: Arguments, cotangents: Values | None
    ) -> tuple[Values, Arguments | None]:
        """The results, and the gradients of the arguments; without cotangents, no gradients."""
        values = jax.tree.map(np.asarray, self.call(arguments))
        floating = keep_floating(values)
        check_shapes(floating, cotangents)
        if self.vjp is None or cotangents is None:
            return values, None
        cast = jax.tree.map(
            lambda d, leaf: d.astype(leaf.dtype), tuple(cotangents), tuple(floating)
        )
        return values, self.vjp(arguments, cast)


class JaxRunner:
    """Calls a function of JAX arrays under jit, with `jax.vjp`, in float64 where its arguments are.

    `call` gets its arguments as a dict, and returns `Values`.
    """

    is_jax = True
    has_gradients = True

    def __init__(self, call: Callable[[Arguments], Values], *, is_double: bool):
        self.call, self.is_double = call, is_double
        self._program = compiled.__wrapped__(self._run)
        self._zeros_of_shapes: dict[Any, Values] = {}

    def evaluate(
        self, arguments: Arguments, cotangents: Values | None
    ) -> tuple[Values, Arguments | None]:
        """As `NumpyRunner.evaluate`, by one program for both."""
        with jax.enable_x64(self.is_double), jax.numpy_dtype_promotion("standard"):
            arguments = jax.tree.map(jnp.asarray, arguments)
            d_values = self._zeros(arguments) if cotangents is None else cotangents
            values, gradients = self._program(arguments, d_values)
        values, gradients = jax.tree.map(np.asarray, (values, gradients))
        return values, None if cotangents is None else gradients

    def call_outside_jit(self, arguments: Arguments) -> Values:
        """The results of a call that is not traced."""
        with jax.enable_x64(self.is_double), jax.numpy_dtype_promotion("standard"):
            values = self.call(jax.tree.map(jnp.asarray, arguments))
        return jax.tree.map(np.asarray, values)

    def _zeros(self, arguments: Arguments) -> Values:
        """Cotangents of 0, so that one program serves a run with and without gradients."""
        leaves, structure = jax.tree.flatten(arguments)
        key = structure, tuple((leaf.shape, leaf.dtype) for leaf in leaves)
        if key not in self._zeros_of_shapes:
            self._zeros_of_shapes[key] = jax.tree.map(
                lambda leaf: np.zeros(leaf.shape),
                keep_floating(jax.eval_shape(self.call, arguments)),
            )
        return self._zeros_of_shapes[key]

    def _run(self, arguments: Arguments, cotangents: Values) -> tuple[Values, Any]:
        differentiable, constant = split_inexact(arguments)

        def call(differentiable: Arguments) -> tuple[PyTree, Values]:
            values = self.call(eqx.combine(differentiable, constant))
            return keep_inexact(values), values

        inexact, pull, values = jax.vjp(call, differentiable, has_aux=True)
        check_shapes(inexact, cotangents)
        cast = jax.tree.map(lambda d, leaf: d.astype(leaf.dtype), cotangents, inexact)
        return values, pull(cast)[0]


def check_shapes(values: Values, like: Values | None) -> None:
    """Refuse results of other shapes than their cotangents have.

    Raises:
        WrongShape: that names the shapes.
    """
    if like is None:
        return
    for name, got, expected in zip(("outputs", "state"), values, like, strict=True):
        if jax.tree.structure(got) != jax.tree.structure(expected):
            trees = f"{jax.tree.structure(got)}, not {jax.tree.structure(expected)}"
            raise WrongShape(f"it returns as {name} {trees}")
        for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
            if one.shape != other.shape:
                shapes = f"{list(one.shape)}, not {list(other.shape)}"
                raise WrongShape(f"it returns {name} of shape {shapes}")


def runner_of(
    function: Callable | NumpyFunction, call: Callable[..., Values], *, is_double: bool
) -> NumpyRunner | JaxRunner:
    """The runner of a function; `call(function, arguments)` calls it."""
    if isinstance(function, NumpyFunction):
        return NumpyRunner(functools.partial(call, function.function), function.vjp)
    return JaxRunner(functools.partial(call, function), is_double=is_double)
