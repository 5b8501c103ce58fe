"""The mean field of a state: the spectrum of its noise and its memory kernel, against exact cases and networks."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.couplings import IID, DeepHebbian, Elliptic, RandomModes
from jaxnets.dynamics import RateNetwork, simulate
from jaxnets.meanfield import Stationary, stationary
from jaxnets.meanfield.unit.response import dressed
from jaxnets.transfer import Erf, Tanh

W = jnp.array([[0.0, 0.3], [-1.0, 4.0]])


def _given(ensemble, noise=0.4):
    """A state with S(tau) = .8 e^{-2 tau} and C^phi = e^{-.5 tau} of any ensemble; its other fields do not matter."""
    lags = jnp.linspace(0, 40, 4001)
    zero = jnp.zeros(())
    return Stationary(
        lags=lags,
        c_x=lags,
        c_phi=jnp.exp(-0.5 * lags),
        c_slope=lags,
        c_slope_kink=zero,
        beta=jnp.array(0.8),
        decay_rate=jnp.array(0.5),
        noise=jnp.array(noise),
        ensemble=ensemble,
        units=None,
        impulse=0.8 * jnp.exp(-2 * lags[:2001]),
        c_x_error=lags,
        c_phi_error=lags,
        response_error=zero,
        alternatives=jnp.array(0),
        residual=zero,
        converged=jnp.array(True),
    )


S, C_PHI = 0.8 / (2 + 1j * np.asarray(W)), 1 / (0.25 + np.asarray(W) ** 2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ensemble", "r", "kappa"),
    [
        (IID(1.7), 0 * S, 1.7**2 + 0 * abs(S)),
        (Elliptic(1.7, -0.4), -0.4 * 1.7**2 * S, 1.7**2 + 0 * abs(S)),
        # Amplitude 1.5, load .7, overlap .6.
        (RandomModes.flat(1.5, 0.7, 0.6), 0.63 / (1 - 0.9 * S), 0.7 * 2.25 / abs(1 - 0.9 * S) ** 2),
        (DeepHebbian(1.0, 0.0, (1.2,)), 0 * S, 1.44 / (1 - 1.44 * abs(S) ** 2)),
    ],
)
def test_kernel_and_noise_of_a_given_response(ensemble, r, kappa):
    """Against transforms in closed form, at frequencies of both signs."""
    state = _given(ensemble)
    np.testing.assert_allclose(state.memory_kernel(W), r, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(state.noise_spectrum(W), kappa * C_PHI + 2 * 0.4**2, rtol=1e-6)


def test_kernel_and_noise_of_given_transforms(monkeypatch):
    monkeypatch.setattr(Stationary, "response", lambda state, w: jnp.asarray(S))
    monkeypatch.setattr(Stationary, "spectrum_phi", lambda state, w: jnp.asarray(C_PHI))
    state = _given(Elliptic(1.7, -0.4))
    np.testing.assert_allclose(state.memory_kernel(W), -0.4 * 1.7**2 * S)
    np.testing.assert_allclose(state.noise_spectrum(W), 1.7**2 * C_PHI + 2 * 0.4**2)


def test_the_dressed_response_inside_and_outside_of_the_spectrum():
    """1 / s beside the ends of an ellipse, at 2.25 and .75 i: inside, no solution is that of a network."""
    g, symmetry = 1.5, 0.5
    z = np.array([2.3, 2.2, 0.8j, 0.7j])
    found = jax.jit(jax.vmap(lambda s: dressed(Elliptic(g, symmetry), s)))(1 / z)
    np.testing.assert_array_equal(found.converged, [True, False, True, False])
    root = np.sqrt(z**2 - 4 * symmetry * g**2)
    np.testing.assert_allclose(found.value[::2], (2 / (z + np.where((root * z.conj()).real > 0, root, -root)))[::2])


@pytest.mark.slow
@pytest.mark.parametrize(("ensemble", "sigma"), [(IID(1.8), 0.4), (DeepHebbian(0.7, 0.0, (1.6,)), 0.0)])
def test_without_memory_the_noise_makes_all_of_x(ensemble, sigma):
    """(1 + w^2) C^x = C^eta, from the orbit of the energy."""
    state = stationary(ensemble, Erf(), sigma, nodes=201)
    np.testing.assert_allclose(state.memory_kernel(W), 0, atol=1e-12)
    np.testing.assert_allclose((1 + W**2) * state.spectrum_x(W), state.noise_spectrum(W), rtol=2e-5, atol=1e-6)


@pytest.mark.slow
def test_mapped_and_differentiated():
    def noise(g):
        return stationary(IID(g), Erf(), 0.3, nodes=101, num_lags=129, max_lag=30.0).noise_spectrum(
            jnp.array([0.0, 0.5])
        )

    noise = jax.jit(noise)
    g = jnp.array([0.7, 1.5])
    mapped = jax.vmap(noise)(g)
    np.testing.assert_allclose(mapped, np.stack([noise(x) for x in g]), rtol=1e-10)
    slopes = jax.jit(jax.vmap(jax.jacfwd(noise)))(g)
    central = (jax.vmap(noise)(g + 1e-4) - jax.vmap(noise)(g - 1e-4)) / 2e-4
    np.testing.assert_allclose(slopes, central, rtol=1e-5)


@pytest.mark.slow
def test_a_mapped_state_keeps_its_ensembles():
    states = eqx.filter_vmap(lambda g: stationary(IID(g), Erf(), nodes=41, num_lags=17))(jnp.array([1.5, 2.0]))
    np.testing.assert_array_equal(states.ensemble.variance(), [2.25, 4.0])


@pytest.mark.slow
@pytest.mark.parametrize("ensemble", [IID(2.5), Elliptic(2.0, 0.5)])
def test_the_field_in_networks(ensemble):
    """With h = J phi, the cross-spectrum of h and phi is conj(S) C^eta + R C^phi, in time at lags of both signs."""
    lags = np.array([-4, -2, 0, 2, 4])  # in samples of .5
    state = stationary(ensemble, Tanh(), key=jax.random.key(1))
    w = np.linspace(0, 40, 8001)
    S, R = np.asarray(state.response(w)), np.asarray(state.memory_kernel(w))
    noise, c_phi = np.asarray(state.noise_spectrum(w)), np.asarray(state.spectrum_phi(w))
    in_time = lambda cross: np.trapezoid((np.exp(0.5j * np.outer(lags, w)) * cross).real, w) / np.pi
    predicted = in_time(np.conj(S) * noise + R * c_phi)

    found = []
    for seed in range(3):
        J = ensemble.sample(1500, key=jax.random.key(seed), dtype=jnp.float32)
        start = jax.random.normal(jax.random.key(10 + seed), (1500,), jnp.float32)
        run = simulate(RateNetwork(J, Tanh()), start, duration=500.0, discard=100.0, save_every=5, dt=0.1)
        phi = np.asarray(run.rates)
        h = phi @ np.asarray(J.dense()).T
        inner = slice(4, -4)
        found.append([np.mean(np.roll(h, -lag, axis=0)[inner] * phi[inner]) for lag in lags])
    mean, error = np.mean(found, 0), np.std(found, 0, ddof=1) / np.sqrt(3)
    np.testing.assert_allclose(mean, predicted, atol=0.02 * predicted.max() + 4 * error.max())
    # Without the kernel the prediction would be off by far more.
    if np.any(R != 0):
        assert np.all(np.abs(in_time(np.conj(S) * noise) - mean) > 5 * np.abs(predicted - mean).max())
