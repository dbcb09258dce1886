"""PyTorch's recurrent layers and ours, with the same weights, compute the same."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem.interop import from_torch, to_torch

TIME, BATCH, INPUT, HIDDEN, OUTPUT = 7, 3, 2, 5, 4
LENGTHS = np.array([4, 7, 1])

# our cell, PyTorch's layer, what both need to know beside the sizes
KINDS = {
    "RNN, tanh": (seqmem.RNN, "RNN", {}, {}),
    "RNN, relu": (seqmem.RNN, "RNN", {"activation": jax.nn.relu}, {"nonlinearity": "relu"}),
    "LSTM": (seqmem.LSTM, "LSTM", {}, {}),
    "ProjectedLSTM": (seqmem.ProjectedLSTM, "LSTM", {}, {"proj_size": OUTPUT}),
    "GRU": (seqmem.GRU, "GRU", {}, {}),
}
every_kind = pytest.mark.parametrize("kind", KINDS)

pytestmark = [
    pytest.mark.usefixtures("float64"),
    # PyTorch tells of a slower way of its own: nothing that is compared here.
    pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN"),
]


@pytest.fixture
def torch():
    module = pytest.importorskip("torch", reason="no PyTorch here to compare with")
    module.set_num_threads(1)  # its threads spin while they wait, which a busy machine pays for
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


def draw(rng, shape, dtype):
    return rng.standard_normal(shape).astype(dtype)


def problem(layer, dtype="float64"):
    """Inputs, initial states (before a projection), and the weight of every result in the loss."""
    rng = np.random.default_rng(3)
    directions = 2 if layer.bidirectional else 1
    shown = layer.proj_size or HIDDEN
    stack = (layer.num_layers * directions, BATCH)
    xs = draw(rng, (TIME, BATCH, INPUT), dtype)
    h, c = draw(rng, (2, *stack, HIDDEN), dtype)
    weights = {
        "ys": draw(rng, (TIME, BATCH, directions * shown), dtype),
        "h": draw(rng, (*stack, shown), dtype),
        "c": draw(rng, (*stack, HIDDEN), dtype),
    }
    return xs, h, c, weights


def run_torch(torch, layer, xs, h, c, weights, lengths=None):
    """What PyTorch says: outputs, final states, and their weighted sum's gradients, by name."""
    pack, pad = torch.nn.utils.rnn.pack_padded_sequence, torch.nn.utils.rnn.pad_packed_sequence
    leaves = {"xs": xs, "h": h, "c": c}
    leaves = {name: torch.tensor(leaf, requires_grad=True) for name, leaf in leaves.items()}
    projections = [matrix for name, matrix in layer.named_parameters() if "weight_hr" in name]
    h0 = leaves["h"]
    if projections:  # PyTorch's state is from behind the projection, ours from before it
        h0 = torch.stack([h @ R.T for h, R in zip(h0, projections, strict=True)])
    has_c = isinstance(layer, torch.nn.LSTM)
    ys = leaves["xs"]
    if lengths is not None:
        ys = pack(ys, torch.tensor(lengths), enforce_sorted=False)
    ys, final = layer(ys, (h0, leaves["c"]) if has_c else h0)
    if lengths is not None:
        ys, _ = pad(ys, total_length=TIME)
    said = {"ys": ys, "h": final[0], "c": final[1]} if has_c else {"ys": ys, "h": final}
    sum((torch.tensor(weights[name]) * value).sum() for name, value in said.items()).backward()
    leaves |= dict(layer.named_parameters())
    gradients = {name: leaf.grad.numpy() for name, leaf in leaves.items() if leaf.grad is not None}
    return {name: value.detach().numpy() for name, value in said.items()}, gradients


def run_seqmem(kind, layer, xs, h, c, weights, lengths=None, method=None):
    """The same from `unroll`, layer on layer; the weights' gradients pass through `from_torch`."""
    cell_type, _, options, _ = KINDS[kind]

    def run(parameters, leaves):
        ys, finals = leaves["xs"], []
        for index in range(layer.num_layers):
            cells, states = [], []
            for reverse in (False, True)[: 1 + layer.bidirectional]:
                cells.append(from_torch(cell_type, parameters, index, reverse, **options))
                place = len(finals) + len(states)
                own = [leaves[name][place] for name in ("h", "c") if name in leaves]
                states.append(type(cells[-1].init_state())(*own) if "c" in leaves else own[0])
            run_layer = functools.partial(seqmem.unroll, *cells)
            if layer.bidirectional:
                run_layer = seqmem.layers.Bidirectional(*cells)
            given = tuple(states) if layer.bidirectional else states[0]
            last, ys = run_layer(given, ys, lengths=lengths, method=method)
            for cell, final in zip(cells, last if layer.bidirectional else (last,), strict=True):
                finals.append(tuple(final) if "c" in leaves else (final,))
                if layer.proj_size:
                    finals[-1] = (finals[-1][0] @ cell.R.T, finals[-1][1])
        said = dict(zip(("h", "c"), map(jnp.stack, zip(*finals, strict=True)), strict=False))
        said["ys"] = ys
        return sum(jnp.sum(weights[name] * value) for name, value in said.items()), said

    parameters = {name: jnp.array(tensor.detach()) for name, tensor in layer.named_parameters()}
    leaves = {"xs": xs, "h": h} | ({"c": c} if "LSTM" in kind else {})
    run = jax.jit(jax.value_and_grad(run, argnums=(0, 1), has_aux=True))
    (_, said), (by_weights, by_leaves) = run(parameters, leaves)
    return said, by_weights | by_leaves


def assert_same(ours, theirs, tolerance):
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.keys() == other.keys()
        for name, value in other.items():
            assert mine[name].dtype == value.dtype, name
            error = np.max(np.abs(mine[name] - value)) / np.max(np.abs(value))
            assert error <= tolerance, f"{name} differs by {error} of its largest entry"


@every_kind
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 1e-5)])
def test_a_layer_computes_and_learns_as_in_torch(torch, kind, dtype, tolerance):
    layer = make_layer(torch, kind, dtype=dtype)
    task = problem(layer, dtype)
    ours = run_seqmem(kind, layer, *task, method=seqmem.Scan())
    assert_same(ours, run_torch(torch, layer, *task), tolerance)


@every_kind
def test_lengths_are_packed_sequences_in_both_directions(torch, kind):
    layer = make_layer(torch, kind, bidirectional=True)
    task = problem(layer)
    ours = run_seqmem(kind, layer, *task, lengths=LENGTHS, method=seqmem.Scan(recompute=True))
    assert_same(ours, run_torch(torch, layer, *task, lengths=LENGTHS), 1e-10)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_layers_stand_on_each_other_as_in_torch(torch, kind):
    layer = make_layer(torch, kind, layers=2)
    task = problem(layer)
    ours = run_seqmem(kind, layer, *task, method=seqmem.ReferenceScan())
    assert_same(ours, run_torch(torch, layer, *task), 1e-10)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_bidirectional_layers_stand_on_each_other_as_in_torch(torch, kind):
    layer = make_layer(torch, kind, layers=2, bidirectional=True)
    task = problem(layer)
    ours = run_seqmem(kind, layer, *task, lengths=LENGTHS)
    assert_same(ours, run_torch(torch, layer, *task, lengths=LENGTHS), 1e-10)


@every_kind
def test_torch_runs_our_cells(torch, kind):
    layer = make_layer(torch, kind, layers=2, bidirectional=True)
    task = problem(layer)
    before, _ = run_torch(torch, layer, *task)
    cell_type, _, options, _ = KINDS[kind]
    carried = {}
    for index in range(2):
        for reverse in (False, True):
            cell = from_torch(cell_type, layer.state_dict(), index, reverse, **options)
            carried |= to_torch(cell, index, reverse)
    for parameter in layer.parameters():
        torch.nn.init.zeros_(parameter)
    layer.load_state_dict({name: torch.from_numpy(array) for name, array in carried.items()})
    after, _ = run_torch(torch, layer, *task)
    assert_same([after], [before], 1e-14)


def make_cell(kind, dtype="float64"):
    cell_type, _, options, _ = KINDS[kind]
    sizes = (INPUT, HIDDEN, OUTPUT)[: 3 if cell_type is seqmem.ProjectedLSTM else 2]
    cell = eqx.filter_eval_shape(cell_type, *sizes, key=jax.random.key(0), **options)
    rng = np.random.default_rng(5)  # biases too: at the start they equal each other
    return jax.tree.map(lambda leaf: jnp.asarray(draw(rng, leaf.shape, dtype)), cell)


@every_kind
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_there_and_back_is_the_same_cell(kind, dtype):
    cell = make_cell(kind, dtype)
    back = from_torch(type(cell), to_torch(cell, 3, True), 3, True, **KINDS[kind][2])
    assert jax.tree.structure(back) == jax.tree.structure(cell)
    for mine, other in zip(jax.tree.leaves(back), jax.tree.leaves(cell), strict=True):
        assert mine.dtype == other.dtype == dtype
        np.testing.assert_array_equal(mine, other)


def test_missing_biases_are_zeros():
    weights = without(without(to_torch(make_cell("GRU")), "bias_ih_l0"), "bias_hh_l0")
    cell = from_torch(seqmem.GRU, weights)
    assert cell.b.shape == (3, HIDDEN)
    assert cell.c.shape == (HIDDEN,)
    assert not cell.b.any()
    assert not cell.c.any()


def test_gates_keep_their_names():
    cell = make_cell("LSTM")
    forget = to_torch(cell)["weight_hh_l0"][HIDDEN : 2 * HIDDEN]  # PyTorch's order: i, f, g, o
    np.testing.assert_array_equal(forget, seqmem.gate(cell, "forget").U)


def without(weights, name):
    return {own: array for own, array in weights.items() if own != name}


LSTM, PROJECTED = to_torch(make_cell("LSTM")), to_torch(make_cell("ProjectedLSTM"))


@pytest.mark.parametrize(
    ("cell_type", "weights", "options", "came"),
    [
        (seqmem.MGU, LSTM, {}, "a cell of type MGU."),
        (seqmem.LSTM, without(LSTM, "weight_hh_l0"), {}, "the state_dict has ['bias_hh_l0'"),
        (seqmem.LSTM, without(LSTM, "bias_hh_l0"), {}, "the state_dict has ['bias_ih_l0'"),
        (seqmem.LSTM, LSTM, {"layer": 1}, "the state_dict has"),
        (seqmem.LSTM, LSTM, {"reverse": True}, "the state_dict has"),
        (seqmem.LSTM, PROJECTED, {}, "the state_dict has"),
        (seqmem.ProjectedLSTM, LSTM, {}, "the state_dict has"),
        (seqmem.GRU, LSTM, {}, "weight_ih_l0 has shape (20, 2)."),
        (seqmem.LSTM, LSTM | {"bias_ih_l0": np.ones(5)}, {}, "bias_ih_l0 has shape (5,)."),
        (seqmem.LSTM, LSTM | {"bias_ih_l0": np.ones((20, 1))}, {}, "bias_ih_l0 is float64 of"),
        (seqmem.LSTM, LSTM | {"weight_ih_l0": np.ones((20, 2), int)}, {}, "weight_ih_l0 is int64"),
        (seqmem.LSTM, LSTM, {"activation": jax.nn.relu}, "from_torch got activation="),
        (seqmem.RNN, LSTM, {"activation": jax.nn.gelu}, "from_torch got activation="),
    ],
)
def test_what_does_not_fit_is_refused(cell_type, weights, options, came):
    with pytest.raises(ValueError, match=r"(?s)\n  Expected: .+\n  What to do: .+") as refusal:
        from_torch(cell_type, weights, **options)
    assert str(refusal.value).startswith(came)


@pytest.mark.parametrize(
    ("cell_type", "options", "came"),
    [
        (seqmem.MGU, {}, "a cell of type MGU."),
        (seqmem.RNN, {"output_size": OUTPUT}, "an RNN with an output size."),
        (seqmem.RNN, {"activation": jnp.sin}, "an RNN with activation"),
    ],
)
def test_cells_that_torch_has_not_are_refused(cell_type, options, came):
    cell = eqx.filter_eval_shape(cell_type, INPUT, HIDDEN, key=jax.random.key(0), **options)
    with pytest.raises(ValueError, match=r"(?s)\n  Expected: .+\n  What to do: .+") as refusal:
        to_torch(cell)
    assert str(refusal.value).startswith(came)
