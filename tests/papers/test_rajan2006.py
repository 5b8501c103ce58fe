"""Columns of excitation and inhibition with different variances (Rajan & Abbott 2006)."""

import numpy as np
from scipy.optimize import brentq

from jaxnets.couplings import CellTypes
from jaxnets.spectra import law


def test_the_radius_is_the_mean_of_the_variances_of_columns():
    """|z|^2 = f_E sigma_E^2 + f_I sigma_I^2, whatever the other types; the density is higher in the middle."""
    f, sigma = np.array([0.7, 0.3]), np.array([1.0, 2.0])
    spectrum = law(CellTypes(f, np.stack([sigma, sigma])))
    radius = np.sqrt(f @ sigma**2)
    np.testing.assert_allclose(spectrum.right_edge(), radius, rtol=1e-10)
    # 1 - k eigenvalues lie within s = |z|^2, with f_a sigma_a^2 / (s + sigma_a^2 k) of sum 1.
    expected = []
    for s in radius**2 * np.array([1e-12, 0.09, 0.36, 0.81]):
        k = brentq(lambda k, s=s: f @ (sigma**2 / (s + sigma**2 * k)) - 1, 0, 1 - 1e-14)
        by_s, by_k = (f @ (sigma**power / (s + sigma**2 * k) ** 2) for power in (2, 4))
        expected.append(by_s / by_k / np.pi)
    density = np.asarray(spectrum.density(radius * np.array([0.0, 0.3, 0.6j, 0.9])))
    np.testing.assert_allclose(density, expected, rtol=1e-6)
    assert np.all(np.diff(density) < 0)
