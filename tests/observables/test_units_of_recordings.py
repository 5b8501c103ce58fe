"""Units: every measurement of a recording follows a change of its unit, of the unit of time, and of the order of units.

The functions are found by introspection, so that a new one cannot be forgotten.
"""

import inspect
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets import observables as obs

RNG = np.random.default_rng(0)
# An oscillation beside noise of unequal variances: (time, trajectories, n).
X = np.cos(0.7 * np.arange(200))[:, None, None] + RNG.standard_normal((200, 3, 7)) * np.linspace(0.5, 2, 7)
PATTERNS = np.sign(RNG.standard_normal((2, 7)))
DT = 0.5
CHANGES = {np.float64: (1e-30, 1e30), np.float32: (1e-15, 1e15)}

# Name: what is called with (x, interval, order of units), and of each output the powers of the unit of x and of time,
# and the axes of units.
CASES = {
    "autocovariance": (
        lambda x, dt, order: vars(obs.autocovariance(x, dt, max_lag=3 * dt)).values(),
        [(0, 1, ()), (2, 0, ()), (2, 0, ())],
    ),
    "unit_autocovariances": (
        lambda x, dt, order: obs.unit_autocovariances(x, dt, max_lag=3 * dt),
        [(0, 1, ()), (2, 0, (1,))],
    ),
    "cross_covariance": (
        lambda x, dt, order: obs.cross_covariance(x, x, dt, max_lag=3 * dt),
        [(0, 1, ()), (2, 0, (0, 1))],
    ),
    "covariance": (lambda x, dt, order: [obs.covariance(x)], [(2, 0, (0, 1))]),
    "correlation_time": (lambda x, dt, order: [obs.correlation_time(x, dt)], [(0, 1, ())]),
    "participation_ratio": (
        lambda x, dt, order: [
            obs.participation_ratio(x, dt, unbiased=False),
            obs.participation_ratio(x, dt, correlation_time=dt, population_size=20),
        ],
        [(0, 0, ()), (0, 0, ())],
    ),
    "dimension_estimate": (
        lambda x, dt, order: vars(obs.dimension_estimate(x, dt, correlation_time=dt)).values(),
        [(0, 0, ()), (0, 0, ())],
    ),
    "principal_components": (
        lambda x, dt, order: [abs(leaf) for leaf in vars(obs.principal_components(x)).values()],
        [(2, 0, ()), (0, 0, (0,)), (0, 0, ())],
    ),
    "power_spectrum": (lambda x, dt, order: obs.power_spectrum(x, dt), [(0, -1, ()), (2, 1, ())]),
    "dominant_frequencies": (
        lambda x, dt, order: vars(obs.dominant_frequencies(x, dt)).values(),
        [(0, -1, ()), (2, 1, ())],
    ),
    "rank_exponent": (
        lambda x, dt, order: [obs.rank_exponent(np.var(x, (0, 1)), 1, 6).value],
        [(0, 0, ())],
    ),
    "cross_validated_spectrum": (
        lambda x, dt, order: [obs.cross_validated_spectrum(x[:, 0], x[:, 1])],
        [(2, 0, ())],
    ),
    "overlaps": (lambda x, dt, order: [obs.overlaps(PATTERNS[:, order], x)], [(1, 0, ())]),
}


def test_every_function_of_arrays_has_its_units_tested():
    functions = {name: getattr(obs, name) for name in obs.__all__ if inspect.isfunction(getattr(obs, name))}
    of_arrays = {
        name
        for name, function in functions.items()
        if any("Array" in str(parameter.annotation) for parameter in inspect.signature(function).parameters.values())
    }
    assert of_arrays == set(CASES)


@pytest.mark.parametrize("dtype", CHANGES)
@pytest.mark.parametrize("name", CASES)
def test_units_of_activity_and_time_and_the_order_of_units(name, dtype):
    call, outputs = CASES[name]
    x, order, same = X.astype(dtype), RNG.permutation(X.shape[-1]), np.arange(X.shape[-1])
    before = [np.asarray(leaf, float) for leaf in call(x, DT, same)]
    assert all(np.isfinite(leaf).all() for leaf in before)
    for q, seconds in zip(CHANGES[dtype], (1e-3, 60.0), strict=True):
        after = call((x[..., order].astype(float) * q).astype(dtype), DT * seconds, order)
        for found, expected, (of_x, of_time, axes) in zip(after, before, outputs, strict=True):
            for axis in axes:
                expected = np.take(expected, order, axis)
            expected = expected * q**of_x * seconds**of_time
            error = 1e-3 if dtype == np.float32 else 1e-9
            np.testing.assert_allclose(found, expected, rtol=error, atol=error * np.abs(expected).max())


def test_a_recording_in_ampere():
    """Numbers below the square root of the smallest float32."""
    x = np.load(Path(__file__).parent / "recording_picoampere_f32.npy")
    for unit in (1.0, 1e12):
        plain = obs.participation_ratio((x * np.float32(unit)), 1.0, unbiased=False)
        assert plain.dtype == jnp.float32 and plain == pytest.approx(6.7587, abs=1e-4)


@pytest.mark.parametrize("dtype", [np.float16, ">f8", np.int16, object])
def test_recordings_of_any_type(dtype):
    x = np.round(8 * X).astype(dtype)
    found, expected = (obs.participation_ratio(x, DT, unbiased=False) for x in (x, np.round(8 * X)))
    assert found == pytest.approx(float(expected), rel=1e-5)


# --- what is refused


def test_gaps_are_named():
    x = X.copy()
    x[5:8, 1, 3] = np.nan
    with pytest.raises(ValueError, match="`x`.*nan at time 5, trajectory 1, unit 3, and 3 such entries in 1 units"):
        obs.covariance(x)


def test_a_transposed_recording():
    with pytest.raises(ValueError, match=r"units x time, try `x.T`"):
        obs.dimension_estimate(X[:, 0].T, DT, correlation_time=DT)


# --- all units from a few


def test_the_dimension_of_all_units_from_a_few():
    """20 of 400 units of a process of rank 40, PR about 36: known covariances, 40 of them."""
    n, N, rank = 20, 400, 40
    ratios, z, plain = [], [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        loadings = rng.standard_normal((N, rank))
        C = loadings @ loadings.T
        exact = np.trace(C) ** 2 / np.sum(C**2)
        x = 1 + rng.standard_normal((1000, rank)) @ loadings[rng.permutation(N)[:n]].T
        found = obs.dimension_estimate(x, DT, correlation_time=DT, population_size=N)
        ratios.append(found.value / exact)
        z.append((found.value - exact) / found.error)
        plain.append(obs.dimension_estimate(x, DT, correlation_time=DT).value)
    # The mean of 40 within three of its errors, and errors that cover; jackknifed ones may be sqrt(2) too large.
    assert abs(np.mean(ratios) - 1) < 3 * np.std(ratios) / 40**0.5
    assert 0.5 < np.std(z) < 1.2 and np.mean(np.abs(z) < 1) > 0.6
    assert 11 < np.mean(plain) < 14  # of the 20 units alone


def test_a_population_that_is_all_recorded():
    few = obs.dimension_estimate(X, DT, correlation_time=DT)
    same = obs.dimension_estimate(X, DT, correlation_time=DT, population_size=X.shape[-1])
    np.testing.assert_allclose([same.value, same.error], [few.value, few.error], rtol=1e-10)
    with pytest.raises(ValueError, match="`population_size`"):
        obs.participation_ratio(X, DT, population_size=3)
    with pytest.raises(ValueError, match="`population_size`.*unbiased"):
        obs.participation_ratio(X, DT, population_size=30, unbiased=False)
