"""What recurrentgemma's RG-LRU computes, stored for tests: `python rglru.py` writes rglru.npz.

Needs recurrentgemma (github.com/google-deepmind/recurrentgemma, version 1.0.1, commit 2efa84d) with
jax, flax 0.12 and typeguard 2; made with jax 0.10.2, in float64. Each sequence stands twice:
"onward" goes on from a state, "anew" begins at position 0, where recurrentgemma lets the input in
with gain 1. The gradients are those of sum(weights · y) of "onward".
"""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

TIME, WIDTH, HEADS = 7, 6, 3


def main() -> None:
    from recurrentgemma.jax import layers, scan

    jax.config.update("jax_enable_x64", True)
    # Its layer sums in float32 whatever it is given; its scan can do more.
    scan.linear_scan = functools.partial(scan.linear_scan, acc_float_dtype=jnp.float64)
    rng = np.random.default_rng(0)
    block = WIDTH // HEADS
    parameters = {
        "a_param": rng.normal(-4.0, 1.0, WIDTH),
        "a_gate": {
            "w": rng.normal(size=(HEADS, block, block)),
            "b": rng.normal(size=(HEADS, block)),
        },
        "input_gate": {
            "w": rng.normal(size=(HEADS, block, block)),
            "b": rng.normal(size=(HEADS, block)),
        },
    }
    parameters["a_gate"]["b"][0, 0] = -16  # one unit forgets so little that √'s derivative is bound
    xs, state, weights = (rng.normal(size=shape) for shape in ((TIME, WIDTH), WIDTH, (TIME, WIDTH)))
    layer = layers.RGLRU(WIDTH, HEADS, dtype=jnp.float64, param_dtype=jnp.float64)

    def run(parameters, xs, state, first):
        positions = jnp.arange(first, first + TIME)[None]
        ys, _ = layer.apply({"params": parameters}, xs[None], positions, state[None])
        return ys[0]

    def loss(*given):
        return jnp.sum(weights * run(*given, 1))

    given = jax.tree.map(jnp.asarray, (parameters, xs, state))
    of_parameters, of_xs, of_state = jax.grad(loss, (0, 1, 2))(*given)
    flat = {"xs": xs, "state": state, "weights": weights}
    flat |= {"onward": run(*given, 1), "anew": run(*given, 0), "d_xs": of_xs, "d_state": of_state}
    for prefix, tree in (("", parameters), ("d_", of_parameters)):
        flat[f"{prefix}a_param"] = tree["a_param"]
        for gate in ("a_gate", "input_gate"):
            flat |= {f"{prefix}{gate}_{leaf}": tree[gate][leaf] for leaf in ("w", "b")}
    np.savez(pathlib.Path(__file__).with_suffix(".npz"), **jax.tree.map(np.asarray, flat))


if __name__ == "__main__":
    main()
