"""Instruments for gradients over time, transforms of them, and online gradients.

    value_grad_and_flow, Flow                   the norm of ∂L/∂s_t at every step of one's own loss
    by_lag, gradient_horizons, Horizons         how far back a gradient reaches
    contributions, gate_gradients               what each step adds to a gradient, and each gate
    truncation_bias, online_bias, Bias, OnlineBias
                                                what truncation and online rules get wrong
    recommend_window, Recommendation            a window for truncated BPTT, from data
    sensitivity, random_direction, eigenvalue_sensitivity, EigenvalueSensitivity
    mean_field, MeanField, critical, with_unit_growth    cells at the edge of chaos
    floss, norm_penalty                         penalties that keep gradients alive
    memory_report, MemoryReport                 the memory that a gradient needs
    ClipNorm, ClipValue, Scale, Detach, AbstractGradientTransform
                                                transforms at every step of the backward pass
    RTRL, SnAp, UORO, KFRTRL, EProp, RFLO       gradients that are computed forward in time

`seqmem.gradients.pictures` draws them with matplotlib.
"""

from .._methods.scan.gradient_transforms import (
    AbstractGradientTransform as AbstractGradientTransform,
    ClipNorm as ClipNorm,
    ClipValue as ClipValue,
    Detach as Detach,
    Scale as Scale,
)
from ._critical import critical as critical, with_unit_growth as with_unit_growth
from ._e_prop import EProp as EProp
from ._eigenvalue_sensitivity import (
    EigenvalueSensitivity as EigenvalueSensitivity,
    eigenvalue_sensitivity as eigenvalue_sensitivity,
)
from ._floss import floss as floss
from ._flow import Flow as Flow, value_grad_and_flow as value_grad_and_flow
from ._horizons import (
    Horizons as Horizons,
    by_lag as by_lag,
    gradient_horizons as gradient_horizons,
)
from ._kf_rtrl import KFRTRL as KFRTRL
from ._mean_field import MeanField as MeanField, mean_field as mean_field
from ._memory import MemoryReport as MemoryReport, memory_report as memory_report
from ._norm_penalty import norm_penalty as norm_penalty
from ._online_bias import OnlineBias as OnlineBias, online_bias as online_bias
from ._recommend_window import (
    Recommendation as Recommendation,
    recommend_window as recommend_window,
)
from ._rflo import RFLO as RFLO
from ._rtrl import RTRL as RTRL
from ._sensitivity import random_direction as random_direction, sensitivity as sensitivity
from ._snap import SnAp as SnAp
from ._step_gradients import contributions as contributions, gate_gradients as gate_gradients
from ._truncation_bias import Bias as Bias, truncation_bias as truncation_bias
from ._uoro import UORO as UORO
