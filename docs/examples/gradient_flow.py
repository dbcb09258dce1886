# %% [markdown]
# # Gradient flow of a model of text
#
# A character model reads 200 characters and predicts the next one. How far back does this one
# prediction teach it anything? Each layer has its own answer, and so has each gate. This notebook
# trains a small language model with two LSTM layers on text that comes with Python, measures the
# gradient that flows back through both layers, and asks what a training window that is too short
# would do to it. It runs in about a minute on a CPU with two cores and needs
# `pip install 'seqmem[plot]'`. The guide [gradients.md](../gradients.md) explains every instrument.

# %%
# %matplotlib inline
import jax
import jax.numpy as jnp
import optax
from matplotlib.figure import Figure

import seqmem
from seqmem import data, gradients, layers, models
from seqmem.gradients import pictures

# %% [markdown]
# ## A model and a text
#
# `data.read_text()` is Python's language reference, the text of `help("for")`. Its last 30,000
# characters are kept for the measurements. `segment_text` cuts the rest into 16 parallel streams,
# and each stream into segments of 64 steps. The state after one segment is the initial state of the
# next.

# %%
text = data.read_text()
vocabulary = data.Vocabulary.from_text(text)
ids = vocabulary.encode(text)
inputs, targets = data.segment_text(ids[:-30_000], time=64, batch=16)
keys = jax.random.split(jax.random.key(0))
body = layers.deep(seqmem.LSTM, 64, 96, num_layers=2, key=keys[0])
untrained = models.LanguageModel(body, len(vocabulary), bias=True, key=keys[1])

model, state = untrained, untrained.init_state(16)
optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(4e-3))
opt_state = optimiser.init(model)
for step in range(400):
    segment = inputs[step % len(inputs)], targets[step % len(targets)]
    model, state, opt_state, loss = models.train_step(
        model, state, opt_state, *segment, optimiser=optimiser
    )
    if step in (0, 100, 399):
        print(f"step {step}: {loss / jnp.log(2):.2f} bits per character")

# %% [markdown]
# ## The gradient of one prediction, layer by layer
#
# The loss below is that of the last of 200 characters alone, so the gradient at lag k has passed
# through exactly k steps. The model is unrolled layer by layer, each with perturbations under its
# own name. `value_grad_and_flow` then returns ∂L/∂s_t of each layer, from one backward pass. The
# loss also returns what each layer reads, which is needed further below.
#
# What should we expect? The forget gates of a new LSTM have a bias of 1, so they are near 0.73: a
# gradient that flows through the memory alone halves every 2.2 steps. What flows through the
# recurrent weights, and what training changes, has to be measured.

# %%
names = ("layer 1", "layer 2")


def last_loss(model, inputs, target, perturbations):
    embedding, body, head = model.layers
    _, xs = seqmem.unroll(embedding, None, inputs)
    layer_inputs = {}
    for name, layer in zip(names, body.layers, strict=True):
        layer_inputs[name] = xs
        _, xs = seqmem.unroll(layer, None, xs, perturbations=perturbations[name])
    _, logits = seqmem.unroll(head, None, xs[-1:])
    return models.token_losses(logits[0], target).sum(), layer_inputs


new_inputs, new_targets = data.segment_text(ids[-30_000:], time=200, batch=32)
measure = jax.jit(gradients.value_grad_and_flow(last_loss, has_aux=True))
curves = {}
for stage, network in {"untrained": untrained, "trained": model}.items():
    (_, layer_inputs), _, flow = measure(network, new_inputs[0], new_targets[0, -1])
    for name in names:
        norms = gradients.by_lag(flow[name].norm())  # [lag, batch]
        curves[f"{name}, {stage}"] = jnp.median(norms, axis=1)
for name, curve in curves.items():
    decay, mass, half_life = gradients.gradient_horizons(curve)
    print(f"{name}: 1/e at lag {decay:.0f}, 99 % within {mass:.0f}, half-life {half_life:.1f}")
pictures.lag_curves(curves)

# %% [markdown]
# The lines are medians over 32 texts. `gradient_horizons` describes each by three numbers of steps:
# the lag at which the norm is 1/e of its first value, the lag up to which 99 % of the sum lies, and
# the half-life of a straight line through the logarithm.
#
# Before training both layers have one half-life, about 11 steps: five times that of the memory
# alone, so most of the gradient flows through the recurrent weights. Training bends the lines. The
# first few steps now carry nearly all of the gradient, most of all in layer 2, and a long weak tail
# remains. The model has learned to forget, because the next character depends mostly on the last
# few.
#
# ## Which steps, and which gates
#
# At every step, the gradient of the state becomes a part of the gradient of the parameters.
# `contributions` measures the size of this part, and `gate_gradients` how much arrives at each
# gate.

# %%
figure = Figure(figsize=(8, 3), dpi=100, layout="constrained")
left, right = figure.subplots(1, 2)
for name, layer in zip(names, model.body.layers, strict=True):
    parts = gradients.contributions(layer, None, layer_inputs[name], flow[name])
    left.semilogy(gradients.by_lag(parts / parts.sum()), label=name)
left.set(xlabel="lag $k$ (steps)", ylabel="share of the parameters' gradient")
upper = model.body.layers[1]
by_gate = gradients.gate_gradients(upper, None, layer_inputs["layer 2"], flow["layer 2"])
for name, gradient in by_gate.items():
    norms = gradients.by_lag(jnp.linalg.norm(gradient, axis=-1))
    right.semilogy(jnp.median(norms, axis=1), label=name)
right.set(xlabel="lag $k$ (steps)", ylabel="gradient at the gates of layer 2")
for axes in (left, right):
    axes.legend(frameon=False)
figure

# %% [markdown]
# On the right, the medians at all gates decay like the state's gradient. On the left the decay ends
# early. `contributions` adds up all texts before it takes the norm, so a few texts can decide it:

# %%
norms = gradients.by_lag(flow["layer 2"].norm())[100]
source = vocabulary.decode(new_inputs[0, -40:, norms.argmax()])
print(f"at lag 100: median {jnp.median(norms):.0e}, largest {norms.max():.0e}, of {source!r}")

# %% [markdown]
# The largest gradient is millions of times the median. When this was written, its text was a row of
# a table, where the position in the row matters. Averages over a batch say little about the typical
# text, so look at both.
#
# ## The window that this model needs
#
# Truncated backpropagation cuts the gradient every few steps. `recommend_window` searches for the
# shortest window whose gradient g′ is within 10 % of the full gradient g, ‖g′ − g‖ ≤ 0.1 ‖g‖. The
# loss is now that of training, the mean over all steps. `truncation_bias` measures one window that
# you have in mind; the cosine says whether its gradient still points in the right direction.


# %%
def mean_loss(model, inputs, targets, method):
    total, weight, _ = models.next_token_loss(model, None, (inputs, targets), method=method)
    return total / weight


batches = list(zip(*data.segment_text(ids[-30_000:], time=128, batch=16), strict=True))[:4]
result = gradients.recommend_window(mean_loss, model, batches, time=128, bias=0.1)
print(f"a bias of at most 10 % needs a window of {result.window} steps")
short = jax.jit(gradients.truncation_bias(mean_loss, window=4))(model, *batches[0])
print(f"a window of 4 steps has a bias of {short.relative:.2f}, at a cosine of {short.cosine:.3f}")
pictures.window_bias(result, bias=0.1)

# %% [markdown]
# A window of 4 steps is off by a third, although 99 % of the norms above lie within 5 to 11 steps.
# A cut every 4 steps leaves the losses only 2.5 steps on average, and the few texts with a long
# reach count as well.
#
# ## What to try next
#
# * Another body: `seqmem.GRU`, or `seqmem.with_chrono_bias(layer, 200, key=key)` for each LSTM.
#   [remember_1000_steps.py](remember_1000_steps.py) shows what those biases do.
# * Your own text, `data.read_text("my.txt")`, and your own loss in the place of `last_loss`.
# * The flow at every step of training: `training.TruncatedBPTT(loss, window=64, flow=True)`.
