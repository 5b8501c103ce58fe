"""Random modes of Clark et al. 2024 (arXiv 2409.01969): strength and rank alone, and the spectra that overlaps give."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from systems import correlated_modes_density

from jaxnets.couplings import RandomModes
from jaxnets.meanfield import stationary
from jaxnets.population import dimension, four_point_sum, four_point_sum_x
from jaxnets.spectra import law
from jaxnets.transfer import Tanh


def test_without_overlaps_only_the_strength_sets_the_edge():
    @jax.jit
    @jax.vmap
    def edge(amplitudes, load):
        ensemble = RandomModes(amplitudes, load=load)
        return law(ensemble).right_edge() / jnp.sqrt(ensemble.variance())

    amplitudes = jnp.array([[1.0, 0.1], [2.0, 2.0], [0.3, -1.5]])
    np.testing.assert_allclose(edge(amplitudes, jnp.array([0.1, 1.0, 4.0])), np.ones(3), rtol=1e-9)


def test_effective_rank_of_exponential_amplitudes():
    # <D^2>^2 / <D^4> = scale tanh(1 / scale) for D = exp(-a / (scale P)).
    for scale in (0.02, 0.1, 1.0):
        found = RandomModes.exponential(scale, nodes=128).effective_rank()
        np.testing.assert_allclose(found, scale * np.tanh(1 / scale), rtol=1e-6)


@pytest.mark.slow
def test_equal_overlaps_give_an_ellipse():
    D, load, rho = 1.4, 0.7, 0.6
    ensemble = RandomModes.flat(D, load, rho)
    (curve,) = law(ensemble).boundary(num_points=64)
    x, y = (curve.real / D - rho * (1 + load)) / (1 + rho**2), curve.imag / D / (1 - rho**2)
    np.testing.assert_allclose(np.hypot(x, y), np.full(64, np.sqrt(load)), rtol=1e-8)
    z = D * (rho * (1 + load) + np.sqrt(load) * np.array([0.0, 0.8, -0.5 + 0.4j, 0.6 - 0.35j, 1.2j]))
    np.testing.assert_allclose(law(ensemble).density(z), correlated_modes_density(z, D, load, rho), rtol=1e-7)


def test_few_strong_modes_of_high_overlap_split_the_spectrum():
    # Two groups of overlapping modes, each with its Wishart-like blob at the mean of its amplitudes.
    ensemble = RandomModes(np.array([1.0, 5.0]), load=0.05, overlap=0.9)
    curves = law(ensemble).boundary(num_points=64)
    assert len(curves) == 2
    assert sorted(round(float(np.mean(curve.real))) for curve in curves) == [1, 5]


def test_without_overlaps_strength_and_rank_set_the_sums_over_pairs():
    """1 + g^4 |S1 S2|^2 / PR^D for rates, 2 + 1/PR^D - g^4 |S1 S2|^2 for states, over |1 - g^2 conj(S1) S2|^2."""
    s1, s2 = 0.3 + 0.4j, 0.5 - 0.2j
    for amplitudes, load in ((np.array([1.0, 0.1, -0.4]), 0.6), (np.array([1.2]), 1.0), (np.array([0.3, 3.0]), 0.1)):
        ensemble = RandomModes(amplitudes, load=load)
        g2, rank = load * np.mean(amplitudes**2), load * np.mean(amplitudes**2) ** 2 / np.mean(amplitudes**4)
        power, ladder = g2**2 * abs(s1 * s2) ** 2, abs(1 - g2 * np.conj(s1) * s2) ** 2
        np.testing.assert_allclose(four_point_sum(ensemble, s1, s2), (1 + power / rank) / ladder, rtol=1e-12)
        np.testing.assert_allclose(four_point_sum_x(ensemble, s1, s2), (2 + 1 / rank - power) / ladder, rtol=1e-11)


@pytest.mark.slow
def test_without_overlaps_strength_and_rank_set_the_dimension():
    """Equal amplitudes at PR^D = load, and two values of another load at the same strength and PR^D."""
    two = RandomModes.two_valued(4.0, 0.5, 0.2, load=0.9)
    same = RandomModes.of_rank(jnp.sqrt(two.variance()), two.effective_rank())
    np.testing.assert_allclose(same.variance(), two.variance(), rtol=1e-12)
    state = stationary(two, Tanh())
    found, expected = (dimension(state, ensemble) for ensemble in (two, same))
    assert found.converged and expected.converged
    np.testing.assert_allclose([found.phi, found.x], [expected.phi, expected.x], rtol=1e-9)
