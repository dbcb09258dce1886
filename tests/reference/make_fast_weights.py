"""Writes fast_weights.npz beside it: what other people's matrix memories compute, in float64.

    python tests/reference/make_fast_weights.py FLA MLSTM

with torch==2.13.0, einops==0.8.2 and transformers==5.24.0 on a CPU. FLA is a checkout of
github.com/fla-org/flash-linear-attention at commit bc3b101, MLSTM one of
github.com/NX-AI/mlstm_kernels at 39d3c61; of both, single files are loaded. Where this code asks
for float32, it gets float64.

There are two sequences. The first begins with nothing: the other code is given no state. The second
begins with a state, and only its gradients are stored: those of

    Σ weight · outputs + Σ (weight of each final state) · final state

An input stands in the file under its own name, and serves all that want it; what "KDA" makes of it
is "KDA: outputs", "KDA: final state" and "KDA: gradient of query". Layouts are the other code's.
What is drawn is rounded, so that the compressed file is small.
"""

import importlib.util
import pathlib
import sys
from unittest import mock

import numpy as np
import torch
from make import HERE, SEED
from transformers.models.mamba2.modeling_mamba2 import mamba2_chunk_scan
from transformers.models.qwen3_next import modeling_qwen3_next as qwen3_next

TIME, BATCH, HEADS, KEY, VALUE = 19, 2, 3, 5, 7
WRITES = 2  # of a step, in DeltaProduct
PER_HEAD = ("A_log", "D", "dt_bias")  # parameters: both sequences share them


def draw():
    """Everything that enters, and the weights of everything that comes out."""
    rng = np.random.default_rng(SEED)

    def rounded(array):
        return np.round(256 * array) / 256

    def normal(*shape):
        return rounded(rng.standard_normal(shape))

    def unit(*shape):
        drawn = rng.standard_normal(shape)
        return rounded(drawn / np.linalg.norm(drawn, axis=-1, keepdims=True))

    def between(low, high, *shape):
        return rounded(rng.uniform(low, high, shape))

    def decays(*shape):
        """Mild ones; in the second sequence also one of e^−30 and one to nothing."""
        drawn = between(-1, 0, *shape)
        drawn[1, 4, 0], drawn[1, 11, 1] = -30, -np.inf
        return drawn

    steps = (BATCH, TIME, HEADS)
    several = (BATCH, TIME * WRITES, HEADS)
    inputs = {
        "query": normal(*steps, KEY),
        "key": unit(*steps, KEY),
        "value": normal(*steps, VALUE),
        "beta": between(0, 2, *steps),
        "log_decay": decays(*steps),
        "log_decays": decays(*steps, KEY),
        "a": unit(*steps, KEY),
        "b": 0.75 * unit(*steps, KEY),
        "kk": unit(*steps, KEY),
        "rate": between(0, 1, *steps, KEY),
        "keys": unit(*several, KEY),
        "values": normal(*several, VALUE),
        "betas": between(0, 2, *several),
        "input_gate": 2 * normal(*steps),
        "forget_gate": 1 + 2 * normal(*steps),
        "B": normal(BATCH, TIME, KEY),
        "C": normal(BATCH, TIME, KEY),
        "dt": normal(*steps),
        "A_log": normal(HEADS),
        "D": normal(HEADS),
        "dt_bias": normal(HEADS),
    }
    states = {
        "state": normal(HEADS, KEY, VALUE),
        "n": normal(HEADS, KEY),
        "m": normal(HEADS, 1),
        "ssm_state": normal(HEADS, VALUE, KEY),
    }
    weights = {f"weight of {name}": normal(*array.shape) for name, array in states.items()}
    return inputs | states | weights | {"weight": normal(TIME, HEADS, VALUE)}


def compute(told, run, inputs, states):
    """What `run(*inputs, initial_states) -> (outputs, final states)` makes of both sequences."""
    found, weight = {}, {own: torch.tensor(array) for own, array in told.items()}
    outputs, finals = [], []
    for sequence in range(BATCH):
        leaves = [
            torch.tensor(
                told[own] if own in PER_HEAD else told[own][sequence, None], requires_grad=True
            )
            for own in inputs
        ]
        begun = [torch.tensor(told[own][None], requires_grad=True) for own in states]
        output, final = run(*leaves, begun if sequence else None)
        outputs.append(output[0])
        finals.append([state[0] for state in final])
    loss = (weight["weight"] * outputs[-1]).sum()
    for own, final in zip(states, finals[-1], strict=True):
        loss = loss + (weight[f"weight of {own}"] * final).sum()
    loss.backward()
    for own, leaf in zip((*inputs, *states), (*leaves, *begun), strict=True):
        found[f"gradient of {own}"] = leaf.grad if own in PER_HEAD else leaf.grad[0]
    found["outputs"] = torch.stack(outputs)
    for own, each in zip(states, zip(*finals, strict=True), strict=True):
        found[f"final {own}"] = torch.stack(each)
    assert all(array.dtype == torch.float64 for array in found.values())
    return {own: array.detach().numpy() for own, array in found.items()}


def load(file):
    """A single file as a module: the packages around these want a GPU's compiler."""
    spec = importlib.util.spec_from_file_location(file.parent.name, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def head_first(fn):
    """`fn` for time before heads, where it wants heads before time."""

    def run(*inputs, **options):
        outputs, state = fn(*(array.transpose(1, 2) for array in inputs), **options)
        return outputs.transpose(1, 2), state

    return run


def fla(checkout):
    """The naive recurrences of flash-linear-attention, and what its layers give to them."""

    def naive(name):
        return load(checkout / "fla" / "ops" / name / "naive.py")

    def of(fn):
        def run(*arguments):
            *inputs, begun = arguments
            start = None if begun is None else begun[0]
            outputs, final = fn(*inputs, initial_state=start, output_final_state=True)
            return outputs, [final]

        return run

    gla = naive("gla").naive_recurrent_gla
    dplr = head_first(naive("generalized_delta_rule/dplr").dplr_recurrence)
    products = naive("gated_delta_product").naive_recurrent_gated_delta_product

    def hgrn2(query, value, log_decays, **options):
        return gla(query, 1 - log_decays.exp(), value, log_decays, **options)

    def rwkv7(query, log_decays, key, value, kk, rate, **options):
        return dplr(query, key, value, -kk, kk * rate, log_decays, **options)

    def product(query, keys, values, betas, log_decay=None, **options):
        return products(
            query, keys, values, log_decay, betas, None, None, num_householder=WRITES, **options
        )

    return {
        "delta rule": (
            of(head_first(naive("delta_rule").delta_rule_recurrence)),
            ("query", "key", "value", "beta"),
        ),
        "gated delta rule": (
            of(naive("gated_delta_rule").naive_recurrent_gated_delta_rule),
            ("query", "key", "value", "beta", "log_decay"),
        ),
        "simple GLA": (
            of(naive("simple_gla").naive_recurrent_simple_gla),
            ("query", "key", "value", "log_decay"),
        ),
        "GLA": (of(gla), ("query", "key", "value", "log_decays")),
        "HGRN2": (of(hgrn2), ("query", "value", "log_decays")),
        "KDA": (
            of(naive("kda").naive_recurrent_kda),
            ("query", "key", "value", "log_decays", "beta"),
        ),
        "DPLR": (of(dplr), ("query", "key", "value", "a", "b", "log_decays")),
        "RWKV-7": (of(rwkv7), ("query", "log_decays", "key", "value", "kk", "rate")),
        "DeltaProduct": (of(product), ("query", "keys", "values", "betas")),
        "gated DeltaProduct": (of(product), ("query", "keys", "values", "betas", "log_decay")),
    }


def mlstm(checkout):
    """The native step, with eps = 0: its own 1e−6 makes outputs depend on the choice of m."""
    step = load(checkout / "mlstm_kernels" / "torch" / "recurrent" / "native_step.py")

    def run(query, key, value, input_gate, forget_gate, begun):
        nothing = ((HEADS, KEY, VALUE), (HEADS, KEY), (HEADS, 1))  # as its own loop begins
        c, n, m = begun or (torch.zeros(1, *shape) for shape in nothing)
        outputs = []
        for t in range(TIME):
            output, (c, n, m) = step.mlstm_recurrent_step__native(
                *(array[:, t] for array in (query, key, value)),
                *(array[:, t, :, None] for array in (input_gate, forget_gate)),
                *(c, n, m),
                eps=0,
                dtype_state=torch.float64,
            )
            outputs.append(output)
        return torch.stack(outputs, 1), (c, n, m)

    return run


def qwen3(query, key, value, log_decay, beta, begun):
    """As its layer does: by chunks from nothing, and step by step from a state."""
    inputs = (query, key, value, log_decay, beta)
    options = {"output_final_state": True, "use_qk_l2norm_in_kernel": True}
    if begun is None:
        outputs, final = qwen3_next.torch_chunk_gated_delta_rule(*inputs, chunk_size=8, **options)
    else:
        outputs, final = qwen3_next.torch_recurrent_gated_delta_rule(
            *inputs, initial_state=begun[0], **options
        )
    return outputs, [final]


def mamba2(value, dt, A_log, B, C, D, dt_bias, begun):
    """As its layer does, with one group: all heads share keys (B) and queries (C)."""
    outputs, final = mamba2_chunk_scan(
        *(value, dt, -A_log.exp(), B[:, :, None], C[:, :, None]),
        chunk_size=8,
        D=D,
        dt_bias=dt_bias,
        dt_softplus=True,
        initial_states=None if begun is None else begun[0],
        return_final_states=True,
    )
    return outputs, [final]


def main(fla_checkout, mlstm_checkout):
    torch.set_default_dtype(torch.float64)
    told = draw()
    references = {
        name: (run, inputs, ("state",))
        for name, (run, inputs) in fla(pathlib.Path(fla_checkout)).items()
    } | {
        "mLSTM": (
            mlstm(pathlib.Path(mlstm_checkout)),
            ("query", "key", "value", "input_gate", "forget_gate"),
            ("state", "n", "m"),
        ),
        "Qwen3-Next": (qwen3, ("query", "key", "value", "log_decay", "beta"), ("state",)),
        "Mamba-2": (mamba2, ("value", "dt", "A_log", "B", "C", "D", "dt_bias"), ("ssm_state",)),
    }
    arrays = dict(told)
    for name, (run, inputs, states) in references.items():
        found = compute(told, run, inputs, states)
        arrays |= {f"{name}: {own}": array for own, array in found.items()}
    np.savez_compressed(HERE / "fast_weights.npz", **arrays)


if __name__ == "__main__":
    wide = {"float": torch.float64, "float32": torch.float64}
    with (
        mock.patch.multiple(torch, **wide),
        mock.patch.object(torch.Tensor, "float", torch.Tensor.double),
    ):
        main(*sys.argv[1:])
