"""Block-structured random networks (Aljadeff, Stern & Sharpee 2015): the radius is a spectral radius of variances."""

import numpy as np

from jaxnets.couplings import CellTypes
from jaxnets.spectra import law


def test_the_radius_of_blocks():
    f = np.array([0.5, 0.3, 0.2])
    g = np.array([[1.0, 0.5, 2.0], [0.3, 1.5, 0.7], [1.2, 0.1, 0.4]])
    radius = np.sqrt(np.abs(np.linalg.eigvals(g**2 * f)).max())
    spectrum = law(CellTypes(f, g))
    np.testing.assert_allclose(spectrum.right_edge(), radius, rtol=1e-9)
    np.testing.assert_allclose(spectrum.left_edge(), -radius, rtol=1e-9)
