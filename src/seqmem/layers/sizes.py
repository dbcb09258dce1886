"""What blocks accept as sizes."""

from .._core.errors import bad_input


def check_sizes(name: str, **sizes: int) -> None:
    """Refuse sizes without entries.

    Raises:
        ValueError: for a size below 1.
    """
    if min(sizes.values()) < 1:
        raise bad_input(
            f"{name} got {', '.join(f'{own}={size}' for own, size in sizes.items())}.",
            "at least 1 of each.",
            "choose sizes that are not 0.",
        )
