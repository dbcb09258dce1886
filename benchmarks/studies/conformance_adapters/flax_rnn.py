"""Flax: `RNN` of its cells, in `nnx` and in `linen`, with `seq_lengths`."""

from collections.abc import Callable
from typing import Any

import jax
from flax import linen, nnx

from .entry import Entry
from .loops import HIDDEN, INPUT, scan_op, zeros


def entries() -> list[Entry]:
    h = zeros(HIDDEN)
    lstm, gru = (h, h), h
    return [
        _nnx("nnx.RNN of LSTMCell", nnx.LSTMCell, lstm),
        _nnx("nnx.RNN of OptimizedLSTMCell", nnx.OptimizedLSTMCell, lstm),
        _nnx("nnx.RNN of GRUCell", nnx.GRUCell, gru),
        _linen("linen.RNN of LSTMCell", linen.LSTMCell, lstm),
        _linen("linen.RNN of GRUCell", linen.GRUCell, gru),
    ]


def _nnx(name: str, make: Callable[..., Any], state: Any) -> Entry:
    cell = make(INPUT, HIDDEN, rngs=nnx.Rngs(0))
    rnn_graph, rnn_state = nnx.split(nnx.RNN(cell, time_major=True, rngs=False))
    cell_graph, cell_state = nnx.split(cell)
    params, structure = jax.tree.flatten(rnn_state)
    cell_structure = jax.tree.structure(cell_state)  # the same leaves, one level further up

    def run(params: Any, state: Any, xs: Any, lengths: Any = None) -> tuple[Any, Any]:
        rnn = nnx.merge(rnn_graph, jax.tree.unflatten(structure, params))
        final, ys = rnn(xs, initial_carry=state, seq_lengths=lengths, return_carry=True)
        return ys, final

    def step(params: Any, state: Any, x: Any) -> tuple[Any, Any]:
        cell = nnx.merge(cell_graph, jax.tree.unflatten(cell_structure, params))
        return cell(state, x)[::-1]

    op = scan_op(run, params, state, step=step, flags=("lengths",))
    return Entry(name, op)


def _linen(name: str, make: Callable[..., Any], state: Any) -> Entry:
    cell = make(HIDDEN)
    rnn = linen.RNN(cell, time_major=True)
    params = rnn.init(jax.random.key(0), zeros(2, 1, INPUT))

    def run(params: Any, state: Any, xs: Any, lengths: Any = None) -> tuple[Any, Any]:
        options = {"initial_carry": state, "seq_lengths": lengths, "return_carry": True}
        final, ys = rnn.apply(params, xs, **options)
        return ys, final

    def step(params: Any, state: Any, x: Any) -> tuple[Any, Any]:
        return cell.apply({"params": params["params"]["cell"]}, state, x)[::-1]

    op = scan_op(run, params, state, step=step, flags=("lengths",))
    return Entry(name, op)
