"""What gradients do over time: their norms, horizons, spectra, and what changes them."""

from .._methods.cotangents import (
    AbstractCotangentTransform as AbstractCotangentTransform,
    ClipNorm as ClipNorm,
    ClipValue as ClipValue,
    Detach as Detach,
    Scale as Scale,
)
from .._norms import tree_norm as tree_norm
from ._flow import Flow as Flow, by_lag as by_lag, value_and_grad as value_and_grad
from ._gate_values import gate_values as gate_values
from ._horizons import Horizons as Horizons, horizons as horizons
from ._jacobians import (
    log_determinants as log_determinants,
    state_jacobians as state_jacobians,
    transitions as transitions,
)
from ._lyapunov import Lyapunov as Lyapunov, lyapunov as lyapunov
from ._rtrl import RTRL as RTRL
from ._sensitivity import random_direction as random_direction, sensitivity as sensitivity
from ._states import (
    Saturation as Saturation,
    burn_in as burn_in,
    drift as drift,
    saturation as saturation,
    state_norms as state_norms,
)
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
