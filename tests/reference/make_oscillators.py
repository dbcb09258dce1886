"""Writes oscillators.npz: what other programs compute for LinOSS and D-LinOSS, in float64.

    python tests/reference/make_oscillators.py LINOSS DISCRETAX

LINOSS is a checkout of github.com/tk-rusch/linoss at commit 83e6318, DISCRETAX one of
github.com/camail-official/discretax at commit d742812; made with jax 0.10.2 and equinox 0.13.8. The
authors' program for D-LinOSS, github.com/jaredbmit/damped-linoss, computes what discretax does.

Everything is drawn from the seed below. The names in the file are those of the other code, behind
the name of the layer; beside them are inputs, outputs, the weight of every output in a loss, and
that loss's gradients. Of the four oscillators of each layer the second has a stiffness below 0, and
the third one above all bounds; the damping of the last is below 0.
"""

import importlib.util
import pathlib
import sys
import types

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

SEED, TIME, INPUTS, OSCILLATORS = 7, 11, 3, 4
STIFFNESS = np.array([0.7, -0.3, 60.0, 1.9])
STIFFNESS_IMEX = np.array([0.7, -0.3, 3.0, 1.9])  # beyond Δ² A = 4 states grow
DAMPING = np.array([0.2, 0.4, 0.1, -0.5])


def load(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def main(linoss, discretax):
    jax.config.update("jax_enable_x64", True)
    source = pathlib.Path(discretax) / "src" / "discretax" / "sequence_mixers"
    for name in ("discretax", "discretax.sequence_mixers"):
        sys.modules[name] = types.ModuleType(name)  # their __init__ imports all of the package
    sys.modules["discretax.sequence_mixers.base"] = types.SimpleNamespace(
        AbstractSequenceMixer=eqx.Module
    )
    layer_of_linoss = load("linoss", pathlib.Path(linoss) / "models" / "LinOSS.py").LinOSSLayer
    mixer = load("discretax.sequence_mixers.linoss", source / "linoss.py").LinOSSSequenceMixer
    key = jax.random.key(SEED)
    layers = {
        "LinOSSIM": layer_of_linoss(OSCILLATORS, INPUTS, "IM", key=key),
        "LinOSSIMEX": layer_of_linoss(OSCILLATORS, INPUTS, "IMEX", key=key),
        "DLinOSS": mixer(INPUTS, key, state_dim=OSCILLATORS),
    }
    rng = np.random.default_rng(SEED)
    xs, weight = rng.standard_normal((2, TIME, INPUTS))
    arrays = {"xs": xs, "weight": weight}
    for name, layer in layers.items():
        stiffness = STIFFNESS_IMEX if name == "LinOSSIMEX" else STIFFNESS
        layer = eqx.tree_at(lambda layer: layer.A_diag, layer, jnp.asarray(stiffness))
        if name == "DLinOSS":
            layer = eqx.tree_at(lambda layer: layer.G_diag, layer, jnp.asarray(DAMPING))

        def loss(layer, xs, needs_key=name == "DLinOSS"):
            ys = layer(xs, key) if needs_key else layer(xs)
            return (weight * ys).sum(), ys

        (by_layer, by_xs), ys = eqx.filter_grad(lambda both, loss=loss: loss(*both), has_aux=True)(
            (layer, jnp.asarray(xs))
        )
        found = {"ys": ys, "gradient of xs": by_xs}
        for field in ("A_diag", "G_diag", "B", "C", "D", "steps"):
            if getattr(layer, field, None) is not None:
                found[field] = getattr(layer, field)
                found[f"gradient of {field}"] = getattr(by_layer, field)
        arrays |= {f"{name}: {own}": np.asarray(array) for own, array in found.items()}
    np.savez_compressed(pathlib.Path(__file__).parent / "oscillators.npz", **arrays)


if __name__ == "__main__":
    main(*sys.argv[1:])
