"""`check_cell` passes correct cells, and catches faulty methods, masks and compilers."""

import dataclasses
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

import seqmem
from seqmem._testing import check, runs, subject, time_laws, transform_laws
from seqmem._testing.comparison import NotTested
from seqmem.testing import LawBroken, check_cell
from tests.helpers.faultless import HIDDEN, INPUT, Gated, Plain
from tests.helpers.slow import slow, slow_but

REFERENCE = seqmem.ReferenceScan()


@pytest.mark.parametrize("cell_type", [slow(Plain), Gated])
def test_check_cell_passes_a_correct_cell(cell_type):
    assert set(check_cell(cell_type(), methods=[REFERENCE]).values()) == {"holds"}


class Mixed(NamedTuple):
    z: Array
    count: Array


class Everything(seqmem.AbstractCell):
    """A tree of inputs with a token, a state of a complex leaf and a counter, a tree of outputs."""

    input_shape: ClassVar = {"token": (), "vector": (None,)}

    W: Array
    E: Array
    decay: Array

    def __init__(self):
        rng = np.random.default_rng(0)
        self.W = jnp.asarray(rng.normal(size=(HIDDEN, INPUT)), jnp.float32)
        self.E = jnp.asarray(rng.normal(size=(7, HIDDEN)), jnp.float32)
        decay = rng.normal(size=HIDDEN) + 1j * rng.normal(size=HIDDEN)
        self.decay = jnp.asarray(0.4 * decay, jnp.complex64)

    def init_state(self):
        return Mixed(jnp.zeros_like(self.decay), jnp.zeros((), jnp.int32))

    def project(self, x):
        return self.W @ x["vector"] + self.E[x["token"]]

    def update(self, state, u):
        return Mixed(jnp.tanh(self.decay * state.z + u.astype(state.z.dtype)), state.count + 1)

    def readout(self, state, u):
        return {"complex": state.z, "real": state.z.real + u, "integer": state.count}


@pytest.mark.slow
def test_check_cell_passes_trees_tokens_counters_and_complex_states():
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


@pytest.mark.slow
def test_cell_without_parameters_has_no_ensemble():
    report = check_cell(Sum(), jnp.zeros(INPUT), methods=[REFERENCE])
    assert report.pop("ensembles") == "not tested: the cell has no parameters"
    assert set(report.values()) == {"holds"}


def test_check_cell_restores_the_configuration():
    with jax.debug_nans(True), jax.numpy_dtype_promotion("standard"):
        check_cell(Plain(), methods=[REFERENCE])
        assert jnp.zeros(1).dtype == jnp.float32
        assert jax.config.jax_debug_nans
        assert jax.config.jax_numpy_dtype_promotion == "standard"


def test_check_cell_asks_for_an_example_if_sizes_are_open():
    with pytest.raises(ValueError, match=r"(?s)without an example.*Expected: .*What to do: pass x"):
        check_cell(Everything())


# Faults of methods: each is `ReferenceScan` with one fault.


def replace_flags(problem, **flags):
    return problem.replace(flags=problem.flags._replace(**flags))


def replace_outputs(solution, outputs):
    return dataclasses.replace(solution, outputs=outputs)


@dataclasses.dataclass(frozen=True)
class Faulty(seqmem.AbstractMethod):
    """`ReferenceScan` with one fault."""

    fault: str

    def run(self, problem):
        return getattr(self, "_" + self.fault)(problem)

    def _goes_forward_only(self, problem):
        return REFERENCE.run(problem.replace(reverse=False))

    def _ignores_resets(self, problem):
        return REFERENCE.run(replace_flags(problem, reset=None))

    def _resets_to_zero(self, problem):
        return REFERENCE.run(problem.replace(init=jax.tree.map(jnp.zeros_like, problem.init)))

    def _resets_by_multiplication(self, problem):
        if problem.flags.reset is None:
            return REFERENCE.run(problem)

        def body(state, steps):
            inputs, flags = steps
            keep = (~flags.reset).astype(state.dtype)[..., None]
            state = keep * state + (1 - keep) * problem.init
            one = jax.tree.map(lambda leaf: leaf[None], (inputs, flags._replace(reset=None)))
            solution = REFERENCE.run(problem.replace(state=state, inputs=one[0], flags=one[1]))
            values = solution.outputs, solution.states
            return solution.state, jax.tree.map(lambda leaf: leaf[0], values)

        state, per_step = jax.lax.scan(body, problem.state, problem.steps, reverse=problem.reverse)
        return seqmem.Solution(state, *per_step)

    def _runs_over_the_padding(self, problem):
        return REFERENCE.run(replace_flags(problem, padding=None))

    def _forgets_the_state(self, problem):
        state = jax.tree.map(lambda s, i: jnp.broadcast_to(i, s.shape), problem.state, problem.init)
        return REFERENCE.run(problem.replace(state=state))

    def _stops_the_gradient(self, problem):
        return REFERENCE.run(problem.replace(state=jax.lax.stop_gradient(problem.state)))

    def _ignores_perturbations(self, problem):
        return REFERENCE.run(replace_flags(problem, perturbation=None))

    def _returns_states_without_gradient(self, problem):
        solution = REFERENCE.run(problem)
        return dataclasses.replace(solution, states=jax.lax.stop_gradient(solution.states))

    def _returns_the_states_before(self, problem):
        solution = REFERENCE.run(problem)
        if solution.states is None:
            return solution
        states = jnp.concatenate([problem.state[None], solution.states[:-1]])
        return dataclasses.replace(solution, states=states)

    def _sees_the_future(self, problem):
        solution = REFERENCE.run(problem)
        return replace_outputs(solution, solution.outputs + 1e-6 * jnp.mean(problem.inputs))

    def _is_wrong_without_batch(self, problem):
        solution = REFERENCE.run(problem)
        factor = 1 if problem.batch_axes else 1.001
        return replace_outputs(solution, factor * solution.outputs)

    def _is_wrong_in_its_second_derivative(self, problem):
        @jax.custom_vjp
        def run(problem):
            return REFERENCE.run(problem)

        def backward(problem, cotangents):
            return jax.vjp(REFERENCE.run, jax.lax.stop_gradient(problem))[1](cotangents)

        run.defvjp(lambda problem: (run(problem), problem), backward)
        return run(problem)

    def _is_wrong_in_float32(self, problem):
        solution = REFERENCE.run(problem)
        ys = solution.outputs
        return replace_outputs(solution, ys.astype(jnp.float32).astype(ys.dtype))


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
    "ignores_perturbations": ("perturbations", "gradients of the perturbations"),
    "returns_states_without_gradient": ("states", "largest difference .* in gradient"),
    "returns_the_states_before": ("states", "largest difference"),
    "is_wrong_without_batch": ("examples", "vmap over examples"),
    "is_wrong_in_its_second_derivative": ("second order", "gradient of a gradient"),
}


QUICK_FAULTS = {"stops_the_gradient", "ignores_resets"}


@pytest.mark.parametrize("fault", slow_but(QUICK_FAULTS, FAULTY_METHODS))
def test_check_cell_names_the_law_that_a_method_breaks(fault):
    law, sentence = FAULTY_METHODS[fault]
    with pytest.raises(LawBroken, match=rf"(?s)^{law}: .*{sentence}"):
        check_cell(Plain(), methods=[Faulty(fault)])


# Laws that an earlier one implies are tested by themselves: their messages are more precise.


@pytest.mark.parametrize(
    ("law", "fault"),
    [
        (time_laws.reverse, "goes_forward_only"),
        slow(time_laws.reverse, "sees_the_future"),
        (time_laws.causality, "sees_the_future"),
        (time_laws.splitting, "forgets_the_state"),
        slow(time_laws.splitting, "stops_the_gradient"),
        slow(transform_laws.mask, "is_wrong_without_batch"),
        slow(transform_laws.ensembles, "stops_the_gradient"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_law_by_itself_catches_a_faulty_method(law, fault, float64):
    faulty = subject.Subject(Plain(), np.zeros(INPUT), [Faulty(fault)], 0)
    with pytest.raises(LawBroken, match=f"^{law.__name__}: "):
        law(faulty)


# Faults of `unroll`, and of the compiler.


def test_padding_law_catches_a_mask_that_multiplies(monkeypatch, float64):
    def zero_where(padding, tree):
        return jax.tree.map(lambda leaf: leaf * (~padding[..., None]).astype(leaf.dtype), tree)

    monkeypatch.setattr("seqmem._methods.evaluate._zero_where", zero_where)
    faulty = subject.Subject(Plain(5), np.zeros(INPUT), [REFERENCE], 0)
    time_laws.lengths(faulty)
    with pytest.raises(LawBroken, match=r"^padding: .*NaN in the padding is not without effect"):
        time_laws.padding(faulty)


@pytest.mark.slow
def test_mask_law_catches_a_mask_in_the_wrong_order(monkeypatch, float64):
    def expand(compaction, tree):
        return compaction.compact(tree)

    monkeypatch.setattr("seqmem._methods.compaction.Compaction.expand", expand)
    faulty = subject.Subject(Plain(13), np.zeros(INPUT), [REFERENCE], 0)
    transform_laws.examples(faulty)
    with pytest.raises(LawBroken, match=r"^mask: .*without the masked steps"):
        transform_laws.mask(faulty)


@pytest.mark.parametrize("is_suspect", [True, False])
def test_cell_is_not_blamed_for_a_compiler_known_to_be_wrong(monkeypatch, is_suspect, float64):
    def solve_miscompiled(*args, **options):
        solution = seqmem.solve(*args, **options)
        factor = 1 if jax.config.jax_disable_jit else 1.01
        return replace_outputs(solution, factor * solution.outputs)

    monkeypatch.setattr(runs, "solve", solve_miscompiled)
    monkeypatch.setattr(subject, "compiler_is_suspect", lambda: is_suspect)
    faulty = subject.Subject(Plain(7 if is_suspect else 11), np.zeros(INPUT), [REFERENCE], 0)
    with pytest.raises(NotTested if is_suspect else LawBroken) as verdict:
        time_laws.methods(faulty)
    assert "unroll does not match a Python loop of single steps" in str(verdict.value)
    assert ("not the cell; jaxlib" in str(verdict.value)) == is_suspect


def test_check_cell_reports_why_a_law_was_not_tested(monkeypatch):
    def law(_):
        raise NotTested("no judge today")

    monkeypatch.setattr(check, "LAWS", {"pure": law})
    assert check_cell(Plain(), methods=[REFERENCE])["pure"] == "not tested: no judge today"
