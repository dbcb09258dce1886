from . import bptt as bptt
