"""Writes spiking.npz: what snntorch computes, in float64, and a file of NIR that it exports.

    python tests/reference/make_spiking.py

Made with snntorch 1.0.0, nir 1.0.8, nirtorch 2.6 and torch 2.13.0, on a CPU.

Everything is drawn from the seed below. Each case is a linear layer and a neuron of snntorch, whose
name stands in front of the arrays; those of its parameters have snntorch's names. With them come
the spikes, the last potential, the weights of both in a loss, and the gradients of that loss.
snntorch makes spikes of float32, whatever its inputs are; `torch.Tensor.float` is replaced by
`double`, so that they and their gradients have all digits. "exported: file" holds the bytes of a
file that nir writes, of a network of two layers; with it come spikes of the first one.
"""

import pathlib
import tempfile

import nir
import numpy as np
import snntorch
import torch
from snntorch import surrogate
from snntorch.export_nir import export_to_nir

SEED, TIME, INPUTS, HIDDEN = 11, 29, 3, 5


def draw_decay():
    return 0.5 + 0.45 * torch.rand(HIDDEN, dtype=torch.float64)


def options(**others):
    return {"beta": draw_decay(), "learn_beta": True, **others}


def make_cases():
    """The neuron of each case."""
    recurrent = {"linear_features": HIDDEN}
    synapse = {"learn_alpha": True}
    sigmoid, atan = surrogate.fast_sigmoid(slope=5), surrogate.atan(alpha=3.0)
    straight = surrogate.straight_through_estimator()
    return {
        "Leaky": snntorch.Leaky(**options(spike_grad=sigmoid)),
        "Leaky to zero": snntorch.Leaky(**options(spike_grad=atan, reset_mechanism="zero")),
        "RLeaky": snntorch.RLeaky(**options(spike_grad=atan), **recurrent),
        "Synaptic": snntorch.Synaptic(
            alpha=draw_decay(), **options(spike_grad=straight), **synapse
        ),
        "RSynaptic": snntorch.RSynaptic(
            alpha=draw_decay(), **options(spike_grad=sigmoid), **synapse, **recurrent
        ),
    }


def run(linear, neuron, xs):
    """The spikes of all steps, and the last potential."""
    state, spikes = (), []
    for x in xs:
        spike, *state = neuron(linear(x), *state)
        if hasattr(neuron, "recurrent"):
            state = (spike, *state)
        spikes.append(spike)
    return torch.stack(spikes), state[-1]


def compute(neuron):
    linear, neuron = torch.nn.Linear(INPUTS, HIDDEN).double(), neuron.double()
    with torch.no_grad():
        linear.weight.mul_(2.0)
    xs = torch.randn(TIME, 1, INPUTS, dtype=torch.float64, requires_grad=True)
    spikes, v = run(linear, neuron, xs)
    assert 0.1 < spikes.mean() < 0.9
    weight, weight_v = torch.randn_like(spikes), torch.randn_like(v)
    ((weight * spikes).sum() + (weight_v * v).sum()).backward()
    arrays = {
        "xs": xs,
        "spikes": spikes,
        "weight of spikes": weight,
        "v": v,
        "weight of v": weight_v,
    }
    arrays["gradient of xs"] = xs.grad
    for module in (linear, neuron):
        for name, parameter in module.named_parameters():
            arrays |= {name: parameter, f"gradient of {name}": parameter.grad}
    return {name: array.detach().numpy() for name, array in arrays.items()}


class Network(torch.nn.Module):
    """Two layers, as snntorch exports them."""

    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(INPUTS, HIDDEN)
        decays, thresholds = torch.full((HIDDEN,), 0.9), torch.linspace(0.5, 1.5, HIDDEN)
        self.lif = snntorch.Leaky(decays, threshold=thresholds, reset_mechanism="zero")
        self.fc2 = torch.nn.Linear(HIDDEN, HIDDEN, bias=False)
        self.rlif = snntorch.RSynaptic(
            alpha=0.6, beta=0.8, linear_features=HIDDEN, reset_mechanism="zero"
        )

    def forward(self, x):
        spikes, _ = self.lif(self.fc(x))
        return self.rlif(self.fc2(spikes))[0]


def export():
    network = Network()
    with torch.no_grad():
        network.fc.weight.mul_(2.0)
    xs = torch.randn(TIME, 1, INPUTS)
    graph = export_to_nir(network, xs[0], ignore_dims=[0])
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "network.nir")
        nir.write(path, graph)
        file = np.frombuffer(path.read_bytes(), np.uint8)
    network.lif.reset_mem()
    spikes = torch.stack([network.lif(network.fc(x))[0] for x in xs])
    assert 0.1 < spikes.mean() < 0.9
    return {"file": file, "xs": xs.numpy(), "spikes": spikes.detach().numpy()}


def main():
    torch.manual_seed(SEED)
    exported = {f"exported: {name}": array for name, array in export().items()}
    torch.Tensor.float = torch.Tensor.double
    arrays = {
        f"{case}: {name}": array
        for case, neuron in make_cases().items()
        for name, array in compute(neuron).items()
    }
    path = pathlib.Path(__file__).parent / "spiking.npz"
    np.savez_compressed(path, **arrays, **exported)


if __name__ == "__main__":
    main()
