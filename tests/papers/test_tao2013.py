"""Outliers of low-rank perturbations (Tao 2013): at the eigenvalues of the overlaps, beyond the disc of radius g."""

import jax
import numpy as np
import pytest

from jaxnets.couplings import IID, LowRank
from jaxnets.spectra import eigenvalues, outliers

OVERLAPS = np.array([[1.6, 0.9], [-0.9, 1.6]])


@pytest.mark.slow
def test_outliers_of_independent_weights_are_the_eigenvalues_of_the_overlaps():
    found = outliers(IID(1.2) + LowRank(np.diag([2.0, -1.5, 0.8])))
    assert np.all(found.converged)
    np.testing.assert_allclose(np.sort_complex(found.values[:2]), [-1.5, 2.0], rtol=1e-9)
    assert np.isnan(found.values[2])  # swallowed by the disc
    found = outliers(IID(1.2) + 0.5 * LowRank(2 * OVERLAPS)).values
    np.testing.assert_allclose(np.sort_complex(found), [1.6 - 0.9j, 1.6 + 0.9j], rtol=1e-9)


def test_they_are_there_in_a_sample():
    n = 300
    J = (IID(0.8) + LowRank(OVERLAPS)).sample(n, key=jax.random.key(0))
    z = np.asarray(eigenvalues(J))
    beyond = z[np.abs(z) > 1.2]
    assert beyond.size == 2
    # U and V have noise of order one, so the outliers fluctuate by about sqrt(2 / n) g |mu| / sqrt(|mu|^2 - g^2).
    np.testing.assert_allclose(np.sort_complex(beyond), [1.6 - 0.9j, 1.6 + 0.9j], atol=5 * np.sqrt(2 / n))
