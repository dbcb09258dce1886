# %% [markdown]
# # All steps at once, by Newton's method
#
# A recurrent network seems to need its steps one after another: s_t waits for s_{t−1}. But the
# states of a whole sequence also solve one large system of equations,
#
#     r_t = F(s_{t−1}, x_t) − s_t = 0,    t = 1 … T,
#
# which Newton's method solves for all t at once. Each iteration linearises every step around the
# present guess and solves a linear recurrence, in about log T operations one after another. If a
# few iterations suffice, a sequence of 10,000 steps is no longer 10,000 operations deep. When do
# they suffice? This notebook counts iterations, compares them with the Lyapunov exponent of the
# network, and checks values and gradients against the plain loop. It runs in about a minute on a
# CPU with two cores and needs `pip install 'seqmem[plot]'`.

# %%
# %matplotlib inline
import functools

import jax
import jax.numpy as jnp
from matplotlib.figure import Figure

import seqmem
from seqmem import dynamics

# %% [markdown]
# ## One sequence, solved
#
# The method is an argument; the cell does not change. `solve` also returns how the states were
# found: `stats.iterations` and `stats.converged`, for every sequence. Here `chunk_size=None` takes
# all 512 steps at once, and `fallback=None` returns the states as they are where the method does
# not converge. (By default `Scan` computes such sequences again, so that results are right.)

# %%
TIME = 512
keys = jax.random.split(jax.random.key(0), 4)
xs = jax.random.normal(keys[0], (TIME, 3))
cells = {
    "RNN": seqmem.RNN(3, 32, key=keys[1]),
    "GRU": seqmem.GRU(3, 32, key=keys[1]),
    "ParaGRU": seqmem.ParaGRU(3, 32, key=keys[1]),
}
limits = {"chunk_size": None, "max_iters": TIME, "fallback": None}
methods = {"Newton": seqmem.Newton(**limits), "QuasiNewton": seqmem.QuasiNewton(**limits)}


@functools.partial(jax.jit, static_argnums=0)
def solve(method, cell, xs):
    return seqmem.solve(cell, None, xs, method=method)


for name, cell in cells.items():
    expected = solve(seqmem.Scan(), cell, xs).outputs
    solution = solve(methods["Newton"], cell, xs)
    error = jnp.abs(solution.outputs - expected).max()
    print(f"{name}: {solution.stats.iterations} iterations, largest error {error:.1e}")

# %% [markdown]
# ## What an iteration does
#
# Stopping early shows how the error goes away. After k iterations the first k states are exact in
# any case. A network that forgets does much better: it forgets the error of an early state too, so
# all parts of the sequence converge at the same time, and the error is squared at every iteration
# until only rounding is left.

# %%
expected = solve(seqmem.Scan(), cells["GRU"], xs).outputs
figure = Figure(figsize=(6, 3), dpi=100, layout="constrained")
axes = figure.subplots()
for count in (1, 2, 3, 4):
    method = seqmem.Newton(chunk_size=None, max_iters=count, fallback=None)
    error = jnp.abs(solve(method, cells["GRU"], xs).outputs - expected).max(-1)
    axes.semilogy(jnp.maximum(error, 1e-9), lw=0.8, label=f"after {count}")
axes.set(xlabel="step $t$", ylabel="largest error of the GRU's state")
figure.legend(frameon=False, ncols=4, loc="outside upper center")
figure

# %% [markdown]
# ## Iterations against the Lyapunov exponent
#
# The largest Lyapunov exponent λ₁ says how fast a network forgets: small differences between states
# grow like e^(λ₁ t). `with_gain` multiplies the recurrent weights, from a network that forgets at
# once to one that is almost or fully chaotic. `Newton` uses the whole Jacobian of each step;
# `QuasiNewton` uses its diagonal, and an iteration is much cheaper. Expect few iterations where λ₁
# is far below 0, and as many as there are steps near 0 and above.

# %%
long_xs = jax.random.normal(keys[2], (2000, 3))
figure = Figure(figsize=(8, 3), dpi=100, layout="constrained")
panels = dict(zip(methods, figure.subplots(1, 2, sharey=True), strict=True))
print("cell     gain  exponent  iterations of", *methods)
for name, cell in cells.items():
    exponents, counts = [], {method: [] for method in methods}
    for gain in (0.5, 1.0, 1.5, 2.0, 3.0, 4.0):
        scaled = seqmem.with_gain(cell, gain)
        measured = dynamics.lyapunov_exponents(scaled, None, long_xs, k=1, key=keys[3])
        exponents.append(float(measured.exponents[0]))
        for method in methods:
            stats = solve(methods[method], scaled, xs).stats
            counts[method].append(int(stats.iterations) if stats.converged else TIME)
        last = [counts[method][-1] for method in methods]
        print(f"{name:8} {gain:4} {exponents[-1]:9.3f} {last[0]:14} {last[1]:11}")
    for method, axes in panels.items():
        axes.semilogy(exponents, counts[method], "o", label=name)
for method, axes in panels.items():
    axes.axvline(0, color="0.6", lw=0.8)
    axes.set(xlabel=r"$\lambda_1$ (nats per step)", title=method)
panels["Newton"].set_ylabel(f"iterations for {TIME} steps")
panels["Newton"].legend(frameon=False)
figure

# %% [markdown]
# Far below 0 a few iterations suffice, near 0 it takes hundreds, and above 0 almost as many as
# there are steps. The diagonal alone needs several times as many iterations as the whole Jacobian.
# The units of a ParaGRU read only themselves, so its Jacobian is diagonal. The cell declares that,
# and both methods then take the same cheap iterations.
#
# ## The same values, the same gradients
#
# The method changes how the states are found, not what they are. The backward pass starts from the
# solution and uses the exact Jacobians, with `QuasiNewton` too, so gradients are those of the loop.


# %%
def gradient(method, cell):
    def loss(cell):
        return (seqmem.unroll(cell, None, xs, method=method)[1] ** 2).mean()

    return jax.tree.leaves(jax.jit(jax.grad(loss))(cell))


for name in ("GRU", "ParaGRU"):
    expected = gradient(seqmem.Scan(), cells[name])
    for method in (seqmem.Newton(), seqmem.QuasiNewton()):
        pairs = zip(gradient(method, cells[name]), expected, strict=True)
        worst = max(jnp.abs(a - b).max() / jnp.abs(b).max() for a, b in pairs)
        print(f"{name}, {type(method).__name__}: largest relative difference {worst:.1e}")

# %% [markdown]
# ## Is it faster, and what to try next
#
# On a CPU it is not: Newton's method does more work in fewer operations one after another, and a
# few cores gain nothing from that. `Scan` is several times faster there. It is meant for
# accelerators, for long sequences, small states and small batches.
#
# * Longer sequences: `Newton()` takes chunks of 256 steps, each from the end of the one before.
# * The edge of chaos: `gradients.critical(cell)` brings λ₁ near 0. What does it cost?
# * A cell of your own that declares `jacobian = seqmem.DiagonalJacobian()`.
# * More cells, seeds and times: `python -m benchmarks.studies.newton` in a clone.
