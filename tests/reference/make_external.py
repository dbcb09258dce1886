"""Writes external.npz beside it: what other people's NTM, DNC and Hopfield pooling compute, in
float64.

    python tests/reference/make_external.py NTM DNC HOPFIELD

with torch==2.13.0 on a CPU. The arguments are checkouts of
github.com/loudinthecloud/pytorch-ntm at commit 3c64937,
github.com/ixaxaar/pytorch-dnc at commit cf6f682 and
github.com/ml-jku/hopfield-layers at commit f56f929.

* "NTM": the whole model, with one head that writes and two that read, called in this order.
* "DNC": the module `Memory`, in a loop of its own with an LSTM cell: the model around it does not
  give the controller what was read. Three things are as in the paper: keys and written vectors
  have no tanh, strengths are 1 + softplus, and no number is added to usage or norms.
* "Hopfield": `HopfieldPooling` without norms and biases, after one update and after four.

"gradient of X" is that of the sum of all outputs times "cotangent".
"""

import importlib
import pathlib
import sys
import types
from unittest import mock

import numpy as np
import torch
from make import HERE, SEED

TIME, BATCH, INPUT, HIDDEN = 7, 2, 2, 5
SLOTS, SIZE, READS = 7, 3, 2


def load(checkout, package, module):
    """One module of a package whose own `__init__` is not run."""
    stub = types.ModuleType(package)
    stub.__path__ = [str(pathlib.Path(checkout) / package)]
    sys.modules[package] = stub
    return importlib.import_module(f"{package}.{module}")


def ntm(checkout, rng):
    parts = {name: load(checkout, "ntm", name) for name in ("memory", "head", "controller", "ntm")}
    memory = parts["memory"].NTMMemory(SLOTS, SIZE)
    controller = parts["controller"].LSTMController(INPUT + READS * SIZE, HIDDEN, 1)
    kinds = [parts["head"].NTMWriteHead] + READS * [parts["head"].NTMReadHead]
    heads = torch.nn.ModuleList([kind(memory, HIDDEN) for kind in kinds])
    model = parts["ntm"].NTM(INPUT, 4, controller, memory, heads)
    memory.reset(BATCH)
    state = model.create_new_state(BATCH)
    reads, (h, c), _ = state
    arrays = {"memory": memory.mem_bias, "reads": torch.stack([r[0] for r in reads])}
    arrays |= {"h": h[0, 0], "c": c[0, 0]}
    xs = torch.tensor(rng.standard_normal((TIME, BATCH, INPUT)), requires_grad=True)
    ys = []
    for x in xs:
        y, state = model(x, state)
        ys.append(y)
    final = {"memory": memory.memory, "weights": torch.stack(state[2])}
    return model, arrays, xs, torch.stack(ys), final


def dnc(checkout, rng):
    module = load(checkout, "dnc", "memory")
    memory = module.Memory(HIDDEN, SLOTS, SIZE, READS, independent_linears=False)
    lstm = torch.nn.LSTMCell(INPUT + READS * SIZE, HIDDEN)
    softplus = torch.nn.functional.softplus
    links = rng.uniform(0, 1 / SLOTS, (BATCH, 1, SLOTS, SLOTS)) * (1 - np.eye(SLOTS))
    arrays = {"memory": rng.standard_normal((BATCH, SLOTS, SIZE)), "link_matrix": links}
    for name, heads in {"precedence": 1, "read_weights": READS, "write_weights": 1}.items():
        arrays[name] = rng.uniform(0, 1 / SLOTS, (BATCH, heads, SLOTS))
    arrays["usage_vector"] = rng.uniform(0, 1, (BATCH, SLOTS))
    arrays["reads"] = rng.standard_normal((BATCH, READS, SIZE))
    hidden = {name: torch.tensor(array) for name, array in arrays.items()}
    reads, state = hidden.pop("reads"), (torch.zeros(BATCH, HIDDEN),) * 2
    xs = torch.tensor(rng.standard_normal((TIME, BATCH, INPUT)), requires_grad=True)
    ys = []
    with (
        mock.patch.object(module.F, "softplus", lambda x: 1 + softplus(x)),
        mock.patch.object(module.torch, "tanh", lambda x: x),
        mock.patch.object(module, "δ", 0),
        mock.patch.object(sys.modules["dnc.util"], "δ", 0),
    ):
        for x in xs:
            state = lstm(torch.cat([x, reads.flatten(1)], 1), state)
            reads, hidden = memory(state[0], hidden)
            ys.append(torch.cat([state[0], reads.flatten(1)], 1))
    model = torch.nn.ModuleDict({"lstm": lstm, "memory": memory})
    return model, arrays, xs, torch.stack(ys), hidden


def hopfield(checkout, rng, updates):
    module = importlib.import_module("hflayers")
    norms = [
        f"normalize_{place}{affine}"
        for place in ("stored_pattern", "state_pattern", "pattern_projection")
        for affine in ("", "_affine")
    ]
    pool = module.HopfieldPooling(
        input_size=SIZE,
        hidden_size=HIDDEN,
        output_size=SIZE,
        scaling=1.5,
        update_steps_max=updates - 1,
        update_steps_eps=1e-300,
        quantity=READS,
        batch_first=False,
        input_bias=False,
        disable_out_projection=True,
        **dict.fromkeys(norms, False),
    )
    with torch.no_grad():
        pool.pooling_weights.normal_()
    xs = torch.tensor(rng.standard_normal((TIME, BATCH, SIZE)), requires_grad=True)
    padding = np.arange(TIME) >= np.array([TIME, 4])[:, None]
    ys = pool(xs, stored_pattern_padding_mask=torch.tensor(padding))
    return pool, {"padding": padding}, xs, ys, {}


def record(name, parts, rng):
    """Inputs, parameters, outputs and gradients, by name."""
    model, arrays, xs, ys, final = parts
    cotangent = torch.tensor(rng.standard_normal(ys.shape))
    (ys * cotangent).sum().backward()
    parameters = {key: p for key, p in model.named_parameters() if p.grad is not None}
    arrays = {"inputs": xs, "outputs": ys, "cotangent": cotangent, **arrays, **parameters}
    arrays |= {f"gradient of {key}": p.grad for key, p in ({"inputs": xs} | parameters).items()}
    arrays |= {f"final {key}": value for key, value in final.items()}
    return {f"{name}: {key}": to_numpy(value) for key, value in arrays.items()}


def to_numpy(value):
    return value.detach().numpy() if torch.is_tensor(value) else value


def main(ntm_checkout, dnc_checkout, hopfield_checkout):
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(SEED)
    sys.path.insert(0, hopfield_checkout)
    rng = np.random.default_rng(SEED)
    arrays = record("NTM", ntm(ntm_checkout, rng), rng)
    arrays |= record("DNC", dnc(dnc_checkout, rng), rng)
    for updates in (1, 4):
        name = f"Hopfield, {updates} updates"
        arrays |= record(name, hopfield(hopfield_checkout, rng, updates), rng)
    np.savez_compressed(HERE / "external.npz", **arrays)


if __name__ == "__main__":
    with mock.patch.object(torch.Tensor, "float", torch.Tensor.double):
        main(*sys.argv[1:])
