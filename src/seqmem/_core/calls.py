"""Calls that do not fit a signature: refusals with the line to write, in place of a `TypeError`."""

import difflib
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

import jax
import jax.numpy as jnp

from .errors import bad_input

P = ParamSpec("P")
T = TypeVar("T")
# What the layers of other libraries have and one cell has not.
OF_DEEP = {"num_layers", "bidirectional", "dropout"}


class Call:
    """The arguments of a call, and the function that got them.

    Attributes:
        name: what the caller writes in front of the parentheses.
        signature: that of the function, without `self`.
        args: the positional arguments.
        options: the keyword arguments.
    """

    def __init__(
        self, name: str, signature: inspect.Signature, args: tuple, options: Mapping[str, Any]
    ):
        self.name, self.signature = name, signature
        self.args, self.options = args, options

    def __str__(self) -> str:
        return self.written(self.args, self.options)

    def with_key(self, key: str) -> str:
        """The call with a key, which is written out, in place of what it has for one."""
        args = [value for value in self.args if not is_key(value)]
        options = {name: value for name, value in self.options.items() if name != "key"}
        return self.written(args, options, f"key={key}")

    def written(self, args: Sequence, options: Mapping[str, Any], *added: str) -> str:
        texts = [describe(value) for value in args]
        texts += [f"{name}={describe(value)}" for name, value in options.items()]
        return f"{self.name}({', '.join([*texts, *added])})"

    def misfit(self) -> str | None:
        """Why the arguments do not fit the signature; None where they do."""
        try:
            self.signature.bind(*self.args, **self.options)
        except TypeError as error:
            return str(error)
        return None

    def unknown_names(self) -> list[str]:
        """The keyword arguments that the function does not take."""
        parameters = self.signature.parameters
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
            return []
        return [name for name in self.options if name not in parameters]

    def missing_names(self) -> list[str]:
        """The arguments that the function needs and did not get; none where it got too many."""
        try:
            given = self.signature.bind_partial(*self.args, **self.options).arguments
        except TypeError:
            return []
        parameters = self.signature.parameters.values()
        needed = [
            parameter.name
            for parameter in parameters
            if parameter.default is parameter.empty
            and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        ]
        return [name for name in needed if name not in given]

    def check(self, remedy: Callable[["Call"], str]) -> None:
        """Refuse arguments that do not fit the signature.

        Raises:
            ValueError: with the remedy for this call.
        """
        misfit = self.misfit()
        if misfit is not None:
            parameters = [
                parameter.replace(annotation=parameter.empty)
                for parameter in self.signature.parameters.values()
            ]
            raise bad_input(
                f"{self}: {misfit}.",
                f"{self.name}{inspect.Signature(parameters)}.",
                remedy(self),
            )


def refuse_misfits(
    name: str, remedy: Callable[[Call], str], *, skip: int = 0
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """A decorator: calls that do not fit the signature are refused with a remedy.

    Args:
        name: of the function, in messages.
        remedy: what to do, for a call.
        skip: leading parameters that the caller does not write: 1 for a method.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        signature = signature_of(function, skip)

        @functools.wraps(function)
        def checked(*args: P.args, **options: P.kwargs) -> T:
            Call(name, signature, args[skip:], options).check(remedy)
            return function(*args, **options)

        return checked

    return decorate


def check_construction(function: Callable[P, T], owner: Any, *, skip: int = 0) -> Callable[P, T]:
    """`function`, which makes a layer, with its arguments and its random key checked first.

    Args:
        function: the function, or the `__init__` of a class.
        owner: what the caller writes: the function, or the class.
        skip: leading parameters that the caller does not write: 1 for `__init__`.
    """
    signature, name = signature_of(function, skip), public_name(owner)
    key = signature.parameters.get("key")
    needs_key = key is not None and key.default is key.empty

    @functools.wraps(function)
    def checked(*args: P.args, **options: P.kwargs) -> T:
        call = Call(name, signature, args[skip:], options)
        call.check(construction_remedy)
        if needs_key and "key" in options:
            check_key(call, options["key"])
        return function(*args, **options)

    return checked


def makes_layer(function: Callable[P, T]) -> Callable[P, T]:
    """A decorator for functions that make a layer, or change one: see `check_construction`."""
    return check_construction(function, function)


def check_key(call: Call, key: Any) -> None:
    """Refuse what is not one random key, of either kind that JAX has.

    Raises:
        ValueError: for a number, None, or several keys.
    """
    if is_key(key):
        return
    seed = key if isinstance(key, int) and not isinstance(key, bool) else 0
    remedy = f"write {call.with_key(f'jax.random.key({seed})')}."
    if hasattr(key, "shape"):
        remedy = "take one of several keys, key=keys[0], or make one by jax.random.key(0)."
    raise bad_input(f"{call.name} got key={describe(key)}.", "one random key of JAX.", remedy)


def is_key(value: Any) -> bool:
    """Whether a value is one random key: of a key dtype, or a vector of uint32."""
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if shape is None or dtype is None:
        return False
    if jnp.issubdtype(dtype, jax.dtypes.prng_key):
        return shape == ()
    return dtype == jnp.uint32 and len(shape) == 1


def construction_remedy(call: Call) -> str:
    """What to write for a call that was to make a layer."""
    unknown, parameters = set(call.unknown_names()), call.signature.parameters
    if unknown & OF_DEEP:
        deep = [describe(value) for value in call.args if not is_key(value)]
        deep += [f"{name}={describe(call.options[name])}" for name in sorted(unknown & OF_DEEP)]
        return f"write seqmem.layers.deep({', '.join([call.name, *deep])}, key=key)."
    if "batch_first" in unknown:
        return "leave it out, and pass xs with time first: jax.numpy.swapaxes(xs, 0, 1)."
    if unknown:
        return unknown_remedy(call)
    if len(call.args) > 1 and all(hasattr(type(value), "init_state") for value in call.args):
        return f"write {call.name}([{', '.join(map(describe, call.args))}])."
    if "key" in parameters and "key" not in call.options and any(map(is_key, call.args)):
        return f"pass the key by its name: {call.with_key('key')}."
    missing = call.missing_names()
    if missing:
        added = ["key=jax.random.key(0)" if name == "key" else f"{name}=..." for name in missing]
        return f"write {call.written(call.args, call.options, *added)}."
    return f"see help({call.name})."


def unknown_remedy(call: Call) -> str:
    """What to write where a keyword argument has another name."""
    (name, *_), names = call.unknown_names(), list(call.signature.parameters)
    close = difflib.get_close_matches(name, names, 1)
    return f"write {close[0]}= in place of {name}=." if close else f"leave {name}= out."


def describe(value: Any) -> str:
    """A value in a message, short."""
    if isinstance(value, type):
        return public_name(value)
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value)
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"<{value.dtype} of shape {tuple(value.shape)}>"
    return f"<{type(value).__name__}>"


def public_name(owner: Any) -> str:
    """What a caller writes for a class or function: `seqmem.LSTM`, `seqmem.layers.Stack`."""
    package, *rooms = owner.__module__.split(".")
    if package != __name__.partition(".")[0]:
        return owner.__name__
    public = [room for room in rooms[:1] if not room.startswith("_")]
    return ".".join([package, *public, owner.__name__])


def signature_of(function: Callable, skip: int) -> inspect.Signature:
    """The signature without the first parameters."""
    signature = inspect.signature(function)
    return signature.replace(parameters=list(signature.parameters.values())[skip:])
