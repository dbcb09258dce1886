"""Surrogate gradients of spikes, and resets of the membrane: arguments of `seqmem.LIF` and others.

A spike is `surrogate(v − threshold)`, 0.0 or 1.0, and its derivative is the surrogate's.

    FastSigmoid, ArcTan, Triangular, StraightThrough     surrogates; AbstractSurrogate for your own
    SubtractThreshold, ToZero                            resets; AbstractReset for your own
"""

from ._cells.spiking.resets import (
    AbstractReset as AbstractReset,
    SubtractThreshold as SubtractThreshold,
    ToZero as ToZero,
)
from ._cells.spiking.surrogates import (
    AbstractSurrogate as AbstractSurrogate,
    ArcTan as ArcTan,
    FastSigmoid as FastSigmoid,
    StraightThrough as StraightThrough,
    Triangular as Triangular,
)
