"""Ends of branches against scalar equations solved by SciPy, and against the dynamics on either side."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp
from scipy.optimize import brentq

from jaxnets.multistability import follow_pattern, stable_patterns
from jaxnets.transfer import Logistic


def scalar_end(w, b, factor, low, high):
    """beta where factor phi'(x) = 1 on x = w phi(x) + b; with t = tanh(beta x), x = w (1 + t) / 2 + b."""
    x = lambda t: w * (1 + t) / 2 + b
    t = brentq(lambda t: np.arctanh(t) / x(t) * (1 - t**2) / 2 * factor - 1, low, high, xtol=1e-15)
    return np.arctanh(t) / x(t)


def test_fold_of_one_unit():
    w, b = 2.0, -1.2
    # x > 0 asks for t > .2; there the condition is fulfilled once.
    expected = scalar_end(w, b, w, 0.3, 0.9999)
    on = follow_pattern(np.array([[w]]), [1], b)
    assert on.converged and on.fold
    np.testing.assert_allclose(on.critical_steepness, expected, rtol=1e-9)
    assert on.error < 1e-6 * expected
    assert np.all(np.diff(on.steepness) < 0) and on.steepness[-1] >= expected and np.all(on.growth < 0)
    for gain, point, growth in list(zip(on.steepness, on.points[:, 0], on.growth, strict=True))[::10]:
        np.testing.assert_allclose(point, w * (1 + np.tanh(gain * point)) / 2 + b, atol=1e-9)
        np.testing.assert_allclose(growth, w * gain / 2 / np.cosh(gain * point) ** 2 - 1, atol=1e-9)
    # The off state is the one that remains.
    off = follow_pattern(np.array([[w]]), [0], b)
    assert off.converged and off.critical_steepness == 0 and off.steepness[-1] * w / 2 < 1


def test_two_states_that_merge_go_on_as_one():
    on = follow_pattern(np.array([[2.0]]), [1], -1.0)
    assert on.critical_steepness == 0
    # x = tanh(beta x): 0 below beta = 1.
    assert np.all(np.abs(on.points[on.steepness < 0.98]) < 1e-4) and np.all(on.points[on.steepness > 1.1] > 0.1)


def test_a_ring_that_starts_to_oscillate():
    # W = a + c P, P a rotation of three: the state x_i = x loses a complex pair where phi' (a - c / 2) = 1, before the
    # fold, phi' (a + c) = 1, for c < 0.
    a, c, b = 3.0, -1.0, -1.2
    W = a * np.eye(3) + c * np.roll(np.eye(3), 1, 0)
    branch = follow_pattern(W, np.ones(3), b)
    expected = scalar_end(a + c, b, a - c / 2, 0.3, 0.9999)
    assert branch.converged and not branch.fold
    np.testing.assert_allclose(branch.critical_steepness, expected, rtol=1e-6)
    assert abs(branch.critical_steepness - expected) <= 2 * branch.error + 1e-7


@pytest.mark.slow
def test_states_stay_above_the_end_and_leave_below_it():
    rng, n = np.random.default_rng(2), 6
    W = rng.standard_normal((n, n)) + 2 * np.eye(n)
    b = -0.5 * np.sum(W, 1) + 0.3 * rng.standard_normal(n)
    ended = 0
    for pattern in stable_patterns(W, b).patterns[:4]:
        branch = follow_pattern(W, pattern, b)
        assert branch.converged
        np.testing.assert_allclose(branch.points[0], W @ pattern + b, atol=1e-6)
        if not branch.fold:
            continue
        ended += 1
        last = branch.points[-1]
        moved = []
        for gain in (1.03 * branch.critical_steepness, 0.97 * branch.critical_steepness):
            start = branch.points[np.argmin(np.abs(branch.steepness - gain))]
            field = lambda t, x, gain=gain: -x + W @ (1 + np.tanh(gain * x)) / 2 + b
            end = solve_ivp(field, (0, 400), start, rtol=1e-8, atol=1e-8).y[:, -1]
            moved.append(np.max(np.abs(end - last)))
        assert moved[0] < 0.4 * moved[1]
    assert ended >= 2


@pytest.mark.slow
def test_the_logistic_function():
    phi, x = Logistic(1.7), jnp.linspace(-2, 2, 9)
    at = lambda t: phi(jnp.asarray(t))
    np.testing.assert_allclose(phi(x), 1 / (1 + np.exp(-3.4 * x)), rtol=1e-12)
    np.testing.assert_allclose(phi.slope(x), jax.vmap(jax.grad(phi))(x), rtol=1e-12)
    np.testing.assert_allclose(phi.antiderivative(x), [quad(at, 0, float(end))[0] for end in x], atol=1e-12)
    variance, correlation = jnp.asarray(0.8), jnp.asarray(0.3)
    samples = np.random.default_rng(0).multivariate_normal([0, 0], 0.8 * np.array([[1, 0.3], [0.3, 1]]), 200000)
    products = np.prod(np.asarray(phi(jnp.asarray(samples))), 1)
    error = np.std(products) / np.sqrt(len(products))
    assert abs(phi.covariance(variance, correlation) - np.mean(products)) < 4 * error
    law = phi.slope_law(jnp.asarray(0.2), variance)
    slopes = np.asarray(phi.slope(jnp.asarray(0.2 + samples[:, 0])))
    assert abs(law.moment(1) - np.mean(slopes)) < 4 * np.std(slopes) / np.sqrt(len(slopes))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"bias": -3.0}, "`pattern` must be stable, got a margin of"),
        ({"pattern": np.ones((1, 2))}, r"`pattern` must have shape \(2,\)"),
        ({"pattern": [0.5, 1]}, "`pattern` must be made of 0 and 1"),
        ({"largest_step": 0.7}, "`largest_step`"),
        ({"tolerance": 0.0}, "`tolerance`"),
    ],
)
def test_bad_arguments(change, message):
    with pytest.raises(ValueError, match=message):
        follow_pattern(**({"J": 2 * np.eye(2), "pattern": [1, 1], "bias": -1.0} | change))


def test_bad_gain():
    with pytest.raises(ValueError, match="`steepness` must be a finite number > 0"):
        Logistic(0.0)
