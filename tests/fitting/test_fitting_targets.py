"""Targets of fits: what they predict in closed form, and the parameters they give back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.couplings import IID, DeepHebbian, Elliptic, RandomModes
from jaxnets.fitting import (
    Interval,
    NotIdentifiable,
    Positive,
    autocovariance_misses,
    dimension_misses,
    edge_misses,
    fit,
    least_squares,
    onset_misses,
    population_time_misses,
    spectral_statistics,
    spectrum_misses,
    speed_misses,
    void_radius,
    with_covariance,
)
from jaxnets.meanfield import stationary
from jaxnets.population import dimension, pair_covariance
from jaxnets.spectra import eigenvalues, law
from jaxnets.transfer import Erf, Tanh


def even_disc(n, radius):
    """Points that fill a disc evenly, in conjugate pairs."""
    k = (np.arange(n // 2) + 0.5) / (n // 2)
    z = radius * np.sqrt(k) * np.exp(1j * np.pi * (np.arange(n // 2) * (np.sqrt(5) - 1) / 2 % 1))
    return np.concatenate([z, z.conj()])


def iid_misses(params, data):
    return spectrum_misses(IID(params["g"]), data)


@pytest.mark.slow
def test_the_circular_law_is_given_back():
    n, g = 4000, 1.7
    data = spectral_statistics(even_disc(n, g)[None])
    at_truth = np.asarray(iid_misses({"g": jnp.asarray(g)}, data) * data.error)
    # A count is off by one pair of n; the points of the spiral have traces of order 1/n too.
    np.testing.assert_allclose(at_truth, 0, atol=4 / n * g**3)
    found = least_squares(iid_misses, {"g": 1.2}, data, transforms={"g": Positive()})
    assert found.converged and found.params["g"] == pytest.approx(g, rel=2 / n)
    # The number in a disc of r^2 / g^2 is known to sqrt(2 r / (sqrt(pi) g)) / sqrt(n): that of the largest alone gives
    # an error of a few 1e-4 of g.
    assert 1e-5 < found.error["g"] / g < 1e-3


def test_statistics_of_spectra():
    lam = np.array([even_disc(400, 1.0), even_disc(400, 1.2)])
    data = spectral_statistics(np.concatenate([lam, np.zeros((2, 100))], axis=1), num_radii=12, num_traces=2)
    lower, upper = np.quantile(lam.real, [0.25, 0.75])
    # Those that would pass near 0 are missing: around a quartile, at its distance.
    np.testing.assert_allclose(np.unique(data.centres), [lower, 0, upper])
    R = data.radii.shape[0]
    assert 20 < R < 36 and data.values.shape == (2, R + 3) and data.num_traces == 2
    assert np.min(np.abs(np.abs(data.centres) - data.radii)) > 0.07
    # Parts that are not 0.
    inside = np.abs(lam[:, :, None] - np.asarray(data.centres)) < np.asarray(data.radii)
    np.testing.assert_allclose(data.values[:, :R], 0.8 * np.mean(inside, axis=1))
    parts = np.mean(data.values[:, :R], axis=0) / 0.8
    np.testing.assert_allclose(parts, (np.round(12 * parts - 0.5) + 0.5) / 12, atol=2e-3)
    np.testing.assert_allclose(data.values[:, R], 0.2)
    scatter = np.diag(data.covariance())[2] * data.error[2] ** 2
    # Two spectra: Student's law is Cauchy's, of which 68% is tan(.3413 pi).
    assert scatter == pytest.approx((np.tan(0.3413 * np.pi) * np.ptp(data.values[:, 2]) / 2) ** 2)
    # The part that is 0, which does not scatter, is rounded: 68% of +-.5 / 500.
    assert np.sqrt(data.covariance()[R, R]) * data.error[R] == pytest.approx(0.68 * 0.5 / 500)


@pytest.mark.slow
def test_the_part_that_is_zero():
    """Falls on with the rank where some eigenvalues are 0; not for noise of full rank, nor where gains make zeros."""
    lam = np.concatenate([even_disc(400, 1.0), np.zeros(100)])[None]
    data = spectral_statistics(lam, num_radii=2, num_traces=1)
    at = data.radii.shape[0]
    part = lambda *args, **kwargs: (spectrum_misses(*args, **kwargs) * data.error)[at] + 0.2
    assert part(DeepHebbian(1.1, 0.5, (0.7,)), data) == pytest.approx(-0.1)
    assert part(IID(1.0), data) == 0
    half = jnp.array([0.0, 1.0])
    assert part(IID(1.0), data, gains=half) == part(DeepHebbian(1.1, 0.5, (0.7,)), data, gains=half) == 0.5


@pytest.mark.slow
@pytest.mark.parametrize(("load", "auto", "hetero"), [(0.9, 1.0, (0.25,)), (0.5, 0.6, (0.5, 0.5)), (0.3, 0.0, (1.0,))])
def test_points_of_circles_are_enough(load, auto, hetero):
    """Narrow spectra, wide ones and rings: the integrals are off by less than a fifth of the errors of five spectra."""
    ensemble = DeepHebbian(load, auto, hetero)
    lam = [np.linalg.eigvals(np.asarray(ensemble.sample(1000, key=jax.random.key(seed)).dense())) for seed in range(5)]
    data = spectral_statistics(np.array(lam))
    np.testing.assert_allclose(
        spectrum_misses(ensemble, data), spectrum_misses(ensemble, data, num_points=2000), rtol=0, atol=0.2
    )


def hebbian_misses(params, data):
    return spectrum_misses(DeepHebbian(params["load"], params["auto"], params["gamma"][None]), data)


HEBBIAN = {"load": Positive(), "gamma": Positive()}


@pytest.mark.slow
def test_spectra_of_a_sequence_memory():
    """Two samples of N = 300: three parameters at once, to a few of their errors."""
    truth = {"load": 0.6, "auto": 0.4, "gamma": 0.8}
    ensemble = DeepHebbian(truth["load"], truth["auto"], (truth["gamma"],))
    lam = [np.asarray(eigenvalues(ensemble.sample(300, key=jax.random.key(seed)))) for seed in range(2)]
    data = spectral_statistics(np.array(lam))
    start = {"load": jnp.asarray(0.5), "auto": jnp.asarray(0.5), "gamma": jnp.asarray(0.6)}
    found = least_squares(hebbian_misses, start, data, transforms=HEBBIAN)
    assert found.converged
    for name, value in truth.items():
        assert abs(found.params[name] - value) < max(4 * found.error[name], 0.01 * value)
    # chi^2 of 25 degrees of freedom, with errors that are rather too large.
    assert 2 * found.loss < 40


def equal_window(length):
    """Residuals of a sequence memory with so many equal strengths."""

    def misses(params, data):
        return spectrum_misses(DeepHebbian(params["load"], params["auto"], jnp.full(length, params["gamma"])), data)

    return misses


@pytest.mark.slow
@pytest.mark.parametrize("length", [1, 2, 3])
def test_windows_from_five_spectra(length):
    """Of N = 1000: each parameter to 3% and some of its errors, and the length of the window from the loss."""
    rng = np.random.default_rng(length)
    truth = {"load": rng.uniform(0.3, 1.2), "auto": rng.uniform(0.3, 1.0), "gamma": rng.uniform(0.4, 1.0)}
    ensemble = DeepHebbian(truth["load"], truth["auto"], np.full(length, truth["gamma"]))
    keys = jax.random.split(jax.random.key(length), 5)
    lam = [np.linalg.eigvals(np.asarray(ensemble.sample(1000, key=key).dense())) for key in keys]
    data = spectral_statistics(np.array(lam))

    def fitted(length):
        start = {"load": 0.7, "auto": 0.6, "gamma": 0.7 / np.sqrt(length)}
        positive = {name: Positive() for name in start}
        return least_squares(equal_window(length), start, data, transforms=positive, max_steps=40, tolerance=1e-6)

    found = fitted(length)
    found = with_covariance(found, equal_window(length), data.covariance(), data)
    for name, value in truth.items():
        assert found.params[name] == pytest.approx(value, rel=0.03)
        assert abs(found.params[name] - value) < 5 * found.error[name]
    assert fitted(length % 3 + 1).loss > found.loss + 10  # in chi^2 by 20


@pytest.mark.parametrize(
    ("build", "gain"),
    [
        pytest.param(IID, 1.0, marks=pytest.mark.slow),
        pytest.param(lambda g: Elliptic(g, 0.5), 2 / 3, marks=pytest.mark.slow),
        pytest.param(lambda g: IID(g) + IID(0.6), 0.8, marks=pytest.mark.slow),
    ],
)
def test_a_wanted_edge(build, gain):
    found = least_squares(lambda p: edge_misses(build(p["g"]), 1.0), {"g": 0.5}, transforms={"g": Positive()})
    assert found.params["g"] == pytest.approx(gain, rel=1e-6)


@pytest.mark.slow
def test_a_wanted_onset():
    """Erf and an elliptic ensemble: (1 + s) g scale = 1."""
    of = lambda p: onset_misses(Elliptic(1.0, p["s"]), Erf(), 0.625)
    found = least_squares(of, {"s": 0.0}, transforms={"s": Interval(-1, 1)})
    assert found.params["s"] == pytest.approx(0.6, rel=1e-6)


def test_a_wanted_speed_of_retrieval():
    """One pattern in 4 ms with a time constant of 5 ms: c from gamma_1 + 2 gamma_2 = (c + gamma_1 + gamma_2) 5 / 4."""
    of = lambda p: speed_misses(DeepHebbian(0.01, p["auto"], (1.0, 0.7)), 1 / 4, time_constant=5.0)
    found = least_squares(of, {"auto": 1.0}, transforms={"auto": Positive()})
    assert found.params["auto"] == pytest.approx(2.4 * 4 / 5 - 1.7, rel=1e-6)


@pytest.mark.slow
def test_the_void_of_a_shift():
    load, gamma = 0.6, 1.4
    radius = lambda load, gamma: void_radius(DeepHebbian(load, 0.0, gamma[None]))
    value, slopes = jax.value_and_grad(radius, argnums=(0, 1))(jnp.asarray(load), jnp.asarray(gamma))
    assert value == pytest.approx(gamma * (1 - load) ** 1.5, rel=1e-8)
    assert slopes[0] == pytest.approx(-1.5 * gamma * (1 - load) ** 0.5, rel=1e-6)
    assert slopes[1] == pytest.approx((1 - load) ** 1.5, rel=1e-6)


@pytest.mark.slow
def test_no_void_without_missing_modes():
    assert void_radius(DeepHebbian(1.5, 0.0, (1.0,))) == 0


LENGTH, LOAD = 3, 0.25


def window(params):
    """A synaptic window scaled to a right edge of 1."""
    shape = DeepHebbian(LOAD, 0.0, params["window"])
    return (1 / law(shape).right_edge()) * shape


@pytest.mark.slow
def test_the_window_with_the_largest_void():
    """Of length 3, its right edge at 1: a single shift, of which the void is known; at a corner, and of any scale."""
    loss = lambda params: -void_radius(window(params))
    with pytest.warns(NotIdentifiable, match="window"):
        found = fit(loss, {"window": jnp.array([1.0, 0.4, 0.2])}, max_steps=60, tolerance=1e-4)
    best = window(found.params)
    assert law(best).right_edge() == pytest.approx(1, rel=1e-6)
    single = (1 - LOAD) ** 1.5 / np.sqrt(1 + LOAD)
    assert -found.loss > single * (1 - 1e-3)
    # Its void in samples: no eigenvalue of N = 800 lies further inside than their fluctuations allow.
    lam = np.asarray(eigenvalues(best.sample(800, key=jax.random.key(0))))
    moving = np.sort(np.abs(lam))[800 - round(800 * LOAD) :]
    assert moving[0] > 0.85 * void_radius(best)


@pytest.mark.slow
def test_activity_gives_back_its_parameters():
    """Data from the theory itself: strength, rank and time constant to the accuracy of the solver."""
    truth = {"g": 3.0, "rank": 0.5, "tau": 2.5}
    lags = jnp.linspace(0.5, 12, 12)

    def parts(params):
        ensemble = RandomModes.of_rank(params["g"], params["rank"])
        return stationary(ensemble, Tanh(), nodes=101, num_lags=513, max_lag=60.0), ensemble

    state, ensemble = parts({name: jnp.asarray(value) for name, value in truth.items()})
    c = jnp.interp(lags / truth["tau"], state.lags, state.c_phi)
    pairs = pair_covariance(state, ensemble, jnp.append(0.0, lags[::4] / truth["tau"])).phi
    data = c, 1 / dimension(state, ensemble).phi, pairs[1:] / pairs[0]

    def misses(params, c, inverse, pairs):
        state, ensemble = parts(params)
        return jnp.concatenate(
            [
                autocovariance_misses(state, lags, c, 0.01, time_constant=params["tau"]),
                dimension_misses(state, ensemble, inverse, 1.0),
                population_time_misses(state, ensemble, lags[::4], pairs, 0.05, time_constant=params["tau"]),
            ]
        )

    start = {"g": 2.2, "rank": 1.0, "tau": 2.0}
    found = least_squares(misses, start, *data, transforms={name: Positive() for name in start})
    assert found.converged and not found.unidentified()
    np.testing.assert_allclose([found.params[name] for name in truth], list(truth.values()), rtol=1e-5)


def test_errors_of_correlated_residuals():
    """A mean of numbers with a common error: cov = 1 + 4 for the sum of both, whatever the plain weights say."""
    residuals = lambda p, x: x - p["mean"]
    x = jnp.array([1.0, 2.0, 4.0])
    found = least_squares(residuals, {"mean": 0.0}, x)
    assert found.error["mean"] == pytest.approx(1 / np.sqrt(3))
    common = with_covariance(found, residuals, jnp.eye(3) + 4.0, x)
    assert common.params["mean"] == pytest.approx(7 / 3) and common.error["mean"] == pytest.approx(np.sqrt(1 / 3 + 4))
    with pytest.raises(ValueError, match="covariance"):
        with_covariance(found, residuals, jnp.eye(2), x)


@pytest.mark.parametrize(
    ("lam", "options", "says"),
    [
        (np.ones(5), {}, "eigenvalues"),
        (np.full((1, 30), np.nan), {}, "eigenvalues"),
        (np.zeros((1, 30)), {}, "20 or more"),
        (even_disc(50, 1.0)[None], {"num_radii": 0}, "num_radii"),
        (even_disc(50, 1.0)[None], {"num_traces": 1.5}, "num_traces"),
    ],
)
def test_bad_spectra(lam, options, says):
    with pytest.raises(ValueError, match=says):
        spectral_statistics(lam, **options)


def test_bad_numbers_of_points():
    with pytest.raises(ValueError, match="points"):
        spectrum_misses(IID(1.0), spectral_statistics(even_disc(50, 1.0)[None]), num_points=0)
    with pytest.raises(ValueError, match="angles"):
        void_radius(DeepHebbian(0.5, 0.0, (1.0,)), num_angles=2.5)
