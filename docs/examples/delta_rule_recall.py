# %% [markdown]
# # Recall by the delta rule
#
# Linear attention keeps its past in one matrix S. A key k and a value v are stored by adding v kᵀ,
# and a query q reads S q. It can only add. So what happens when a key gets a new value? The old one
# is still there, and the query reads a mixture. The delta rule first removes what is stored under
# the key, and then writes:
#
#     S_t = S_{t−1} (I − β_t k_t k_tᵀ) + β_t v_t k_tᵀ
#
# This notebook shows the difference on the matrix itself, without any training, and in small
# networks that learn to recall. It runs in about a minute on a CPU with two cores and needs
# `pip install 'seqmem[plot]'`.

# %%
# %matplotlib inline
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from matplotlib.figure import Figure

import seqmem
from seqmem import layers, models, tasks

# %% [markdown]
# ## A key gets a new value
#
# The cell below learns nothing. Its input is a query, a key and a value, which it hands to the
# memory as a `seqmem.Write`; with `remove` that is the delta rule with β = 1. Values 1, 2 and 3 are
# written under three keys, then value 4 under the first key again. Each query is the key just
# written, and each value is a unit vector. The picture shows what is stored under each key, S k, as
# a column, after every write.

# %%
SIZE = 4


class Store(seqmem.AbstractFastWeightCell):
    """Stores the value under the key, and then reads with the query."""

    input_shape = (3, SIZE)  # query, key, value
    has_removal: bool = eqx.field(static=True)

    def init_state(self):
        return seqmem.Memory(jnp.zeros((1, SIZE, SIZE)))  # one head

    def project(self, x):
        query, key, value = x[:, None]
        return seqmem.Write(query, key, value, remove=key if self.has_removal else None), None

    def output(self, reading, extra):
        return reading[0]


keys = jnp.linalg.qr(jax.random.normal(jax.random.key(0), (SIZE, SIZE)))[0][:3]  # orthonormal
written = keys[jnp.array([0, 1, 2, 0])]
xs = jnp.stack([written, written, jnp.eye(SIZE)], 1)
figure = Figure(figsize=(7, 4), dpi=100, layout="constrained")
panels = figure.subplots(2, 4, sharex=True, sharey=True)
for row, name in zip(panels, ("sum", "delta rule"), strict=True):
    solution = seqmem.solve(Store(name == "delta rule"), None, xs, return_states=True)
    print(f"{name}: the first key reads {solution.outputs[-1].round(2) + 0} at last")
    for step, axes in enumerate(row, 1):
        axes.imshow(solution.states.matrix[step - 1, 0] @ keys.T, cmap="RdBu", vmin=-1, vmax=1)
        axes.set_xticks(range(3), [1, 2, 3])
        axes.set_yticks(range(SIZE), [1, 2, 3, 4])
        axes.set(xlabel="key", ylabel="entry of the value")
        axes.set_title(f"{name}, write {step}", size="small")
        axes.label_outer()
figure

# %% [markdown]
# ## Two tasks
#
# In `tasks.AssociativeRecall`, four pairs of a key and a value are read, then each key comes again
# at some later step, and its value is the answer. All keys of a sequence differ: nothing has to be
# overwritten. The second task is made here. Ten pairs share only four keys, then each key is asked
# for, and the answer is its *last* value. A sum has no order: where a key has several values,
# linear attention should have to guess. A random one of them is right in half of all cases.

# %%
KEYS, VALUES, PAIRS = 4, 16, 10
BLANK = KEYS + VALUES  # keys are the tokens 0 … 3, values 4 … 19


def all_differ(key):
    inputs, targets, weights = tasks.AssociativeRecall(64, pairs=4, vocabulary=64).batch(key, 32)
    return inputs, targets + 32, weights  # the answer as a token


@functools.partial(jax.vmap, out_axes=1)
def draw_overwritten(key):
    rngs = jax.random.split(key, 4)
    k = jnp.concatenate([jnp.arange(KEYS), jax.random.randint(rngs[0], (PAIRS - KEYS,), 0, KEYS)])
    k = jax.random.permutation(rngs[1], k)  # every key is written at least once
    v = KEYS + jax.random.randint(rngs[2], (PAIRS,), 0, VALUES)
    last = PAIRS - 1 - jnp.argmax(k[::-1] == jnp.arange(KEYS)[:, None], axis=1)
    questions = jax.random.permutation(rngs[3], KEYS)
    asked = jnp.stack([questions, jnp.full(KEYS, BLANK)], 1).ravel()
    inputs = jnp.concatenate([jnp.stack([k, v], 1).ravel(), asked])
    answers = jnp.zeros_like(inputs).at[2 * PAIRS :: 2].set(v[last[questions]])
    return inputs, answers, answers > 0


def overwritten(key):
    return draw_overwritten(jax.random.split(key, 32))


inputs, answers, _ = overwritten(jax.random.key(1))
print("pairs    ", *inputs[: 2 * PAIRS, 0])
print("questions", *inputs[2 * PAIRS :: 2, 0])
print("answers  ", *answers[2 * PAIRS :: 2, 0])

# %% [markdown]
# ## Networks that learn to recall
#
# The cell stands in a language model, after a convolution over four steps: the step of a value then
# sees the key before it too, so both can be stored together. All networks get 300 training steps,
# the same optimiser and new examples at every step.

# %%
optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(3e-3))


def make_network(cell_type, tokens):
    keys = jax.random.split(jax.random.key(2), 3)
    convolution = seqmem.DepthwiseConv(64, width=4, key=keys[0])
    cell = cell_type(64, 64, num_heads=2, key=keys[1])
    body = layers.Stack([convolution, cell])
    return models.LanguageModel(body, tokens, norm=layers.RMSNorm(64), key=keys[2])


def loss_and_accuracy(network, inputs, answers, weights):
    _, logits = seqmem.unroll(network, None, inputs)
    losses, is_right = models.token_losses(logits, answers), logits.argmax(-1) == answers
    loss, accuracy = ((weights * x).sum() / weights.sum() for x in (losses, is_right))
    return loss, accuracy


@functools.partial(jax.jit, static_argnums=1)
def train(network, draw, key):  # the accuracy of each step, on examples that are new to it
    def step(carry, key):
        network, opt_state = carry
        gradient_of = jax.value_and_grad(loss_and_accuracy, has_aux=True)
        (_, accuracy), gradient = gradient_of(network, *draw(key))
        updates, opt_state = optimiser.update(gradient, opt_state)
        return (optax.apply_updates(network, updates), opt_state), accuracy

    carry = network, optimiser.init(network)
    return jax.lax.scan(step, carry, jax.random.split(key, 300))[1]


figure = Figure(figsize=(8, 3), dpi=100, layout="constrained")
problems = {"all keys differ": (all_differ, 64), "keys are overwritten": (overwritten, BLANK + 1)}
for axes, (name, (draw, tokens)) in zip(figure.subplots(1, 2), problems.items(), strict=True):
    for cell_type in (seqmem.LinearAttention, seqmem.DeltaRule):
        accuracies = train(make_network(cell_type, tokens), draw, jax.random.key(3))
        rate = accuracies[-20:].mean()
        print(f"{name}, {cell_type.__name__}: {rate:.1%} right in the last 20 steps")
        axes.plot(accuracies, lw=0.8, label=cell_type.__name__)
    axes.set(title=name, xlabel="training step", ylabel="accuracy", ylim=(0, 1.03))
    axes.legend(frameon=False)
figure

# %% [markdown]
# Where all keys differ, both learn to recall. Where keys are overwritten, the delta rule soon makes
# no mistakes, and linear attention stays far below it. That it does better than a random choice may
# be due to the convolution, which sees the order of neighbouring pairs.
#
# ## What to try next
#
# * `seqmem.GatedDeltaRule` has a decay too, which forgets all keys at once, and `seqmem.KDA` one
#   for each entry of a key. Only the name of the cell changes.
# * More pairs than a key has entries: `tasks.AssociativeRecall(256, pairs=32, vocabulary=256)`.
#   Keys can then not be orthogonal, and every write disturbs others.
# * `seqmem.blocks.gated_delta_net_block`, the paper's block, in place of convolution and cell.
