"""Checks of arguments that occur in many places."""

from numbers import Integral
from typing import Any

from .errors import bad_input


def check_count(
    owner: str, name: str, value: Any, *, at_least: int = 1, remedy: str = "pass an int."
) -> None:
    """Refuse what is not a whole number of at least `at_least`.

    Args:
        owner: the function or class that got the value.
        name: the argument.
        value: its value.
        at_least: the least that makes sense.
        remedy: what to do, in the message.

    Raises:
        ValueError: for another type, a bool, or a smaller number.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < at_least:
        raise bad_input(
            f"{owner} got {name}={value!r}.", f"a whole number, at least {at_least}.", remedy
        )


def check_sizes(owner: str, **sizes: Any) -> None:
    """Refuse sizes that are not whole numbers of at least 1.

    Raises:
        ValueError: for the first that is not.
    """
    for name, size in sizes.items():
        check_count(owner, name, size, remedy="choose a size of at least 1.")


def check_positive(owner: str, name: str, value: Any, *, remedy: str) -> None:
    """Refuse a number that is not above 0, and NaN.

    Raises:
        ValueError: for a number of at most 0, or none.
    """
    if not value > 0:
        raise bad_input(f"{owner} got {name}={value!r}.", "a number above 0.", remedy)


def check_share(owner: str, name: str, value: Any) -> None:
    """Refuse a share that is not in [0, 1].

    Raises:
        ValueError: unless 0 <= value <= 1.
    """
    if not 0 <= value <= 1:
        raise bad_input(
            f"{owner} got {name}={value!r}.", f"a share, 0 <= {name} <= 1.", "pass one such as 0.8."
        )


def check_not_negative(owner: str, name: str, value: Any) -> None:
    """Refuse a number below 0, and NaN.

    Raises:
        ValueError: unless value >= 0.
    """
    if not value >= 0:
        raise bad_input(
            f"{owner} got {name}={value!r}.", "a number of at least 0.", "leave it out for none."
        )


def check_rate(owner: str, rate: float) -> None:
    """Refuse a dropout rate outside of [0, 1).

    Raises:
        ValueError: unless 0 <= rate < 1.
    """
    if not 0 <= rate < 1:
        raise bad_input(
            f"{owner} got rate={rate}.",
            "the share to drop, 0 <= rate < 1.",
            "leave the call out where nothing is dropped.",
        )


def check_heads(owner: str, size: int, num_heads: int) -> None:
    """Refuse a size that the heads cannot share evenly.

    Raises:
        ValueError: where `num_heads` is below 1 or does not divide `size`.
    """
    check_sizes(owner, size=size, num_heads=num_heads)
    if size % num_heads:
        raise bad_input(
            f"{owner} got {num_heads} heads for a size of {size}.",
            "a size that the heads divide evenly.",
            "choose a number of heads that divides the size.",
        )


def check_activation(owner: str, activation: Any) -> None:
    """Refuse an activation that is not a function, such as its name.

    Raises:
        ValueError: for anything that cannot be called.
    """
    if not callable(activation):
        raise bad_input(
            f"{owner} got activation={activation!r}.",
            "a function of an array, entry by entry.",
            "pass the function itself, such as jax.numpy.tanh or jax.nn.relu.",
        )


def check_divisor(owner: str, name: str, value: Any, whole_name: str, whole: int) -> None:
    """Refuse a number that does not divide another one.

    Raises:
        ValueError: where `value` is not a whole number of at least 1 that divides `whole`.
    """
    check_sizes(owner, **{name: value})
    if whole % value:
        raise bad_input(
            f"{owner} got {name}={value} for {whole_name}={whole}.",
            f"a divisor of {whole_name}.",
            f"choose a {name} that divides {whole_name}.",
        )
