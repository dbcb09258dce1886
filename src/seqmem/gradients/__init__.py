"""What gradients do over time: their norms, horizons, windows, and what changes them."""

from .._core.trees import tree_norm as tree_norm
from .._methods.scan.gradient_transforms import (
    AbstractGradientTransform as AbstractGradientTransform,
    ClipNorm as ClipNorm,
    ClipValue as ClipValue,
    Detach as Detach,
    Scale as Scale,
)
from ._flow import Flow as Flow, by_lag as by_lag, value_grad_and_flow as value_grad_and_flow
from ._horizons import Horizons as Horizons, gradient_horizons as gradient_horizons
from ._memory import MemoryReport as MemoryReport, memory_report as memory_report
from ._rtrl import RTRL as RTRL
from ._sensitivity import random_direction as random_direction, sensitivity as sensitivity
from ._steps import (
    contributions as contributions,
    gate_gradients as gate_gradients,
    norm_penalty as norm_penalty,
)
from ._window import (
    Bias as Bias,
    Recommendation as Recommendation,
    recommend_window as recommend_window,
    truncation_bias as truncation_bias,
)
