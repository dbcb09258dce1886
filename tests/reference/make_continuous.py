"""Writes continuous.npz: what other programs compute for CfC, LTC, ODE-LSTM and GRU-D, in float64.

    python tests/reference/make_continuous.py ODE_LSTMS GRU_D

with ncps 1.0.1 (`pip install ncps`), torch 2.13.0, ODE_LSTMS a checkout of
github.com/mlech26l/ode-lstms at commit ad67a2a, and GRU_D one of github.com/subramen/GRU-D at
commit 577532b. Other modules that the last two import are not needed and replaced.

Everything is drawn from the seed below, every parameter normal around its start. The names in the
file are those of the other code, behind the name of the cell; beside them are the outputs and the
gradients of Σ weight ∘ outputs. LTC has `implicit_param_constraints`, and an epsilon of 0. The
decay of the inputs of GRU-D is a whole matrix there: here it is diagonal, as in the paper. Times
since the last observations, and those, are its inputs, made by a loop here.
"""

import importlib.util
import pathlib
import sys
import types

import numpy as np
import torch
from ncps.torch import CfCCell, LTCCell
from ncps.wirings import FullyConnected

SEED, TIME, BATCH, INPUTS, UNITS = 5, 7, 3, 2, 5
MEAN = np.array([0.3, -0.2])


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def gru_d_cell(checkout):
    for name in ("data_utils", "utils", "matplotlib", "matplotlib.pyplot", "matplotlib.lines"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["utils"].try_gpu = lambda: "cpu"
    sys.modules["matplotlib.lines"].Line2D = None
    module = load(pathlib.Path(checkout) / "model.py")
    return module.GRUDCell(INPUTS, UNITS, INPUTS, INPUTS, torch.tensor(MEAN))


def since_last_observation(xs, is_observed, delta_t):
    """For each step and input, the time since its last observation, and that observation."""
    gap, last, gaps, lasts = np.zeros_like(xs[0]), np.broadcast_to(MEAN, xs[0].shape), [], []
    for x, m, dt in zip(xs, is_observed, delta_t, strict=True):
        gap = gap + dt[:, None]
        gaps.append(gap)
        lasts.append(last)
        gap, last = np.where(m, 0, gap), np.where(m, x, last)
    return np.stack(gaps), np.stack(lasts)


def ode_lstm_cell(checkout):
    for name in ("torchdyn", "torchdyn.models", "pytorch_lightning"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["torchdyn.models"].NeuralDE = None
    sys.modules["pytorch_lightning"].LightningModule = object
    metrics = types.ModuleType("pytorch_lightning.metrics.functional")
    metrics.accuracy = None
    sys.modules["pytorch_lightning.metrics"] = types.ModuleType("pytorch_lightning.metrics")
    sys.modules["pytorch_lightning.metrics.functional"] = metrics
    module = load(pathlib.Path(checkout) / "torch_node_cell.py")
    return module.ODELSTMCell(INPUTS, UNITS, solver_type="fixed_rk4")


def main(ode_lstms, gru_d):
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(SEED)
    cells = {
        "CfC": CfCCell(INPUTS, UNITS, backbone_units=11, backbone_layers=2),
        "LTC": LTCCell(FullyConnected(UNITS), INPUTS, epsilon=0.0, implicit_param_constraints=True),
        "ODELSTM": ode_lstm_cell(ode_lstms),
        "GRUD": gru_d_cell(gru_d),
    }
    rng = np.random.default_rng(SEED)
    xs, weight = rng.normal(size=(TIME, BATCH, INPUTS)), rng.normal(size=(TIME, BATCH, UNITS))
    delta_t = rng.uniform(0.1, 3.0, size=(TIME, BATCH))
    is_observed = rng.random((TIME, BATCH, INPUTS)) < 0.5
    arrays = {"xs": xs, "delta_t": delta_t, "weight": weight}
    arrays |= {"is_observed": is_observed, "mean": MEAN}
    gaps, last = since_last_observation(xs, is_observed, delta_t)
    others = (delta_t[..., None], is_observed.astype(float), gaps, last)
    steps = [torch.tensor(array) for array in (xs, *others)]
    for name, cell in cells.items():
        for key, parameter in cell.named_parameters():
            if parameter.requires_grad:
                with torch.no_grad():
                    parameter += 0.3 * torch.tensor(rng.normal(size=tuple(parameter.shape)))
                    if key == "gamma_x_lin.weight":
                        parameter *= torch.eye(INPUTS)
                arrays[f"{name}.{key}"] = parameter.detach().numpy().copy()
        state = torch.zeros(BATCH, UNITS)
        state = (state, state) if name == "ODELSTM" else state
        outputs = []
        for x, dt, m, gap, before in zip(*steps, strict=True):
            if name == "ODELSTM":
                state = cell(x, state, dt[:, 0])
                outputs.append(state[0])
            elif name == "GRUD":
                state = cell(x, m, gap, before, state)
                outputs.append(state)
            else:
                y, state = cell(x, state, dt)
                outputs.append(y)
        outputs = torch.stack(outputs)
        (torch.tensor(weight) * outputs).sum().backward()
        arrays[f"{name}/outputs"] = outputs.detach().numpy()
        for key, parameter in cell.named_parameters():
            if parameter.requires_grad:
                arrays[f"{name}/gradient of {key}"] = parameter.grad.numpy()
    np.savez_compressed(pathlib.Path(__file__).with_name("continuous.npz"), **arrays)


if __name__ == "__main__":
    main(*sys.argv[1:])
