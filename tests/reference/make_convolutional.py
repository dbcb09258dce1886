"""Writes convolutional.npz: what Keras computes for ConvLSTM1D and ConvLSTM2D, in float64.

    KERAS_BACKEND=torch python tests/reference/make_convolutional.py

Made with keras 3.15.1 and torch 2.13.0. Everything is drawn from the seed below. Behind the name of
the layer stand its weights under the names of Keras, the inputs [batch, time, *space, channels],
the outputs, the state after the last step, the weight of every output in a loss, and that loss's
gradients.
"""

import pathlib

import keras
import numpy as np
import torch

SEED, BATCH, TIME, CHANNELS, FILTERS = 7, 2, 5, 3, 2
LAYERS = {
    "ConvLSTM1D": (keras.layers.ConvLSTM1D, (7,), (3,)),
    "ConvLSTM2D": (keras.layers.ConvLSTM2D, (4, 5), (3, 5)),
}


def main():
    keras.backend.set_floatx("float64")
    rng = np.random.default_rng(SEED)
    arrays = {}
    for name, (cls, space, widths) in LAYERS.items():
        layer = cls(
            FILTERS,
            widths,
            padding="same",
            data_format="channels_last",
            return_sequences=True,
            return_state=True,
        )
        xs = torch.tensor(rng.standard_normal((BATCH, TIME, *space, CHANNELS)))
        xs.requires_grad_(True)
        layer.build(tuple(xs.shape))
        layer.set_weights([0.5 * rng.standard_normal(w.shape) for w in layer.weights])
        ys, h, c = layer(xs)
        weight = rng.standard_normal(ys.shape)
        (torch.tensor(weight) * ys).sum().backward()
        found = {"xs": xs, "ys": ys, "h": h, "c": c, "gradient of xs": xs.grad}
        for variable in layer.weights:
            found[variable.name] = variable.value
            found[f"gradient of {variable.name}"] = variable.value.grad
        arrays |= {f"{name}: {own}": value.detach().numpy() for own, value in found.items()}
        arrays[f"{name}: weight"] = weight
    np.savez_compressed(pathlib.Path(__file__).parent / "convolutional.npz", **arrays)


if __name__ == "__main__":
    main()
