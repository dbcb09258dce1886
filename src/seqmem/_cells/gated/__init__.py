from . import bptt as bptt, jacobian as jacobian
