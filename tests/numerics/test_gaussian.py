"""Quadratures of averages over Gaussian variables."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_ndtr
from scipy.stats import norm

from jaxnets._numerics import (
    graded_quadrature,
    interval_moments,
    pair_density_rule,
    pair_exponential,
    split_quadrature,
    tail,
)


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


def test_tail_far_out():
    """ln H, R = G / H and R - x against SciPy, by both libraries; derivatives against each other."""
    x = np.linspace(-12, 48, 601)
    for found in (tail(x), tail(jnp.asarray(x))):
        np.testing.assert_allclose(found.log, log_ndtr(-x), rtol=1e-13)
        np.testing.assert_allclose(found.ratio, np.exp(norm.logpdf(x) - log_ndtr(-x)), rtol=1e-12)
        np.testing.assert_allclose(found.excess, found.ratio - x, rtol=2e-12)
    np.testing.assert_allclose(tail(jnp.array([1e3, 1e6])).excess, [1e-3 - 2e-9 + 1e-14, 1e-6], rtol=1e-11)
    slopes = jax.vmap(jax.jacfwd(tail))(jnp.asarray(x))
    here = tail(x)
    np.testing.assert_allclose(slopes.log, -here.ratio, rtol=1e-12)
    np.testing.assert_allclose(slopes.ratio, here.ratio * here.excess, rtol=1e-9)


def test_graded_quadrature_of_steps():
    """<Phi((z - c) / s)> = Phi(-c / sqrt(1 + s^2)) and <cos k z> = exp(-k^2 / 2), wherever the rule is fine."""
    for c in (0.0, 2.0, 5.0, 20.0):
        for s in (1.0, 0.1, 0.01):
            z, weights = graded_quadrature(np.asarray(c), np.asarray(s), 161)
            np.testing.assert_allclose(weights @ norm.cdf((z - c) / s), norm.cdf(-c / np.hypot(1, s)), atol=1e-13)
            np.testing.assert_allclose(weights @ np.cos(1.5 * z), np.exp(-(1.5**2) / 2), atol=1e-13)
