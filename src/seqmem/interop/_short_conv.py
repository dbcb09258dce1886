from collections.abc import Mapping

from .weight_table import Row, concatenate


def short_conv(path: str, theirs: Mapping[str, str]) -> Row:
    """The row of a depthwise convolution: theirs is [channel, 1, width] with the present step last,
    ours is [width, channel] with the present step first.
    """
    channels = "+".join(shape.split()[0] for shape in theirs.values())
    return Row(
        {path: f"width {channels}"},
        theirs,
        to_ours=lambda *weights: concatenate(*weights)[:, 0, ::-1].T,
        to_theirs=lambda taps: taps[::-1].T,
    )
