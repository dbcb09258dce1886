"""Gradients and steps for any training loop: truncated BPTT, micro-batches, several devices; linear
readouts in closed form.

    make_step, begin_training, TrainingState     a jitted step of any loss and optimiser
    Gradient, TruncatedBPTT, MicroBatched, AbstractGradient
                                                 how its gradient is computed
    mixed_precision, DataParallel                bfloat16, and a batch over several devices
    with_burn_in, with_flossing, floss_steps     losses with something before or next to them
    teacher_forced, forcing_alpha, multiple_shooting, Shooting
                                                 chaotic systems
    ridge_readout, fit_readout, RidgeSums        readouts by ridge regression
"""

from ._burn_in import with_burn_in as with_burn_in
from ._data_parallel import DataParallel as DataParallel
from ._flossing import floss_steps as floss_steps, with_flossing as with_flossing
from ._gradient import AbstractGradient as AbstractGradient, Gradient as Gradient
from ._micro_batches import MicroBatched as MicroBatched
from ._mixed_precision import mixed_precision as mixed_precision
from ._multiple_shooting import Shooting as Shooting, multiple_shooting as multiple_shooting
from ._ridge_readout import fit_readout as fit_readout, ridge_readout as ridge_readout
from ._ridge_sums import RidgeSums as RidgeSums
from ._state import TrainingState as TrainingState, begin_training as begin_training
from ._step import make_step as make_step
from ._teacher_forcing import forcing_alpha as forcing_alpha, teacher_forced as teacher_forced
from ._truncated_bptt import TruncatedBPTT as TruncatedBPTT
