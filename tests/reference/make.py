"""Writes the references beside it: what other people's code computes, with the weights it does so.

    python tests/reference/make.py mamba        torch==2.13.0, transformers==5.24.0, on a CPU
    python tests/reference/make.py s5 CLONE     jax==0.10.2, flax==0.12.8; CLONE is a checkout of
                                                github.com/lindermanlab/S5 at commit 3c18fdb

Everything is drawn from the seed below. The names in a file are those of the other code; beside
them are inputs, outputs, the weight of every output in a loss, and that loss's gradients.
"""

import pathlib
import sys
import types

import numpy as np

HERE = pathlib.Path(__file__).parent
SEED, TIME, BATCH = 7, 11, 2


def save(name, arrays, gradients):
    arrays = arrays | {f"gradient of {own}": array for own, array in gradients.items()}
    np.savez_compressed(
        HERE / f"{name}.npz", **{own: np.asarray(array) for own, array in arrays.items()}
    )


def mamba():
    """A MambaMixer run as a whole in PyTorch; hooks read what enters and leaves its core.

    The core is from x_proj's input to out_proj's, which is the core's output times SiLU(gate).
    """
    import torch
    from transformers import DynamicCache, MambaConfig
    from transformers.models.mamba.modeling_mamba import MambaMixer

    torch.manual_seed(SEED)
    config = MambaConfig(hidden_size=7, expand=1, state_size=5, time_step_rank=3)
    mixer = MambaMixer(config, layer_idx=0).eval()
    for parameter in mixer.parameters():  # at the start all channels are alike
        parameter.data += 0.3 * torch.randn_like(parameter)
    seen = {}

    def keep(name, value):
        value.retain_grad()
        seen[name] = value

    mixer.in_proj.register_forward_hook(lambda _, __, out: keep("projected", out))
    mixer.x_proj.register_forward_pre_hook(lambda _, args: keep("xs", args[0]))
    mixer.out_proj.register_forward_pre_hook(lambda _, args: keep("gated", args[0]))
    cache = DynamicCache(config=config)
    mixer(torch.randn(BATCH, TIME, 7), cache=cache)
    weight = torch.randn_like(seen["gated"])
    (weight * seen["gated"]).sum().backward()
    gate = seen["projected"].chunk(2, dim=-1)[1]
    arrays = {"xs": seen["xs"], "gate": gate, "gated": seen["gated"], "weight": weight}
    arrays |= {"final state": cache.get_recurrent_state(0, state_idx=0)} | mixer.state_dict()
    core = ("x_proj", "dt_proj", "A_log", "D")
    used = {name: leaf.grad for name, leaf in mixer.named_parameters() if name.startswith(core)}
    arrays, gradients = (
        {name: tensor.detach().numpy() for name, tensor in named.items()}
        for named in (arrays, {"xs": seen["xs"].grad} | used)
    )
    save("mamba", arrays, gradients)


def s5(clone):
    """The S5SSM module of the paper's code, in float64, with two HiPPO blocks."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    jnp.DeviceArray = jax.Array  # the code is older than its removal from JAX
    package = types.ModuleType("s5")
    package.__path__ = [str(pathlib.Path(clone) / "s5")]
    sys.modules["s5"] = package  # its __init__ imports what only training needs
    from s5.ssm import S5SSM
    from s5.ssm_init import make_DPLR_HiPPO

    inputs, pairs, blocks = 3, 4, 2
    Lambda, _, _, V, _ = make_DPLR_HiPPO(2 * pairs // blocks)
    half = pairs // blocks
    Lambda, V = jnp.tile(Lambda[:half], blocks), jnp.kron(jnp.eye(blocks), V[:, :half])
    module = S5SSM(
        Lambda_re_init=Lambda.real,
        Lambda_im_init=Lambda.imag,
        V=V,
        Vinv=V.conj().T,
        H=inputs,
        P=pairs,
        C_init="trunc_standard_normal",
        discretization="zoh",
        dt_min=0.001,
        dt_max=0.1,
    )
    rng = np.random.default_rng(SEED)
    xs, weight = rng.standard_normal((2, TIME, inputs))
    params = module.init(jax.random.key(SEED), xs)["params"]

    def loss(params, xs):
        ys = module.apply({"params": params}, xs)
        return (weight * ys).sum(), ys

    (by_params, by_xs), ys = jax.grad(loss, argnums=(0, 1), has_aux=True)(params, xs)
    save("s5", {"xs": xs, "ys": ys, "weight": weight} | params, {"xs": by_xs} | by_params)


if __name__ == "__main__":
    {"mamba": mamba, "s5": s5}[sys.argv[1]](*sys.argv[2:])
