"""Errors of means of series whose correlation time is known."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets._numerics import error_of_mean


def _series(correlation_time, samples=640, copies=3000):
    """x_{t+1} = a x_t + noise of variance one, from its stationary state."""
    rng = np.random.default_rng(0)
    a = np.exp(-1 / correlation_time)
    x, series = rng.standard_normal(copies), []
    for _ in range(samples):
        x = a * x + np.sqrt(1 - a**2) * rng.standard_normal(copies)
        series.append(x)
    return np.array(series)


@pytest.mark.parametrize("correlation_time, covered", [(0.1, 0.93), (4, 0.92), (16, 0.90), (32, 0.88)])
def test_errors_cover_means_of_correlated_series(correlation_time, covered):
    """Blocks of 40 samples: from far longer than the correlation time to hardly longer."""
    series = _series(correlation_time)
    error, means = error_of_mean(np, series), series.mean(0)
    assert 0.85 < np.median(error) / means.std() < 1.15
    assert np.mean(np.abs(means) < 2 * error) > covered


def test_alternating_blocks_are_not_corrected():
    series = np.repeat(np.tile([1.0, -1.0], 8), 5)[:, None]
    np.testing.assert_allclose(error_of_mean(np, series), 1 / np.sqrt(15))
    np.testing.assert_array_equal(error_of_mean(np, np.ones((32, 2))), 0)


def test_jax_and_numpy_agree():
    series = _series(20, 64, 5)
    np.testing.assert_allclose(error_of_mean(jnp, jnp.asarray(series)), error_of_mean(np, series), rtol=1e-12)
    series[3, 1] = np.nan
    assert np.isnan(error_of_mean(np, series)[1]) and np.isfinite(error_of_mean(np, series)[0])
