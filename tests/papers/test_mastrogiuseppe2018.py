"""Rank one and independent weights, Mastrogiuseppe & Ostojic 2018 (Neuron 99, 609; arXiv 1711.09672).

J_ij = g chi_ij + m_i n_j / N. Published: the equations for the mean and the variance of the input of a unit,

    mu = M_m kappa,  Delta = g^2 <phi^2> + Sigma_m^2 kappa^2,  kappa = M_n <phi>,

for independent m and n of means M, and kappa = O kappa <phi'> for an overlap O along random directions; structured
states appear, for g < 1, where M_m M_n or O passes 1. The closed forms are derived here.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import fsolve
from scipy.stats import norm

from jaxnets.couplings import IID, LowRank
from jaxnets.dynamics import RateNetwork
from jaxnets.meanfield import static_stability, static_state
from jaxnets.transfer import Erf, Tanh


def average(f, mean, variance):
    return quad(lambda z: f(mean + np.sqrt(variance) * z) * norm.pdf(z), -12, 12, epsabs=1e-13)[0]


def independent(mean_m, sigma_m, mean_n):
    """m = M_m + Sigma_m u beside n = M_n: the noise of n does not matter."""
    return LowRank(np.outer([mean_m, sigma_m], [mean_n, 0.0]), noise=0.0, uniform=True)


@pytest.mark.slow
def test_vectors_with_means():
    """The published equations, solved by SciPy."""
    g, mean_m, sigma_m, mean_n = 0.8, 1.1, 0.6, 1.9

    def published(y):
        mu, variance = y
        kappa = mean_n * average(np.tanh, mu, variance)
        power = average(lambda x: np.tanh(x) ** 2, mu, variance)
        return mu - mean_m * kappa, variance - g**2 * power - (sigma_m * kappa) ** 2

    mu, variance = fsolve(published, (1.5, 0.7), xtol=1e-12)
    state = static_state(IID(g) + independent(mean_m, sigma_m, mean_n), Tanh(), guess_kappa=1.0)
    assert state.converged and mu > 1
    np.testing.assert_allclose([state.mean, state.variance], [mu, variance], rtol=1e-8)
    # kappa_k = E[v_k phi] with V = U O^T: the field has mean kappa_0, which is M_m kappa.
    np.testing.assert_allclose(state.kappa, mean_n * state.rate * np.array([mean_m, sigma_m]), rtol=1e-8)
    assert static_stability(state).stable


@pytest.mark.slow
def test_two_states_of_a_unit_mean():
    """g = 0: mu = M_m M_n tanh mu, as in a ferromagnet, has solutions other than 0 only beyond M_m M_n = 1."""
    for product, exists in ((0.97, False), (1.03, True)):
        state = static_state(IID(0.0) + independent(1.0, 0.0, product), Tanh(), guess_kappa=1.0)
        assert state.converged and (abs(state.mean) > 0.1) == exists
        np.testing.assert_allclose(state.mean, product * np.tanh(state.mean), atol=1e-9)
        outlier = product / np.cosh(state.mean) ** 2
        np.testing.assert_allclose(static_stability(state).rightmost, outlier, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("g", [0.3, 0.7])
def test_onset_with_means(g):
    r"""Beyond M_m M_n = 1 + e: mu^2 = 3 e (1 - g^2) / (1 + 2 g^2) + O(e^2) for Sigma_m = 0.

    From <tanh x> = mu - mu^3 / 3 - mu Delta and Delta = g^2 <tanh^2> = g^2 (mu^2 + Delta).
    """
    ratios = []
    for excess in (0.01, 0.005):
        state = static_state(IID(g) + independent(1.0, 0.0, 1 + excess), Tanh(), guess_kappa=0.3, guess_variance=0.02)
        assert state.converged and static_stability(state).stable
        ratios.append(float(state.mean) ** 2 / (3 * excess * (1 - g**2) / (1 + 2 * g**2)) - 1)
    # First order in the excess, and so half as far at half of it.
    assert abs(ratios[0]) < 0.1
    np.testing.assert_allclose(ratios[1] / ratios[0], 0.5, atol=0.05)


@pytest.mark.slow
def test_overlap_along_random_directions():
    """Erf units in closed form: <phi'> = 1 / O gives Delta = 2 (O^2 - 1) / pi, and chaos begins at g^4 = 2 O^2 - 1."""
    overlap = 1.7
    variance = 2 * (overlap**2 - 1) / np.pi
    onset = (2 * overlap**2 - 1) ** 0.25
    for g, stable in ((0.5, True), (onset - 1e-3, True), (onset + 1e-3, False)):
        state = static_state(IID(g) + LowRank(overlap), Erf(), guess_kappa=0.6)
        assert state.converged
        power = 2 / np.pi * np.arcsin(1 - overlap**-2)
        np.testing.assert_allclose(state.variance, variance, rtol=1e-8)
        np.testing.assert_allclose(state.rate_power, power, rtol=1e-8)
        np.testing.assert_allclose(state.kappa[0] ** 2, variance - g**2 * power, rtol=1e-7)
        np.testing.assert_allclose(state.bulk, g**2 / np.sqrt(2 * overlap**2 - 1), rtol=1e-8)
        assert bool(static_stability(state).stable) == stable


@pytest.mark.slow
def test_deviations_of_samples_fall_with_size():
    """Of kappa and of the variance of the field, as 1 / sqrt(n), and around the theory."""
    g, overlap, seeds = 0.6, 2.0, 32
    ensemble = IID(g) + LowRank(overlap)
    state = static_state(ensemble, Tanh(), guess_kappa=1.5)
    theory = np.array([state.kappa[0], state.variance])

    @jax.jit
    def sampled(J):
        random, modes = J.terms
        u, v = modes.left[:, 0], modes.right[:, 0]
        net = RateNetwork(J, Tanh())
        # A stable state: its flow is followed, which costs far less than Newton's method.
        x = jax.lax.fori_loop(0, 200, lambda _, x: x + 0.5 * net.drift(jnp.zeros(()), x), u * state.kappa[0])
        miss = jnp.max(jnp.abs(net.drift(jnp.zeros(()), x)))
        return jnp.stack([v @ jnp.tanh(x) / len(u), jnp.var(x)]), miss

    rms = []
    for n in (400, 1600):
        numbers = []
        for key in jax.random.split(jax.random.key(1), seeds):
            found, miss = sampled(ensemble.sample(n, key=key))
            assert miss < 1e-6
            numbers.append(found)
        deviation = np.array(numbers) - theory[None]
        spread = np.std(deviation, axis=0, ddof=1)
        # Four standard errors, beside a bias of order 1 / n.
        assert np.all(np.abs(np.mean(deviation, 0)) < 4 * spread / np.sqrt(seeds) + 10 / n)
        rms.append(np.sqrt(np.mean(deviation**2, axis=0)))
    # The logarithm of an rms over m samples scatters by 1 / sqrt(2 m), that of a ratio by 1 / sqrt(m).
    assert np.all(np.abs(np.log(rms[0] / rms[1] / 2)) < 3 / np.sqrt(seeds))
