"""The `repr` of layers: one line per layer, from shapes alone."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest

import seqmem
from seqmem._core.summary import MAX_LINES
from seqmem.layers import Map, Residual, RMSNorm, Stack, deep
from tests.helpers.cells import CELLS

KEY = jax.random.key(0)
LSTM = seqmem.LSTM(3, 5, key=KEY)
LSTM_LINE = "LSTM((3,) -> (5,); state h (5,), c (5,); 180 float32 parameters; gated)"
TEXTS = {
    "a cell": (lambda: LSTM, LSTM_LINE),
    "a state of one array": (
        lambda: seqmem.MinGRU(3, 5, key=KEY),
        "MinGRU((3,) -> (5,); state (5,); 40 float32 parameters; diagonal)",
    ),
    "a layer without state and parameters": (
        lambda: Map(jnp.tanh, input_shape=(3,)),
        "Map((3,) -> (3,); no parameters; pointwise)",
    ),
    "a layer of tokens": (
        lambda: seqmem.layers.Embedding(7, 3, key=KEY),
        "Embedding(() -> (3,); 21 float32 parameters; pointwise)",
    ),
    "layers of both directions": (
        lambda: eqx.filter_eval_shape(
            lambda: deep(seqmem.GRU, 3, 5, num_layers=2, bidirectional=True, key=KEY)
        ),
        """\
Stack((3,) -> (10,); 770 float32 parameters; composite)
  Bidirectional((3,) -> (10,); 280 float32 parameters; composite)
    2 × GRU((3,) -> (5,); state (5,); 140 float32 parameters; gated)
  Bidirectional((10,) -> (10,); 490 float32 parameters; composite)
    2 × GRU((10,) -> (5,); state (5,); 245 float32 parameters; gated)""",
    ),
    "a wrapped cell": (
        lambda: seqmem.with_learned_state(LSTM),
        "with_learned_state((3,) -> (5,); 190 float32 parameters; gated)\n  " + LSTM_LINE,
    ),
    "two precisions": (
        lambda: Stack([RMSNorm(3), seqmem.as_precision(RMSNorm(3), jnp.bfloat16)]),
        """\
Stack((3,) -> (3,); 6 float32 and bfloat16 parameters; composite)
  RMSNorm((3,) -> (3,); 3 float32 parameters; pointwise)
  RMSNorm((3,) -> (3,); 3 bfloat16 parameters; pointwise)""",
    ),
    "a language model": (
        lambda: eqx.filter_eval_shape(lambda: language_model(24)),
        """\
LanguageModel(() -> (11,); 2,298 float32 parameters; composite)
  Stack((6,) -> (6,); 2,160 float32 parameters; composite)
    24 × Residual((6,) -> (6,); 90 float32 parameters; composite)
      Stack((6,) -> (6,); 90 float32 parameters; composite)
        RMSNorm((6,) -> (6,); 6 float32 parameters; pointwise)
        MinGRU((6,) -> (6,); state (6,); 84 float32 parameters; diagonal)
        Map((None,); no parameters; pointwise)
  RMSNorm((6,) -> (6,); 6 float32 parameters; pointwise)""",
    ),
}


def language_model(num_layers):
    block = Residual(Stack([RMSNorm(6), seqmem.MinGRU(6, 6, key=KEY), Map(jax.nn.gelu)]))
    return seqmem.models.LanguageModel(Stack([block] * num_layers), 11, norm=RMSNorm(6), key=KEY)


@pytest.mark.parametrize("name", TEXTS)
def test_repr_says_shapes_state_parameters_and_family(name):
    make, text = TEXTS[name]
    assert repr(make()) == text


def test_repr_of_many_layers_fits_a_screen():
    lines = repr(Stack([RMSNorm(3), Map(jnp.tanh, input_shape=(3,))] * 20)).splitlines()
    assert len(lines) == MAX_LINES
    assert lines[-1] == "  ... 17 more lines"


@dataclasses.dataclass
class Seen:
    text: str = ""


def test_repr_of_traced_and_abstract_parameters_is_that_of_arrays():
    seen = Seen()

    @jax.jit
    def run(cell):
        seen.text = repr(cell)
        return cell.b

    jax.eval_shape(run, LSTM)
    assert seen.text == LSTM_LINE
    assert repr(jax.eval_shape(lambda cell: cell, LSTM)) == LSTM_LINE


def test_repr_of_other_leaves_says_what_it_can():
    assert repr(eqx.filter(LSTM, lambda leaf: False)) == "LSTM(no parameters; gated)"
    assert repr(jax.tree.map(lambda leaf: True, LSTM)) == "LSTM(no parameters; gated)"
    assert repr(object.__new__(seqmem.LSTM)) == "LSTM(no parameters; gated)"
    stack = eqx.filter(Stack([LSTM]), eqx.is_array, inverse=True)
    assert repr(stack).splitlines()[-1] == "  LSTM(no parameters; gated)"


def test_repr_never_raises():
    class Broken(seqmem.LSTM):
        @property
        def _title(self):
            raise RuntimeError("broken")

    assert repr(Broken(3, 5, key=KEY)) == "Broken(...)"


def test_run_prints_no_cell():
    """JAX 0.10 takes the `repr` of functions that are mapped twice, which may hold a cell."""

    printed = []

    class Printed(seqmem.GRU):
        def __repr__(self):
            printed.append(self)
            return "Printed"

    jax.eval_shape(seqmem.unroll, Printed(3, 5, key=KEY), None, jnp.ones((7, 2, 3)))
    assert not printed


@pytest.mark.slow
def test_repr_of_every_cell_is_made_of_short_lines_without_its_arrays():
    for name, make in CELLS.items():
        text = repr(eqx.filter_eval_shape(make))
        assert max(map(len, text.splitlines())) <= 150, (name, text)
        assert " -> " in text, (name, text)
