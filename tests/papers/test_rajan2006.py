"""Columns of excitation and inhibition with different variances (Rajan & Abbott 2006)."""

import numpy as np

from jaxnets.couplings import CellTypes
from jaxnets.spectra import law


def test_the_radius_is_the_mean_of_the_variances_of_columns():
    """|z|^2 = f_E sigma_E^2 + f_I sigma_I^2, whatever the other types; the density is higher in the middle."""
    f, sigma = np.array([0.7, 0.3]), np.array([1.0, 2.0])
    spectrum = law(CellTypes(f, np.stack([sigma, sigma])))
    radius = np.sqrt(f @ sigma**2)
    np.testing.assert_allclose(spectrum.right_edge(), radius, rtol=1e-10)
    # |z|^2 <G^2 / (|z|^2 + G^2 k)> with the standard deviations as gains: the same eigenvalues as those of J G.
    other = law(CellTypes([1.0], 1.0), np.repeat(sigma, [7, 3]))
    z = radius * np.array([0.0, 0.3, 0.6j, 0.9])
    np.testing.assert_allclose(spectrum.density(z), other.density(z), rtol=1e-6)
    assert np.all(np.diff(np.asarray(spectrum.density(z))) < 0)
