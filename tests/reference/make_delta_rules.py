"""Writes delta_rules.npz beside it: matrix memories of 2024 to 2026 by other people, in float64.

    python tests/reference/make_delta_rules.py FLA

with torch==2.13.0, einops==0.8.2 and transformers==5.24.0 on a CPU. FLA is a checkout of
github.com/fla-org/flash-linear-attention at commit bc3b101. Inputs, initial states and weights that
stand in fast_weights.npz are those, and do not stand in the file again; the rest, the names and the
layouts are as make_fast_weights.py says.

Comba's program of single steps in that checkout, ops/comba/naive.py, reads what it removes after
the decay, its kernels before it. The program runs here as it stands; what the kernels do is written
out, and stands under "Comba, before the decay".
"""

import pathlib
import sys
from unittest import mock

import make_fast_weights
import numpy as np
import torch
from make import HERE, SEED
from make_fast_weights import BATCH, HEADS, KEY, TIME, VALUE, compute, head_first, load

SHARED = ("query", "key", "value", "beta", "log_decay", "log_decays", "state", "weight")


def draw():
    """What fast_weights.npz does not have, and what it has."""
    rng = np.random.default_rng(SEED + 1)

    def rounded(array):
        return np.round(256 * array) / 256

    steps = (BATCH, TIME, HEADS)
    own = {
        "erase_gate": rounded(rng.uniform(0, 2, (*steps, KEY))),
        "write_gate": rounded(rng.uniform(0, 1, (*steps, VALUE))),
        "feedback": rounded(0.5 * rng.standard_normal((*steps, KEY))),
        "bonus": rounded(rng.standard_normal((HEADS, KEY))),
    }
    with np.load(HERE / "fast_weights.npz") as file:
        shared = {name: file[name] for name in (*SHARED, "weight of state")}
    return own, shared


def of(fn):
    """`fn` of inputs and the state to start from, or None."""

    def run(*arguments):
        *inputs, begun = arguments
        start = None if begun is None else begun[0]
        outputs, final = fn(*inputs, initial_state=start, output_final_state=True)
        return outputs, [final]

    return run


def comba_as_in_its_kernels(q, k, v, p, beta, g, *, initial_state, output_final_state):
    """fused_recurrent_comba_fwd_kernel, without the norms of q, k and p."""
    q, k, v, p = (leaf.transpose(1, 2) for leaf in (q, k, v, p))
    beta, decay = (leaf.transpose(1, 2)[..., None] for leaf in (beta, g.exp()))
    *lead, time, key_size = k.shape
    h = torch.zeros(*lead, key_size, v.shape[-1]) if initial_state is None else initial_state
    outputs = []
    for t in range(time):
        error = v[:, :, t] - torch.einsum("bhkv,bhk->bhv", h, p[:, :, t])
        write = torch.einsum("bhk,bhv->bhkv", k[:, :, t], beta[:, :, t] * error)
        h = h * decay[:, :, t, :, None] + write
        outputs.append(torch.einsum("bhkv,bhk->bhv", h, q[:, :, t] * key_size**-0.5))
    return torch.stack(outputs, 1), h if output_final_state else None


def rwkv6(fn):
    """`fn`, whose inputs but the bonus have heads before time."""

    def run(query, key, value, log_decays, bonus, **options):
        return head_first(lambda q, k, v, w, **opts: fn(q, k, v, w, bonus, **opts))(
            query, key, value, log_decays, **options
        )

    return run


def main(checkout):
    torch.set_default_dtype(torch.float64)
    ops = pathlib.Path(checkout) / "fla" / "ops"
    qkv = ("query", "key", "value")
    gdn2 = load(ops / "gdn2" / "naive.py").naive_recurrent_gdn2
    comba = load(ops / "comba" / "naive.py").naive_recurrent_comba
    rwkv = load(ops / "rwkv6" / "recurrent_naive.py").naive_recurrent_rwkv6
    references = {
        "GDN-2": (of(gdn2), (*qkv, "log_decays", "erase_gate", "write_gate")),
        "Comba": (of(comba), (*qkv, "feedback", "beta", "log_decay")),
        "Comba, before the decay": (
            of(comba_as_in_its_kernels),
            (*qkv, "feedback", "beta", "log_decay"),
        ),
        "RWKV-6": (of(rwkv6(rwkv)), (*qkv, "log_decays", "bonus")),
    }
    own, shared = draw()
    arrays = dict(own)
    for name, (run, inputs) in references.items():
        found = compute(own | shared, run, inputs, ("state",))
        arrays |= {f"{name}: {key}": array for key, array in found.items()}
    np.savez_compressed(HERE / "delta_rules.npz", **arrays)


if __name__ == "__main__":
    wide = {"float": torch.float64, "float32": torch.float64}
    parameters = (*make_fast_weights.PER_HEAD, "bonus")
    with (
        mock.patch.multiple(torch, **wide),
        mock.patch.object(torch.Tensor, "float", torch.Tensor.double),
        mock.patch.object(make_fast_weights, "PER_HEAD", parameters),
    ):
        main(*sys.argv[1:])
