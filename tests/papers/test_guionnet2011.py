"""The single ring theorem of Guionnet, Krishnapur & Zeitouni 2011: prescribed singular values, random modes."""

import jax
import numpy as np
import pytest
from systems import SYSTEMS

from jaxnets.couplings import SingularModes
from jaxnets.spectra import eigenvalues, law

RING = SYSTEMS["singular modes"]
FRACTIONS = np.array([0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98])


def test_the_ring_is_exact():
    edge, void = law(RING.ensemble()).boundary(num_points=64)
    np.testing.assert_allclose(np.abs(edge), np.full(64, np.sqrt(0.3 * 1.8**2 + 0.7 * 0.4**2)), rtol=1e-8)
    np.testing.assert_allclose(np.abs(void), np.full(64, (0.3 / 1.8**2 + 0.7 / 0.4**2) ** -0.5), rtol=1e-8)


@pytest.mark.slow
def test_density_of_the_ring():
    z, density = RING.ring(FRACTIONS, np.linspace(0, 3, FRACTIONS.size))
    point = law(RING.ensemble()).solve(z)
    assert np.all(point.converged) and np.all(point.inside)
    # Gauss's theorem: z g is the fraction of eigenvalues within |z|.
    np.testing.assert_allclose(z * np.asarray(point.green), FRACTIONS, atol=1e-9)
    np.testing.assert_allclose(law(RING.ensemble()).density(z), density, rtol=1e-6)


@pytest.mark.slow
def test_values_that_include_zero_close_the_void():
    ensemble = SingularModes(np.array([0.0, 1.0]), np.array([0.2, 0.8]))
    spectrum = law(ensemble)
    np.testing.assert_allclose(spectrum.zero_mass(), 0.2, rtol=1e-12)
    # x^2 = (n - .2) / (1 - n) and r^2 = x^2 (1 - n) / n: no eigenvalue is small, but the zeros leave no void round.
    n = np.array([0.3, 0.6, 0.9])
    r = np.sqrt((n - 0.2) / n)
    np.testing.assert_allclose(r * np.asarray(spectrum.solve(r).green), n, atol=1e-8)


@pytest.mark.slow
def test_radial_law_of_samples():
    fractions = (np.arange(3600) + 0.5) / 3600
    theory = np.sqrt(RING.radial(fractions, *RING.params))

    def distance(n):  # mean displacement of ordered radii, 3600 eigenvalues in all
        samples = [RING.ensemble().sample(n, key=jax.random.key(seed)) for seed in range(3600 // n)]
        return np.mean(np.abs(np.sort(np.abs([eigenvalues(J) for J in samples]).ravel()) - theory))

    # Both edges are soft on a scale of n^(-1/2); counts of 6 samples scatter by .003 between them.
    assert distance(600) < min(4e-3, distance(60) / 2)
