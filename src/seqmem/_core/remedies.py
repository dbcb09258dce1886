"""What to do about an argument of `unroll` that does not fit: the line to write, where a mistake is
one that people make.
"""

import difflib
from typing import Any

import jax.numpy as jnp

from .calls import public_name
from .method import AbstractMethod
from .problem import State

OTHER_LIBRARIES = ("torch", "tensorflow")
SWAP_AXES = "where xs is [batch, time, ...], pass jax.numpy.swapaxes(xs, 0, 1)."


def method_remedy(method: Any) -> str:
    """For what is no method: a class, or a name."""
    if isinstance(method, type) and issubclass(method, AbstractMethod):
        return f"write method={public_name(method)}()."
    if isinstance(method, str):
        names = {cls.__name__.lower(): cls for cls in _methods(AbstractMethod)}
        close = difflib.get_close_matches(method.lower().replace("_", ""), names, 1)
        if close:
            return f"write method={public_name(names[close[0]])}(), or leave it out."
    return "leave it out, or write method=seqmem.Scan()."


def array_remedy(leaf: Any) -> str:
    """For a leaf that is no array."""
    if type(leaf).__module__.partition(".")[0] in OTHER_LIBRARIES:
        return "write jax.numpy.asarray(tensor.numpy())."
    if callable(leaf):
        return "call it first, such as cell.init_state()."
    return "turn it into one array with jax.numpy.asarray."


def state_remedy(one_state: State, given: State) -> str:
    """For a state of another structure, such as PyTorch's tuple (h, c)."""
    if callable(given):
        return "call it first: cell.init_state()."
    fields = getattr(one_state, "_fields", None)
    if fields is not None and type(given) in (tuple, list) and len(given) == len(fields):
        name = public_name(type(one_state))
        return f"write {name}(*state), whose fields are {', '.join(fields)}."
    return "start from cell.init_state(), or pass None for the initial state."


def lengths_remedy(lengths: Any, time: int, batch: tuple[int, ...]) -> str:
    """For lengths of another shape or dtype."""
    if lengths.dtype == jnp.bool_:
        return "pass flags of valid steps as mask=."
    if lengths.shape == batch:
        return "write lengths.astype(int)."
    if not batch:
        return "xs has no batch: it is [time, ...]. Give one number, or add the batch after time."
    if lengths.shape == (time,):
        return SWAP_AXES
    return "give one length per sequence, in the batch axes of xs."


def flags_remedy(name: str, flags: Any, leading: tuple[int, ...]) -> str:
    """For flags of another shape or dtype."""
    if flags.shape == leading:
        return f"write {name}.astype(bool)."
    if flags.shape == leading[::-1]:
        return f"write {name}.T; time comes first."
    if flags.shape == leading[:1]:
        expanded = f"{name}.reshape(-1{', 1' * (len(leading) - 1)})"
        return (
            f"for the same flags in all sequences, jax.numpy.broadcast_to({expanded}, {leading})."
        )
    return "give one flag per step and sequence, time first."


def _methods(cls: type) -> set[type]:
    """The classes of methods that are there, also those of the caller."""
    return {cls for cls in cls.__subclasses__()} | {
        method for part in cls.__subclasses__() for method in _methods(part)
    }
