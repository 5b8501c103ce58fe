"""Quadratures of averages over Gaussian variables."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from jaxnets._numerics import interval_moments, pair_density_rule, pair_exponential, split_quadrature


def test_split_quadrature_knows_of_kinks():
    z, weights = split_quadrature(jnp.array([-0.3, 0.8]), 80)
    np.testing.assert_allclose(weights @ jnp.abs(z + 0.3), 0.6 * norm.cdf(0.3) - 0.3 + 2 * norm.pdf(0.3), rtol=1e-12)
    np.testing.assert_allclose(weights @ (z > 0.8).astype(float), norm.cdf(-0.8), rtol=1e-12)
    np.testing.assert_allclose(jnp.sum(weights), 1, rtol=1e-12)


def test_moments_of_intervals():
    z, weights = split_quadrature(jnp.array([-1.2, 0.4]), 60)
    found = interval_moments(jnp.array([-40.0, -1.2, 0.4, 40.0]))
    for power, moments in enumerate(found):
        pieces = (weights * z**power).reshape(3, 60).sum(1)
        np.testing.assert_allclose(moments, pieces, rtol=1e-12)


@pytest.mark.parametrize("correlation", [0.6, -0.9, 0.999, 1.0, -1.0])
@pytest.mark.parametrize(("h", "k"), [(0.0, 0.0), (0.3, -0.3), (0.5, 0.51), (-1.0, 0.4)])
def test_orthants_by_integrals_over_the_correlation(correlation, h, k):
    """P(x > h, y > k), against an integral over x of the law of y given x."""
    sine, cosine, weights = pair_density_rule(jnp.asarray(correlation))
    found = norm.sf(h) * norm.sf(k) + weights @ pair_exponential(jnp.asarray(h), jnp.asarray(k), sine, cosine)
    if correlation == 1:
        exact = norm.sf(max(h, k))
    elif correlation == -1:
        exact = max(norm.cdf(-k) - norm.cdf(h), 0)
    else:
        nodes, gauss = np.polynomial.legendre.leggauss(20)
        x = (h + 0.03 * (np.arange(400)[:, None] + (nodes + 1) / 2)).ravel()
        given = norm.sf((k - correlation * x) / np.sqrt(1 - correlation**2))
        exact = np.sum(0.015 * np.tile(gauss, 400) * norm.pdf(x) * given)
    np.testing.assert_allclose(found, exact, atol=1e-8)
