"""Posteriors: exact densities, gradients of constraints, theory as a likelihood, coverage, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxnets import plotting
from jaxnets.couplings import IID
from jaxnets.dynamics import RateNetwork, simulate
from jaxnets.fitting import Fixed, Interval, Positive, Simplex, fit_recording, least_squares, recording_likelihood
from jaxnets.fitting.parameters import space_of
from jaxnets.inference import posterior
from jaxnets.transfer import Tanh

KEY = jax.random.key(0)
COVARIANCE = jnp.array([[4.0, 3.6], [3.6, 4.0]])


def gaussian(params, y):
    r = jnp.stack([params["a"], params["b"]]) - y
    return r @ jnp.linalg.solve(COVARIANCE, r) / 2


def counts(params, num):
    """Poisson, and weights that nothing is known of."""
    return params["rate"] - num * jnp.log(params["rate"])


# --- exact densities --------------------------------------------------------------------------------------------


def test_volume_of_constraints():
    """ln |dx/du| of each kind: e^u, the logistic function, and a softmax without its last weight."""
    params = {"a": 1.5, "b": np.array([0.2, 2.5]), "c": np.array([0.2, 0.3, 0.5]), "d": 7.0, "e": -2.0}
    space = space_of(params, {"a": Positive(), "b": Interval(0, 3), "c": Simplex(), "d": Fixed()})
    found = space.log_volume(space.at_values())
    logistic = np.log(params["b"] * (3 - params["b"]) / 3)
    np.testing.assert_allclose(found, np.log(1.5) + logistic.sum() + np.log([0.2, 0.3, 0.5]).sum(), rtol=1e-12)
    assert space.fitted() == ("a", "b", "c", "e")


@pytest.mark.slow
def test_a_gaussian():
    found = posterior(gaussian, {"a": 0.0, "b": 0.0}, jnp.array([1.0, 2.0]), key=KEY, num_samples=2000, progress=False)
    assert found.converged and found.names == ("a", "b") and found.values.shape == (4, 2000, 2)
    error = found.error / np.sqrt(found.ess)
    assert np.all(np.abs(np.asarray(found.mean) - [1, 2]) < 4 * error)
    np.testing.assert_allclose(np.cov(np.asarray(found.values).reshape(-1, 2).T), COVARIANCE, rtol=0.15)
    np.testing.assert_allclose(found.quantile([0.16, 0.84])[:, 0], [-1, 3], atol=0.25)
    np.testing.assert_array_equal(found.params["a"], found.values[..., 0])
    again = posterior(gaussian, {"a": 0.0, "b": 0.0}, jnp.array([1.0, 2.0]), key=KEY, num_samples=2000, progress=False)
    np.testing.assert_array_equal(again.values, found.values)


@pytest.mark.slow
def test_constrained_parameters_and_priors():
    """A flat prior on a rate gives a gamma density, and a Dirichlet prior comes back."""
    found = posterior(
        counts,
        {"rate": 5.0, "w": np.array([0.2, 0.3, 0.5])},
        7.0,
        key=KEY,
        transforms={"rate": Positive(), "w": Simplex()},
        priors={"w": lambda w: jnp.log(w)},
        num_samples=3000,
        progress=False,
    )
    assert found.converged
    rate, first = found.params["rate"].ravel(), found.params["w"][..., 0].ravel()
    q = np.linspace(0.1, 0.9, 9)
    np.testing.assert_allclose(stats.gamma(8).cdf(np.quantile(rate, q)), q, atol=0.03)
    np.testing.assert_allclose(stats.beta(2, 4).cdf(np.quantile(first, q)), q, atol=0.03)


@pytest.mark.slow
def test_what_does_not_mix_is_not_converged():
    """Two hills far apart, of which each chain sees one."""
    hills = lambda params: -jnp.logaddexp(-50 * (params["x"] - 1) ** 2, -50 * (params["x"] + 1) ** 2)
    starts = {"x": np.array([-1.0, -1.0, 1.0, 1.0])}
    found = posterior(hills, {"x": 1.0}, key=KEY, starts=starts, num_samples=200, num_warmup=200, progress=False)
    assert not found.converged and found.r_hat[0] > 1.5


# --- theory as a likelihood -------------------------------------------------------------------------------------


def misses(params, x, y):
    return (params["slope"] * x - y) / 0.1


@pytest.mark.slow
def test_residuals_of_a_fit():
    """The posterior of a linear fit is Gaussian, with the errors of `least_squares`."""
    x = jnp.linspace(0, 1, 20)
    y = 2 * x + 0.1 * jax.random.normal(KEY, (20,))
    fit = least_squares(misses, {"slope": 1.0}, x, y)
    loss = lambda params, x, y: jnp.sum(misses(params, x, y) ** 2) / 2
    found = posterior(loss, fit.params, x, y, key=KEY, progress=False)
    np.testing.assert_allclose(found.mean[0], fit.params["slope"], atol=4 * fit.error["slope"] / found.ess[0] ** 0.5)
    np.testing.assert_allclose(found.error[0], fit.error["slope"], rtol=0.1)


def _recording(seed, g=3.0, n=1000, duration=500.0):
    J = IID(g).sample(n, key=jax.random.key(seed), dtype=jnp.float32)
    start = jax.random.normal(jax.random.key(1000 + seed), (n,), jnp.float32)
    run = simulate(RateNetwork(J, Tanh()), start, duration=duration + 100, discard=100, dt=0.1, save_every=5)
    return np.asarray(run.rates)[:, :200]


@pytest.mark.slow
def test_the_posterior_of_a_recording_covers():
    """Of twenty networks, g = 3 and tau = 1 lie within the 68 % and 95 % intervals as often as they should."""
    inside, ratios = [], []
    for seed in range(20):
        rates = _recording(seed)
        like = recording_likelihood(rates, 0.5, population_size=1000)
        found = posterior(
            like, like.params, transforms=like.transforms, key=KEY, num_samples=500, num_chains=2, progress=False
        )
        assert np.all(found.r_hat < 1.05)
        low, bottom, top, high = np.asarray(found.quantile([0.025, 0.16, 0.84, 0.975]))
        truth = np.array([3.0, 1.0])
        inside.append([(bottom < truth) & (truth < top), (low < truth) & (truth < high)])
        if seed < 3:
            fit = fit_recording(rates, 0.5, population_size=1000)
            ratios += [found.error[0] / fit.g_error, found.error[1] / fit.time_constant_error]
    narrow, wide = np.sum(inside, (0, 2))
    # Binomial: 68 % of 40 is 27 with a deviation of 3 (g and tau are correlated, so of more), 95 % is 38.
    assert 18 <= narrow <= 36 and wide >= 33, (narrow, wide)
    np.testing.assert_allclose(ratios, 1, atol=0.25)


# --- the figure -------------------------------------------------------------------------------------------------


def test_corner_plot():
    values = np.random.default_rng(0).standard_normal((500, 3))
    panels = plotting.corner(values, ["g", "tau", "scale"], truth=[0.0, 1.0, 2.0])
    assert panels[2][0].get_xlabel() == "g" and panels[2][0].get_ylabel() == "scale"
    assert not panels[0][2].axison and panels[1][1].axison
    np.testing.assert_allclose(panels[2][1].collections[0].get_offsets(), values[:, [1, 2]])
    with pytest.raises(ValueError, match="`values` must"):
        plotting.corner(values, ["g"])


# --- refusals ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change, message",
    [
        ({"key": 0}, "`key` must be"),
        ({"num_samples": 2}, "`num_samples` must be"),
        ({"num_warmup": 0.5}, "`num_warmup` must be"),
        ({"num_chains": 0}, "`num_chains` must be"),
        ({"spread": 0.0}, "`spread` must be"),
        ({"target_acceptance": 1.0}, "`target_acceptance` must be"),
        ({"priors": {"c": jnp.sum}}, "`priors` must be named by fitted parameters, a, b, got 'c'"),
        ({"priors": {"a": 1.0}}, "`priors`: a must be a function"),
        ({"transforms": {"a": Positive()}}, "params: a"),
        ({"starts": {"a": np.zeros(3), "b": np.zeros(3)}}, "`starts` must have one start for each of 4 chains"),
        ({"priors": {"a": lambda a: jnp.nan * a}}, "must be finite where chains start"),
    ],
)
def test_bad_posteriors(change, message):
    good = {"params": {"a": 0.0, "b": 0.0}, "key": KEY, "progress": False}
    good |= change
    with pytest.raises(ValueError, match=message):
        posterior(gaussian, good.pop("params"), jnp.zeros(2), **good)
