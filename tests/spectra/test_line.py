"""Spectra of symmetric couplings, which lie on the real line: exact laws, intervals, and cores that pass zero."""

import jax.numpy as jnp
import numpy as np
import pytest
from systems import SYSTEMS

from jaxnets.couplings import DeepHebbian
from jaxnets.spectra import law


@pytest.mark.slow
def test_spectra_on_the_line():
    load, c = SYSTEMS["Hopfield"].params
    spectrum = law(SYSTEMS["Hopfield"].ensemble())
    assert spectrum.is_symmetric()
    low, high = c * (1 - np.sqrt(load)) ** 2, c * (1 + np.sqrt(load)) ** 2
    x = np.array([0.5 * low, low * 1.001, 0.5 * (low + high), high * 0.999, 1.01 * high, -0.3])
    # Marchenko & Pastur, with a mass 1 - load at 0 and nothing in the gap above it.
    expected = np.sqrt(np.maximum((high - x) * (x - low), 0)) / (2 * np.pi * c * np.abs(x))
    np.testing.assert_allclose(spectrum.density(x), expected, atol=1e-7)
    (curve,) = spectrum.boundary(num_points=64)
    np.testing.assert_allclose([curve.real.min(), curve.real.max()], [low, high], rtol=1e-9)
    np.testing.assert_array_equal(curve.imag, np.zeros(64))
    np.testing.assert_allclose(spectrum.zero_mass(), 1 - load, rtol=1e-12)
    np.testing.assert_array_equal(spectrum.density(x[:3] + 0.1j), np.zeros(3))


@pytest.mark.parametrize("load", [0.02, 0.05, 1.0])
def test_symmetric_sequences_have_one_interval(load):
    """At load 1, and at loads so small that the average over angles hardly sees its curves."""
    spectrum = law(DeepHebbian(load, 0.1, (1.0,), symmetric=True))
    (curve,) = spectrum.boundary(num_points=65)
    edges = [spectrum.left_edge(), spectrum.right_edge()]
    np.testing.assert_allclose([curve.real.min(), curve.real.max()], edges, rtol=1e-9)
    assert curve[0] == curve[-1] and curve.shape == (65,)


def test_averages_where_the_core_passes_zero():
    """t = 1 / (x - r(t)), as averaged over 4,000,000 angles: roots lie 7e-6 from the circle."""
    t = jnp.asarray(94.96471548706933 - 0.10838542916310748j)
    r, kappa = DeepHebbian(0.05, 1.0, (0.4,) * 3, symmetric=True).r_and_kappa(t)
    np.testing.assert_allclose(1 / (0.01 - r), t, rtol=1e-10)
    np.testing.assert_allclose(kappa * abs(t) ** 2, 1, rtol=1e-5)


@pytest.mark.slow
def test_density_where_the_core_passes_zero():
    """Against t = 1 / (x - alpha <lambda / (1 - lambda t)>), iterated with 4,000,000 angles."""
    spectrum = law(DeepHebbian(0.05, 1.0, (0.4,) * 3, symmetric=True))
    expected = [0.04821676391, 0.03450015362, 0.03207788233, 0.02721100058]
    np.testing.assert_allclose(spectrum.density([-0.02, 0.01, 0.02, 0.05]), expected, rtol=1e-7)
    # Closer to 0 the averages lose all digits, and say so.
    near = np.asarray(spectrum.density(np.array([-1e-3, -3e-4, -1e-4, 1e-4, 3e-4, 1e-3])))
    assert np.all(np.isnan(near))


@pytest.mark.slow
def test_a_line_that_reaches_zero():
    """lambda(theta) = 1 + cos(theta): (x t - 1 + alpha)^2 (1 - 2 t) = alpha^2, of which one root has Im t < 0."""
    load = 0.3
    spectrum = law(DeepHebbian(load, 1.0, (0.5,), symmetric=True))
    x = np.array([0.004, 0.005, 0.007, 0.01, 0.1, 1.0, 3.0, 3.5])
    linear = [np.array([at, load - 1]) for at in x]
    cubics = [np.polysub(np.polymul(np.polymul(a, a), [-2, 1]), [load**2]) for a in linear]
    exact = [max(-np.roots(cubic).imag.min(), 0) / np.pi for cubic in cubics]
    np.testing.assert_allclose(spectrum.density(x), exact, rtol=1e-6, atol=1e-15)
    (curve,) = spectrum.boundary()
    np.testing.assert_allclose([curve.real.min(), curve.real.max()], [0, spectrum.right_edge()], rtol=1e-9)
