"""The elliptic law of Sommers, Crisanti, Sompolinsky & Stein 1988."""

import numpy as np
import pytest

from jaxnets.couplings import Elliptic
from jaxnets.spectra import law


@pytest.mark.parametrize("symmetry", [-0.9, -0.3, 0.0, 0.5, 0.95])
def test_boundary(symmetry):
    g = 1.3
    (curve,) = law(Elliptic(g, symmetry)).boundary(num_points=64)
    x, y = curve.real / (g * (1 + symmetry)), curve.imag / (g * (1 - symmetry))
    np.testing.assert_allclose(np.hypot(x, y), np.ones(64), rtol=1e-8)


def test_density_is_uniform():
    g, s = 1.3, -0.3
    z = g * ((1 + s) * np.array([0.0, 0.5, 0.97, -0.6, 1.03]) + 1j * (1 - s) * np.array([0.0, 0.5, 0.1, -0.7, 0.0]))
    expected = np.array([1, 1, 1, 1, 0]) / (np.pi * g**2 * (1 - s**2))
    np.testing.assert_allclose(law(Elliptic(g, s)).density(z), expected, rtol=1e-9)


def test_the_symmetric_limit_is_the_semicircle():
    g = 1.3
    x = np.array([-2.61, -2.59, -1.0, 0.0, 0.5, 2.5, 2.7])
    expected = np.sqrt(np.maximum(4 * g**2 - x**2, 0)) / (2 * np.pi * g**2)
    np.testing.assert_allclose(law(Elliptic(g, 1.0)).density(x), expected, atol=1e-9)
