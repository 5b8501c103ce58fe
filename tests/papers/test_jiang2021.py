"""Symmetric deep-Hebbian couplings, Jiang et al. 2021 (arXiv 2103.14324): largest eigenvalue, T_SG, profiles."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.couplings import DeepHebbian
from jaxnets.memory import glass_temperature, replica_state, symmetric_core, zero_load_overlaps
from jaxnets.spectra import law


@jax.jit
@jax.vmap
def _edges(ensemble):
    edge = law(ensemble).rightmost()
    return edge.z, edge.zeta, edge.converged


@pytest.mark.slow
def test_one_neighbour_and_hopfield():
    loads, gammas = jnp.array([0.3, 0.02, 0.138, 0.5, 2.0]), jnp.array([0.5, 0.0, 0.0, 0.0, 0.0])
    ensembles = jax.vmap(lambda load, gamma: DeepHebbian(load, 1.0, gamma[None], symmetric=True))(loads, gammas)
    z, zeta, converged = _edges(ensembles)
    assert np.all(converged)
    np.testing.assert_allclose([z[0].real, zeta[0].real], [3.4269, 2.4911], atol=6e-5)
    # gamma = 0, the Hopfield model: edge (1 + sqrt(alpha))^2 and T_SG = 1 + sqrt(alpha).
    np.testing.assert_allclose(z[1:].real, (1 + np.sqrt(loads[1:])) ** 2, rtol=1e-8)
    np.testing.assert_allclose(zeta[1:].real, 1 + np.sqrt(loads[1:]), rtol=1e-8)
    np.testing.assert_allclose([z.imag, zeta.imag], np.zeros((2, 5)), atol=1e-8)


@pytest.mark.slow
def test_two_neighbours():
    ensembles = jax.tree.map(lambda x: x[None], DeepHebbian(1.0, 1.0, (1.0, 1.0), symmetric=True))
    z, zeta, converged = _edges(ensembles)
    assert converged[0]
    np.testing.assert_allclose([z[0].real, zeta[0].real], [9.7793, 6.6660], atol=6e-5)


# --- equilibrium (arXiv 2103.14317): what an attractor remembers --------------------------------------------------


def _core(num, d, gamma):
    return symmetric_core(DeepHebbian(1.0, 1.0, (gamma,) * d, symmetric=True), num).condensed


def test_correlation_conversion():
    """A pattern becomes overlaps of (77, 51, 13, 3, 1) / 128 with itself and its neighbours, at any 1/2 < gamma < 1."""
    profile = np.array([0, 1, 3, 13, 51, 77, 51, 13, 3, 1, 0]) / 128
    for gamma in (0.51, 0.7, 0.99):
        found = zero_load_overlaps(_core(11, 1, gamma), np.eye(11)[5])
        assert found.converged
        np.testing.assert_array_equal(found.value, profile)
    np.testing.assert_array_equal(zero_load_overlaps(_core(11, 1, 0.49), np.eye(11)[5]).value, np.eye(11)[5])


def test_anti_hebbian():
    """Overlaps of -1/8 with all neighbours of the window (d = 2), -1/32 (d = 3), published as -.12 and -.034."""
    for d, gamma, own, other in ((2, -0.3, 0.874, -0.12), (3, -0.2, 0.968, -0.034)):
        found = zero_load_overlaps(_core(15, d, gamma), np.eye(15)[7])
        assert found.converged
        np.testing.assert_allclose(found.value[7 : 8 + d], [own] + [other] * d, atol=0.01)
        np.testing.assert_allclose(found.value[8 + d :], 0, atol=0.01)


@pytest.mark.slow
def test_small_loads_keep_the_profile():
    """Up to alpha about .0005 at gamma = .7, where fields of the profile come close to 0; then it is lost."""
    ensemble = lambda load: DeepHebbian(load, 1.0, (0.7,), symmetric=True)
    start = np.eye(13)[6]
    states = jax.vmap(lambda load: replica_state(ensemble(load), start, num_steps=200, nodes=600))(
        jnp.array([1e-4, 3e-4, 5e-3])
    )
    assert np.all(states.converged)
    profile = np.array([77, 51, 13, 3, 1, 0, 0]) / 128
    errors = np.max(np.abs(states.m[:, 6:] - profile[None]), 1)
    assert errors[0] < errors[1] < 0.005
    np.testing.assert_allclose(states.m[2], 0, atol=1e-8)


@pytest.mark.slow
def test_glass_is_where_the_spectrum_ends():
    """T_SG is 1 / t at the right edge of the couplings, known to the spectral law without any replicas."""
    for load, hetero in ((0.3, (0.5,)), (1.0, (1.0, 1.0)), (0.5, (0.3, -0.2))):
        ensemble = DeepHebbian(load, 1.0, hetero, symmetric=True)
        found, edge = glass_temperature(ensemble), law(ensemble).rightmost()
        assert found.converged and edge.converged
        np.testing.assert_allclose(found.temperature, edge.zeta.real, rtol=1e-7)
