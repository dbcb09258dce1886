"""Each cell computes the equations of its paper, which stand in the modules here in NumPy."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from tests.helpers.inputs import draw_inputs
from tests.helpers.slow import slow_but
from tests.papers import (
    attention,
    block_diagonal,
    continuous,
    convolutional,
    delta_rules,
    diagonal,
    external,
    fast_weights,
    gated,
    learning,
    mamba3,
    neuroscience,
    oscillatory,
    slots,
    solvers,
    spiking,
    structured,
    windows,
    zoo,
)

TIME, INPUT, HIDDEN = 7, 3, 5
SIZES = {"input_size": INPUT, "hidden_size": HIDDEN, "state_size": HIDDEN, "size": HIDDEN}
PAPERS = gated.PAPERS | diagonal.PAPERS | fast_weights.PAPERS | windows.PAPERS
PAPERS |= delta_rules.PAPERS | slots.PAPERS | solvers.PAPERS
PAPERS |= oscillatory.PAPERS
PAPERS |= convolutional.PAPERS
PAPERS |= external.PAPERS
PAPERS |= continuous.PAPERS
PAPERS |= structured.PAPERS | neuroscience.PAPERS
PAPERS |= block_diagonal.PAPERS | learning.PAPERS | mamba3.PAPERS
PAPERS |= spiking.PAPERS
PAPERS |= zoo.PAPERS
PAPERS |= attention.PAPERS
# One of each family of the small cells; `tests/cells/test_torchrecurrent.py` is quick for the rest.
QUICK = PAPERS.keys() - zoo.PAPERS.keys() | {seqmem.JANET, seqmem.MUT3}
QUICK -= structured.PAPERS.keys() | neuroscience.PAPERS.keys()  # cells/test_s*_matrices.py
QUICK |= {seqmem.LeakyRNN, seqmem.CTRNN, seqmem.AntisymmetricRNN, seqmem.GatedAntisymmetricRNN}
QUICK |= {seqmem.MogrifierLSTM, seqmem.RHN}  # which torchrecurrent has not


def test_list_of_papers_has_every_public_cell():
    public = [value for value in vars(seqmem).values() if inspect.isclass(value)]
    cells = {cls for cls in public if issubclass(cls, seqmem.AbstractCell)}
    assert {cls for cls in cells if not inspect.isabstract(cls)} == PAPERS.keys()


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    "cell_type", slow_but(QUICK, PAPERS), ids=lambda cell_type: cell_type.__name__
)
def test_cell_computes_the_equations_of_its_paper(cell_type):
    paper, options = PAPERS[cell_type]
    rng = np.random.default_rng(11)
    sizes = {name: SIZES[name] for name in inspect.signature(cell_type).parameters if name in SIZES}
    cell = cell_type(**sizes | options, key=jax.random.key(0))

    def perturb(leaf):  # so that no bias, peephole or initial state is 0, which would hide a fault
        if np.issubdtype(leaf.dtype, np.integer):  # a count of steps
            return np.asarray(leaf)
        noise = rng.standard_normal(leaf.shape)
        if np.iscomplexobj(leaf):
            noise = noise + 1j * rng.standard_normal(leaf.shape)
        return np.asarray(leaf) + noise

    cell, state = jax.tree.map(perturb, (cell, cell.init_state()))
    if cell_type in external.PAPERS:
        state = external.in_range(state)
    xs = draw_inputs(cell, rng, TIME)
    final, ys = jax.jit(seqmem.unroll)(*jax.tree.map(jnp.asarray, (cell, state, xs)))
    expected_final, expected = paper(cell, state, xs)
    np.testing.assert_allclose(ys, expected, rtol=0, atol=1e-12)
    for leaf, expected in zip(jax.tree.leaves(final), jax.tree.leaves(expected_final), strict=True):
        assert leaf.dtype == expected.dtype
        np.testing.assert_allclose(leaf, expected, rtol=0, atol=1e-12)
