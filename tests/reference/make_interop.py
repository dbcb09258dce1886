"""Writes interop.npz beside it: recurrent cells of Haiku, Keras and ONNX, in float64.

    python tests/reference/make_interop.py

with jax==0.10.2, dm-haiku==0.0.17, keras==3.15.1 on JAX, and onnx==1.23.2, on a CPU. Keras's
own tanh returns float32, so its layers get that of JAX as their activation. The
ReferenceEvaluator of onnx runs its nodes, without gradients: those in the file are central
differences, of order 8.

An array's name is "case | kind | name": the parameters with their names there, the inputs xs, the
initial states, the outputs ys, the final states, and the gradients of the sum of
cos(1 + i) value_i over the entries of all outputs and final states. The states of an LSTM are h
and c, in this order.
"""

import os

os.environ["KERAS_BACKEND"] = "jax"

import haiku as hk
import jax
import jax.numpy as jnp
import keras
import numpy as np
import onnx
from make import HERE
from onnx.reference import ReferenceEvaluator

jax.config.update("jax_enable_x64", True)
TIME, BATCH, INPUT, HIDDEN = 4, 2, 3, 5
VERSIONS = "jax 0.10.2, dm-haiku 0.0.17, keras 3.15.1, onnx 1.23.2"
ARRAYS: dict[str, np.ndarray] = {"versions": np.array(VERSIONS)}


def draw(rng, shape):
    return 0.7 * rng.standard_normal(shape)


def loss(run, params, xs, states):
    results = jax.tree.leaves(run(params, xs, states))
    return sum(jnp.sum(jnp.cos(1 + jnp.arange(x.size)).reshape(x.shape) * x) for x in results)


def save(case, run, params, num_states, gradients=jax.grad):
    """What `run(params, xs, states)` computes: ys and the final states."""
    rng = np.random.default_rng([len(ARRAYS), num_states])
    params = {name: draw(rng, shape) for name, shape in params.items()}
    xs = draw(rng, (TIME, BATCH, INPUT))
    directions = 2 if "bidirectional" in case else 1
    states = [draw(rng, (BATCH, HIDDEN)) for _ in range(num_states * directions)]
    ys, finals = run(params, xs, states)
    d_params, d_xs, d_states = gradients(
        lambda *arguments: loss(run, *arguments), argnums=(0, 1, 2)
    )(params, xs, states)

    def put(kind, values):
        for name, value in values.items():
            ARRAYS[f"{case} | {kind} | {name}"] = np.asarray(value)

    put("param", params)
    put("gradient", d_params)
    put("value", {"xs": xs, "ys": ys, "d_xs": d_xs})
    for kind, values in {"state": states, "final": finals, "d_state": d_states}.items():
        put(kind, dict(enumerate(values)))


def haiku():
    cases = {
        "LSTM": (lambda: hk.LSTM(HIDDEN), 2),
        "GRU": (lambda: hk.GRU(HIDDEN), 1),
        "VanillaRNN": (lambda: hk.VanillaRNN(HIDDEN), 1),
        "VanillaRNN of one bias": (lambda: hk.VanillaRNN(HIDDEN, double_bias=False), 1),
    }
    for name, (make, num_states) in cases.items():

        def unroll(xs, states, make=make):
            state = hk.LSTMState(*states) if len(states) == 2 else states[0]
            ys, state = hk.static_unroll(make(), xs, state)
            return ys, jax.tree.leaves(state)

        transformed = hk.without_apply_rng(hk.transform(unroll))
        xs = jnp.zeros((TIME, BATCH, INPUT))
        shapes = transformed.init(jax.random.key(0), xs, [jnp.zeros((BATCH, HIDDEN))] * num_states)
        shapes = {f"{m}:{p}": array.shape for m, ps in shapes.items() for p, array in ps.items()}

        def run(params, xs, states, transformed=transformed):
            nested: dict = {}
            for path, array in params.items():
                module, parameter = path.split(":")
                nested.setdefault(module, {})[parameter] = array
            return transformed.apply(nested, jnp.asarray(xs), list(map(jnp.asarray, states)))

        save(f"haiku {name}", run, shapes, num_states)


def keras_layers():
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    options = {"return_sequences": True, "return_state": True}
    layers = {
        "SimpleRNN": (keras.layers.SimpleRNN(HIDDEN, **options), 1),
        "LSTM": (keras.layers.LSTM(HIDDEN, **options), 2),
        "GRU": (keras.layers.GRU(HIDDEN, **options), 1),
        "GRU, reset before": (keras.layers.GRU(HIDDEN, reset_after=False, **options), 1),
        "GRU, bidirectional": (keras.layers.Bidirectional(keras.layers.GRU(HIDDEN, **options)), 1),
        "GRU without biases": (keras.layers.GRU(HIDDEN, use_bias=False, **options), 1),
    }
    for name, (layer, num_states) in layers.items():
        layer.build((BATCH, TIME, INPUT))
        parts = (layer.forward_layer, layer.backward_layer) if "bidirectional" in name else (layer,)
        for part in parts:
            part.cell.activation = jnp.tanh
        prefixes = ("forward_layer:", "backward_layer:") if "bidirectional" in name else ("",)
        names = [
            f"{prefix}{variable.name}"
            for prefix, part in zip(prefixes, parts, strict=True)
            for variable in part.trainable_variables
        ]
        shapes = dict(zip(names, (v.shape for v in layer.trainable_variables), strict=True))

        def run(params, xs, states, layer=layer, names=names):
            variables = [params[name] for name in names]
            outputs, _ = layer.stateless_call(
                variables,
                layer.non_trainable_variables,
                jnp.swapaxes(jnp.asarray(xs), 0, 1),
                initial_state=list(map(jnp.asarray, states)),
            )
            return jnp.swapaxes(outputs[0], 0, 1), list(outputs[1:])

        save(f"keras {name}", run, shapes, num_states)


def central(function, argnums):
    """Gradients of a function of trees of NumPy arrays by central differences of order 8."""
    weights = np.array([4 / 5, -1 / 5, 4 / 105, -1 / 280])
    width = 0.01

    def gradients(*arguments):
        leaves, structure = jax.tree.flatten(arguments)

        def derivative(i, j):
            total = 0.0
            for k, weight in enumerate(weights, 1):
                for sign in (1, -1):
                    moved = [np.array(leaf) for leaf in leaves]
                    moved[i].reshape(-1)[j] += sign * k * width
                    total += sign * weight * float(function(*jax.tree.unflatten(structure, moved)))
            return total / width

        results = [
            np.reshape([derivative(i, j) for j in range(leaf.size)], leaf.shape)
            for i, leaf in enumerate(leaves)
        ]
        return jax.tree.unflatten(structure, results)

    assert argnums == tuple(range(3))
    return gradients


def onnx_nodes():
    hidden, inputs = HIDDEN, INPUT
    cases = {
        "RNN": ("RNN", 1, 1, {}),
        "LSTM": ("LSTM", 4, 1, {}),
        "LSTM with peepholes": ("LSTM", 4, 1, {}),
        "LSTM, bidirectional": ("LSTM", 4, 2, {"direction": "bidirectional"}),
        "GRU": ("GRU", 3, 1, {"linear_before_reset": 1}),
        "GRU, reset before": ("GRU", 3, 1, {"linear_before_reset": 0}),
    }
    for name, (op, gates, directions, attributes) in cases.items():
        shapes = {
            "W": (directions, gates * hidden, inputs),
            "R": (directions, gates * hidden, hidden),
            "B": (directions, 2 * gates * hidden),
        }
        shapes |= {"P": (directions, 3 * hidden)} if "peepholes" in name else {}
        num_states = 2 if op == "LSTM" else 1
        states = ["initial_h", "initial_c"][:num_states]
        names = ["X", "W", "R", "B", "", *states, *(["P"] if "P" in shapes else [])]
        outputs = ["Y", "Y_h", "Y_c"][: num_states + 1]
        node = onnx.helper.make_node(op, names, outputs, hidden_size=hidden, **attributes)

        def value(name):
            return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.DOUBLE, None)

        graph = onnx.helper.make_graph(
            [node], "cell", [value(n) for n in names if n], [value(n) for n in outputs]
        )
        evaluator = ReferenceEvaluator(onnx.helper.make_model(graph))

        def run(params, xs, states, evaluator=evaluator, directions=directions, names=states):
            # States of ours: (h, c) forward, then (h, c) backward.
            parts = len(names)
            stacked = {n: np.stack(states[i::parts]) for i, n in enumerate(names)}
            ys, *finals = evaluator.run(None, {"X": xs} | params | stacked)
            ys = np.concatenate([ys[:, direction] for direction in range(directions)], axis=-1)
            return ys, [final[d] for d in range(directions) for final in finals]

        save(f"onnx {name}", run, shapes, num_states, central)


if __name__ == "__main__":
    haiku()
    keras_layers()
    onnx_nodes()
    np.savez_compressed(HERE / "interop.npz", **ARRAYS)
