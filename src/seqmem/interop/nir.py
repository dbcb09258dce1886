"""The Neuromorphic Intermediate Representation (NIR): graphs of spiking networks, which simulators
and neuromorphic hardware read.

NIR's neurons are differential equations. A step of dt is one of Euler, a current before the
potential that it charges, as in snntorch:

    LIF       v ← v + dt/τ (v_leak − v + r z),    spike where v > v_threshold, then v ← v_reset
    CubaLIF   i ← i + dt/τ_syn (w_in z − i),      v ← v + dt/τ_mem (v_leak − v + r i),  the same
"""

import importlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from .._cells.spiking.lif import LIF
from .._cells.spiking.resets import ToZero
from .._cells.spiking.surrogates import AbstractSurrogate, FastSigmoid
from .._cells.spiking.synaptic_lif import SynapticLIF
from .._core.cell import AbstractLayer
from .._core.errors import bad_input
from .._core.validation import check_positive
from ..layers.stack import Stack
from ._nir_chain import NIRLayer, layers_of
from .weight_table import AnyArray, Row, Weights, WeightTable

NEURONS = {LIF: "LIF", SynapticLIF: "CubaLIF"}
TAUS = {"LIF": ("tau",), "CubaLIF": ("tau_mem", "tau_syn")}  # as in LOG_TAUS
LOG_TAUS = {"LIF": ("log_tau",), "CubaLIF": ("log_tau", "log_tau_current")}
REMEDY = "pass a graph of such layers, with the dt of its simulation."


def from_nir(
    graph: Any, *, dt: float = 1e-4, surrogate: AbstractSurrogate = FastSigmoid()
) -> LIF | SynapticLIF | Stack:
    """The network that computes what a NIR graph computes in steps of dt.

    The graph is a chain of layers: an Affine or Linear node, then a LIF or CubaLIF node, with an
    Affine or Linear node from its spikes back to its input where it is recurrent. Resistances,
    thresholds, `w_in` and a LIF's `v_leak` become factors of the weights and parts of the bias, so
    potentials are in units of their threshold. Spikes reset to zero. The package `nir` is not
    needed.

    Args:
        graph: a `nir.NIRGraph`, for example of `nir.read(path)`.
        dt: the time of one step, > 0, in the unit of the graph's time constants.
        surrogate: for the gradient, of which NIR says nothing.

    Returns:
        A `seqmem.LIF` or `seqmem.SynapticLIF`, or a `seqmem.layers.Stack` of them.

    Raises:
        ValueError: for a graph that is no such chain, numbers that are not finite, time constants
            of at most dt, a reset to another potential than 0, a threshold that is not above 0, or
            a leak of a CubaLIF.
    """
    check_positive("from_nir", "dt", dt, remedy="pass the time of one step.")
    cells = [_to_cell(layer, dt, surrogate) for layer in layers_of(graph)]
    return cells[0] if len(cells) == 1 else Stack(cells)


def to_nir(network: AbstractLayer, *, dt: float = 1e-4) -> Any:
    """The inverse of `from_nir`: a `nir.NIRGraph`, which `nir.write(path, graph)` stores.

    It needs the package `nir` (`pip install 'seqmem[nir]'`).

    Args:
        network: a `seqmem.LIF` or `seqmem.SynapticLIF` that resets to zero, or a
            `seqmem.layers.Stack` of them.
        dt: the time of one step, > 0.

    Raises:
        ValueError: for another network or reset, which NIR cannot say, or a dt that is not above 0.
        ImportError: where `nir` is not installed.
    """
    check_positive("to_nir", "dt", dt, remedy="pass the time of one step.")
    layers = network.layers if isinstance(network, Stack) else (network,)
    cells = [_checked(layer) for layer in layers]
    nir = importlib.import_module("nir")
    nodes = {"input": nir.Input(np.array(cells[0].input_shape))}
    edges, last = [], "input"
    for index, cell in enumerate(cells):
        kind, linear, neuron = NEURONS[type(cell)], f"affine_{index}", f"lif_{index}"
        weights = _table(kind, dt, cell.U is not None).to_theirs(cell)
        nodes[linear] = nir.Affine(weights.pop("weight"), weights.pop("bias"))
        edges += [(last, linear), (linear, neuron)]
        if cell.U is not None:
            recurrent = f"recurrent_{index}"
            nodes[recurrent] = nir.Linear(weights.pop("recurrent"))
            edges += [(neuron, recurrent), (recurrent, neuron)]
        nodes[neuron] = getattr(nir, kind)(**weights)
        last = neuron
    nodes["output"] = nir.Output(np.array(cells[-1].b.shape))
    return nir.NIRGraph(nodes, [*edges, (last, "output")])


def _table(
    kind: str, dt: float, is_recurrent: bool, surrogate: AbstractSurrogate = FastSigmoid()
) -> WeightTable:
    """The parameters of one layer: all of them depend on one another, so they are one row."""
    cell_type = next(cell_type for cell_type, name in NEURONS.items() if name == kind)

    def make(input_size: int, hidden_size: int, *, key: Any) -> LIF | SynapticLIF:
        options = {"surrogate": surrogate, "reset": ToZero(), "is_recurrent": is_recurrent}
        return cell_type(input_size, hidden_size, **options, key=key)

    taus = TAUS[kind]
    constants = (*taus, "r", "v_leak", "v_threshold", "v_reset")
    constants += ("w_in",) if kind == "CubaLIF" else ()
    matrices, ours = {"weight": "hidden input"}, {"W": "hidden input"}
    if is_recurrent:
        matrices["recurrent"] = ours["U"] = "hidden hidden"
    names = (*matrices, "bias", *constants)
    row = Row(
        ours | dict.fromkeys(("b", *LOG_TAUS[kind]), "hidden"),
        matrices | dict.fromkeys(("bias", *constants), "hidden"),
        to_ours=_with_names(names, lambda arrays: _parameters_of(arrays, taus, dt)),
        to_theirs=_with_names((*ours, "b", *taus), lambda arrays: _nodes_of(arrays, names, dt)),
    )
    return WeightTable(make, ("input_size=input", "hidden_size=hidden"), (row,), REMEDY)


def _with_names(
    names: tuple[str, ...], convert: Callable[[Weights], list[AnyArray]]
) -> Callable[..., AnyArray]:
    """A conversion by names, as a row wants it: of arrays in order, to one flat array."""

    def flat(*arrays: AnyArray) -> AnyArray:
        named = {n: np.asarray(a) for n, a in zip(names, arrays, strict=True)}
        return np.concatenate([np.ravel(array) for array in convert(named)])

    return flat


def _parameters_of(arrays: Weights, taus: tuple[str, ...], dt: float) -> list[AnyArray]:
    """W, U, b and ln τ of each time constant, from the arrays of NIR."""
    gain = arrays["r"] / arrays["v_threshold"] * arrays.get("w_in", 1)
    for tau in taus:
        gain = gain * dt / arrays[tau]
    matrices = [gain[:, None] * arrays[name] for name in ("weight", "recurrent") if name in arrays]
    leak = dt / arrays[taus[0]] * arrays["v_leak"] / arrays["v_threshold"]
    logs = [-np.log(-np.log1p(-dt / arrays[tau])) for tau in taus]
    return [*matrices, gain * arrays["bias"] + leak, *logs]


def _nodes_of(arrays: Weights, names: tuple[str, ...], dt: float) -> list[AnyArray]:
    """The arrays of NIR by these names. `arrays` has ln τ under NIR's name of τ."""
    zeros, ones = np.zeros_like(arrays["b"]), np.ones_like(arrays["b"])
    nodes = {"weight": arrays["W"], "bias": arrays["b"], "v_leak": zeros, "v_reset": zeros}
    nodes |= {"v_threshold": ones} | ({"recurrent": arrays["U"]} if "U" in arrays else {})
    # 1 − dt/τ is our decay, and r and w_in undo the factors dt/τ.
    for gain, tau in (("r", "tau"), ("r", "tau_mem"), ("w_in", "tau_syn")):
        if tau in arrays:
            nodes[gain] = -1 / np.expm1(-np.exp(-arrays[tau]))
            nodes[tau] = dt * nodes[gain]
    return [nodes[name] for name in names]


def _to_cell(layer: NIRLayer, dt: float, surrogate: AbstractSurrogate) -> LIF | SynapticLIF:
    arrays = layer.arrays
    has_leak = layer.kind == "CubaLIF" and np.any(arrays["v_leak"] != 0)
    checks = {
        "v_reset": (np.any(arrays["v_reset"] != 0), "0: a spike resets a potential to zero."),
        "v_threshold": (not np.all(arrays["v_threshold"] > 0), "thresholds above 0."),
        "v_leak": (has_leak, "0 for a CubaLIF: its input reaches the potential as a current."),
    }
    for tau in TAUS[layer.kind]:
        is_short = not np.all(arrays[tau] > dt)
        checks[tau] = is_short, f"more than dt={dt}, so that a step leaves a part of it."
    for name, (is_wrong, expected) in checks.items():
        if is_wrong:
            raise bad_input(f"{name}={arrays[name]} of node {layer.name!r}.", expected, REMEDY)
    table = _table(layer.kind, dt, "recurrent" in arrays, surrogate)
    with np.errstate(all="ignore"):
        cell = table.to_ours(arrays)
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(cell)):
        raise bad_input(
            f"node {layer.name!r} with numbers that are not finite in the precision of its weight.",
            "finite numbers, so far from 0 that their quotients are finite.",
            REMEDY,
        )
    return cell


def _checked(cell: AbstractLayer) -> LIF | SynapticLIF:
    """The cell, if it is one that NIR can say."""
    if not isinstance(cell, LIF | SynapticLIF):
        raise bad_input(
            f"to_nir got a {type(cell).__name__}.",
            "a LIF or SynapticLIF, or a Stack of them.",
            "export the layers that spike; NIR has no node for others.",
        )
    if not isinstance(cell.reset, ToZero):
        raise bad_input(
            f"to_nir got a {type(cell).__name__} with reset={cell.reset!r}.",
            "ToZero(): a spike of a NIR neuron sets its potential.",
            "train the network with reset=seqmem.spikes.ToZero().",
        )
    return cell
