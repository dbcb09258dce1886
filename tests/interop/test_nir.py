"""NIR: its graphs as networks that spike, and back."""

import pathlib
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem.interop import from_nir, to_nir
from seqmem.spikes import StraightThrough, ToZero
from tests.helpers.refusals import assert_refused

nir = pytest.importorskip("nir", reason="nir is not installed")

REFERENCE = pathlib.Path(__file__).parent.parent / "reference" / "spiking.npz"
KEY = jax.random.key(0)
DT, INPUT, HIDDEN = 0.5, 3, 5

pytestmark = pytest.mark.usefixtures("float64")


def make_network(**options):
    low, high = jax.random.split(KEY)
    options = {"reset": ToZero()} | options
    return seqmem.layers.Stack(
        [
            seqmem.LIF(INPUT, HIDDEN, is_recurrent=True, tau=3.0, key=low, **options),
            seqmem.SynapticLIF(HIDDEN, 2, key=high, **options),
        ]
    )


def make_nodes(rng):
    """Two layers with every constant of NIR, of which the second is recurrent."""

    def draw(size=HIDDEN, least=1.0):
        return rng.uniform(least, 3.0, size)

    zeros = np.zeros(HIDDEN)
    lif = nir.LIF(draw(), 3 * draw(), rng.normal(size=HIDDEN), draw(), zeros)
    cuba = nir.CubaLIF(draw(), draw(), 3 * draw(), zeros, draw(), zeros, w_in=draw())
    return {
        "input": nir.Input(np.array([INPUT])),
        "fc": nir.Linear(rng.normal(size=(HIDDEN, INPUT))),
        "lif": lif,
        "fc2": nir.Affine(rng.normal(size=(HIDDEN, HIDDEN)), rng.normal(size=HIDDEN)),
        "cuba": cuba,
        "rec": nir.Affine(rng.normal(size=(HIDDEN, HIDDEN)), 0.5 * rng.normal(size=HIDDEN)),
        "output": nir.Output(np.array([HIDDEN])),
    }


EDGES = [("input", "fc"), ("fc", "lif"), ("lif", "fc2"), ("fc2", "cuba"), ("cuba", "rec")]
EDGES += [("rec", "cuba"), ("cuba", "output")]


def simulate(nodes, xs):
    """Euler steps of NIR's equations: the spikes of both layers."""
    lif, cuba, rec = nodes["lif"], nodes["cuba"], nodes["rec"]
    v, w, i, s = (np.zeros(HIDDEN) for _ in range(4))
    steps = []
    for x in xs:
        z = nodes["fc"].weight @ x
        v = v + DT / lif.tau * (lif.v_leak - v + lif.r * z)
        first = (v > lif.v_threshold).astype(float)
        v = np.where(first == 1, lif.v_reset, v)
        z = nodes["fc2"].weight @ first + nodes["fc2"].bias + rec.weight @ s + rec.bias
        i = i + DT / cuba.tau_syn * (cuba.w_in * z - i)
        w = w + DT / cuba.tau_mem * (cuba.v_leak - w + cuba.r * i)
        s = (w > cuba.v_threshold).astype(float)
        w = np.where(s == 1, cuba.v_reset, w)
        steps.append((first, s))
    return map(np.stack, zip(*steps, strict=True))


def test_network_of_a_graph_spikes_as_its_equations_say():
    rng = np.random.default_rng(5)
    nodes, xs = make_nodes(rng), rng.normal(size=(31, INPUT))
    network = from_nir(nir.NIRGraph(nodes, EDGES), dt=DT, surrogate=StraightThrough())
    assert {layer.surrogate for layer in network.layers} == {StraightThrough()}
    expected = list(simulate(nodes, xs))
    spikes = seqmem.unroll(network, None, jnp.asarray(xs))[1]
    np.testing.assert_array_equal(seqmem.unroll(network.layers[0], None, xs)[1], expected[0])
    np.testing.assert_array_equal(spikes, expected[1])
    assert all(0.1 < layer.mean() < 0.9 for layer in expected)


@pytest.mark.parametrize("shape", ["stack", "cell"])
def test_network_comes_back_from_a_file(shape, tmp_path):
    network = make_network() if shape == "stack" else make_network().layers[1]
    network = jax.tree.map(lambda leaf: leaf + 0.1, network)
    nir.write(tmp_path / "network.nir", to_nir(network, dt=DT))
    back = from_nir(nir.read(tmp_path / "network.nir"), dt=DT)
    assert jax.tree.structure(back) == jax.tree.structure(network)
    for leaf, expected in zip(jax.tree.leaves(back), jax.tree.leaves(network), strict=True):
        np.testing.assert_allclose(leaf, expected, rtol=1e-12)


def test_graph_of_snntorch_spikes_as_snntorch_does(tmp_path):
    with np.load(REFERENCE) as arrays:
        file, xs, spikes = (arrays[f"exported: {name}"] for name in ("file", "xs", "spikes"))
    (tmp_path / "network.nir").write_bytes(file.tobytes())
    lif, recurrent = from_nir(nir.read(tmp_path / "network.nir")).layers
    np.testing.assert_array_equal(seqmem.unroll(lif, None, xs)[1], spikes)
    decays = jnp.exp(-jnp.exp(-recurrent.log_tau)), jnp.exp(-jnp.exp(-recurrent.log_tau_current))
    np.testing.assert_allclose(decays, np.full((2, HIDDEN), [[0.8], [0.6]]), rtol=1e-6)
    assert recurrent.U.shape == (HIDDEN, HIDDEN)


def changed(name, **constants):
    nodes = make_nodes(np.random.default_rng(5))
    for constant, value in constants.items():
        setattr(nodes[name], constant, np.full(HIDDEN, value))
    return nir.NIRGraph(nodes, EDGES)


def without(*edges, more=()):
    nodes = make_nodes(np.random.default_rng(5))
    edges = [edge for edge in EDGES if edge not in edges]
    return nir.NIRGraph(nodes, [*edges, *more], type_check=False)


GRAPHS = {
    "tau=[0.5": lambda: changed("lif", tau=DT),
    "tau_syn=[0.1": lambda: changed("cuba", tau_syn=0.1),
    "v_reset=[-1": lambda: changed("lif", v_reset=-1.0),
    "v_threshold=[0": lambda: changed("cuba", v_threshold=0.0),
    "v_leak=[2": lambda: changed("cuba", v_leak=2.0),
    "a NIR graph with node 'cuba' before []": lambda: without(("cuba", "output")),
    "a NIR graph with node 'lif' before ['Affine', 'Output']": lambda: without(
        more=[("lif", "output")]
    ),
    "a NIR graph with node 'input' before ['LIF']": lambda: without(
        ("input", "fc"), ("fc", "lif"), more=[("input", "lif")]
    ),
    "a NIR graph with other nodes, ['rec']": lambda: without(("cuba", "rec"), ("rec", "cuba")),
}


NUMBERS = {
    "v_leak=array([inf": ("lif", {"v_leak": np.full(HIDDEN, np.inf)}),
    "r=array('x'": ("lif", {"r": np.array("x")}),
    "r of shape (7,)": ("lif", {"r": np.ones(7)}),
    "a weight of shape (5,)": ("fc", {"weight": np.ones(5)}),
    "a bias of shape (3,)": ("fc2", {"bias": np.ones(3)}),
    "a recurrent bias of shape (3,)": ("rec", {"weight": np.ones((3, 5)), "bias": np.ones(3)}),
}


@pytest.mark.parametrize("came", NUMBERS)
def test_numbers_that_are_no_layer_are_refused(came):
    (name, numbers), nodes = NUMBERS[came], make_nodes(np.random.default_rng(5))
    vars(nodes[name]).update(numbers)
    graph = types.SimpleNamespace(nodes=nodes, edges=EDGES)
    assert_refused(f"a NIR graph with {came}", from_nir, graph, dt=DT)


def test_weights_beyond_the_precision_are_refused():
    graph = changed("lif", r=1e300, v_threshold=1e-300)
    assert_refused("node 'lif' with numbers that are not finite", from_nir, graph, dt=DT)


def test_edge_of_a_node_that_does_not_exist_is_refused():
    graph = without(more=[("cuba", "x")])
    assert_refused("a NIR graph with an edge ('cuba', 'x')", from_nir, graph, dt=DT)


@pytest.mark.parametrize("came", GRAPHS)
def test_graph_that_is_no_such_network_is_refused(came):
    assert_refused(came, from_nir, GRAPHS[came](), dt=DT)


def test_network_that_nir_cannot_say_is_refused():
    assert_refused("to_nir got a LIF with reset=Sub", to_nir, seqmem.LIF(2, 3, key=KEY))
    assert_refused("to_nir got a AdaptiveLIF", to_nir, seqmem.AdaptiveLIF(2, 3, key=KEY))
    assert_refused("to_nir got dt=0", to_nir, make_network(), dt=0)
    assert_refused("from_nir got dt=-1", from_nir, to_nir(make_network()), dt=-1)
