"""Convolutions over images with the gates side by side, and the checks of their shapes."""

import math
from collections.abc import Sequence
from numbers import Integral
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.errors import bad_input
from ..._core.validation import check_count, check_sizes
from ..initialisers import gate_matrices


def convolve(
    image: Float[Array, "*space channels"], K: Float[Array, "gates hidden *widths channels"]
) -> Float[Array, "gates *space hidden"]:
    """(K ∗ x)_p = Σ_j K_j x_{p + j} over the places j around the centre of the kernel, for every
    gate. Outside of the image x is 0.

    All gates are one convolution.
    """
    gates, hidden, *widths, channels = K.shape
    axes = tuple(range(1, len(widths) + 1))
    last = len(widths) + 1
    z = jax.lax.conv_general_dilated(
        image[None],
        K.reshape(gates * hidden, *widths, channels),
        window_strides=(1,) * len(widths),
        padding="SAME",
        dimension_numbers=jax.lax.ConvDimensionNumbers(
            (0, last, *axes), (0, last, *axes), (0, last, *axes)
        ),
    )[0]
    return jnp.moveaxis(z.reshape(*z.shape[:-1], gates, hidden), -2, 0)


def per_pixel(
    b: Float[Array, "gates hidden"], space: tuple[int, ...]
) -> Float[Array, "gates *ones hidden"]:
    """A bias with an axis of size 1 for each axis of space."""
    return b.reshape(len(b), *(1 for _ in space), b.shape[-1])


def kernels(
    key: PRNGKeyArray, gates: int, hidden_size: int, channels: int, widths: tuple[int, ...]
) -> tuple[
    Float[Array, "gates hidden *widths channels"], Float[Array, "gates hidden *widths hidden"]
]:
    """(W, U): `lecun_normal` kernels of the input and `orthogonal` ones of the state, each gate's
    kernel as a matrix (hidden, places · channels).
    """
    places = math.prod(widths)
    W, U = gate_matrices(
        key,
        (gates, hidden_size, places * channels),
        (gates, hidden_size, places * hidden_size),
    )
    W = W.reshape(gates, hidden_size, *widths, channels)
    return W, U.reshape(gates, hidden_size, *widths, hidden_size)


def check_kernel(
    owner: str, input_shape: Sequence[int], hidden_size: int, width: int | Sequence[int]
) -> tuple[int, ...]:
    """The width of the kernel along each axis of space.

    Raises:
        ValueError: for an image without an axis of space, a size below 1, another number of widths
            than axes of space, or an even width.
    """
    is_image = isinstance(input_shape, Sequence) and len(input_shape) >= 2
    if not is_image or not all(isinstance(size, Integral) for size in input_shape):
        raise bad_input(
            f"{owner} got input_shape={input_shape!r}.",
            "the sizes of an image, channels last: at least one axis of space and the channels.",
            "pass (height, width, channels), or (length, channels) for an image of one axis.",
        )
    for place, size in enumerate(input_shape):
        check_count(owner, f"input_shape[{place}]", size, remedy="choose sizes of at least 1.")
    check_sizes(owner, hidden_size=hidden_size)
    axes = len(input_shape) - 1
    widths = tuple(width) if isinstance(width, Sequence) else (width,) * axes
    if len(widths) != axes or not all(_is_odd(size) for size in widths):
        raise bad_input(
            f"{owner} got width={width!r} for an image with {axes} axes of space.",
            "an odd number of pixels, or one for each axis of space: the kernel has a centre.",
            "choose widths such as 3 or 5; 1 looks at no neighbour.",
        )
    return widths


def _is_odd(size: Any) -> bool:
    is_whole = isinstance(size, Integral) and not isinstance(size, bool)
    return is_whole and int(size) > 0 and int(size) % 2 == 1
