"""One step against its formula and against `simulate`; its density against closed forms, integrals and samples."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jaxnets.dynamics.adaptive import Adaptive
from jaxnets.dynamics.network import RateNetwork
from jaxnets.dynamics.schemes import heun, rk4
from jaxnets.dynamics.simulation import simulate
from jaxnets.dynamics.stepping import over_networks, step, step_log_density
from jaxnets.transfer import Linear, Tanh

N = 5
KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
J = 1.5 * RNG.standard_normal((N, N)) / np.sqrt(N)
TAU, ROW_GAINS, SIGMA, DRIVE = RNG.uniform(0.6, 1.4, (4, N))
X, X_NEXT = RNG.standard_normal(N), 0.1 * RNG.standard_normal(N)
X_NEXT = X + X_NEXT


def _network(J=J, transfer=None, **kwargs):
    settings = {"noise": SIGMA, "input": lambda t: jnp.sin(2 * t) * jnp.asarray(DRIVE), "tau": TAU}
    return RateNetwork(J, transfer or Tanh(), **{**settings, "row_gains": ROW_GAINS, **kwargs})


def euler(f, t, x, dt):
    return x + dt * f(t, x)


# --- a step


@pytest.mark.parametrize("shape", [(N,), (N, 3)])
def test_a_step_by_its_formula(shape):
    x, t, dt = RNG.standard_normal(shape), 0.7, 0.1
    wide = lambda values: values.reshape(N, *(1,) * (len(shape) - 1))
    xi = np.asarray(jax.random.normal(KEY, shape))

    def slope(t, x):
        drive = wide(np.sin(2 * t) * DRIVE + 0 * SIGMA) + np.sqrt(2 / dt) * wide(SIGMA) * xi
        return (-x + wide(ROW_GAINS) * (J @ np.tanh(x)) + drive) / wide(TAU)

    k1 = slope(t, x)
    expected = x + dt / 2 * (k1 + slope(t + dt, x + dt * k1))
    np.testing.assert_allclose(step(_network(), heun, t, x, dt, KEY), expected, rtol=1e-13)
    np.testing.assert_allclose(step(_network(), euler, t, x, dt, KEY), x + dt * k1, rtol=1e-13)


@pytest.mark.parametrize("scheme", [heun, rk4])
@pytest.mark.parametrize("t0", [0.0, 1.23])
def test_a_run_is_a_loop_of_steps(scheme, t0):
    """Step i = t / dt has the noise of `fold_in(key, i)`, also in a run that does not start at 0."""
    net, x0, dt = _network(), RNG.standard_normal((3, N)), 0.05
    run = simulate(net, x0, duration=0.55, discard=0.1, save_every=3, dt=dt, t0=t0, key=KEY, scheme=scheme)
    first, x, kept = round(t0 / dt), jnp.asarray(x0).T, {}
    offset = t0 - first * dt
    for i in range(first, first + 11):
        kept[i - first] = x.T
        x = step(net, scheme, offset + i * dt, x, dt, jax.random.fold_in(KEY, i))
    np.testing.assert_allclose(run.states, [kept[2], kept[5], kept[8]], rtol=1e-12)
    np.testing.assert_allclose(run.final, x.T, rtol=1e-12)
    np.testing.assert_allclose(run.times, offset + dt * (first + np.array([2, 5, 8])), rtol=1e-13)
    np.testing.assert_allclose(run.interval, np.diff(run.times), rtol=1e-12)


def test_without_noise_no_key_is_needed():
    quiet = _network(noise=0.0)
    expected = step(quiet, heun, 0.0, X, 0.1, KEY)
    np.testing.assert_array_equal(step(quiet, heun, 0.0, X, 0.1, None), expected)
    traced = jax.jit(lambda sigma: step(_network(noise=sigma), heun, 0.0, X, 0.1, None))
    np.testing.assert_allclose(traced(0.0), expected, rtol=1e-13)
    assert np.isnan(traced(0.1)).all()


@pytest.mark.slow
def test_steps_are_mapped_and_in_the_precision_of_the_network():
    keys = jax.random.split(KEY, 4)
    found = jax.vmap(lambda key: step(_network(), heun, 0.0, X, 0.1, key))(keys)
    np.testing.assert_allclose(found[2], step(_network(), heun, 0.0, X, 0.1, keys[2]), rtol=1e-13)
    single = RateNetwork(jnp.asarray(J, jnp.float32), Tanh(), noise=0.5)
    assert step(single, heun, 0.0, X, 0.1, KEY).dtype == jnp.float32
    assert step_log_density(single, heun, 0.0, X, X_NEXT, 0.1).dtype == jnp.float32


def test_networks_of_a_batch_go_where_they_are_asked():
    """Each has its own J and x; results have their axis of networks where `out_axes` puts it."""
    rng = np.random.default_rng(1)
    matrices, x = rng.standard_normal((2, N, N)), rng.standard_normal((2, N))
    of_one = lambda net, x: (jnp.outer(net.J @ x, jnp.ones(3)), net.J @ x)
    both = over_networks(of_one, _network(matrices), (0,), (1, 0))
    wide, plain = both(jnp.asarray(x))
    expected = np.einsum("kij,kj->ki", matrices, x)
    np.testing.assert_allclose(plain, expected)
    np.testing.assert_allclose(wide, np.repeat(expected.T[..., None], 3, -1))


# --- its density


@pytest.mark.parametrize("scheme", [euler, heun])
def test_the_density_of_a_linear_network_is_gaussian(scheme):
    dt, t = 0.2, 0.4
    A, b = (-np.eye(N) + ROW_GAINS[:, None] * J) / TAU[:, None], lambda t: np.sin(2 * t) * DRIVE / TAU
    second = np.eye(N) + dt / 2 * A if scheme is heun else np.eye(N)  # x' = mean + second @ noise
    slope = A @ X + b(t)
    mean = X + dt * slope
    if scheme is heun:
        mean = X + dt / 2 * (slope + A @ (X + dt * slope) + b(t + dt))
    covariance = second @ np.diag(2 * dt * SIGMA**2 / TAU**2) @ second.T
    expected = scipy.stats.multivariate_normal(mean, covariance).logpdf(X_NEXT)
    found = step_log_density(_network(transfer=Linear()), scheme, t, X, X_NEXT, dt)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_the_density_of_an_euler_step_is_gaussian():
    dt, t = 0.2, 0.4
    mean = X + dt * (-X + ROW_GAINS * (J @ np.tanh(X)) + np.sin(2 * t) * DRIVE) / TAU
    expected = scipy.stats.norm(mean, np.sqrt(2 * dt) * SIGMA / TAU).logpdf(X_NEXT).sum()
    np.testing.assert_allclose(step_log_density(_network(), euler, t, X, X_NEXT, dt), expected, rtol=1e-12)


ONE = RateNetwork([[2.5]], Tanh(), noise=0.9, input=0.3, tau=1.2, row_gains=1.1)


@pytest.mark.parametrize("scheme", [heun, rk4])
def test_the_density_of_one_unit_is_that_of_its_samples(scheme):
    dt, x, count = 0.4, 0.2, 400_000
    grid = np.linspace(-6, 7, 2001)
    density = jax.jit(jax.vmap(lambda y: step_log_density(ONE, scheme, 0.0, jnp.array([x]), y[None], dt)))
    p = np.exp(density(grid)) * (grid[1] - grid[0])
    np.testing.assert_allclose(p.sum(), 1, atol=1e-9)
    samples = np.asarray(step(ONE, scheme, 0.0, np.full((1, count), x), dt, KEY))[0]
    mean = p @ grid
    for power in (1, 2, 3, 4):
        central = (grid - mean) ** power
        error = np.sqrt((p @ central**2 - (p @ central) ** 2) / count)
        assert abs(np.mean((samples - mean) ** power) - p @ central) < 4 * error
    # The step is not Gaussian, and the density knows.
    assert abs(p @ (grid - mean) ** 4 / (p @ (grid - mean) ** 2) ** 2 - 3) > 20 * np.sqrt(24 / count)
    below = np.cumsum(p) - p / 2
    for q in (0.05, 0.3, 0.5, 0.8, 0.97):
        share = np.mean(samples < np.interp(q, below, grid))
        assert abs(share - q) < 4 * np.sqrt(q * (1 - q) / count) + 1e-4


def test_the_density_of_two_units_is_that_of_their_samples():
    """Noise and time constants that differ, and couplings that correlate the noise within a step."""
    net = RateNetwork([[0.0, 3.0], [-2.0, 1.5]], Tanh(), noise=[0.4, 0.9], tau=[0.8, 1.5], input=jnp.cos)
    dt, x, count = 0.35, np.array([0.5, -0.3]), 200_000
    samples = np.asarray(step(net, heun, 0.6, np.repeat(x[:, None], count, 1), dt, KEY))
    axes = [np.linspace(s.mean() - 7 * s.std(), s.mean() + 7 * s.std(), 121) for s in samples]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2)
    density = jax.jit(jax.vmap(lambda y: step_log_density(net, heun, 0.6, x, y, dt)))
    p = np.exp(density(grid)) * (axes[0][1] - axes[0][0]) * (axes[1][1] - axes[1][0])
    np.testing.assert_allclose(p.sum(), 1, atol=1e-6)
    mean = p @ grid
    np.testing.assert_allclose(mean, samples.mean(1), atol=4 * np.max(samples.std(1)) / np.sqrt(count))
    covariance = (p[:, None] * (grid - mean)).T @ (grid - mean)
    found = np.cov(samples)
    errors = np.sqrt((np.outer(np.diag(found), np.diag(found)) + found**2) / count)
    assert np.all(np.abs(found - covariance) < 4 * errors)
    assert abs(covariance[0, 1]) > 20 * errors[0, 1]


@pytest.mark.slow
def test_derivatives_of_the_density():
    def density(x, x_next, matrix, sigma, tau, gains, dt, t):
        net = _network(matrix, noise=sigma, tau=tau, row_gains=gains)
        return step_log_density(net, heun, t, x, x_next, dt)

    density = jax.jit(density)
    arguments = tuple(map(jnp.asarray, (X, X_NEXT, J, SIGMA, TAU, ROW_GAINS, 0.2, 0.4)))
    gradients = jax.grad(density, argnums=range(8))(*arguments)
    for k, (argument, gradient) in enumerate(zip(arguments, gradients, strict=True)):
        direction, h = jnp.asarray(RNG.standard_normal(argument.shape)), 1e-5
        up, down = (density(*arguments[:k], argument + s * direction, *arguments[k + 1 :]) for s in (h, -h))
        np.testing.assert_allclose(jnp.sum(gradient * direction), (up - down) / (2 * h), rtol=2e-7, err_msg=f"{k}")


def test_where_more_noise_leads_to_a_lower_state_there_is_no_density():
    """x' = x + dt (A x + noise) (1 + dt A / 2) of one unit, with A dt < -2 and > -2."""
    density = lambda J: step_log_density(RateNetwork(J[None, None], Linear(), noise=0.5), heun, 0.0, [0.1], [0.1], 0.5)
    found = jax.jit(jax.vmap(density))(jnp.array([2.0, -2.0, -20.0]))
    np.testing.assert_array_equal(np.isfinite(found), [True, True, False])


@pytest.mark.slow
def test_no_density_is_nan():
    one = lambda J, dt: step_log_density(RateNetwork([[J]], Linear(), noise=0.5), heun, 0.0, [0.1], [0.1], dt)
    assert np.isfinite(one(2.0, 0.3))
    assert np.isnan(one(-20.0, 0.5))  # so long a step that more noise leads to a lower state
    traced = jax.jit(lambda s: step_log_density(RateNetwork([[2.0]], Tanh(), noise=s), heun, 0.0, [0.1], [0.2], 0.3))
    assert not np.isfinite(traced(0.0)) and np.isfinite(traced(0.5))


# --- bad arguments


BATCH = RateNetwork(np.zeros((2, N, N)), Tanh(), noise=0.5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"net": BATCH}, "`net` must be one network"),
        ({"scheme": Adaptive()}, "`scheme` must be a fixed-step scheme"),
        ({"dt": 0.0}, "`dt` must be a finite number > 0"),
        ({"dt": np.ones(2)}, "`dt` must be a number"),
        ({"x": np.ones(N + 1)}, "`x` must have"),
        ({"x": np.ones((2, 2, N))}, "`x`"),
    ],
)
def test_bad_arguments(change, message):
    arguments = {"net": _network(), "scheme": heun, "t": 0.0, "x": X, "dt": 0.1} | change
    with pytest.raises(ValueError, match=message):
        step(**arguments, key=KEY)
    with pytest.raises(ValueError, match=message):
        step_log_density(**arguments, x_next=X)


def test_bad_noise_and_states():
    density = partial(step_log_density, _network(), heun, 0.0)
    with pytest.raises(ValueError, match="`key` must be a random key"):
        step(_network(), heun, 0.0, X, 0.1, None)
    with pytest.raises(ValueError, match="`noise` must be finite numbers > 0"):
        step_log_density(_network(noise=np.arange(N)), heun, 0.0, X, X, 0.1)
    with pytest.raises(ValueError, match="`x_next` must be finite"):
        density(X, np.full(N, np.nan), 0.1)
    with pytest.raises(ValueError, match="`x` and `x_next` must have shape"):
        density(np.ones((2, N)), X, 0.1)
