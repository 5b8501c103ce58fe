"""Covariances, spectra and overlaps against exact processes, direct sums and SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

from jaxnets import observables as obs

DT = 0.2


def noise(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def ornstein_uhlenbeck(seed, times, *shape, dt=DT):
    """Stationary, with C(tau) = e^{-|tau|}, sampled exactly."""
    decay = np.exp(-dt)
    x = noise(seed, times, *shape)
    x[1:] *= np.sqrt(1 - decay**2)
    return scipy.signal.lfilter([1.0], [1.0, -decay], x, axis=0)


def direct(x, y, lag, centre=True):
    """<dx_i(t) dy_j(t + lag)>, one pair of times after the other; x, y: (time, trajectories, n)."""
    if centre:
        x, y = (z - z.mean((0, 1)) for z in (x, y))
    times = [t for t in range(len(x)) if 0 <= t + lag < len(x)]
    return sum(x[t].T @ y[t + lag] for t in times) / len(times) / x.shape[1]


# --- covariances in time


@pytest.mark.parametrize("centre", [True, False])
@pytest.mark.parametrize("times", [2, 13])
def test_autocovariance_against_direct_sums(times, centre):
    x = 0.7 + noise(0, times, 2, 3)
    expected = [direct(x, x, lag, centre) for lag in range(times)]
    found = obs.autocovariance(x, DT, centre=centre)
    np.testing.assert_allclose(found.lags, DT * np.arange(times), rtol=1e-15)
    np.testing.assert_allclose(found.values, [np.trace(c) / 3 for c in expected], atol=1e-13)
    lags, units = obs.unit_autocovariances(x, DT, centre=centre)
    np.testing.assert_array_equal(lags, found.lags)
    np.testing.assert_allclose(units, [np.diag(c) for c in expected], atol=1e-13)

    few = obs.autocovariance(x, DT, max_lag=DT * (times // 2), centre=centre)
    assert few.lags.shape == (times // 2 + 1,)
    np.testing.assert_allclose(few.values, found.values[: times // 2 + 1], atol=1e-13)


def test_autocovariance_of_sinusoids():
    # Phases spread evenly over the units leave cos(w tau) / 2 of every pair of times, up to rounding.
    t, phases = DT * np.arange(301), 2 * np.pi * np.arange(5) / 5
    x = sum(a * np.cos(w * t[:, None] + phases) for a, w in ((1.0, 1.3), (0.5, 4.1)))
    # The two products at different frequencies depend on t + tau / 2 through 2 phases only if k = 5: they vanish too.
    same = lambda tau: 0.5 * np.cos(1.3 * tau) + 0.125 * np.cos(4.1 * tau)
    crossed = lambda t, tau: 0.25 * (np.cos(1.3 * t - 4.1 * (t + tau)) + np.cos(4.1 * t - 1.3 * (t + tau)))
    found = obs.autocovariance(x, DT, max_lag=20.0, centre=False)
    expected = [same(tau) + np.mean(crossed(t[: len(t) - k], tau)) for k, tau in enumerate(np.asarray(found.lags))]
    np.testing.assert_allclose(found.values, expected, atol=1e-12)


def test_autocovariance_of_an_ornstein_uhlenbeck_process_within_its_error():
    found = obs.autocovariance(ornstein_uhlenbeck(1, 1000, 60, 4), DT, max_lag=4.0, centre=False)
    z = (found.values - np.exp(-found.lags)) / found.error
    # 21 lags, correlated: 4 standard deviations of the worst, and errors of the size the process has.
    assert np.max(np.abs(z)) < 4
    # Var of the mean of x^2 is 2 int C^2 / T, per unit and trajectory.
    np.testing.assert_allclose(found.error[0], np.sqrt(2 / (1000 * DT) / 240), rtol=4 / np.sqrt(2 * 59))


def test_the_bias_of_removing_the_mean():
    times, repeats = 100, 4000
    found = obs.unit_autocovariances(ornstein_uhlenbeck(2, times, repeats), DT, max_lag=0.0)[1][0]
    lags = np.abs(np.subtract.outer(np.arange(times), np.arange(times)))
    exact = 1 - np.mean(np.exp(-DT * lags))
    assert abs(np.mean(found) - exact) < 4 * np.std(found) / repeats**0.5
    assert abs(exact - (1 - 2 / (times * DT))) < 0.01


def test_error_between_trajectories():
    x = noise(3, 50, 6, 4)
    each = np.array([[np.trace(direct(x[:, [k]], x[:, [k]], lag, False)) / 4 for lag in (0, 1)] for k in range(6)])
    found = obs.autocovariance(x, DT, max_lag=DT, centre=False)
    np.testing.assert_allclose(found.error, each.std(0, ddof=1) / 6**0.5, rtol=1e-12)
    assert np.all(np.isnan(obs.autocovariance(x[:, :1], DT).error))


def test_cross_covariance_against_direct_sums():
    x, y = 0.3 + noise(4, 21, 2, 3), noise(5, 21, 2, 4)
    lags, found = obs.cross_covariance(x, y, DT, max_lag=5 * DT)
    np.testing.assert_allclose(lags, DT * np.arange(-5, 6), atol=1e-15)
    expected = np.stack([direct(x, y, lag) for lag in range(-5, 6)], axis=-1)
    np.testing.assert_allclose(found, expected, atol=1e-13)
    np.testing.assert_allclose(obs.cross_covariance(x, y, DT, max_lag=0.0)[1][..., 0], expected[..., 5], atol=1e-13)
    np.testing.assert_allclose(
        obs.cross_covariance(x, y, DT, max_lag=DT, centre=False)[1][..., 2], direct(x, y, 1, False), atol=1e-13
    )


def test_cross_covariance_says_who_leads():
    x = noise(6, 4000, 1)
    y = np.roll(x, 3, axis=0)  # three samples later
    lags, c = obs.cross_covariance(x, y, DT, max_lag=2.0)
    np.testing.assert_allclose(lags[np.argmax(c[0, 0])], 3 * DT)


def test_covariance_and_the_others_at_equal_times():
    x = 2.0 + noise(7, 30, 2, 5)
    found = obs.covariance(x)
    np.testing.assert_allclose(found, np.cov(x.reshape(-1, 5).T, bias=True), atol=1e-13)
    np.testing.assert_allclose(obs.covariance(x, centre=False), direct(x, x, 0, False), atol=1e-13)
    np.testing.assert_allclose(obs.cross_covariance(x, x, DT, max_lag=0.0)[1][..., 0], found, atol=1e-13)
    np.testing.assert_allclose(obs.autocovariance(x, DT).values[0], np.trace(found) / 5, atol=1e-13)


def test_correlation_time():
    # dt sum_k e^{-2 |k| dt} = dt coth(dt), found to the noise 2 Var(int C^2).
    found = obs.correlation_time(ornstein_uhlenbeck(8, 3000, 200), DT)
    np.testing.assert_allclose(found, DT / np.tanh(DT), rtol=0.02)
    np.testing.assert_allclose(obs.correlation_time(noise(9, 3000, 200), DT), DT, rtol=0.02)
    assert np.isnan(obs.correlation_time(np.full((10, 2), 0.7), DT))


# --- spectra


@pytest.mark.parametrize("segment", [None, 64, 65, 300])
def test_power_spectrum_is_that_of_scipy(segment):
    x = 0.5 + ornstein_uhlenbeck(10, 300, 2, 3)
    size = segment or 75
    expected = scipy.signal.welch(x, 1 / DT, "hann", size, noverlap=size // 2, detrend="constant", axis=0)
    f, power = obs.power_spectrum(x, DT, segment=None if segment is None else segment * DT)
    np.testing.assert_allclose(f, expected[0], atol=1e-13)
    np.testing.assert_allclose(power, expected[1].mean((1, 2)), rtol=1e-10)


def test_power_spectrum_of_an_ornstein_uhlenbeck_process():
    # Sampled, it has the density 2 dt (1 - a^2) / |1 - a e^{-i w dt}|^2, one-sided.
    f, power = obs.power_spectrum(ornstein_uhlenbeck(11, 4000, 100), DT, segment=40.0)
    a = np.exp(-DT)
    exact = 2 * DT * (1 - a**2) / np.abs(1 - a * np.exp(-2j * np.pi * np.asarray(f) * DT)) ** 2
    # 100 units with 19 independent segments each: 2.3% a bin; leakage is second order in the resolution.
    np.testing.assert_allclose(power[3:-1], exact[3:-1], rtol=0.12)


def test_power_adds_up_to_the_variance():
    x = noise(22, 100, 2, 3)
    f, power = obs.power_spectrum(x, DT, segment=100 * DT)
    weights = np.sin(np.pi * np.arange(100) / 100) ** 4
    variance = np.average((x - x.mean(0)) ** 2, axis=0, weights=weights).mean()
    np.testing.assert_allclose(np.sum(power) * f[1], variance, rtol=1e-12)


@pytest.mark.parametrize("offset", [0.0, 0.3, 0.5])
def test_dominant_frequencies_between_bins(offset):
    segment = 50.0
    t = DT * np.arange(1000)[:, None]
    strong, weak = (12 + offset) / segment, (40.3 + offset) / segment
    phases = np.array([0.0, 1.0, 2.5])
    x = 3 + 2 * np.cos(2 * np.pi * strong * t + phases) + 0.5 * np.sin(2 * np.pi * weak * t + phases)
    found = obs.dominant_frequencies(x, DT, num_peaks=2, segment=segment)
    np.testing.assert_allclose(found.frequencies, [strong, weak], atol=0.02 / segment)
    # The density at the top of a line: amplitude^2 / 2 over the equivalent width, 1.5 bins, of a Hann window.
    np.testing.assert_allclose(found.power, np.array([2.0, 0.125]) * segment / 1.5, rtol=0.08)


def test_peaks_that_are_not_there_are_nan():
    t = DT * np.arange(256)[:, None]
    found = obs.dominant_frequencies(np.cos(2 * np.pi * t / (32 * DT)), DT, num_peaks=31)
    assert np.isfinite(found.frequencies[0]) and np.isnan(found.frequencies[-1]) and np.isnan(found.power[-1])
    assert np.all(np.isnan(obs.dominant_frequencies(np.zeros((64, 2)), DT, num_peaks=2).frequencies))


# --- overlaps


def test_overlaps():
    patterns, rates = np.sign(noise(12, 3, 8)), noise(13, 5, 2, 8)
    expected = [[[np.mean(patterns[mu] * r) for mu in range(3)] for r in at] for at in rates]
    np.testing.assert_allclose(obs.overlaps(patterns, rates), expected, atol=1e-15)
    np.testing.assert_allclose(obs.overlaps(patterns, patterns[1])[1], 1.0)
    assert obs.overlaps(patterns.astype(int), rates.astype(np.float32)).dtype == np.float32


# --- transforms, precision, arguments

FUNCTIONS = {
    "autocovariance": lambda x: obs.autocovariance(x, DT, max_lag=2.0),
    "unit_autocovariances": lambda x: obs.unit_autocovariances(x, DT, max_lag=2.0),
    "cross_covariance": lambda x: obs.cross_covariance(x[..., :2], x[..., 2:], DT, max_lag=2.0),
    "covariance": obs.covariance,
    "correlation_time": lambda x: obs.correlation_time(x, DT),
    "power_spectrum": lambda x: obs.power_spectrum(x, DT, segment=8.0),
    "dominant_frequencies": lambda x: obs.dominant_frequencies(x, DT, num_peaks=2),
    "dimension_estimate": lambda x: obs.dimension_estimate(x, DT, correlation_time=0.5),
    "sample participation_ratio": lambda x: obs.participation_ratio(x, DT, unbiased=False),
    "explained": lambda x: obs.principal_components(x, num_components=2).explained,
    "overlaps": lambda x: obs.overlaps(x[0, 0, None] ** 2, x),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_jit_of_vmap_is_the_loop(name):
    batch = jnp.asarray(ornstein_uhlenbeck(14, 200, 3, 2, 4)).swapaxes(0, 1)
    mapped = jax.jit(jax.vmap(FUNCTIONS[name]))(batch)
    alone = jax.jit(FUNCTIONS[name])
    one_by_one = jax.tree.map(lambda *parts: np.stack(parts), *(alone(x) for x in batch))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11), mapped, one_by_one)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_float32(name):
    # A mean ten times the fluctuations costs a digit, and products of four a little more.
    x = 10 + ornstein_uhlenbeck(15, 200, 2, 4)
    measured = jax.jit(FUNCTIONS[name])
    double, single = measured(jnp.asarray(x)), measured(jnp.asarray(x, jnp.float32))

    def compare(a, b):
        assert b.dtype == jnp.float32
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)

    jax.tree.map(compare, double, single)


@pytest.mark.parametrize("name", ["autocovariance", "power_spectrum", "dimension_estimate"])
def test_gradients_against_finite_differences(name):
    x, direction = (jnp.asarray(ornstein_uhlenbeck(seed, 120, 2, 4)) for seed in (16, 17))

    @jax.jit
    def sums(x):
        return sum(jnp.sum(jnp.cos(jnp.ravel(part)[:5])) for part in jax.tree.leaves(FUNCTIONS[name](x)))

    found = jnp.sum(jax.jit(jax.grad(sums))(x) * direction)
    step = 1e-5
    expected = (sums(x + step * direction) - sums(x - step * direction)) / (2 * step)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8)


def test_shapes_of_records_and_lists():
    x = noise(18, 40, 2, 3, 4)
    np.testing.assert_allclose(obs.covariance(x), obs.covariance(x.reshape(40, 6, 4)))
    np.testing.assert_allclose(obs.covariance(x[:, 0, 0].tolist()), obs.covariance(x[:, 0, 0]))


def test_a_traced_interval_does_where_no_shape_depends_on_it():
    x = noise(19, 30, 3)
    found = jax.jit(lambda interval: obs.autocovariance(x, interval))(DT)
    np.testing.assert_allclose(found.lags, obs.autocovariance(x, DT).lags)
    with pytest.raises(ValueError, match="`max_lag` and `interval` set shapes"):
        jax.jit(lambda interval: obs.autocovariance(x, interval, max_lag=1.0))(DT)


def test_concrete_arrays_within_jit():
    x = jnp.asarray(noise(20, 30, 3))
    assert np.all(np.isfinite(jax.jit(lambda scale: scale * obs.covariance(x))(2.0)))


GOOD = noise(21, 40, 3)
BAD_RECORDS = {
    "shape": np.ones(5),
    "(time, ..., n)": np.ones((1, 3)),
    "got (5, 0)": np.ones((5, 0)),
    "finite": np.where(np.arange(120).reshape(40, 3) == 50, np.nan, 1.0),
    "real": np.ones((4, 3), complex),
}
ON_RECORDS = {
    "autocovariance": lambda x, interval: obs.autocovariance(x, interval),
    "unit_autocovariances": lambda x, interval: obs.unit_autocovariances(x, interval),
    "cross_covariance": lambda x, interval: obs.cross_covariance(x, x, interval, max_lag=0.0),
    "covariance": lambda x, interval: obs.covariance(x),
    "correlation_time": lambda x, interval: obs.correlation_time(x, interval),
    "power_spectrum": lambda x, interval: obs.power_spectrum(x, interval),
    "dominant_frequencies": lambda x, interval: obs.dominant_frequencies(x, interval),
    "dimension_estimate": lambda x, interval: obs.dimension_estimate(x, interval),
    "participation_ratio": lambda x, interval: obs.participation_ratio(x, interval, unbiased=False),
    "principal_components": lambda x, interval: obs.principal_components(x),
}


@pytest.mark.parametrize("what", BAD_RECORDS)
@pytest.mark.parametrize("name", ON_RECORDS)
def test_bad_records_are_refused(name, what):
    with pytest.raises(ValueError, match="`x`") as error:
        ON_RECORDS[name](BAD_RECORDS[what], DT)
    assert what in str(error.value)


@pytest.mark.parametrize("interval", [0.0, -0.1, np.nan, np.inf, [0.1, 0.2], "one"])
@pytest.mark.parametrize("name", [name for name in ON_RECORDS if name not in ("covariance", "principal_components")])
def test_bad_intervals_are_refused(name, interval):
    with pytest.raises(ValueError, match="`interval`"):
        ON_RECORDS[name](GOOD, interval)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: obs.autocovariance(GOOD, DT, max_lag=40 * DT), "`max_lag` must be shorter than the record, 40"),
        (lambda: obs.autocovariance(GOOD, DT, max_lag=-1.0), "`max_lag` must be a finite number >= 0"),
        (lambda: obs.unit_autocovariances(GOOD, DT, max_lag=np.nan), "`max_lag`"),
        (lambda: obs.cross_covariance(GOOD, GOOD, DT, max_lag=9.0), "`max_lag`"),
        (lambda: obs.cross_covariance(GOOD, GOOD[:-1], DT, max_lag=1.0), "same times and trajectories"),
        (lambda: obs.cross_covariance(GOOD, GOOD * np.nan, DT, max_lag=1.0), "`y` must be finite"),
        (lambda: obs.power_spectrum(GOOD, DT, segment=9.0), "`segment` must have from 4 samples to the 40"),
        (lambda: obs.power_spectrum(GOOD, DT, segment=3 * DT), "`segment`"),
        (lambda: obs.dominant_frequencies(GOOD, DT, num_peaks=0), "`num_peaks`"),
        (lambda: obs.dominant_frequencies(GOOD, DT, num_peaks=5), "`num_peaks` must be at most 4"),
        (lambda: obs.overlaps(np.ones(3), GOOD), "`patterns` must have shape"),
        (lambda: obs.overlaps(np.ones((2, 4)), GOOD), "`patterns` must have shape"),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(ValueError) as error:
        call()
    assert message in str(error.value)
