"""Every fast-weight cell in chunks matches the reference scan: 1000 steps, decays below e^−2000."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from tests.helpers.fast_weights import assert_trees_close

TIME, INPUT = 1000, 3
LENGTHS = np.array([0, 1, 2, 63, 64, 65, 200, 1000])
BATCH = len(LENGTHS)
METHODS = (seqmem.Parallel(chunk_size=16), seqmem.Parallel(chunk_size=64))
key = jax.random.key(0)


@dataclasses.dataclass(frozen=True)
class Case:
    """A cell, and the parameters that make its decays strong.

    `strong` is empty for a cell without decay, or with one that its equations bound.
    """

    make: Callable[[], seqmem.AbstractFastWeightCell]
    strong: dict[str, Any] = dataclasses.field(default_factory=dict)
    has_zero_decay: bool = False  # −inf is among its log-decays


def relu_of_both_signs(x):
    return jnp.concatenate([jax.nn.relu(x), jax.nn.relu(-x)], -1)


# Two heads; of those with A_log, one decays gently and one strongly. Inputs reach 3, so that a gate
# of 4000 times their size is below −2000; σ^(1/16) needs 16 times as much.
RATES = np.array([0.0, 12.0])
CASES = {
    "LinearAttention": Case(lambda: seqmem.LinearAttention(INPUT, 4, num_heads=2, key=key)),
    "LinearAttention, other features": Case(
        lambda: seqmem.LinearAttention(
            INPUT, 4, num_heads=2, feature_map=relu_of_both_signs, key=key
        )
    ),
    "RetNet": Case(lambda: seqmem.RetNet(INPUT, 4, num_heads=2, key=key)),
    "LightningAttention": Case(lambda: seqmem.LightningAttention(INPUT, 4, num_heads=2, key=key)),
    "GLA": Case(
        lambda: seqmem.GLA(INPUT, 4, num_heads=2, key_size=3, rank=5, key=key),
        {"W_a": 64_000, "b": np.array([0, 0, 0, 0, 0, -np.inf])},
        has_zero_decay=True,
    ),
    "HGRN2": Case(lambda: seqmem.HGRN2(INPUT, 4, num_heads=2, key=key), {"W_f": 4000}),
    "HGRN2, bounded": Case(lambda: seqmem.HGRN2(INPUT, 4, num_heads=2, lower_bound=0.25, key=key)),
    "SSD": Case(lambda: seqmem.SSD(INPUT, 4, num_heads=2, key_size=5, key=key), {"A_log": RATES}),
    "MLSTM": Case(
        lambda: seqmem.MLSTM(INPUT, 6, num_heads=3, key=key),
        {"w_f": 40_000, "b_f": np.array([3, 6, -np.inf])},
        has_zero_decay=True,
    ),
    "DeltaRule": Case(lambda: seqmem.DeltaRule(INPUT, 4, num_heads=2, beta_max=2.0, key=key)),
    "GatedDeltaRule": Case(
        lambda: seqmem.GatedDeltaRule(INPUT, 4, num_heads=2, key=key), {"A_log": RATES}
    ),
    "GatedDeltaRule2": Case(
        lambda: seqmem.GatedDeltaRule2(INPUT, 4, num_heads=2, beta_max=2.0, key=key),
        {"A_log": RATES},
    ),
    "MomentumDeltaRule": Case(
        lambda: seqmem.MomentumDeltaRule(INPUT, 4, num_heads=2, key_size=3, key=key),
        {"W_alpha": 4000, "W_eta": 4000, "b_alpha": np.array([3, -np.inf])},
        has_zero_decay=True,
    ),
    "DeltaProduct": Case(lambda: seqmem.DeltaProduct(INPUT, 4, num_heads=2, key=key)),
    "Comba": Case(lambda: seqmem.Comba(INPUT, 4, num_heads=2, key=key), {"A_log": RATES}),
    "KDA": Case(lambda: seqmem.KDA(INPUT, 4, num_heads=2, key=key), {"A_log": RATES}),
    "GatedOjaRule": Case(
        lambda: seqmem.GatedOjaRule(INPUT, 4, num_heads=2, key_size=3, key=key), {"A_log": RATES}
    ),
    "RWKV6": Case(
        lambda: seqmem.RWKV6(INPUT, 4, num_heads=2, key_size=3, rank=5, key=key),
        {"w_0": np.array([-6, -1, 5, -3, 2, np.inf]), "W_w": 30},
    ),
    "MesaNet": Case(
        lambda: seqmem.MesaNet(
            INPUT, 4, num_heads=2, key_size=3, solver=seqmem.ConjugateGradients(3), key=key
        ),
        {"W_gamma": 40_000, "b_gamma": np.array([3, -np.inf]), "ridge": np.full((2, 3), 3.0)},
        has_zero_decay=True,
    ),
    "GatedKalmaNet": Case(
        lambda: seqmem.GatedKalmaNet(
            INPUT, 4, num_heads=2, key_size=3, solver=seqmem.Chebyshev(3), key=key
        ),
        {"A_log": RATES},
    ),
    "RWKV7": Case(lambda: seqmem.RWKV7(INPUT, 4, num_heads=2, rank=5, key=key)),
}


def draw_arguments(case):
    """The cell with strong decays, a state and inputs; no denominator is 0 in the memories."""
    cell, rng = case.make(), np.random.default_rng(3)
    for name, value in case.strong.items():
        old = getattr(cell, name)
        new = jnp.asarray(value) if np.ndim(value) else old * value
        cell = eqx.tree_at(lambda c, name=name: getattr(c, name), cell, new)
    state = cell.init_state()
    cell = seqmem.with_learned_state(
        cell, jax.tree.map(lambda leaf: jnp.asarray(rng.uniform(0.5, 1.5, leaf.shape)), state)
    )
    given_state = jax.tree.map(
        lambda leaf: jnp.asarray(rng.uniform(0.5, 1.5, (BATCH, *leaf.shape))), state
    )
    return cell, given_state, jnp.asarray(rng.normal(size=(TIME, BATCH, INPUT)))


def draw_resets():
    """Resets at the borders of chunks of 16 and of 64, next to them, and elsewhere."""
    resets = np.zeros((TIME, BATCH), bool)
    resets[[0, 16, 64, 128, 960], 3:6] = True
    resets[[63, 64, 65, 150, 640], -1] = True
    resets[16, -2] = True
    return jnp.asarray(resets)


@functools.partial(jax.jit, static_argnums=0)
def outputs_and_gradients(method, cell, state, xs):
    """Final state, outputs, and the gradients of parameters, initial states and inputs."""

    def run(cell, state, xs):
        return seqmem.unroll(cell, state, xs, lengths=LENGTHS, resets=draw_resets(), method=method)

    out, pull = jax.vjp(run, cell, state, xs)
    rng = np.random.default_rng(7)
    return out, pull(jax.tree.map(lambda a: jnp.asarray(rng.normal(size=a.shape)), out))


def decays_are_strong(case, cell, xs):
    """Whether the log-decays of the last sequence are gentle and strong, as the case says."""
    log_decay = jax.jit(jax.vmap(cell.project))(xs[:, -1])[0].log_decay
    finite = log_decay[jnp.isfinite(log_decay)]
    return (
        finite.min() < -2000
        and finite.max() > -20
        and jnp.isneginf(log_decay).any() == case.has_zero_decay
    )


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", CASES)
def test_cell_in_chunks_matches_the_reference_scan(name):
    """Values and gradients, with lengths, resets at borders of chunks, and a learned memory."""
    case = CASES[name]
    cell, state, xs = draw_arguments(case)
    assert not case.strong or decays_are_strong(case, cell, xs)
    want = outputs_and_gradients(seqmem.ReferenceScan(), cell, state, xs)
    for method in METHODS:
        assert_trees_close(outputs_and_gradients(method, cell, state, xs), want, 1e-9)
