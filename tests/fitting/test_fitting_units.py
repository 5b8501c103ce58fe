"""Units: fits follow a change of the unit of what they find and of the data. Functions are found by introspection."""

import inspect
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_fitting_recordings import DT, record

from jaxnets import fitting

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((40, 2)), RNG.standard_normal(40)
SPECTRUM = np.exp(2j * np.pi * RNG.random((2, 60))) * np.sqrt(RNG.random((2, 60)))
SPECTRUM = np.concatenate([SPECTRUM, SPECTRUM.conj()], axis=1)
STATE = SimpleNamespace(lags=jnp.linspace(0, 20, 201), c_phi=jnp.exp(-jnp.linspace(0, 20, 201)))


def line(params, x, y):
    return x @ params["slopes"] - y


def positive_loss(params, y):
    """Minus the log-likelihood of exponential times, of a mean in their unit."""
    return jnp.sum(y / params["mean"] + jnp.log(params["mean"]))


def by_squares(q):
    """Slopes of data in another unit, with residuals in units of their error."""
    return fitting.least_squares(line, {"slopes": np.zeros(2)}, X / q, Y)


def by_gradient(q):
    positive = {"mean": fitting.Positive()}
    return fitting.fit(positive_loss, {"mean": 2.0 * q}, q * np.abs(Y), transforms=positive, tolerance=1e-9)


def with_covariance(q):
    return fitting.with_covariance(by_squares(q), line, jnp.diag(jnp.arange(1.0, 41)), X / q, Y)


def interval(q):
    found = by_gradient(q)
    values = found.params["mean"] + found.error["mean"] * jnp.linspace(-2, 2, 9)
    return fitting.profile(positive_loss, found, "mean", values, q * np.abs(Y))


def statistics(q):
    return fitting.spectral_statistics(q * SPECTRUM)


def starts(q):
    positive = {"g": fitting.Positive()}
    return fitting.draw_starts({"g": 2.0 * q}, 3, key=jax.random.key(0), transforms=positive)


def autocovariance(q):
    lags = q * np.array([0.5, 1.5])
    return fitting.autocovariance_misses(STATE, lags, np.zeros(2), 1.0, time_constant=q)


# Name: what is called with the unit q, and what of its result has which power of q.
CASES = {
    "least_squares": (by_squares, {"params.slopes": 1, "error.slopes": 1, "loss": 0}),
    "fit": (by_gradient, {"params.mean": 1, "error.mean": 1}),
    "with_covariance": (with_covariance, {"error.slopes": 1}),
    "profile": (interval, {"low": 1, "high": 1}),
    "spectral_statistics": (statistics, {"centres": 1, "radii": 1, "values": 0, "error": 0}),
    "draw_starts": (starts, {"g": 1}),
    "autocovariance_misses": (autocovariance, {"": 0}),
}
# Functions of an ensemble or a state, whose unit is tested in the rooms of these, and functions tested below.
ELSEWHERE = {
    *("edge_misses", "onset_misses", "spectrum_misses", "dimension_misses", "population_time_misses", "speed_misses"),
    *("fit_connectome", "held_out", "apart", "predict"),  # see `from_matrix`
    *("null_models", "score_models"),  # see `test_scores.py`
    *("fit_recording", "recording_likelihood"),
}


def part(result, path):
    for name in filter(None, path.split(".")):
        result = result[name] if isinstance(result, dict) else getattr(result, name)
    return np.asarray(result)


def test_every_function_of_arrays_has_its_units_tested():
    functions = {name: getattr(fitting, name) for name in fitting.__all__ if inspect.isfunction(getattr(fitting, name))}
    of_arrays = {
        name
        for name, function in functions.items()
        if any("Array" in str(parameter.annotation) for parameter in inspect.signature(function).parameters.values())
    }
    assert of_arrays == set(CASES) | ELSEWHERE


@pytest.mark.parametrize("name", CASES)
def test_units(name):
    call, powers = CASES[name]
    before = call(1.0)
    for q in (1e-30, 1e30):
        after = call(q)
        for path, power in powers.items():
            np.testing.assert_allclose(part(after, path), part(before, path) * q**power, rtol=1e-6, err_msg=path)


def test_the_unit_of_residuals():
    """Weights that are all the same change errors, and not the search."""
    found, other = (fitting.least_squares(line, {"slopes": np.zeros(2)}, q * X, q * Y) for q in (1.0, 1e-20))
    np.testing.assert_allclose(other.params["slopes"], found.params["slopes"], rtol=1e-9)
    assert other.converged and other.num_steps == found.num_steps


@pytest.mark.slow
def test_units_of_a_recording():
    """z-scored rates in any unit, of time too, and in any order of units."""
    rates = record(100, 4.0, 1.0, 300, seed=4).astype(np.float32)
    options = {"z_scored": True, "population_size": 100}
    found = fitting.fit_recording(rates, DT, **options)
    # Not every short record says so much: at the end of the range of g, PR^D hangs on the last digit.
    assert found.g < 5 and np.isfinite(found.g_error)
    for q, seconds in ((1e-15, 1e-3), (1e15, 60.0)):
        other = fitting.fit_recording(np.float32(q) * rates[:, ::-1], seconds * DT, **options)
        assert other.time_constant == pytest.approx(seconds * float(found.time_constant), rel=1e-3)
        for name in ("g", "dimension", "inverse_rank"):
            assert getattr(other, name) == pytest.approx(float(getattr(found, name)), rel=2e-3)


def test_a_transposed_recording():
    with pytest.raises(ValueError, match=r"try `rates.T`"):
        fitting.fit_recording(RNG.standard_normal((12, 2000)), DT)


def test_units_in_which_squares_are_lost():
    for q in (1e-200, 1e200):
        with pytest.raises(ValueError, match="`rates` must have squares that are numbers"):
            fitting.fit_recording(q * RNG.standard_normal((900, 12)), DT)
        with pytest.raises(ValueError, match="`matrix` must have a strength whose square is a number"):
            fitting.fit_connectome(q * RNG.standard_normal((40, 40)), key=jax.random.key(0))
