"""Transfer functions: slopes, antiderivatives, and averages under Gaussian input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from jaxnets.transfer import Erf, Linear, ReLU, Tanh, smooth_antiderivative, smooth_covariance

SMOOTH = [Tanh(), Erf(), Linear()]
ALL = [*SMOOTH, ReLU()]
X = jnp.array([-3.1, -0.4, 0.2, 1.7])


def _name(transfer):
    return type(transfer).__name__


@pytest.mark.parametrize("transfer", ALL, ids=_name)
def test_slope_is_the_derivative(transfer):
    np.testing.assert_allclose(transfer.slope(X), jax.vmap(jax.grad(transfer))(X), atol=1e-14)
    assert transfer.slope(X.astype(jnp.float32)).dtype == transfer(X.astype(jnp.float32)).dtype == jnp.float32


@pytest.mark.parametrize("transfer", SMOOTH, ids=_name)
def test_slope_one_at_zero(transfer):
    np.testing.assert_allclose([transfer(jnp.array(0.0)), transfer.slope(jnp.array(0.0))], [0, 1], atol=1e-15)


def test_slopes_far_out():
    far = jnp.array([-800.0, 800.0])
    np.testing.assert_array_equal(Tanh().slope(far), [0, 0])
    np.testing.assert_array_equal(jax.vmap(jax.grad(Tanh().slope))(far / 4), [0, 0])


@pytest.mark.parametrize("transfer", ALL, ids=_name)
@pytest.mark.parametrize("mean, variance", [(0.0, 0.5), (0.7, 2.0), (-1.0, 25.0)])
def test_law_of_the_slope(transfer, mean, variance):
    values, weights = transfer.slope_law(jnp.asarray(mean), jnp.asarray(variance))
    np.testing.assert_allclose(jnp.sum(weights), 1, rtol=1e-14)
    # A trapezoid rule ten times as fine and as wide as double precision can tell.
    z = np.linspace(-12, 12, 24001)
    density = norm.pdf(z) * (z[1] - z[0])
    slopes = np.asarray(transfer.slope(jnp.asarray(mean + np.sqrt(variance) * z)))
    for power in (1, 2):
        exact = np.sum(density * slopes**power)
        if isinstance(transfer, ReLU):
            exact = norm.cdf(mean / np.sqrt(variance))
        # tanh(5 z) has poles at a distance of three steps of the rule.
        np.testing.assert_allclose(jnp.sum(weights * values**power), exact, rtol=1e-6 if variance > 20 else 1e-9)


def test_mean_slope_of_erf():
    # <phi'> = 1 / sqrt(1 + pi C / 2), at any variance C.
    for variance in (0.3, 2.06408, 5.63743):
        values, weights = Erf().slope_law(jnp.asarray(0.0), jnp.asarray(variance))
        np.testing.assert_allclose(jnp.sum(weights * values), 1 / np.sqrt(1 + np.pi * variance / 2), rtol=1e-10)


@pytest.mark.parametrize("transfer", [Tanh(), ReLU()], ids=_name)
def test_mean_slope_is_differentiable(transfer):
    mean_slope = lambda m, v: jnp.sum(jnp.prod(jnp.stack(transfer.slope_law(m, v)), 0))
    step = 1e-5
    found = jax.grad(mean_slope, argnums=(0, 1))(0.3, 0.8)
    by_mean = mean_slope(jnp.asarray(0.3 + step), jnp.asarray(0.8)) - mean_slope(
        jnp.asarray(0.3 - step), jnp.asarray(0.8)
    )
    by_variance = mean_slope(jnp.asarray(0.3), jnp.asarray(0.8 + step)) - mean_slope(
        jnp.asarray(0.3), jnp.asarray(0.8 - step)
    )
    np.testing.assert_allclose(found, [by_mean / (2 * step), by_variance / (2 * step)], rtol=1e-7)


@pytest.mark.parametrize("transfer", ALL, ids=_name)
def test_antiderivative(transfer):
    np.testing.assert_allclose(jax.vmap(jax.grad(transfer.antiderivative))(X), transfer(X), rtol=1e-14)
    np.testing.assert_allclose(transfer.antiderivative(jnp.zeros(())), 0, atol=1e-300)
    np.testing.assert_allclose(smooth_antiderivative(transfer, X), transfer.antiderivative(X), rtol=1e-13)
    far = jnp.array([-800.0, 800.0])
    assert np.all(np.isfinite(jax.vmap(jax.grad(transfer.antiderivative))(far)))


@pytest.mark.parametrize("transfer", SMOOTH, ids=_name)
def test_antiderivative_near_zero(transfer):
    # x^2 / 2 (1 + O(x^2)) to the last digits, which the variance of Phi at small C_0 needs.
    np.testing.assert_allclose(transfer.antiderivative(jnp.array([1e-9, -1e-9])), 5e-19, rtol=1e-15)


@pytest.mark.parametrize("transfer", ALL, ids=_name)
@pytest.mark.parametrize("variance, correlation", [(0.5, 0.3), (2.0, 0.9), (16.0, 0.0), (16.0, 0.99)])
def test_covariance_of_rates(transfer, variance, correlation):
    # In the other pair of independent variables: half the sum and half the difference of x and y.
    z = np.linspace(-10, 10, 1201)
    density = norm.pdf(z) * (z[1] - z[0])
    plus, minus = np.sqrt(variance * (1 + correlation) / 2), np.sqrt(variance * (1 - correlation) / 2)
    x, y = plus * z[:, None] + minus * z[None], plus * z[:, None] - minus * z[None]
    exact = density @ np.asarray(transfer(jnp.asarray(x)) * transfer(jnp.asarray(y))) @ density
    arguments = jnp.asarray(variance), jnp.asarray(correlation)
    kinked = isinstance(transfer, ReLU)
    np.testing.assert_allclose(transfer.covariance(*arguments), exact, rtol=1e-4 if kinked else 1e-9, atol=1e-14)
    if not kinked:
        np.testing.assert_allclose(smooth_covariance(transfer, *arguments), exact, rtol=1e-9, atol=1e-14)


def test_slope_of_the_covariance_is_that_of_price():
    # d <phi phi> / dC = <phi' phi'>, here for erf: (2/pi) / sqrt((C_0 + 2/pi)^2 - C^2).
    variance, correlation = 3.0, 0.6
    found = jax.grad(Erf().covariance, argnums=1)(jnp.asarray(variance), jnp.asarray(correlation)) / variance
    width = variance + 2 / np.pi
    np.testing.assert_allclose(found, 2 / np.pi / np.sqrt(width**2 - (correlation * variance) ** 2), rtol=1e-12)
