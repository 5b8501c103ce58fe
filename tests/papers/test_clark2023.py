"""The dimension of activity in random networks, Clark et al. 2023 (PRL, arXiv 2207.12373)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.couplings import IID, RandomModes
from jaxnets.dynamics import RateNetwork, rk4, simulate
from jaxnets.meanfield import stationary
from jaxnets.observables import dimension_estimate
from jaxnets.population import dimension
from jaxnets.transfer import Tanh


@pytest.mark.slow
def test_published_simulations():
    """PR / N of rates at N = 16384, with the errors of the publication."""

    @jax.jit
    @jax.vmap
    def theory(g):
        return dimension(stationary(IID(g), Tanh()), IID(g))

    found = theory(jnp.array([1.5, 2.0, 3.0, 5.0]))
    assert np.all(found.converged)
    published, error = np.array([0.0057, 0.0192, 0.0439, 0.0734]), np.array([1e-4, 2e-4, 3e-4, 4e-4])
    assert np.all(abs(found.phi - published)[1:] < 3 * error[1:])
    # Nearest to onset there are a hundred dimensions, and finite N still counts.
    assert abs(found.phi[0] / published[0] - 1) < 0.1


def _inverse_dimensions(ensemble, n, seeds):
    """N / PR of the rates of one network each."""
    found = []
    for seed in range(seeds):
        key, start = jax.random.split(jax.random.key(seed))
        net = RateNetwork(ensemble.sample(n, key=key, dtype=jnp.float32), Tanh())
        x0 = jax.random.normal(start, (8, n), jnp.float32)
        run = simulate(net, x0, duration=300.0, discard=50.0, dt=0.1, scheme=rk4, save_every=10)
        found.append(n / float(dimension_estimate(run.rates, 1.0).value))
    return np.array(found)


# One network of 1000 units scatters by 12% (i.i.d.) and 20% (P = N / 4), and the mean of its dimension is above that
# of N -> infinity by 10% at g = 3: .0494(18) at N = 1000, .0451(19) at N = 3000, for .0447.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("ensemble", "n", "seeds"),
    [(IID(3.0), 1000, 10), (IID(5.0), 1000, 10), (IID(3.0), 3000, 4), (RandomModes.flat(6.0, load=0.25), 2000, 10)],
)
def test_dimension_of_rates(ensemble, n, seeds):
    expected = dimension(stationary(ensemble, Tanh()), ensemble).phi
    found = _inverse_dimensions(ensemble, n, seeds)
    assert abs(1 / (found.mean() * expected) - 1) < 0.15
    error = found.std(ddof=1) / np.sqrt(seeds)
    assert error < 0.08 * found.mean()  # so that the first line can tell


@pytest.mark.slow
def test_few_modes_lower_the_dimension():
    rich, poor = (_inverse_dimensions(ensemble, 1000, 4) for ensemble in (IID(3.0), RandomModes.flat(6.0, load=0.25)))
    assert poor.min() > 2 * rich.max()
