"""check_cell finds no fault where none is, and catches faulty methods, masks and compilers."""

import dataclasses
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.helpers.faultless import HIDDEN, INPUT, Gated, Plain
from jaxtyping import Array

import seqmem
from seqmem._core.method import AbstractMethod
from seqmem._methods.scan.scan import plain_scan
from seqmem._testing import check, evaluate, time_laws, transform_laws, trial
from seqmem._testing.verdict import NotJudged
from seqmem.testing import LawBroken, check_cell

AUTODIFF = seqmem.ReferenceScan()


@pytest.mark.parametrize("cell_type", [Plain, Gated])
def test_a_cell_without_fault_is_found_to_have_none(cell_type):
    assert set(check_cell(cell_type(), methods=[AUTODIFF]).values()) == {"holds"}


class Mixed(NamedTuple):
    z: Array
    count: Array


class Everything(seqmem.AbstractCell):
    """A tree of inputs with a token, a complex state beside a counter, outputs of three kinds."""

    input_axes: ClassVar = {"token": 0, "vector": 1}

    W: Array
    E: Array
    decay: Array

    def __init__(self):
        keys = jax.random.split(jax.random.key(0), 3)
        self.W = jax.random.normal(keys[0], (HIDDEN, INPUT))
        self.E = jax.random.normal(keys[1], (7, HIDDEN))
        self.decay = 0.5 * jax.random.normal(keys[2], (HIDDEN,), dtype=jnp.complex64)

    def init_state(self):
        return Mixed(jnp.zeros_like(self.decay), jnp.zeros((), jnp.int32))

    def project(self, x):
        return self.W @ x["vector"] + self.E[x["token"]]

    def update(self, state, u):
        return Mixed(jnp.tanh(self.decay * state.z + u.astype(state.z.dtype)), state.count + 1)

    def readout(self, state, u):
        return {"complex": state.z, "real": state.z.real + u, "whole": state.count}


def test_trees_tokens_counters_and_complex_states_are_judged():
    x = {"token": jnp.array(6), "vector": jnp.zeros(INPUT)}
    assert set(check_cell(Everything(), x, methods=[seqmem.Scan()]).values()) == {"holds"}


class Sum(seqmem.AbstractCell):
    """A cell without parameters."""

    def init_state(self):
        return jnp.zeros(INPUT)

    def project(self, x):
        return x

    def update(self, total, u):
        return total + u

    def readout(self, total, u):
        return total


def test_a_cell_without_parameters_makes_no_ensemble():
    report = check_cell(Sum(), jnp.zeros(INPUT), methods=[AUTODIFF])
    assert report.pop("ensembles") == "not judged: the cell has no parameters"
    assert set(report.values()) == {"holds"}


def test_the_configuration_is_left_alone():
    with jax.debug_nans(True), jax.numpy_dtype_promotion("standard"):
        check_cell(Plain(), methods=[AUTODIFF])
        assert jnp.zeros(1).dtype == jnp.float32
        assert jax.config.jax_debug_nans
        assert jax.config.jax_numpy_dtype_promotion == "standard"


def test_an_example_is_asked_for_where_none_can_be_made():
    with pytest.raises(ValueError, match=r"(?s)without an example.*Expected: .*What to do: pass x"):
        check_cell(Everything())


# Faults of methods: each is a plain scan with one thing wrong.


@dataclasses.dataclass(frozen=True)
class Faulty(AbstractMethod):
    """A plain scan with one thing wrong."""

    fault: str

    def run(self, cell, init, state, inputs, *, batch_axes, reverse):
        run = getattr(self, "_" + self.fault)
        return run(cell, init, state, inputs, batch_axes=batch_axes, reverse=reverse)

    def _goes_forward_only(self, *args, reverse, **options):
        return plain_scan(*args, reverse=False, **options)

    def _ignores_resets(self, cell, init, state, inputs, **options):
        inputs = inputs._replace(marks=inputs.marks._replace(reset=None))
        return plain_scan(cell, init, state, inputs, **options)

    def _resets_to_zero(self, cell, init, state, inputs, **options):
        return plain_scan(cell, jax.tree.map(jnp.zeros_like, init), state, inputs, **options)

    def _resets_by_multiplication(self, cell, init, state, inputs, *, batch_axes, reverse):
        marks = inputs.marks
        if marks.reset is None:
            return plain_scan(cell, init, state, inputs, batch_axes=batch_axes, reverse=reverse)

        def body(state, here):
            keep = (~here.marks.reset).astype(state.dtype)[..., None]
            state = keep * state + (1 - keep) * init
            rest = here._replace(marks=here.marks._replace(reset=None))
            one = jax.tree.map(lambda leaf: leaf[None], rest)
            state, ys = plain_scan(cell, init, state, one, batch_axes=batch_axes, reverse=reverse)
            return state, ys[0]

        return jax.lax.scan(body, state, inputs, reverse=reverse)

    def _runs_over_the_padding(self, cell, init, state, inputs, **options):
        inputs = inputs._replace(marks=inputs.marks._replace(hold=None))
        return plain_scan(cell, init, state, inputs, **options)

    def _forgets_the_state(self, cell, init, state, inputs, **options):
        state = jax.tree.map(lambda s, i: jnp.broadcast_to(i, s.shape), state, init)
        return plain_scan(cell, init, state, inputs, **options)

    def _stops_the_gradient(self, cell, init, state, inputs, **options):
        return plain_scan(cell, init, jax.lax.stop_gradient(state), inputs, **options)

    def _ignores_probes(self, cell, init, state, inputs, **options):
        inputs = inputs._replace(marks=inputs.marks._replace(perturbation=None))
        return plain_scan(cell, init, state, inputs, **options)

    def _sees_the_future(self, cell, init, state, inputs, **options):
        final, ys = plain_scan(cell, init, state, inputs, **options)
        return final, ys + 1e-6 * jnp.mean(inputs.x)

    def _is_wrong_alone(self, cell, init, state, inputs, *, batch_axes, reverse):
        final, ys = plain_scan(cell, init, state, inputs, batch_axes=batch_axes, reverse=reverse)
        return final, ys if batch_axes else 1.001 * ys

    def _is_wrong_in_its_second_derivative(self, *args, **options):
        @jax.custom_vjp
        def run(args):
            return plain_scan(*args, **options)

        def backward(args, cotangents):
            return jax.vjp(lambda args: plain_scan(*args, **options), jax.lax.stop_gradient(args))[
                1
            ](cotangents)

        run.defvjp(lambda args: (run(args), args), backward)
        return run(args)

    def _is_wrong_in_float32(self, *args, **options):
        final, ys = plain_scan(*args, **options)
        return final, ys.astype(jnp.float32).astype(ys.dtype)


FAULTY_METHODS = {
    "goes_forward_only": ("methods", "reverse=True"),
    "forgets_the_state": ("methods", "Python loop"),
    "stops_the_gradient": ("methods", "gradient of"),
    "sees_the_future": ("methods", "ys"),
    "is_wrong_in_float32": ("methods", r"1e-08|\de-0[789]"),
    "runs_over_the_padding": ("lengths", "final state"),
    "ignores_resets": (
        "resets",
        r"depends on inputs before it; largest difference \S+ in (final|.* at t=[3-6], example)",
    ),
    "resets_to_zero": ("resets", "Python loop"),
    "resets_by_multiplication": ("resets", "a NaN before it; largest difference nan"),
    "ignores_probes": ("perturbations", "gradients of the perturbations"),
    "is_wrong_alone": ("examples", "vmap over examples"),
    "is_wrong_in_its_second_derivative": ("second order", "gradient of a gradient"),
}


@pytest.mark.parametrize("fault", FAULTY_METHODS)
def test_a_faulty_method_is_caught(fault):
    law, sentence = FAULTY_METHODS[fault]
    with pytest.raises(LawBroken, match=rf"(?s)^{law}: .*{sentence}"):
        check_cell(Plain(), methods=[Faulty(fault)])


# Laws that an earlier one implies are tested alone: they say better what is wrong.


@pytest.mark.parametrize(
    ("law", "fault"),
    [
        (time_laws.reverse, "goes_forward_only"),
        (time_laws.reverse, "sees_the_future"),
        (time_laws.causality, "sees_the_future"),
        (time_laws.splitting, "forgets_the_state"),
        (time_laws.splitting, "stops_the_gradient"),
        (transform_laws.ensembles, "stops_the_gradient"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_law_alone_catches_it_too(law, fault, float64):
    on_trial = trial.Trial(Plain(), np.zeros(INPUT), [Faulty(fault)], 0)
    with pytest.raises(LawBroken, match=f"^{law.__name__}: "):
        law(on_trial)


# Faults of unroll itself, and of the compiler.


def test_a_mask_that_multiplies_is_caught(monkeypatch, float64):
    def zero_where(hold, tree):
        return jax.tree.map(lambda leaf: leaf * (~hold[..., None]).astype(leaf.dtype), tree)

    monkeypatch.setattr("seqmem._methods.evaluate._zero_where", zero_where)
    on_trial = trial.Trial(Plain(5), np.zeros(INPUT), [AUTODIFF], 0)
    time_laws.lengths(on_trial)
    with pytest.raises(LawBroken, match=r"^padding: .*NaN in the padding is not without effect"):
        time_laws.padding(on_trial)


@pytest.mark.parametrize("suspect", [True, False])
def test_a_cell_is_not_blamed_for_a_compiler_known_to_be_wrong(monkeypatch, suspect, float64):
    def miscompiled(*args, **options):
        final, ys = seqmem.unroll(*args, **options)
        return final, ys if jax.config.jax_disable_jit else 1.01 * ys

    monkeypatch.setattr(evaluate, "unroll", miscompiled)
    monkeypatch.setattr(trial, "compiler_is_suspect", lambda: suspect)
    on_trial = trial.Trial(Plain(7 if suspect else 11), np.zeros(INPUT), [AUTODIFF], 0)
    with pytest.raises(NotJudged if suspect else LawBroken) as verdict:
        time_laws.methods(on_trial)
    assert "unroll is not a Python loop of single steps" in str(verdict.value)
    assert ("not the cell; jaxlib" in str(verdict.value)) == suspect


def test_a_law_that_is_not_judged_says_why(monkeypatch):
    def law(_):
        raise NotJudged("the judge is ill")

    monkeypatch.setattr(check, "LAWS", {"pure": law})
    assert check_cell(Plain(), methods=[AUTODIFF])["pure"] == "not judged: the judge is ill"
