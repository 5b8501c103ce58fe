"""Amit, Gutfreund & Sompolinsky 1985, 1987: the phase diagram of the Hopfield model, in replica symmetry."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.couplings import DeepHebbian
from jaxnets.memory import capacity, coexistence, glass_temperature, replica_state, replicon_temperature


def hopfield(load):
    return DeepHebbian(load, 1.0, (0.0,), symmetric=True)


@pytest.mark.slow
def test_capacity():
    """alpha_c = .138 at T = 0 with 1.6 % of wrong bits, alpha_1 = .051."""
    found = capacity(hopfield(0.1), [1.0])
    assert found.converged
    np.testing.assert_allclose(found.load, 0.138, atol=0.0005)
    np.testing.assert_allclose((1 - found.m[0]) / 2, 0.016, atol=0.0005)
    found = coexistence(hopfield(0.1), [1.0])
    assert found.converged
    np.testing.assert_allclose(found.load, 0.051, atol=0.001)


def test_glass_temperature():
    loads = jnp.array([0.01, 0.1, 0.5, 1.0, 4.0])
    found = jax.vmap(lambda load: glass_temperature(hopfield(load)))(loads)
    assert np.all(found.converged)
    np.testing.assert_allclose(found.temperature, 1 + np.sqrt(loads), rtol=1e-10)


def test_replicon_temperature():
    """T_R = sqrt(8 alpha / 9 pi) exp(-1 / 2 alpha) as alpha -> 0."""
    errors = []
    for load in (0.03, 0.05):
        found = replicon_temperature(hopfield(load), [1.0])
        assert found.converged
        errors.append(float(found.temperature / (np.sqrt(8 * load / (9 * np.pi)) * np.exp(-1 / (2 * load))) - 1))
    # r - 1 is of the order of chi = sqrt(2 / pi alpha) exp(-1 / 2 alpha), 2e-7 and 2e-4, and enters times 1 / alpha.
    assert abs(errors[0]) < 1e-5 and abs(errors[1]) < 0.01


@pytest.mark.slow
def test_retrieval_line():
    """It meets T = 1 - 1.95 sqrt(alpha) at small load, and coexistence T = 1 - 2.6 sqrt(alpha)."""
    for T in (0.99, 0.995):
        for line, slope in ((capacity, 1.95), (coexistence, 2.6)):
            found = line(hopfield(0.1), [1.0], T, loads=(1e-7, 1e-3), num_steps=3000)
            assert found.converged
            np.testing.assert_allclose((1 - T) / np.sqrt(found.load), slope, atol=0.1)


@pytest.mark.slow
def test_energies():
    """Table of mixtures at alpha -> 0: E = -m^2 n / 2, with m = .5, .375 for 3 and 5 patterns."""
    for num, m in ((1, 1.0), (3, 0.5), (5, 0.375)):
        state = replica_state(hopfield(1e-3), [m] * num, nodes=200)
        assert state.converged and state.stability > 0
        # No field is below m: errors of the overlaps are exp(-m^2 / 2 alpha r), those of the energy alpha.
        np.testing.assert_allclose(state.m, m, atol=1e-6)
        np.testing.assert_allclose(state.free_energy, -num * m**2 / 2, atol=2e-3)
