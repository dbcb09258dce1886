"""Faults of kernels in values, gradients, states and lengths."""

import numpy as np

from tests.helpers.numpy_kernels import CHUNK, KEY_SIZE, correct, has_no_fault, without

# values


def applies_no_scale(run, arrays, d):
    o, state, gradients = run(arrays, d)
    return o * KEY_SIZE**0.5, state, gradients


def adds_without_removing(run, arrays, d):
    """Linear attention in place of the delta rule."""
    beta = arrays["beta"]
    o, state, gradients = correct("simple_gla")(arrays | {"v": beta[..., None] * arrays["v"]}, d)
    return o, state, gradients | {"beta": np.zeros_like(beta)}


def reads_before_the_write(run, arrays, d):
    o, state, gradients = run(arrays, d)
    return np.concatenate([np.zeros_like(o[:1]), o[:-1]]), state, gradients


# initial state


def ignores_the_initial_state(run, arrays, d):
    o, state, gradients = run(without(arrays, "initial_state"), d)
    if "initial_state" in arrays:
        gradients = gradients | {"initial_state": np.zeros_like(arrays["initial_state"])}
    return o, state, gradients


def crashes_on_an_initial_state(run, arrays, d):
    if "initial_state" in arrays:
        raise NotImplementedError("initial_state")
    return run(arrays, d)


def adds_the_initial_state_at_the_end(run, arrays, d):
    o, state, gradients = ignores_the_initial_state(run, arrays, d)
    return o, state + arrays.get("initial_state", 0), gradients


# final state


def returns_the_initial_state(run, arrays, d):
    o, state, gradients = run(arrays, d)
    return o, arrays.get("initial_state", np.zeros_like(state)), gradients


def returns_the_state_before_the_last_step(run, arrays, d):
    o, state, gradients = run(arrays, d)
    if len(o) > 1 and "cu_seqlens" not in arrays:
        head = {n: x if n == "initial_state" else x[:-1] for n, x in arrays.items()}
        state = run(head, (d[0][:-1], d[1]))[1]
    return o, state, gradients


def returns_a_transposed_state(run, arrays, d):
    o, state, gradients = run(arrays, d)
    return o, state.swapaxes(-1, -2), gradients


# gradients


def detaches_the_decay(run, arrays, d):
    o, state, gradients = run(arrays, d)
    return o, state, gradients | {"g": np.zeros_like(gradients["g"])}


def ignores_the_gradient_of_the_final_state(run, arrays, d):
    return run(arrays, (d[0], np.zeros_like(d[1])))


def halves_the_gradient_of_beta(run, arrays, d):
    o, state, gradients = run(arrays, d)
    return o, state, gradients | {"beta": gradients["beta"] / 2}


def detaches_the_initial_state(run, arrays, d):
    o, state, gradients = run(arrays, d)
    if "initial_state" in gradients:
        gradients = gradients | {"initial_state": np.zeros_like(gradients["initial_state"])}
    return o, state, gradients


# one step


def does_not_store_a_single_step(run, arrays, d):
    o, state, gradients = run(arrays, d)
    if len(o) == 1:
        state = arrays.get("initial_state", np.zeros_like(state))
    return o, state, gradients


def does_not_decay_in_a_single_step(run, arrays, d):
    if len(arrays["q"]) == 1:
        arrays = arrays | {"g": np.zeros_like(arrays["g"])}
    return run(arrays, d)


# any length


def forgets_the_remainder(run, arrays, d):
    """The final state is that after the last whole chunk."""
    o, state, gradients = run(arrays, d)
    whole = CHUNK * (len(o) // CHUNK)
    if 0 < whole < len(o):
        head = {n: x if n == "initial_state" else x[:whole] for n, x in arrays.items()}
        state = run(head, (d[0][:whole], d[1]))[1]
    return o, state, gradients


def returns_zeros_for_the_remainder(run, arrays, d):
    o, state, gradients = run(arrays, d)
    if len(o) > CHUNK:
        o[CHUNK * (len(o) // CHUNK) :] = 0
    return o, state, gradients


# splitting


def ignores_the_initial_state_of_one_chunk(run, arrays, d):
    """A fast path for a single chunk."""
    is_one_chunk = len(arrays["q"]) == CHUNK
    return (ignores_the_initial_state if is_one_chunk else has_no_fault)(run, arrays, d)


def detaches_the_final_state_of_one_chunk(run, arrays, d):
    is_one_chunk = len(arrays["q"]) == CHUNK
    fault = ignores_the_gradient_of_the_final_state if is_one_chunk else has_no_fault
    return fault(run, arrays, d)
