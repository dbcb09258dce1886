from . import bptt as bptt, maps as maps
