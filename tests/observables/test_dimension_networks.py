"""The dimension of networks: with a memory kernel, which no formula of independent modes gives, and z-scored."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.couplings import DeepHebbian, Dense, RandomModes
from jaxnets.dynamics import RateNetwork, simulate
from jaxnets.meanfield import stationary_by_paths
from jaxnets.observables import dimension_estimate
from jaxnets.population import dimension
from jaxnets.transfer import Tanh


@pytest.mark.slow
@pytest.mark.parametrize(
    "ensemble",
    [
        RandomModes.flat(6.0, load=0.25, overlap=0.3),
        RandomModes.flat(2.0, overlap=0.3),
        DeepHebbian(2.0, 0.3, (0.7, 0.5)),
        DeepHebbian(1.0, 0.2, (2.0, 1.0)),
    ],
)
def test_dimension_of_networks(ensemble):
    n, measured = 4000, []
    for seed in range(3):
        J = Dense(ensemble.sample(n, key=jax.random.key(seed), dtype=jnp.float32).dense())
        start = jax.random.normal(jax.random.key(100 + seed), (8, n), jnp.float32)
        run = simulate(RateNetwork(J, Tanh()), start, duration=900.0, discard=150.0, dt=0.1, save_every=10)
        measured.append(float(dimension_estimate(run.rates, 1.0).value) / n)
    predicted = []
    for key in jax.random.split(jax.random.key(0), 4):
        state = stationary_by_paths(ensemble, Tanh(), key=key, memory=20.0)
        predicted.append(float(dimension(state, ensemble).phi))
    # The sums over pairs, 1 / PR, are what is averaged.
    (theory, theory_error), (found, error) = (
        (np.mean(1 / np.array(values)), np.std(1 / np.array(values), ddof=1) / np.sqrt(len(values)))
        for values in (predicted, measured)
    )
    assert abs(found - theory) < 0.05 * theory + 3 * np.hypot(error, theory_error)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_what_z_scoring_adds_in_one_network(seed):
    """PR of z-scored states beyond the plain one: for few modes, of shares p, by 4 (sum p^3 / sum p^2 - sum p^2)."""
    n = 800
    gains = np.repeat(np.array([0.5, 1.0, 2.0], np.float32), [240, 320, 240])
    J = RandomModes.of_rank(4.0, 0.5).sample(n, key=jax.random.key(seed), dtype=jnp.float32)
    start = 2 * jax.random.normal(jax.random.key(100 + seed), (4, n), jnp.float32)
    net = RateNetwork(J, Tanh(), row_gains=gains)
    x = simulate(net, start, duration=500.0, discard=100.0, dt=0.1, save_every=10, progress=False).states
    x = np.asarray(x, np.float64)
    scored = x / np.sqrt(np.mean(x**2, axis=(0, 1)))
    plain, z_scored = (dimension_estimate(y, 1.0, correlation_time=8.0, centre=False).value for y in (x, scored))
    shares = np.linalg.svd(x.reshape(-1, n), compute_uv=False) ** 2
    shares /= shares.sum()
    added = 4 * (np.sum(shares**3) / np.sum(shares**2) - np.sum(shares**2))
    assert added > 0.15 and abs(z_scored / plain - 1 - added) < 0.05 + 0.25 * added
