"""memax: its layers under `vmap`, with start flags, as its README runs them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from memax.equinox.semigroups.delta import DeltaNet
from memax.equinox.semigroups.gdn import GDN
from memax.equinox.semigroups.lru import LRU
from memax.equinox.set_actions.gru import GRU
from memax.equinox.set_actions.lstm import LSTM

from .entry import Entry
from .loops import INPUT, scan_op, zeros

SIZE = 5


def entries() -> list[Entry]:
    key, h, S = jax.random.key(0), zeros(INPUT), zeros(SIZE, SIZE)
    lru = LRU(recurrent_size=INPUT, hidden_size=INPUT, key=key)
    (_, Bu), _ = lru.initialize_carry()
    return [
        _entry("GRU", GRU(INPUT, key=key), h, _gru),
        _entry("LSTM", LSTM(INPUT, key=key), (h, h), _lstm),
        _entry("LRU", lru, jax.device_get(Bu), _lru, carry=_with_decay, memory=_memory),
        _entry("DeltaNet", DeltaNet(INPUT, SIZE, key=key), S, _delta_rule, **MATRIX),
        _entry("GDN", GDN(INPUT, SIZE, key=key), S, _gated_delta_rule, **MATRIX),
    ]


def _entry(
    name: str,
    layer: Any,
    state: Any,
    step: Callable[..., Any],
    carry: Callable[[Any], Any] = lambda state: state,
    memory: Callable[[Any], Any] = lambda carry: carry,
) -> Entry:
    """`carry` makes a carry of the memory of one sequence, without its flag; `memory` is the
    inverse.
    """

    def run(layer: Any, state: Any, xs: Any, resets: Any = None) -> tuple[Any, Any]:
        resets = jnp.zeros(xs.shape[:2], bool) if resets is None else resets

        def one_sequence(state: Any, xs: Any, starts: Any) -> tuple[Any, Any]:
            h = carry(state), jnp.zeros((), bool)
            hs, ys = layer(h, (xs, starts))
            last, _ = layer.latest_recurrent_state(hs)
            return ys, memory(last)

        return jax.vmap(one_sequence, (0, 1, 1), (1, 0))(state, xs, resets)

    return Entry(name, scan_op(run, layer, state, step=step, flags=("resets",)))


def _memory(carry: Any) -> Any:
    """The second of the two arrays of a carry; the first is the product of all transitions."""
    return carry[1]


def _with_decay(state: Any) -> Any:
    return jnp.ones_like(state), state


def _with_identity(state: Any) -> Any:
    return jnp.eye(SIZE, dtype=state.dtype), state


MATRIX = {"carry": _with_identity, "memory": _memory}


# The equations, with the weights of a layer; those of the delta rules are of the papers that the
# docstrings of memax name.


def _gru(layer: Any, h: Any, x: Any) -> tuple[Any, Any]:
    cell = layer.algebra.algebra
    z = jax.nn.sigmoid(cell.W_z(x) + cell.U_z(h))
    r = jax.nn.sigmoid(cell.W_r(x) + cell.U_r(h))
    h = (1 - z) * h + z * jnp.tanh(cell.W_h(x) + cell.U_h(r * h))
    return h, h


def _lstm(layer: Any, state: Any, x: Any) -> tuple[Any, Any]:
    """With no tanh behind the cell, as memax has it."""
    cell, (c, h) = layer.algebra.algebra, state
    i, f, o = (
        jax.nn.sigmoid(W(x) + U(h))
        for W, U in ((cell.W_i, cell.U_i), (cell.W_f, cell.U_f), (cell.W_o, cell.U_o))
    )
    c = f * c + i * jnp.tanh(cell.W_c(x) + cell.U_c(h))
    return o * c, (c, o * c)


def _lru(layer: Any, h: Any, x: Any) -> tuple[Any, Any]:
    """h = λ h + exp(γ) B x, y = Re(C h) + D x."""
    B, C = jax.lax.complex(layer.B_re, layer.B_im), jax.lax.complex(layer.C_re, layer.C_im)
    decay = jnp.exp(-jnp.exp(layer.nu_log) + 1j * jnp.exp(layer.theta_log))
    h = decay * h + jnp.exp(layer.gamma_log) * (B @ x)
    return (C @ h).real + layer.D * x, h


def _delta_rule(layer: Any, S: Any, x: Any) -> tuple[Any, Any]:
    """S = S (I − β k kᵀ) + β v kᵀ, y = S q."""
    k, q = (_unit(jax.nn.relu(W(x))) for W in (layer.K, layer.Q))
    beta = 2 * jax.nn.sigmoid(layer.w(x))
    S = S - beta * jnp.outer(S @ k, k) + beta * jnp.outer(layer.V(x), k)
    return layer.output(S @ q), S


def _gated_delta_rule(layer: Any, S: Any, x: Any) -> tuple[Any, Any]:
    """S = α S (I − β k kᵀ) + β v kᵀ, y = S q."""
    k, q = (_unit(jax.nn.silu(W(x))) for W in (layer.K, layer.Q))
    beta = 2 * jax.nn.sigmoid(layer.w(x))
    S = jax.nn.sigmoid(layer.alpha(x)) * (S - beta * jnp.outer(S @ k, k))
    S = S + beta * jnp.outer(layer.V(x), k)
    return layer.output(S @ q), S


def _unit(x: Any) -> Any:
    return x / (jnp.linalg.norm(x) + 1e-6)
