"""A training loop that resumes bit for bit, with checkpoints and tables of metrics.

train                                  the loop
Checkpoints, Validation, Metrics       what it saves, checks and writes
stop_if_nonfinite, stop_if_skipped     when it ends early
example_at                             the order of the data
save_parameters, load_parameters       a model in one file, which holds no code
"""

from ._callbacks import (
    stop_if_nonfinite as stop_if_nonfinite,
    stop_if_skipped as stop_if_skipped,
)
from ._checkpoints import Checkpoints as Checkpoints
from ._metrics import Metrics as Metrics
from ._order import example_at as example_at
from ._parameters import load_parameters as load_parameters, save_parameters as save_parameters
from ._train import train as train
from ._validation import Validation as Validation
