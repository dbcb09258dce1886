"""Pieces of a training loop that are right: gradients over windows of time, and the step."""

from ._accumulation import Accumulated as Accumulated
from ._burn_in import burnt_in as burnt_in
from ._gradient import AbstractGradient as AbstractGradient, Gradient as Gradient
from ._narrow import in_bfloat16 as in_bfloat16
from ._step import (
    TrainingState as TrainingState,
    begin_training as begin_training,
    make_step as make_step,
    stop_where_skipped as stop_where_skipped,
)
from ._truncation import Truncated as Truncated, Window as Window
