"""Faults of kernels in the range, the width and the order of their numbers."""

import numpy as np

# strong decay


def divides_by_the_decay(run, arrays, d):
    """exp(G_t) · exp(−G_s) in place of exp(G_t − G_s)."""
    o, state, gradients = run(arrays, d)
    total = np.cumsum(arrays["g"].astype(np.float32), 0)
    return o * (np.exp(total) * np.exp(-total))[..., None], state, gradients


def clamps_the_decay(run, arrays, d):
    return run(arrays | {"g": np.maximum(arrays["g"], -5)}, d)


def has_no_gradient_at_a_decay_of_zero(run, arrays, d):
    o, state, gradients = run(arrays, d)
    g = arrays["g"]
    return o, state, gradients | {"g": gradients["g"] * np.where(g == 0, 1, g / g)}


# long time


def forgets_after_64_steps(run, arrays, d):
    time = len(arrays["q"])
    if time <= 64:
        return run(arrays, d)
    o, state, gradients = run(arrays | {"resets": (np.arange(time) % 64 == 0)[:, None]}, d)
    return o, state, gradients


def truncates_the_gradient_after_64_steps(run, arrays, d):
    return (*run(arrays, d)[:2], forgets_after_64_steps(run, arrays, d)[2])


# dtypes


def returns_float32(run, arrays, d):
    o, state, gradients = run(arrays, d)
    return o.astype(np.float32), state, gradients


def returns_the_state_in_the_dtype_of_inputs(run, arrays, d):
    o, state, gradients = run(arrays, d)
    return o, state.astype(arrays["v"].dtype), gradients


def overflows_in_16_bits(run, arrays, d):
    o, state, gradients = run(arrays, d)
    if arrays["v"].dtype != np.float32:
        state = state + 0 * np.float16(1e6)
    return o, state, gradients


def sums_in_16_bits(run, arrays, d):
    """The state is rounded to 16 bits after each step."""
    dtype = arrays["v"].dtype
    if dtype == np.float32:
        return run(arrays, d)
    state = arrays["initial_state"]
    outputs = []
    for t in range(len(arrays["q"])):
        step = {n: state if n == "initial_state" else x[t : t + 1] for n, x in arrays.items()}
        o, state, _ = run(step, (d[0][t : t + 1], d[1]))
        state = state.astype(dtype).astype(np.float32)
        outputs.append(o)
    return np.concatenate(outputs), state, run(arrays, d)[2]


# determinism

NOISE = np.random.default_rng(0)


def adds_in_another_order_each_time(run, arrays, d):
    o, state, gradients = run(arrays, d)
    return o * (1 + 1e-6 * NOISE.random()), state, gradients


def returns_another_gradient_each_time(run, arrays, d):
    o, state, gradients = run(arrays, d)
    return o, state, gradients | {"k": gradients["k"] * (1 + 1e-6 * NOISE.random())}
