from . import bptt as bptt, jacobian as jacobian, maps as maps
