"""A linear map with an optional bias."""

from jaxtyping import Array, Float


def linear(
    x: Float[Array, "*lead input"],
    W: Float[Array, "output input"],
    b: Float[Array, " output"] | None,
) -> Float[Array, "*lead output"]:
    """W x + b."""
    return x @ W.mT if b is None else x @ W.mT + b
