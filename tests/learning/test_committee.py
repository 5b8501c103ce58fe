"""On-line learning of a soft committee: closed equations against averages over samples, and against the descent."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.learning import (
    Committee,
    LearningRates,
    OnlineRun,
    generalisation_error,
    online_sgd,
    online_theory,
    order_parameters,
    plateaus,
)
from jaxnets.learning.committee import _averages, _velocity

TIMES = np.array([0.0, 0.5, 1.5, 3.0])
ALL = LearningRates(1.5, 1.5, 1.5)


@functools.cache
def committees(inputs, seed=0, units=3, teachers=2, modes=2, scale=0.8):
    keys = jax.random.split(jax.random.key(seed))
    student = Committee.gaussian(units, modes, inputs, key=keys[0], scale=scale)
    return student, Committee.gaussian(teachers, modes, inputs, key=keys[1], scale=scale)


@pytest.mark.slow
def test_averages_are_those_of_samples():
    """delta_i, its products with all fields and with each other, over Gaussian fields."""
    from scipy.special import erf

    overlaps = order_parameters(*committees(30))
    (m, p), k = overlaps.left.shape, overlaps.target.shape[0]
    h = np.random.default_rng(0).multivariate_normal(np.zeros(p + m + k), overlaps.covariance(), 100_000)
    z, target = h[:, p : p + m], h[:, p + m :]
    miss = erf(z / 2**0.5).mean(1) - erf(target / 2**0.5).mean(1)
    delta = np.sqrt(2 / np.pi) * np.exp(-(z**2) / 2) * miss[:, None] / m
    X, Y = _averages(overlaps)
    for found, products in (
        (X, delta[:, :, None] * h[:, None]),
        (Y, delta[:, :, None] * delta[:, None]),
        (generalisation_error(overlaps), miss**2 / 2),
    ):
        error = products.std(0) / len(h) ** 0.5
        np.testing.assert_array_less(np.abs(found - products.mean(0)), 5 * error)


@pytest.mark.slow
@pytest.mark.parametrize("rates", [LearningRates(1.5), ALL], ids=["inputs alone", "all three factors"])
def test_the_equations_are_the_descent(rates):
    """The mean over streams lies O(1/D) off the equations."""
    student, teacher = committees(100)
    theory = online_theory(student, teacher, rates, TIMES)
    keys = jax.random.split(jax.random.key(1), 16)
    streams = jax.jit(jax.vmap(lambda key: online_sgd(student, teacher, rates, TIMES, key=key).losses))(keys)
    assert theory.converged and theory.losses[-1] < 0.9 * theory.losses[0]
    error = streams.std(0) / 4
    np.testing.assert_array_less(np.abs(streams.mean(0) - theory.losses), 4 * error + theory.losses / 100 + 1e-15)


@pytest.mark.slow
@pytest.mark.parametrize(
    "inputs, units, teachers, modes, rates",
    [
        (200, 2, 2, 2, LearningRates(1.0)),
        (200, 3, 2, 2, ALL),
        (400, 3, 3, 2, LearningRates(2.0)),
        (300, 5, 3, 3, LearningRates(2.0, 0.5, 0.0)),
        (300, 2, 4, 4, LearningRates(1.0, 0.0, 1.0)),
    ],
)
def test_the_descent_at_length(inputs, units, teachers, modes, rates):
    student, teacher = committees(inputs, 3, units, teachers, modes, 1.0)
    times = np.array([0.0, 1, 2, 5, 10, 20])
    theory = online_theory(student, teacher, rates, times)
    keys = jax.random.split(jax.random.key(1), 32)
    streams = jax.jit(jax.vmap(lambda key: online_sgd(student, teacher, rates, times, key=key).losses))(keys)
    error = streams.std(0) / 32**0.5
    assert theory.converged
    np.testing.assert_array_less(np.abs(streams.mean(0) - theory.losses), 4 * error + theory.losses / inputs + 1e-15)


@pytest.mark.slow
def test_a_student_that_knows_stays():
    _, teacher = committees(20)
    known = order_parameters(teacher, teacher)
    np.testing.assert_allclose(generalisation_error(known), 0, atol=1e-15)
    for change in jax.tree.leaves(_velocity(known, ALL)):
        np.testing.assert_allclose(change, 0, atol=1e-14)


def test_plateaus_of_a_course():
    """Two steps of tanh in ln t, down from 1 to .1 at t = 1 and to .001 at t = 1000."""
    times = np.geomspace(1e-4, 1e7, 500)
    losses = 10.0 ** (-0.5 - 0.5 * np.tanh(np.log(times)) - 1 - np.tanh(np.log(times / 1000)))
    run = OnlineRun(times, losses, order_parameters(*committees(10)), np.array(True))
    found = plateaus(run)
    assert found.starts.size == 3 and found.escapes[2] == np.inf
    np.testing.assert_allclose(found.losses, [1, 0.1, 0.001], rtol=0.01)
    # sech^2 is .1 where its argument is 1.8.
    slopes = np.array([0.5, 1.0]) * np.log(10)
    np.testing.assert_allclose(found.escapes[:2], [1, 1000] / np.exp(np.arccosh(np.sqrt(slopes / 0.1))), rtol=0.1)
    assert plateaus(run, length=1e5).starts.size == 0


@pytest.mark.slow
def test_mapped_and_differentiated():
    student, teacher = committees(20)
    last = lambda eta: online_theory(student, teacher, LearningRates(eta, eta), TIMES).losses[-1]
    values, slopes = jax.jit(jax.vmap(jax.value_and_grad(last)))(jnp.array([0.999, 1.0, 1.001]))
    np.testing.assert_allclose(slopes[1], (values[2] - values[0]) / 0.002, rtol=1e-5)
    np.testing.assert_allclose(values[1], last(1.0), rtol=1e-7)


def test_a_committee_is_a_function():
    student, _ = committees(20)
    x = jax.random.normal(jax.random.key(2), (20,))
    by_hand = np.mean([jax.scipy.special.erf(row @ x / 40**0.5) for row in np.asarray(student.weights())])
    np.testing.assert_allclose(student(x), by_hand, rtol=1e-12)
    np.testing.assert_allclose(student.weights(), student.left @ jnp.diag(student.amplitudes) @ student.right)


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda s, t: Committee(s.left, s.amplitudes[:1], s.right), r"\(m, p\), \(p,\) and \(p, D\)"),
        (lambda s, t: Committee(s.left[0], s.amplitudes, s.right), r"\(m, p\), \(p,\) and \(p, D\), got \(2,\)"),
        (lambda s, t: Committee(np.nan * s.left, s.amplitudes, s.right), "`left` must be finite"),
        (lambda s, t: Committee.gaussian(2, 0, 3, key=jax.random.key(0)), "`modes` must be a whole number >= 1"),
        (lambda s, t: online_theory(s, committees(10)[1], ALL, TIMES), "`teacher` must have the 20 inputs"),
        (lambda s, t: online_theory(s, t, LearningRates(-1.0), TIMES), "`rates.right` must be a finite number >= 0"),
        (lambda s, t: online_theory(s, t, ALL, [1.0, 1.0]), "`times` must be increasing"),
        (lambda s, t: online_theory(s, t, ALL, []), "`times` must be a non-empty 1-d array"),
        (lambda s, t: online_sgd(s, t, ALL, TIMES, key=0), "`key`"),
        (lambda s, t: online_sgd(s, t, ALL, [1e9], key=jax.random.key(0)), "`times` must be below"),
    ],
)
def test_bad_arguments(call, says):
    with pytest.raises(ValueError, match=says):
        call(*committees(20))
