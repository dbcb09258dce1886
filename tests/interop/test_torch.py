"""PyTorch's recurrent modules and our networks with the same weights compute the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem.interop import from_torch, to_torch
from tests.helpers.slow import slow, slow_but
from tests.helpers.torch_modules import BATCH, HIDDEN, INPUT, KINDS, OUTPUT, TIME, draw, every_kind

LENGTHS = np.array([4, 7, 1])

pytestmark = [
    pytest.mark.usefixtures("float64"),
    # PyTorch warns of a slower implementation, which is not compared here.
    pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN"),
]


@pytest.fixture
def torch():
    module = pytest.importorskip("torch", reason="PyTorch is not installed")
    module.set_num_threads(1)  # its threads spin while they wait, which slows other processes
    return module


def make_layer(torch, kind, *, layers=1, bidirectional=False, dtype="float64"):
    torch.manual_seed(2)
    _, name, _, options = KINDS[kind]
    return getattr(torch.nn, name)(
        INPUT,
        HIDDEN,
        layers,
        bidirectional=bidirectional,
        dtype=getattr(torch, dtype),
        **options,
    )


def problem(layer, dtype="float64"):
    """Inputs, initial states (before a projection), and the weight of every result in the loss."""
    rng = np.random.default_rng(3)
    directions = 2 if layer.bidirectional else 1
    features = layer.proj_size or HIDDEN
    stack = (layer.num_layers * directions, BATCH)
    xs = draw(rng, (TIME, BATCH, INPUT), dtype)
    h, c = draw(rng, (2, *stack, HIDDEN), dtype)
    weights = {
        "ys": draw(rng, (TIME, BATCH, directions * features), dtype),
        "h": draw(rng, (*stack, features), dtype),
        "c": draw(rng, (*stack, HIDDEN), dtype),
    }
    return xs, h, c, weights


def run_torch(torch, layer, xs, h, c, weights, lengths=None):
    """PyTorch's outputs and final states, and the gradients of their weighted sum, by name."""
    pack, pad = torch.nn.utils.rnn.pack_padded_sequence, torch.nn.utils.rnn.pad_packed_sequence
    leaves = {"xs": xs, "h": h, "c": c}
    leaves = {name: torch.tensor(leaf, requires_grad=True) for name, leaf in leaves.items()}
    projections = [matrix for name, matrix in layer.named_parameters() if "weight_hr" in name]
    h0 = leaves["h"]
    if projections:  # PyTorch's state is the one after the projection, ours the one before it
        h0 = torch.stack([h @ R.T for h, R in zip(h0, projections, strict=True)])
    has_c = isinstance(layer, torch.nn.LSTM)
    ys = leaves["xs"]
    if lengths is not None:
        ys = pack(ys, torch.tensor(lengths), enforce_sorted=False)
    ys, final = layer(ys, (h0, leaves["c"]) if has_c else h0)
    if lengths is not None:
        ys, _ = pad(ys, total_length=TIME)
    results = {"ys": ys, "h": final[0], "c": final[1]} if has_c else {"ys": ys, "h": final}
    sum((torch.tensor(weights[name]) * value).sum() for name, value in results.items()).backward()
    leaves |= dict(layer.named_parameters())
    gradients = {name: leaf.grad.numpy() for name, leaf in leaves.items() if leaf.grad is not None}
    return {name: value.detach().numpy() for name, value in results.items()}, gradients


def run_seqmem(kind, layer, xs, h, c, weights, lengths=None, method=None):
    """The same from `unroll`; the gradients of the weights pass through `from_torch`."""
    cell_type, _, options, _ = KINDS[kind]
    initial = (h, c) if "LSTM" in kind else (h,)
    projections = [name for name, _ in layer.named_parameters() if "weight_hr" in name]

    def run(parameters, leaves):
        net = from_torch(cell_type, parameters, **options)
        parts = [leaves[name] for name in ("h", "c") if name in leaves]
        states = [part[index] for index in range(len(h)) for part in parts]
        state = jax.tree.unflatten(jax.tree.structure(net.init_state()), states)
        state, ys = seqmem.unroll(net, state, leaves["xs"], lengths=lengths, method=method)
        finals = jax.tree.leaves(state)
        finals = {name: finals[i :: len(parts)] for i, name in enumerate(["h", "c"][: len(parts)])}
        for index, name in enumerate(projections):
            finals["h"][index] = finals["h"][index] @ parameters[name].T
        results = {name: jnp.stack(values) for name, values in finals.items()} | {"ys": ys}
        return sum(jnp.sum(weights[name] * value) for name, value in results.items()), results

    parameters = {name: jnp.array(tensor.detach()) for name, tensor in layer.named_parameters()}
    leaves = {"xs": xs} | dict(zip(("h", "c"), initial, strict=False))
    run = jax.jit(jax.value_and_grad(run, argnums=(0, 1), has_aux=True))
    (_, results), (d_parameters, d_leaves) = run(parameters, leaves)
    return results, d_parameters | d_leaves


def assert_same(ours, theirs, tolerance):
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.keys() == other.keys()
        for name, value in other.items():
            assert mine[name].dtype == value.dtype, name
            error = np.max(np.abs(mine[name] - value)) / np.max(np.abs(value))
            assert error <= tolerance, f"{name} differs by {error} of its largest entry"


@every_kind
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), slow("float32", 1e-5)])
def test_one_layer_matches_torch_in_outputs_states_and_gradients(torch, kind, dtype, tolerance):
    layer = make_layer(torch, kind, dtype=dtype)
    task = problem(layer, dtype)
    ours = run_seqmem(kind, layer, *task, method=seqmem.Scan())
    assert_same(ours, run_torch(torch, layer, *task), tolerance)


@pytest.mark.parametrize("kind", slow_but({"LSTM"}, KINDS))
def test_bidirectional_layer_with_lengths_matches_packed_sequences_of_torch(torch, kind):
    layer = make_layer(torch, kind, bidirectional=True)
    task = problem(layer)
    method = seqmem.layers.LayerByLayer(seqmem.Scan(recompute=True))
    ours = run_seqmem(kind, layer, *task, lengths=LENGTHS, method=method)
    assert_same(ours, run_torch(torch, layer, *task, lengths=LENGTHS), 1e-10)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_two_layers_match_torch(torch, kind):
    layer = make_layer(torch, kind, layers=2)
    task = problem(layer)
    ours = run_seqmem(kind, layer, *task, method=seqmem.ReferenceScan())
    assert_same(ours, run_torch(torch, layer, *task), 1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["LSTM", slow("GRU"), slow("ProjectedLSTM")])
def test_two_bidirectional_layers_with_lengths_match_torch(torch, kind):
    layer = make_layer(torch, kind, layers=2, bidirectional=True)
    task = problem(layer)
    ours = run_seqmem(kind, layer, *task, lengths=LENGTHS)
    assert_same(ours, run_torch(torch, layer, *task, lengths=LENGTHS), 1e-10)


@every_kind
def test_torch_module_loads_a_network_of_ours(torch, kind):
    layer = make_layer(torch, kind, layers=2, bidirectional=True)
    task = problem(layer)
    before, _ = run_torch(torch, layer, *task)
    cell_type, _, options, _ = KINDS[kind]
    net = from_torch(cell_type, layer.state_dict(), **options)
    assert isinstance(net, seqmem.layers.Stack)
    assert all(isinstance(part, seqmem.layers.Bidirectional) for part in net.layers)
    for parameter in layer.parameters():
        torch.nn.init.zeros_(parameter)
    weights = {name: torch.from_numpy(array) for name, array in to_torch(net).items()}
    layer.load_state_dict(weights)
    after, _ = run_torch(torch, layer, *task)
    assert_same([after], [before], 1e-14)


@pytest.mark.slow
def test_deep_bidirectional_module_with_projections_and_dropout_is_one_stack(torch):
    torch.manual_seed(2)
    options = {"num_layers": 3, "bidirectional": True, "proj_size": OUTPUT, "dropout": 0.3}
    module = torch.nn.LSTM(INPUT, HIDDEN, dtype=torch.float64, **options).eval()
    net = from_torch(seqmem.ProjectedLSTM, module.state_dict(), dropout=0.3)
    kinds = [type(layer) for layer in net.layers]
    pair, dropout = seqmem.layers.Bidirectional, seqmem.layers.Dropout
    assert kinds == [pair, dropout, pair, dropout, pair]
    xs = draw(np.random.default_rng(3), (TIME, BATCH, INPUT), "float64")
    _, ys = seqmem.unroll(net, None, xs)
    np.testing.assert_allclose(ys, module(torch.tensor(xs))[0].detach(), rtol=0, atol=1e-12)
    weights = to_torch(net)
    assert list(weights) == list(module.state_dict())
    for name, array in module.state_dict().items():
        if name.startswith("weight"):
            np.testing.assert_array_equal(weights[name], array)


@pytest.mark.parametrize(("layers", "directions"), [(1, 1), (1, 2), (3, 1), (2, 2)])
def test_module_without_biases_has_the_same_names_there_and_zeros_here(torch, layers, directions):
    options = {"num_layers": layers, "bidirectional": directions == 2, "bias": False}
    module = torch.nn.GRU(INPUT, HIDDEN, dtype=torch.float64, **options)
    net = from_torch(seqmem.GRU, module.state_dict())
    kind = (seqmem.GRU, seqmem.layers.Bidirectional)[directions - 1]
    assert isinstance(net, kind if layers == 1 else seqmem.layers.Stack)
    weights = to_torch(net)
    for name, array in weights.items():
        expected = module.state_dict()[name].numpy() if "weight" in name else np.zeros(3 * HIDDEN)
        np.testing.assert_array_equal(array, expected)
    assert len(weights) == 4 * layers * directions


def test_bfloat16_module_keeps_its_precision(torch):
    layer = make_layer(torch, "GRU", dtype="bfloat16")
    cell = from_torch(seqmem.GRU, layer.state_dict())
    assert {leaf.dtype for leaf in jax.tree.leaves(cell)} == {jnp.dtype(jnp.bfloat16)}
    weight = layer.weight_hh_l0.detach().float().numpy()
    np.testing.assert_array_equal(cell.U.astype("float32").reshape(weight.shape), weight)
