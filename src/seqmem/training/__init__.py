"""Training that can be trusted: parts for anyone's loop, and one loop that shows them."""

from ._accumulation import Accumulated as Accumulated
from ._burn_in import burnt_in as burnt_in
from ._checkpoints import Checkpoints as Checkpoints
from ._devices import DataParallel as DataParallel
from ._gradient import AbstractGradient as AbstractGradient, Gradient as Gradient
from ._loop import train as train
from ._metrics import Metrics as Metrics
from ._narrow import in_bfloat16 as in_bfloat16
from ._order import example_at as example_at
from ._parameters import load_parameters as load_parameters, save_parameters as save_parameters
from ._progress import Progress as Progress
from ._step import (
    TrainingState as TrainingState,
    begin_training as begin_training,
    make_step as make_step,
    stop_where_skipped as stop_where_skipped,
)
from ._truncation import Truncated as Truncated, Window as Window
from ._watching import stop_where_not_finite as stop_where_not_finite
