"""Equinox: its recurrent cells under `jax.lax.scan`."""

from typing import Any

import equinox as eqx
import jax

from .entry import Entry
from .loops import HIDDEN, INPUT, scan_op, scanned, zeros


def entries() -> list[Entry]:
    h = zeros(HIDDEN)
    gru = eqx.nn.GRUCell(INPUT, HIDDEN, key=jax.random.key(0))
    lstm = eqx.nn.LSTMCell(INPUT, HIDDEN, key=jax.random.key(0))
    return [
        Entry("GRUCell", scan_op(scanned(_gru), gru, h, step=_gru)),
        Entry("LSTMCell", scan_op(scanned(_lstm), lstm, (h, h), step=_lstm)),
    ]


def _gru(cell: Any, h: Any, x: Any) -> tuple[Any, Any]:
    h = cell(x, h)
    return h, h


def _lstm(cell: Any, state: Any, x: Any) -> tuple[Any, Any]:
    state = cell(x, state)
    return state[0], state
