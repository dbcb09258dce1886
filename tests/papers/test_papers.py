"""Every cell computes the equations of its paper, written once more in NumPy."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
from tests.papers import diagonal as papers_diagonal
from tests.papers import fast_weights as papers_fast_weights
from tests.papers import gated as papers_gated
from tests.papers import windows as papers_windows
import pytest

import seqmem

TIME, INPUT, HIDDEN = 7, 3, 5
SIZES = {"input_size": INPUT, "hidden_size": HIDDEN, "state_size": HIDDEN, "size": HIDDEN}
PAPERS = (
    papers_gated.PAPERS
    | papers_diagonal.PAPERS
    | papers_fast_weights.PAPERS
    | papers_windows.PAPERS
)


def test_every_cell_has_its_paper():
    public = [value for value in vars(seqmem).values() if inspect.isclass(value)]
    cells = {cls for cls in public if issubclass(cls, seqmem.AbstractCell)}
    assert {cls for cls in cells if not inspect.isabstract(cls)} == PAPERS.keys()


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("cell_type", PAPERS, ids=lambda cell_type: cell_type.__name__)
def test_a_cell_computes_what_its_paper_says(cell_type):
    paper, options = PAPERS[cell_type]
    rng = np.random.default_rng(11)
    sizes = {name: SIZES[name] for name in inspect.signature(cell_type).parameters if name in SIZES}
    cell = cell_type(**sizes | options, key=jax.random.key(0))

    # All of it moved, so that no bias, peephole or initial state is 0 and goes unnoticed.
    def draw(leaf):
        drawn = rng.standard_normal(leaf.shape)
        if np.iscomplexobj(leaf):
            drawn = drawn + 1j * rng.standard_normal(leaf.shape)
        return np.asarray(leaf) + drawn

    cell, state = jax.tree.map(draw, (cell, cell.init_state()))
    xs = rng.standard_normal((TIME, cell.input_size))
    final, ys = seqmem.unroll(*jax.tree.map(jnp.asarray, (cell, state, xs)))
    expected_final, expected = paper(cell, state, xs)
    np.testing.assert_allclose(ys, expected, rtol=0, atol=1e-12)
    for own, other in zip(jax.tree.leaves(final), jax.tree.leaves(expected_final), strict=True):
        assert own.dtype == other.dtype
        np.testing.assert_allclose(own, other, rtol=0, atol=1e-12)
