"""Instruments for states over time: fixed points, exponents, attractors, similarity, gates.

fixed_points, FixedPoints, linearise, Linearisation, state_jacobians, transitions,
log_determinants                             where states rest, and what a step does near them
lyapunov_exponents, LyapunovExponents, finite_time_exponents, FiniteTimeExponents,
covariant_vectors, CovariantVectors, kaplan_yorke_dimension, entropy_rate
                                             how fast states part, and in which directions
power_spectrum_distance, state_space_divergence, mixture_divergence
                                             how close a model comes to an attractor
dynamical_similarity, DynamicalSimilarity, linear_cka      whether two networks do the same
principal_components, PrincipalComponents, participation_ratio, state_vectors
state_norms, drift, burn_in, gate_values, gate_saturation, GateSaturation
                                             what states and gates do along sequences
"""

from ._burn_in import burn_in as burn_in
from ._covariant_vectors import (
    CovariantVectors as CovariantVectors,
    covariant_vectors as covariant_vectors,
)
from ._dimension_and_entropy import (
    entropy_rate as entropy_rate,
    kaplan_yorke_dimension as kaplan_yorke_dimension,
)
from ._dynamical_similarity import (
    DynamicalSimilarity as DynamicalSimilarity,
    dynamical_similarity as dynamical_similarity,
)
from ._finite_time import (
    FiniteTimeExponents as FiniteTimeExponents,
    finite_time_exponents as finite_time_exponents,
)
from ._fixed_points import FixedPoints as FixedPoints, fixed_points as fixed_points
from ._gate_saturation import (
    GateSaturation as GateSaturation,
    gate_saturation as gate_saturation,
)
from ._gate_values import gate_values as gate_values
from ._jacobian_products import (
    log_determinants as log_determinants,
    transitions as transitions,
)
from ._jacobians import state_jacobians as state_jacobians
from ._linear_cka import linear_cka as linear_cka
from ._linearisation import Linearisation as Linearisation, linearise as linearise
from ._lyapunov import (
    LyapunovExponents as LyapunovExponents,
    lyapunov_exponents as lyapunov_exponents,
)
from ._power_spectrum import power_spectrum_distance as power_spectrum_distance
from ._principal_components import (
    PrincipalComponents as PrincipalComponents,
    participation_ratio as participation_ratio,
    principal_components as principal_components,
)
from ._state_norms import drift as drift, state_norms as state_norms
from ._state_space_divergence import (
    mixture_divergence as mixture_divergence,
    state_space_divergence as state_space_divergence,
)
from ._state_vectors import state_vectors as state_vectors
