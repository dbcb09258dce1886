"""Cells of torchrecurrent 0.2.5: values and gradients are those of ours, where it has the paper's
equations. `tests/reference/torchrecurrent_cells.py` says which of its parameters are 0 or 1 for it.
"""

import functools
import json
import pathlib

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem

REFERENCE = pathlib.Path(__file__).parent.parent / "reference" / "torchrecurrent_cells.npz"
GRADIENT = "gradient of "
INPUT, HIDDEN = 3, 5

pytestmark = pytest.mark.usefixtures("float64")


@functools.cache
def reference():
    with np.load(REFERENCE) as file:
        return json.loads(str(file["layout"])), {name: file[name] for name in file.files}


def arrays_of(name):
    """The arrays of a cell by the names of the other library, and the gradients."""
    layout, arrays = reference()
    shapes = layout[name]
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes.values()])
    parts = np.split(arrays[name], ends[:-1])
    parts = {
        field: part.reshape(shape)
        for (field, shape), part in zip(shapes.items(), parts, strict=True)
    }
    gradients = {
        field.removeprefix(GRADIENT): part for field, part in parts.items() if GRADIENT in field
    }
    return {field: part for field, part in parts.items() if GRADIENT not in field}, gradients


def rows(matrix, *order):
    """The rows of the gates, in our order."""
    gates = matrix.reshape(-1, HIDDEN, *matrix.shape[1:])
    return gates[list(order)]


def dense(*order, second=None):
    """W, U and b of cells whose gates all have the three, in our order."""

    def parameters(a):
        return {
            "W": rows(a["weight_ih"], *order),
            "U": rows(a["weight_hh"], *(second or order)),
            "b": rows(a["bias_ih"], *(second or order)),
        }

    return parameters


def bistable(a):
    return {
        "W": rows(a["weight_ih"], 0, 1, 2),
        "u": rows(a["weight_hh"], 0, 1),
        "b": rows(a["bias_ih"], 0, 1),
    }


def one(a):
    return {"W": a["weight_ih"], "U": a["weight_hh"]}


def ran(a):
    return dense(1, 2, 0, second=(0, 1))(a)


def star(a):
    return {
        "W": rows(a["weight_ih"], 1, 0),
        "U": a["weight_hh"],
        "b": rows(a["bias_ih"], 1, 0),
    }


def scrn(a):
    """R is 0, and its gradient there is another: torchrecurrent multiplies something else by it."""
    B, A = rows(a["weight_ih"], 0, 1)
    return {"A": A, "B": B, "P": rows(a["weight_ch"], 0)[0]}


def mut1(a):
    return {
        "W": rows(a["weight_ih"], 1, 0),
        "U": rows(a["weight_hh"], 0, 1),
        "b": np.stack([a["bias_ih"][5:10], a["bias_hh"][5:], a["bias_ih"][:5]]),
    }


def mut2(a):
    return {
        "W": rows(a["weight_ih"], 0, 2),
        "U": rows(a["weight_hh"], 0, 1, 2),
        "b": rows(a["bias_ih"], 0, 1, 2),
    }


def multiplicative_lstm(a):
    return {
        "W": rows(a["weight_ih"], 1, 2, 3, 4, 0),
        "U": rows(a["weight_mh"], 0, 1, 2, 3),
        "R": a["weight_hh"],
        "b": rows(a["bias_ih"], 1, 2, 3, 4),
    }


# The name there, our cell, its other arguments, and our parameters by theirs.
CELLS = {
    "JANET": (seqmem.JANET, {"beta": 0.8}, dense(0, 1)),
    "MinimalRNN": (
        seqmem.MinimalRNN,
        {},
        lambda a: one(a) | {"V": a["weight_mm"], "b": a["bias_ih"], "c": a["bias_hh"]},
    ),
    "RAN": (seqmem.RAN, {}, ran),
    "UGRNN": (seqmem.UGRNN, {}, dense(1, 0)),
    "LiGRU": (seqmem.LiGRU, {}, dense(0, 1)),
    "CFN": (seqmem.CFN, {}, dense(0, 1, 2, second=(0, 1))),
    "STAR": (seqmem.STAR, {}, star),
    "BR": (seqmem.BRC, {}, bistable),
    "NBR": (seqmem.NBRC, {}, dense(0, 1, 2, second=(0, 1))),
    "ATR": (seqmem.ATR, {}, lambda a: one(a) | {"b": a["bias_ih"], "c": a["bias_hh"]}),
    "FastRNN": (
        seqmem.FastRNN,
        {},
        lambda a: one(a) | {"b": a["bias_ih"], "alpha": a["alpha"][0], "beta": a["beta"][0]},
    ),
    "FastGRNN": (
        seqmem.FastGRNN,
        {},
        lambda a: one(a) | {"b": rows(a["bias_ih"], 0, 1), "zeta": a["zeta"][0], "nu": a["nu"][0]},
    ),
    "SCRN": (seqmem.SCRN, {"context_size": HIDDEN}, scrn),
    "MUT1": (seqmem.MUT1, None, mut1),
    "MUT2": (seqmem.MUT2, None, mut2),
    "MUT3": (seqmem.MUT3, {}, dense(0, 1, 2)),
    "MultiplicativeLSTM": (seqmem.MultiplicativeLSTM, {}, multiplicative_lstm),
}


def output_of(name, arrays):
    """What torchrecurrent makes of y: the paper's output layer for SCRN, nothing for others."""
    if name != "SCRN":
        return lambda y: y
    U, V = rows(arrays["weight_hh"], 1)[0], rows(arrays["weight_ch"], 1)[0]
    return lambda y: jnp.tanh(y @ np.hstack([U, V]).T)


@pytest.mark.parametrize("name", CELLS)
def test_cell_has_the_outputs_and_gradients_of_torchrecurrent(name):
    cell_type, options, parameters_of = CELLS[name]
    arrays, gradients = arrays_of(name)
    sizes = (HIDDEN,) if options is None else (INPUT, HIDDEN)
    # Without its initial parameters, whose programs would take longer to compile than the run.
    cell = jax.eval_shape(lambda: cell_type(*sizes, **(options or {}), key=jax.random.key(0)))
    parameters = parameters_of(arrays)
    if name == "SCRN":
        parameters["R"] = np.zeros((HIDDEN, HIDDEN))
    for field, value in parameters.items():
        assert getattr(cell, field).shape == value.shape
        cell = eqx.tree_at(lambda cell, f=field: getattr(cell, f), cell, jnp.asarray(value))
    structure = jax.tree.structure(jax.eval_shape(cell.init_state))
    places = range(structure.num_leaves)
    state = structure.unflatten([jnp.asarray(arrays[f"state {place}"]) for place in places])
    output = output_of(name, arrays)

    @jax.jit
    def run(cell, state, xs):
        def loss(cell, state, xs):
            ys = []
            for x in xs:  # two steps, which compile faster than a loop
                drive = cell.project(x)
                state = cell.update(state, drive)
                ys.append(output(cell.readout(state, drive)))
            return (arrays["weight"] * jnp.stack(ys)).sum(), jnp.stack(ys)

        return jax.grad(loss, (0, 1, 2), has_aux=True)(cell, state, xs)

    (d_cell, d_state, d_xs), ys = run(cell, state, jnp.asarray(arrays["xs"]))
    close = functools.partial(np.testing.assert_allclose, rtol=1e-10, atol=1e-12)
    close(ys, arrays["ys"])
    close(d_xs, gradients["xs"])
    for place, leaf in enumerate(jax.tree.leaves(d_state)):
        close(leaf, gradients[f"state {place}"])
    for field, gradient in parameters_of(gradients).items():
        close(getattr(d_cell, field), gradient)
