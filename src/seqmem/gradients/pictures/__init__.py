"""Figures of gradients and states over time: functions of arrays that return matplotlib figures.

matplotlib is an extra: `pip install 'seqmem[plot]'`. The figures use no backend and no global
state; save them with `figure.savefig("picture.pdf")`. Values that are not finite are marked.

    lag_curves, flow_history, horizon_history, window_bias    gradients over lags and over training
    exponents, eigenvalues, phase_portrait                    Lyapunov spectra, Jacobians, states
"""

from ._flow_history import flow_history as flow_history
from ._horizon_history import horizon_history as horizon_history
from ._lag_curves import lag_curves as lag_curves
from ._phase_portrait import phase_portrait as phase_portrait
from ._spectra import eigenvalues as eigenvalues, exponents as exponents
from ._window_bias import window_bias as window_bias
