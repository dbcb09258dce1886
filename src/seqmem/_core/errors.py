"""One shape for every complaint about an input: what came, what was expected, what to do."""


def bad_input(came: str, expected: str, remedy: str) -> ValueError:
    """The `ValueError` to raise; three sentences, in this order."""
    return ValueError(f"{came}\n  Expected: {expected}\n  What to do: {remedy}")
