"""Symmetric deep-Hebbian couplings, Jiang et al. 2021 (arXiv 2103.14324): largest eigenvalue, T_SG = 1 / t_edge."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.couplings import DeepHebbian
from jaxnets.spectra import law


@jax.jit
@jax.vmap
def _edges(ensemble):
    edge = law(ensemble).rightmost()
    return edge.z, edge.zeta, edge.converged


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
