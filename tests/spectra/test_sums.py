"""Laws of sums do not depend on the order of their parts, and scale with the unit of J."""

import itertools

import numpy as np
import pytest
from systems import sampled_eigenvalues

from jaxnets.couplings import IID, DeepHebbian, Elliptic, RandomModes, SingularModes
from jaxnets.spectra import law

S = SingularModes


def _answers(ensemble, z):
    """Right edge, ends of the crossings of the real axis, and density, all in the unit of z."""
    spectrum = law(ensemble)
    return np.concatenate([[spectrum.right_edge()], spectrum.real_crossings()]), np.asarray(spectrum.density(z))


def _agree(sums, z, rtol=1e-7):
    (edges, densities), *others = [_answers(ensemble, z) for ensemble in sums]
    assert np.all(np.isfinite(densities)) and np.any(densities > 0)
    for other_edges, other in others:
        np.testing.assert_allclose(other_edges, edges, rtol=rtol)
        np.testing.assert_allclose(other, densities, rtol=rtol, atol=1e-9)
    return edges, densities


def test_the_order_of_two_singular_modes():
    """One amplitude each: a ring between (4 - 1)^(1/2) and (4 + 1)^(1/2)."""
    z = np.array([0.2, 1.0, 1.7, 1.8, 1.9, 2.1, 2.3])
    edges, density = _agree([S([1.0]) + S([2.0]), S([2.0]) + S([1.0])], z)
    np.testing.assert_allclose(edges[1:], [-(5**0.5), -(3**0.5), 3**0.5, 5**0.5], rtol=1e-9)
    np.testing.assert_array_equal(density > 0, (z > 3**0.5) & (z < 5**0.5))
    np.testing.assert_allclose(density[4], 0.1453, atol=5e-5)


@pytest.mark.slow
def test_multiples_of_a_sum():
    z = np.array([0.5, 1.75, 1.8, 1.9, 2.1])
    edges, density = _answers(S([1.0]) + S([2.0]), z)
    for q in (0.01, 300.0):
        scaled_edges, scaled = _answers(q * (S([2.0]) + S([1.0])), q * z)
        np.testing.assert_allclose(scaled_edges, q * edges, rtol=1e-8)
        np.testing.assert_allclose(scaled * q**2, density, rtol=1e-7, atol=1e-9)


SUMS = {
    "equal": (S([1.0]), S([1.0])),
    "not invertible": (S([0.0, 1.0]), S([2.0])),
    "noise": (S([0.0, 1.0]), S([2.0]), 0.3 * IID()),
    "spread": (S([0.01, 1.0], [0.1, 0.9]), S([0.5, 3.0], [0.3, 0.7]), S([0.2])),
    "modes": (S([1.5]), RandomModes.flat(0.5, load=0.4, overlap=0.5)),
    "sequence": (DeepHebbian(0.4, 0.2, (1.0,)), Elliptic(0.3, -0.5)),
    "three kinds": (S([2.0, 1.0]), 0.3 * DeepHebbian(0.4, 0.2, (1.0,)), -0.4 * S([1.0, 0.5])),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SUMS)
def test_the_order_of_any_parts(name):
    parts = SUMS[name]
    size = float(np.sqrt(sum(part.variance() for part in parts)))
    z = size * np.random.default_rng(1).uniform(0.05, 1.3, 24) * np.exp(1j * np.linspace(0.1, 3, 24))
    _agree([sum(order[1:], order[0]) for order in itertools.permutations(parts)], z)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["equal", "not invertible", "spread", "three kinds"])
def test_samples_of_sums(name):
    parts = SUMS[name]
    ensemble = sum(parts[1:], parts[0])
    values = np.abs(sampled_eigenvalues(ensemble, None, 500, 2)).ravel()
    ends = np.linspace(0, 1.2 * values.max(), 257)  # rings end in steps of the density: many of them, thin
    r = (ends[1:] + ends[:-1]) / 2
    angles = np.exp(1j * (np.arange(16) + 0.5) * np.pi / 16)
    density = np.asarray(law(ensemble).density(r[:, None] * angles)).mean(1)
    mass = np.cumsum(np.pi * np.diff(ends**2) * density)
    mass += 1 - mass[-1]  # an atom lies at 0
    observed = np.searchsorted(np.sort(values), ends[1:]) / values.size
    np.testing.assert_allclose(mass, observed, atol=0.05)
