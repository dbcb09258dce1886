"""What states do over time: Jacobians, Lyapunov exponents, burn-in, drift, gate saturation."""

from ._gate_values import gate_values as gate_values
from ._jacobians import (
    log_determinants as log_determinants,
    state_jacobians as state_jacobians,
    transitions as transitions,
)
from ._lyapunov import (
    LyapunovExponents as LyapunovExponents,
    lyapunov_exponents as lyapunov_exponents,
)
from ._states import (
    GateSaturation as GateSaturation,
    burn_in as burn_in,
    drift as drift,
    gate_saturation as gate_saturation,
    state_norms as state_norms,
)
