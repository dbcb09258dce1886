# %% [markdown]
# # Streaming with a carried state
#
# A recurrent network can run for ever: its state is all that it needs of the past, so a new sample
# costs the same time and no further memory, however many came before. This notebook trains a small
# network that cleans a noisy signal, and then runs it as a service would: sample by sample, in
# chunks, across a restart of the program, and for many streams that began at different times. Each
# time the question is the same: are these the numbers of the whole sequence at once? It runs in
# less than a minute on a CPU with two cores and needs `pip install 'seqmem[plot]'`.

# %%
# %matplotlib inline
import functools
import pathlib
import tempfile
import time

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from matplotlib.figure import Figure

import seqmem
from seqmem import experiment, layers

# %% [markdown]
# ## A network that cleans a signal
#
# The signal is a sine wave of random frequency and phase; the input is the signal with noise. The
# network is a stack of a convolution over the last eight samples, a GRU and a linear layer. The
# state of the convolution is its window, the last eight inputs. So the whole stack is a cell, and
# its state is a tuple with one entry per layer.

# %%
keys = jax.random.split(jax.random.key(0), 6)
net = layers.Stack(
    [
        seqmem.CausalConv(1, 16, width=8, key=keys[0]),
        seqmem.GRU(16, 32, key=keys[1]),
        layers.Map(eqx.nn.Linear(32, 1, key=keys[2])),
    ]
)


def draw(key, steps, batch):
    rngs = jax.random.split(key, 3)
    frequency = jax.random.uniform(rngs[0], (batch, 1), minval=0.02, maxval=0.2)
    phase = jax.random.uniform(rngs[1], (batch, 1), maxval=2 * jnp.pi)
    signal = jnp.sin(frequency * jnp.arange(steps)[:, None, None] + phase)
    return signal + 0.5 * jax.random.normal(rngs[2], signal.shape), signal  # [time, batch, 1]


@jax.jit
def train(net, key):
    optimiser = optax.adam(5e-3)

    def train_step(carry, key):
        net, opt_state = carry
        noisy, signal = draw(key, 128, 32)
        value, gradient = jax.value_and_grad(
            lambda net: ((seqmem.unroll(net, None, noisy)[1] - signal) ** 2).mean()
        )(net)
        updates, opt_state = optimiser.update(gradient, opt_state)
        return (optax.apply_updates(net, updates), opt_state), value

    carry = net, optimiser.init(net)
    (net, _), losses = jax.lax.scan(train_step, carry, jax.random.split(key, 400))
    return net, losses


net, losses = train(net, keys[3])
print(f"squared error {losses[0]:.3f} at first, {losses[-20:].mean():.3f} at last; noise 0.250")

# %% [markdown]
# ## Whole sequence, chunks, single steps
#
# `unroll` returns the state after the last step, and takes it as the state before the first step of
# the next call. `net(state, x)` is one step; jitted, it is compiled once. `donate_argnums` says
# that the old state is not needed afterwards, so the new one may take its memory. All three ways
# compute one recurrence. Products of other shapes may be rounded in another order, so expect
# agreement to rounding, some 1e-7, and not always to the bit.

# %%
noisy, signal = (part[:, 0] for part in draw(keys[4], 300, 1))
_, whole = seqmem.unroll(net, None, noisy)

state, chunks = None, []
for chunk in jnp.split(noisy, [100, 101, 250]):  # 100, 1, 149 and 50 samples
    state, ys = seqmem.unroll(net, state, chunk)
    chunks.append(ys)


@functools.partial(jax.jit, donate_argnums=1)
def step(net, state, x):
    return net(state, x)


state, single, seconds = net.init_state(), [], []
size = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
for x in noisy:
    start = time.perf_counter()
    state, y = jax.block_until_ready(step(net, state, x))
    seconds.append(time.perf_counter() - start)
    single.append(y)

outputs = {"chunks": jnp.concatenate(chunks), "single steps": jnp.stack(single)}
for name, ys in outputs.items():
    difference = jnp.abs(ys - whole)
    print(
        f"{name}: largest difference {difference.max():.1e}, {(difference == 0).mean():.0%} equal"
    )
print(
    f"state: {size} bytes before, {sum(s.nbytes for s in jax.tree.leaves(state))} after 300 steps"
)
print(f"median of a step on this machine: {1e6 * sorted(seconds)[150]:.0f} µs")

figure = Figure(figsize=(8, 3), dpi=100, layout="constrained")
axes = figure.subplots()
axes.plot(noisy[:, 0], ".", ms=2, color="0.6", label="input")
axes.plot(signal[:, 0], color="0.3", lw=0.8, label="signal")
axes.plot(outputs["single steps"][:, 0], label="single steps")
axes.plot(outputs["chunks"][:, 0], "--", label="chunks")
for border in (100, 101, 250):
    axes.axvline(border, color="0.8", lw=0.8, zorder=0)
axes.set(xlabel="sample", ylabel="value")
figure.legend(frameon=False, ncols=4, loc="outside upper center")
figure

# %% [markdown]
# ## Across a restart
#
# A service that stops has to go on where it was. `experiment.save_parameters` writes any tree of
# arrays to one file, with the path, shape and checksum of each, so it can hold the network and the
# state together. A new process makes a network of the same sizes and loads both.

# %%
state, _ = seqmem.unroll(net, None, noisy[:150])
with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / "stream"
    experiment.save_parameters(path, (net, state))
    like = jax.tree.map(jnp.zeros_like, (net, net.init_state()))
    loaded_net, loaded_state = experiment.load_parameters(path, like)
_, expected = seqmem.unroll(net, state, noisy[150:])
_, resumed = seqmem.unroll(loaded_net, loaded_state, noisy[150:])
print("equal to the bit:", bool((expected == resumed).all()))

# %% [markdown]
# ## Many streams of different age
#
# A server runs many streams as one batch, and they do not begin together. `resets[t, b]` says that
# sample t in place b begins a new stream: the state before it is the initial state, and nothing of
# the old stream remains, not in the window of the convolution either. Here new streams begin in
# four places at steps 0, 40, 95 and 155, and the server takes ten samples at a time.

# %%
begins = jnp.array([0, 40, 95, 155])
samples, _ = draw(keys[5], 200, 4)
resets = jnp.arange(200)[:, None] == begins
state, outputs = net.init_state(4), []
for now in range(0, 200, 10):
    state, ys = seqmem.unroll(net, state, samples[now : now + 10], resets=resets[now : now + 10])
    outputs.append(ys)
outputs = jnp.concatenate(outputs)
for place, begin in enumerate(begins):
    _, alone = seqmem.unroll(net, None, samples[begin:, place])
    difference = jnp.abs(outputs[begin:, place] - alone).max()
    print(f"place {place}, from step {begin}: largest difference from a run alone {difference:.1e}")

# %% [markdown]
# ## What to try next
#
# * Another cell in place of the GRU. The state of `seqmem.GatedDeltaRule` has a fixed size too, and
#   `seqmem.SlidingWindowAttention` keeps the last inputs, as the convolution does.
# * Streams without a sample at some steps: `mask` leaves their state as it is.
# * Training on streams that are longer than memory: `training.TruncatedBPTT` carries the state in
#   the same way, see [training.md](../training.md).
