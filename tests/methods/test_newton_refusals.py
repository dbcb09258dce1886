"""States, Jacobians and settings that Newton's methods refuse."""

import re

import jax.numpy as jnp
import pytest

import seqmem
from tests.helpers.newton import BATCH, HIDDEN, INPUT, TIME, every_method, gru, solve
from tests.helpers.unrolling import normal

pytestmark = pytest.mark.usefixtures("float64")


class Counter(seqmem.AbstractCell):
    """A cell with an integer in its state."""

    def init_state(self):
        return jnp.zeros(2), jnp.zeros((), jnp.int32)

    def project(self, x):
        return x

    def update(self, state, u):
        raise AssertionError("traced before it was refused")

    def readout(self, state, u):
        raise AssertionError("traced before it was refused")


@every_method
def test_newton_refuses_an_integer_state(method):
    with pytest.raises(
        ValueError, match=r"(?s)int32.*Expected: real or complex.*What to do: .*Scan\(\)"
    ):
        seqmem.unroll(Counter(), None, normal(TIME, INPUT), method=method)


def test_newton_refuses_large_jacobians_and_names_a_chunk_size_that_fits():
    cell, xs = gru(1), normal(TIME, BATCH, INPUT)
    step_bytes = BATCH * HIDDEN**2 * 8
    limit = 10 * step_bytes + 1
    method = seqmem.Newton(max_bytes=limit)
    sentence = rf"(?s)take {TIME * step_bytes} bytes.*Expected: .*{limit}.*QuasiNewton"
    with pytest.raises(ValueError, match=sentence) as refusal:
        seqmem.unroll(cell, None, xs, method=method)
    chunk_size = int(re.search(r"at most (\d+) steps", str(refusal.value)).group(1))
    assert chunk_size == 10
    fitting = seqmem.Newton(chunk_size=chunk_size, max_bytes=limit)
    assert solve(cell, xs, method=fitting).stats.converged.all()


@pytest.mark.parametrize("kind", [seqmem.Newton, seqmem.QuasiNewton])
@pytest.mark.parametrize(
    "settings",
    [
        {"chunk_size": 0},
        {"chunk_size": 2.5},
        {"max_iters": 0},
        {"tolerance": 0.0},
        {"fallback": "scan"},
        {"fallback": seqmem.Scan(transform=seqmem.gradients.ClipNorm(1.0))},
    ],
    ids=str,
)
def test_newton_refuses_settings_out_of_range(kind, settings):
    name = next(iter(settings))
    with pytest.raises(ValueError, match=rf"(?s)Newton got {name}=.*Expected: .*What to do: "):
        kind(**settings)
