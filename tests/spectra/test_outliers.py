"""Outliers of finite-rank parts: exact cases, samples of two sizes, the determinant of all modes, gradients."""

import jax
import numpy as np
import pytest
from systems import GAINS, sampled_eigenvalues

from jaxnets.couplings import IID, DeepHebbian, Elliptic, LowRank
from jaxnets.spectra import outliers


@pytest.mark.slow
def test_outliers_against_samples():
    bulk = DeepHebbian(0.2, 0.0, (0.6,))
    ensemble = bulk + LowRank(np.array([[1.5, 0.8], [-0.8, 1.5]]))
    expected = np.asarray(outliers(ensemble, GAINS).values)
    spread = []
    for n, seeds in ((200, 12), (800, 6)):
        z = sampled_eigenvalues(ensemble, GAINS, n, seeds)
        nearest = [row[np.argmin(np.abs(row[:, None] - expected[None]), axis=0)] for row in z]
        spread.append(np.sqrt(np.mean(np.abs(np.array(nearest) - expected[None]) ** 2)))
    # Of order |mu| / sqrt(n), and so half as large in networks four times as large.
    assert spread[1] < 2 / np.sqrt(800) and spread[1] < 0.8 * spread[0]


SHARED = (
    LowRank(np.array([[1.3, 0.9], [-0.6, 0.8]]), noise=0.5, uniform=True)
    + 0.5 * LowRank(np.array([[1.8, -1.0], [1.4, 1.0]]), noise=0.5, uniform=True)
    - LowRank(1.7, noise=0.0)
    + LowRank(-0.4, noise=0.0, uniform=True)
)


def test_uniform_modes_act_as_one_of_the_summed_means():
    found = outliers(IID(0.3) + LowRank(1.5, uniform=True) + 2 * LowRank(-0.2, uniform=True)).values
    np.testing.assert_allclose(found, [1.1], rtol=1e-9)


@pytest.mark.slow
def test_uniform_modes_act_together():
    """The determinant of all modes, from vectors as long as memory allows."""
    n = 200_000
    modes = SHARED.sample(n, key=jax.random.key(0))
    left, right = (np.asarray(a) for a in modes.low_rank())
    # Bulk and gains: V^T G (z - J G)^{-1} U / N = V^T U <G> / (N z).
    brute = np.linalg.eigvals(right @ left) * GAINS.mean()
    found = np.asarray(outliers(IID(0.2) + SHARED, GAINS).values)
    brute = brute[np.argsort(np.abs(brute))[-found.size :]]  # the others are the shared column, counted thrice
    nearest = np.min(np.abs(brute[:, None] - found[None]), axis=0)
    assert found.size == 4 and np.all(nearest < 5 * 2 / np.sqrt(n))


@pytest.mark.slow
def test_uniform_modes_against_samples():
    ensemble = Elliptic(0.4, 0.5) + SHARED
    expected = np.asarray(outliers(ensemble, GAINS).values)
    assert expected.size == 4 and np.all(np.isfinite(expected))
    spread = []
    for n, seeds in ((200, 16), (800, 8)):
        z = sampled_eigenvalues(ensemble, GAINS, n, seeds)
        nearest = [np.min(np.abs(row[:, None] - expected[None]), axis=0) for row in z]
        spread.append(np.sqrt(np.mean(np.array(nearest) ** 2)))
    assert spread[1] < 2 / np.sqrt(800) and spread[1] < 0.8 * spread[0]


def test_outliers_alone_follow_the_mean_gain():
    # In a bulk with r = 0 an outlier solves z = mu <G>.
    found = outliers(IID(0.5) + 2 * LowRank(np.diag([0.9, 0.1])), GAINS)
    assert np.all(found.converged) and np.all(found.residual < 1e-8)
    np.testing.assert_allclose(found.values[0], 1.8 * GAINS.mean(), rtol=1e-9)
    assert np.isnan(found.values[1])


def test_slopes_of_an_outlier():
    # z = mu + g^2 s / mu for elliptic weights.
    f = lambda mu, g, s: outliers(Elliptic(g, s) + LowRank(mu)).values[0].real
    exact = lambda mu, g, s: mu + g**2 * s / mu
    found = jax.jit(jax.value_and_grad(f, argnums=(0, 1, 2)))(2.0, 0.7, 0.5)
    np.testing.assert_allclose(
        np.hstack(found), np.hstack(jax.value_and_grad(exact, (0, 1, 2))(2.0, 0.7, 0.5)), rtol=1e-8
    )
