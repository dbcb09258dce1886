# %% [markdown]
# # Recurrent networks as dynamical systems
#
# A recurrent network is a map that is applied again and again. This notebook asks of such maps
# what one asks of any dynamical system: where do states rest, how fast do neighbours separate,
# for how long do gradients survive, and do two networks that solve the same task move alike?
# Everything runs on a CPU, in less than three minutes on two cores.
#
# The guide [dynamics.md](../dynamics.md) says more about each of these instruments. The next cell
# installs seqmem, with matplotlib, where it is missing, such as on Colab.

# %%
import importlib.util

if importlib.util.find_spec("seqmem") is None:
    import subprocess
    import sys

    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "seqmem[plot]"], check=True)

# %%
# %matplotlib inline
import equinox as eqx
import jax
import jax.numpy as jnp
import optax

import seqmem
from seqmem import dynamics, gradients, tasks, training
from seqmem.gradients import pictures

# %% [markdown]
# ## A network that stores three bits
#
# Each of three inputs is 0 but for rare pulses of −1 and 1, and each of three outputs has to show
# the last pulse of its input. A GRU of 64 units with a linear readout learns it in 600 steps of
# Adam. We train two of them, from different random seeds: the second one is for a comparison at
# the end.

# %%
task = tasks.BitFlipFlop(64, bits=3)
optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(3e-3))


def new_network(key):
    keys = jax.random.split(key)
    return seqmem.GRU(3, 64, key=keys[0]), eqx.nn.Linear(64, 3, key=keys[1])


def answers(network, inputs):  # inputs are [time, batch, 3]
    cell, readout = network
    return jax.vmap(jax.vmap(readout))(seqmem.unroll(cell, None, inputs)[1])


@jax.jit
def train(network, key):
    def step(carry, key):
        network, opt_state = carry
        examples = task.batch(key, 64)
        loss, gradient = jax.value_and_grad(
            lambda network: task.score(answers(network, examples.inputs), examples)
        )(network)
        updates, opt_state = optimiser.update(gradient, opt_state)
        return (optax.apply_updates(network, updates), opt_state), loss

    carry = network, optimiser.init(network)
    (network, _), losses = jax.lax.scan(step, carry, jax.random.split(key, 600))
    return network, losses


networks = []
for seed in (0, 1):
    keys = jax.random.split(jax.random.key(seed))
    network, losses = train(new_network(keys[0]), keys[1])
    networks.append(network)
    print(f"seed {seed}: squared error {losses[0]:.2f} at first, {losses[-50:].mean():.4f} at last")

# %% [markdown]
# ## Where its states rest
#
# While all inputs are 0, a bit is remembered if the state stays as it is. `fixed_points` searches
# for such states from states of trajectories, and finds those that are not stable too;
# `linearise` says of each how small deviations grow or decay. In float64 a fixed point is one to
# about 15 digits. There should be eight stable ones, one for each pattern of bits.

# %%
key = jax.random.key(2)
inputs = task.batch(key, 24).inputs
with jax.enable_x64(True):
    cell, readout = jax.tree.map(lambda leaf: leaf.astype(float), networks[0])
    states = seqmem.solve(cell, None, inputs.astype(float), return_states=True).states
    points = dynamics.fixed_points(cell, jnp.zeros(3), states[::2], noise=0.3, key=key)
    points = points.select(points.is_fixed)
    modes = dynamics.linearise(cell, jnp.zeros(3), points.states)
    bits = jax.vmap(readout)(points.states)
    components = dynamics.principal_components(states, k=3)

for index in (modes.kind == "stable").nonzero()[0]:
    shown = " ".join(f"{bit:+.2f}" for bit in bits[index])
    print(f"stable, shows {shown}; slowest mode: {modes.time_constants[index, 0]:.1f} steps")
for count in (1, 2, 3):
    print(f"saddles with {count} unstable modes: {(modes.num_unstable == count).sum()}")

# %% [markdown]
# The phase portrait shows trajectories in the space of the three directions in which states vary
# most. The stable states stand at the corners of a cube. On its edges are saddles with one
# unstable mode, drawn as a line: a pulse that pushes the state past such a saddle flips one bit.

# %%
pictures.phase_portrait(components, states, points.vectors, modes)

# %% [markdown]
# ## How fast neighbours separate
#
# The Lyapunov exponents say by which factor e^(λt) small differences grow or shrink along each of
# n directions. An instrument should first be tried where the answer is known: the Lorenz system
# of 1963 has 0.9056, 0 and −14.5723 per unit of time. A system in continuous time is a cell too,
# whose step is one of the Runge–Kutta method. From exponents of windows of time follow standard
# errors, also those of derived numbers such as the Kaplan–Yorke dimension (2.06).

# %%
system = tasks.Lorenz63(dt=0.02)
start = system.trajectories(jax.random.key(3), 1, 1)[0, 0]
no_inputs = jnp.zeros((50_000, 0))
windows = dynamics.finite_time_exponents(
    system.as_cell(start), None, no_inputs, window=500, key=jax.random.key(4)
)
exponents, errors = windows.estimate(lambda exponents: exponents / system.dt)
for true, exponent, error in zip(system.exponents, exponents, errors, strict=True):
    print(f"exponent {exponent:8.4f} ± {error:.4f}, in the literature {true:8.4f}")
dimension, error = windows.estimate(dynamics.kaplan_yorke_dimension)
print(f"dimension {dimension:.4f} ± {error:.4f}")

# %% [markdown]
# ## For how long gradients survive
#
# A network learns what lies k steps in the past only if the gradient with respect to the state k
# steps ago is neither 0 nor infinite. In an LSTM as it is usually made the gradient shrinks at
# every step. `gradients.critical` opens the forget gate to the wanted lag, and chooses the gain
# of the recurrent weights at which mean-field theory says that perturbations neither grow nor
# shrink.

# %%
keys = jax.random.split(jax.random.key(5), 3)
lag = 200
lstm = seqmem.LSTM(50, 256, key=keys[0])
cells = {"default": lstm, "critical": gradients.critical(lstm, lag=lag, input_power=1.0)}
xs = jax.random.normal(keys[1], (2 * lag, 4, 50))
direction = jax.random.normal(keys[2], (4, 256))


@jax.jit
def gradient_by_lag(cell):
    def loss(cell, perturbations):
        outputs = seqmem.unroll(cell, None, xs, perturbations=perturbations)[1]
        return (outputs[-1] * direction).sum()

    _, _, flow = gradients.value_grad_and_flow(loss)(cell)
    return gradients.by_lag(flow.norm()).mean(1)  # over the batch


curves = {name: gradient_by_lag(cell)[: lag + 1] for name, cell in cells.items()}
for name, curve in curves.items():
    print(f"{name}: the gradient at lag {lag} is {curve[lag] / curve[1]:.2g} times that at lag 1")
pictures.lag_curves(curves)

# %% [markdown]
# ## Out of chaos by gradient flossing
#
# With large recurrent weights the network is chaotic: its leading exponents are above 0, and
# gradients explode. Gradient flossing (Engelken 2023) trains the exponents themselves, before
# there is a task. The loss is the sum of the squares of the leading ones. Weight decay on the
# recurrent weights helps out of chaos, where gradients along the trajectory are of little use.

# %%
keys = jax.random.split(jax.random.key(6), 4)
chaotic = seqmem.RNN(32, 32, key=keys[0])
U = 3 * jax.random.normal(keys[0], (32, 32)) / 32**0.5
chaotic = eqx.tree_at(lambda cell: (cell.U, cell.W), chaotic, (U, 0.3 * jnp.eye(32)))
recurrent = eqx.tree_at(lambda cell: cell.U, jax.tree.map(lambda leaf: False, chaotic), True)


def floss(cell, key):
    xs = jax.random.normal(key, (120, 2, 32))
    return gradients.floss(cell, None, xs, k=10, washout=80, key=key)


def leading_exponents(cell):
    xs = jax.random.normal(keys[1], (4500, 32))
    state, _ = seqmem.unroll(cell, None, xs[:500])  # onto the attractor
    return dynamics.lyapunov_exponents(cell, state, xs[500:], k=16, key=keys[2]).exponents


decay = optax.adamw(
    optax.cosine_decay_schedule(1e-2, 500), b2=0.99, weight_decay=1.0, mask=recurrent
)
flossed, losses = training.floss_steps(
    floss, chaotic, optax.chain(optax.clip_by_global_norm(1.0), decay), steps=500, key=keys[3]
)
spectra = {"chaotic": leading_exponents(chaotic), "flossed": leading_exponents(flossed)}
for name, spectrum in spectra.items():
    print(f"{name}: the 8 leading exponents are from {spectrum[7]:+.3f} to {spectrum[0]:+.3f}")
pictures.exponents(spectra, size=32)

# %% [markdown]
# ## Do two seeds find the same solution?
#
# Units of two networks do not correspond, so their states are compared without regard to
# coordinates. `linear_cka` asks where the states are, on the same inputs: 1 is the same geometry.
# `dynamical_similarity` asks how they move, and returns an angle: 0 is the same motion. A network
# that was not trained shows what the numbers are without a common solution.

# %%
untrained = new_network(jax.random.key(7))
compared = [*networks, untrained]
examples = task.batch(jax.random.key(8), 64)
first, second, other = (
    seqmem.solve(cell, None, examples.inputs, return_states=True).states for cell, _ in compared
)
for name, states in {"another seed": second, "an untrained network": other}.items():
    similarity = dynamics.dynamical_similarity(
        first, states, delays=4, rank=8, key=jax.random.key(9)
    )
    cka = dynamics.linear_cka(first, states)
    print(f"{name}: CKA {cka:.2f}, angle between the dynamics {similarity.angle:.2f}")
