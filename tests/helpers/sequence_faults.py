"""Faults of kernels that get several sequences in one call, or padding."""

import numpy as np

from tests.helpers.numpy_kernels import without

# segments


def ignores_resets(run, arrays, d):
    return run(without(arrays, "resets"), d)


def resets_one_step_late(run, arrays, d):
    if "resets" in arrays:
        arrays = arrays | {"resets": np.roll(arrays["resets"], 1, 0)}
    return run(arrays, d)


def lets_gradients_cross(run, arrays, d):
    """The forward pass knows resets, the backward pass does not."""
    return (*run(arrays, d)[:2], ignores_resets(run, arrays, d)[2])


def leaks_a_little_at_resets(run, arrays, d):
    o, state, gradients = run(arrays, d)
    if "resets" in arrays:
        o = o + 1e-6 * arrays["v"].sum(0)
    return o, state, gradients


def leaks_a_little_gradient(run, arrays, d):
    o, state, gradients = run(arrays, d)
    if "resets" in arrays:
        gradients = gradients | {"v": gradients["v"] + 1e-6 * d[0].sum(0)}
    return o, state, gradients


def leaks_a_little_gradient_to_the_initial_state(run, arrays, d):
    o, state, gradients = run(arrays, d)
    if "resets" in arrays and "initial_state" in arrays:
        d_state = gradients["initial_state"] + 1e-6 * d[1]
        gradients = gradients | {"initial_state": d_state}
    return o, state, gradients


def starts_all_sequences_from_the_first_state(run, arrays, d):
    if "cu_seqlens" in arrays and "initial_state" in arrays:
        states = arrays["initial_state"]
        arrays = arrays | {"initial_state": np.broadcast_to(states[:1], states.shape)}
    return run(arrays, d)


def ignores_where_segments_change(run, arrays, d):
    return run(without(arrays, "segment_ids"), d)


# NaN across segments


def resets_by_multiplication(run, arrays, d):
    o, state, gradients = run(arrays, d)
    if "resets" in arrays:
        before = np.where(np.isnan(arrays["v"]), arrays["v"], 0).sum((0, -1), keepdims=True)
        o = o + 0 * before
    return o, state, gradients


def masks_the_chunk_by_multiplication(run, arrays, d):
    o, state, gradients = run(arrays, d)
    if "segment_ids" in arrays:
        state = state + 0 * arrays["k"].sum(0)[..., None]
    return o, state, gradients


# padding


def runs_over_the_padding(run, arrays, d):
    return run(without(arrays, "lengths"), d)


def masks_padding_by_multiplication(run, arrays, d):
    o, state, gradients = run(arrays, d)
    if "lengths" in arrays:
        state = state + 0 * arrays["v"].sum(0)[..., None, :]
    return o, state, gradients


def needs_one_valid_step(run, arrays, d):
    if "lengths" in arrays:
        arrays = arrays | {"lengths": np.maximum(arrays["lengths"], 1)}
    return run(arrays, d)
