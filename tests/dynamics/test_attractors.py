"""Distances between attractors and between spectra, against loops and known values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmem import dynamics
from tests.helpers.refusals import assert_refused

pytestmark = pytest.mark.usefixtures("float64")

KEY = jax.random.key(0)


def draw(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def test_state_space_divergence_is_that_of_histograms():
    xs, ys, bins = draw(1, 53, 3, 2), 1.5 * draw(2, 91, 2) + 0.3, 5
    points = xs.reshape(-1, 2)
    margin = 0.1 * points.std(0, ddof=1)
    edges = [
        np.linspace(low, high, bins + 1)
        for low, high in zip(points.min(0) - margin, points.max(0) + margin, strict=True)
    ]
    counts = [np.histogramdd(states, edges)[0] for states in (points, ys)]
    p, q = ((n + 1e-5) / (n.sum() + 1e-5 * bins**2) for n in counts)
    divergence = dynamics.state_space_divergence(xs, ys, bins=bins)
    np.testing.assert_allclose(divergence, (p * np.log(p / q)).sum(), rtol=1e-10)
    assert counts[1].sum() < len(ys)  # some are outside
    assert jnp.isnan(dynamics.state_space_divergence(xs, ys + 100, bins=bins))
    assert jnp.isnan(dynamics.state_space_divergence(xs, jnp.full((9, 2), jnp.nan), bins=bins))


def test_mixture_divergence_is_that_of_two_gaussians():
    xs, ys = jnp.zeros((1, 3)), jnp.full((2, 3), 0.5)
    divergence = dynamics.mixture_divergence(xs, ys, variance=0.25, num_samples=4001, key=KEY)
    np.testing.assert_allclose(divergence, 3 * 0.5**2 / (2 * 0.25), atol=4 * (3 / 4001) ** 0.5)


def reference_spectrum(x, smoothing):
    """With the kernel and the edges of scipy.ndimage.gaussian_filter1d."""
    power = np.abs(np.fft.rfft(x - x.mean())) ** 2
    radius = int(4 * smoothing + 0.5)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / smoothing) ** 2)
    weights /= weights.sum()
    n, smooth = len(power), np.zeros(len(power))
    for f in range(n):
        for offset in range(-radius, radius + 1):
            place = (f + offset) % (2 * n)
            smooth[f] += weights[offset + radius] * power[place if place < n else 2 * n - 1 - place]
    return smooth / smooth.sum()


def test_power_spectrum_distance_is_that_of_smoothed_spectra():
    xs, ys = draw(1, 61, 2), np.cumsum(draw(2, 61, 2), 0)
    expected = [
        np.sqrt(0.5 * ((np.sqrt(p) - np.sqrt(q)) ** 2).sum())
        for p, q in (
            [reference_spectrum(states[:, i], 2.3) for states in (xs, ys)] for i in range(2)
        )
    ]
    distance = dynamics.power_spectrum_distance(xs, ys, smoothing=2.3)
    np.testing.assert_allclose(distance, np.mean(expected), rtol=1e-10)
    scaled = dynamics.power_spectrum_distance(xs, 7 * xs[::-1] + 3, smoothing=2.3)
    np.testing.assert_allclose(scaled, 0, atol=1e-7)


def test_power_spectrum_distance_without_smoothing_averages_a_batch():
    xs = draw(1, 17, 3, 2)
    power = (np.abs(np.fft.rfft(xs - xs.mean(0), axis=0)) ** 2).mean(1)
    p, q = power[:, :1] / power[:, :1].sum(), power[:, 1:] / power[:, 1:].sum()
    distance = dynamics.power_spectrum_distance(xs[..., :1], xs[..., 1:], smoothing=0)
    np.testing.assert_allclose(distance, np.sqrt(0.5 * ((p**0.5 - q**0.5) ** 2).sum()), rtol=1e-10)


def test_refusals():
    xs = draw(1, 7, 2)
    divergence, distance = dynamics.state_space_divergence, dynamics.power_spectrum_distance
    mixture = dynamics.mixture_divergence
    assert_refused("state_space_divergence got states of shapes", divergence, xs, draw(1, 7, 3))
    assert_refused("state_space_divergence got bins=0", divergence, xs, xs, bins=0)
    many = draw(1, 7, 9)
    assert_refused("state_space_divergence got 30 bins for each of 9", divergence, many, many)
    assert_refused("mixture_divergence got states", mixture, xs, draw(1, 7), key=KEY)
    assert_refused("mixture_divergence got variance=0", mixture, xs, xs, variance=0, key=KEY)
    assert_refused("mixture_divergence got num_samples=0", mixture, xs, xs, num_samples=0, key=KEY)
    assert_refused("power_spectrum_distance got 7 and 6 steps", distance, xs, xs[1:])
    assert_refused("power_spectrum_distance got smoothing=-1", distance, xs, xs, smoothing=-1)
