"""An LSTM under flags of XLA:GPU, each set of flags in a process of its own.

The processes compile side by side and are then timed one after another: a process that has compiled
prints a line and waits for one (`benchmarks.cost.accelerator` starts them).
"""

import sys

from ..peers import Sizes
from .gated import SHAPES, SMOKE_SHAPES, seqmem_cases
from .section import Section

WHILE = "--xla_gpu_enable_command_buffer=+WHILE"
UNROLLED = "--xla_gpu_command_buffer_unroll_loops=true"
SHORT_GRAPHS = "--xla_gpu_graph_min_graph_size=2"
NO_TRITON = "--xla_gpu_enable_triton_gemm=false"
FLAGS = {
    "none": "",
    "loops in command buffers": WHILE,
    "loops in command buffers, unrolled": f"{WHILE} {UNROLLED}",
    "command buffers from 2 kernels on": SHORT_GRAPHS,
    "double buffering of loops": "--xla_gpu_enable_while_loop_double_buffering=true",
    "no Triton products": NO_TRITON,
    "the first four together, no Triton products": f"{WHILE} {UNROLLED} {SHORT_GRAPHS} {NO_TRITON}",
}
SMOKE_FLAGS = ("none", "loops in command buffers")
READY = "compiled"


def measure(section: Section) -> None:
    shapes: tuple[Sizes, ...] = SMOKE_SHAPES if section.smoke else (SHAPES[0], SHAPES[-1])
    precision = "float32" if section.smoke else "TF32"
    cases = [case for sizes in shapes for case in seqmem_cases("LSTM", sizes, precision)]
    section.measure(cases, compiled=wait_for_turn)


def wait_for_turn() -> None:
    print(READY, flush=True)
    sys.stdin.readline()
