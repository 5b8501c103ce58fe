"""Chaos in random neural networks, Sompolinsky, Crisanti & Sommers 1988 (PRL 61, 259): the stationary states."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.couplings import IID, DeepHebbian
from jaxnets.meanfield import largest_lyapunov, stationary
from jaxnets.transfer import Erf, Tanh

AT = 32 * jnp.array([1, 2, 4, 8])  # tau = 1, 2, 4, 8


@pytest.mark.parametrize(
    "g, variance, rate_variance, mean_slope",
    [
        pytest.param(1.5, 0.747686, 0.342093, 0.65791, marks=pytest.mark.slow),
        (2.0, 1.924805, 0.513178, 0.48682),
        # For tanh C^phi(0) = 1 - <phi'>, exactly.
        (3.0, 5.446264, 1 - 0.31942, 0.31942),
        (5.0, 16.96405, 0.81075, 0.18925),
        (10.0, 71.36809, 0.90609, 0.09391),
    ],
)
def test_tanh(g, variance, rate_variance, mean_slope):
    state = stationary(IID(g), Tanh(), num_lags=257)
    assert state.converged
    found = (state.variance, state.c_phi[0], state.beta)
    np.testing.assert_allclose(found, (variance, rate_variance, mean_slope), rtol=1e-4)


@pytest.mark.parametrize(
    "g, expected", [(1.5, [0.7368, 0.7059, 0.6027, 0.3657]), (2.0, [1.8630, 1.6997, 1.2512, 0.5484])]
)
def test_autocovariance(g, expected):
    # The row of g = 3 is checked against a direct integration in test_meanfield.
    state = stationary(IID(g), Tanh(), max_lag=8.0, num_lags=257)
    np.testing.assert_allclose(state.c_x[AT], expected, atol=5.1e-5)


@pytest.mark.parametrize("g, variance", [(2.0, 2.06408), (3.0, 5.63743)])
def test_erf(g, variance):
    np.testing.assert_allclose(stationary(IID(g), Erf(), num_lags=17).variance, variance, rtol=2e-6)


def test_shift():
    state = stationary(DeepHebbian(load=1.0, auto=0.0, hetero=(1.2,)), Tanh(), max_lag=8.0, num_lags=257)
    np.testing.assert_allclose((state.variance, state.c_phi[0]), (1.128044, 0.416259), rtol=2e-6)
    np.testing.assert_allclose(state.c_phi[AT], [0.4108, 0.3954, 0.3443, 0.2252], atol=5.1e-5)


@pytest.mark.parametrize("g, expected", [pytest.param(2.0, 0.1125, marks=pytest.mark.slow), (5.0, 0.4337)])
def test_largest_exponent(g, expected):
    exponent = largest_lyapunov(stationary(IID(g), Tanh()))
    assert exponent.converged
    np.testing.assert_allclose(exponent.value, expected, atol=5.1e-5)
