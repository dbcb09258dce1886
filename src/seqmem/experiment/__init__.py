"""A training loop with checkpoints that resume to the bit, metrics and the order of the data."""

from ._checkpoints import Checkpoints as Checkpoints
from ._loop import train as train
from ._metrics import Metrics as Metrics
from ._order import example_at as example_at
from ._parameters import load_parameters as load_parameters, save_parameters as save_parameters
from ._progress import Progress as Progress
from ._watching import stop_where_not_finite as stop_where_not_finite
