"""Networks of which a recording was drawn are found again: from currents, also with gaps, and from counts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.inference import Currents, Gaussian, Poisson, StochasticLowRank, fit_low_rank, smc

N, A, G = 40, 0.9, 3.0
M = np.random.default_rng(0).standard_normal((N, 2))
TURN = np.array([[np.cos(1.0), -np.sin(1.0)], [np.sin(1.0), np.cos(1.0)]])
HELD = np.arange(10, 20)


def teacher(observation):
    return StochasticLowRank(M, (1 - A) * G * TURN @ M.T / N, A, 0.1, observation=observation)


def explained(latents, truth):
    """R^2 of the true latent variables from those of a fit, by least squares."""
    z, true = (np.asarray(values).reshape(-1, 2) for values in (latents, truth))
    z = np.column_stack([z, np.ones(len(z))])
    miss = true - z @ np.linalg.lstsq(z, true, rcond=None)[0]
    return 1 - np.sum(miss**2) / np.sum((true - true.mean(0)) ** 2)


def frequency(model):
    """Of the limit cycle without noise, in turns per step."""
    advance = lambda z, _: (model.step(z), model.step(z))
    z = np.asarray(jax.lax.scan(advance, jnp.full(2, 0.5), length=2000)[1])[500:]
    phase = np.unwrap(np.angle(z[:, 0] + 1j * z[:, 1]))
    return abs(phase[-1] - phase[0]) / (2 * np.pi * (len(phase) - 1))


def compare(observation, start, gain, gaps=0.0, **options):
    true = teacher(observation)
    trials = true.sample(20, 100, key=jax.random.key(1))
    y = np.array(trials.recording)
    y[np.random.default_rng(5).random(y.shape) < gaps] = np.nan
    found = fit_low_rank(
        y, 2, observation=start, held_out=HELD, num_updates=300, key=jax.random.key(2), progress=False, **options
    )
    known = smc(true, y[HELD], num_particles=64, key=jax.random.key(3))
    best = float(jnp.sum(known.log_likelihood)) / int(np.sum(known.num_observed))
    assert best - 0.003 < found.held_out_elbo < best + 0.001
    r2 = explained(known.latents, trials.latents[HELD])
    of_fit = explained(found.filtered.latents[HELD], trials.latents[HELD])
    assert of_fit > r2 - 0.005
    assert abs(frequency(found.model) / frequency(true) - 1) < 0.05
    gauge = np.linalg.lstsq(gain * M, np.asarray(found.model.m), rcond=None)[0] @ np.asarray(found.model.noise)
    np.testing.assert_allclose(np.sqrt(np.diag(gauge @ gauge.T)), 0.1, rtol=0.1)
    assert found.converged
    return found, of_fit


@pytest.mark.slow
def test_currents():
    found, whole = compare(Gaussian(0.3), Gaussian(0.5), 1.0)
    np.testing.assert_allclose(found.model.observation.noise, 0.3, rtol=0.1)
    _, with_gaps = compare(Gaussian(0.3), Gaussian(0.5), 1.0, gaps=0.2)
    assert with_gaps > whole - 0.02


@pytest.mark.slow
def test_counts():
    compare(Poisson(readout=Currents(2.0, -1.5)), Poisson(), 2.0, num_particles=16, learning_rates=(2e-2, 1e-3))
