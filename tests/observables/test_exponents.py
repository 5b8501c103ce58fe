"""Rank exponents of spectra, and spectra that two repeats share."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.observables import cross_validated_spectrum, rank_exponent

RANKS = np.arange(1, 401)


def activity(alpha, times, key):
    """Gaussian activity of 400 units, whose covariance has the eigenvalues n^-alpha, along the axes of the units."""
    return RANKS[None] ** (-alpha / 2) * jax.random.normal(key, (times, 400))


@pytest.mark.parametrize("alpha", [0.5, 2.0])
def test_a_power_is_found(alpha):
    eigenvalues = np.random.RandomState(0).permutation(3.0 * RANKS**-alpha)
    found = rank_exponent(eigenvalues, 5, 50)
    np.testing.assert_allclose(found.value, alpha, rtol=1e-12)
    assert found.residual < 1e-12 and (found.first, found.last) == (5, 50)


def test_the_fit_is_weighted_least_squares():
    values = np.exp(np.random.RandomState(1).randn(30)) * 0.1 + RANKS[:30] ** -1.0
    falling = np.sort(values)[::-1]
    n = np.arange(3, 21)
    A = np.stack([np.ones(18), np.log(n)], 1)
    y = np.log(falling[2:20])
    (a, b), *_ = np.linalg.lstsq(A / n[:, None] ** 0.5, y / n**0.5, rcond=None)
    found = rank_exponent(values, 3, 20)
    np.testing.assert_allclose(found.value, -b, rtol=1e-10)
    np.testing.assert_allclose(
        found.residual, np.sqrt(np.average((y - a - b * np.log(n)) ** 2, weights=1 / n)), rtol=1e-9
    )
    assert np.isnan(rank_exponent(values - np.sort(values)[12], 3, 20).value)


def test_a_slope():
    f = lambda scale: rank_exponent(jnp.arange(1.0, 51.0) ** (-scale), 2, 30).value
    np.testing.assert_allclose(jax.grad(f)(1.3), 1, rtol=1e-10)
    np.testing.assert_allclose(jax.vmap(f)(jnp.array([0.5, 1.5])), [0.5, 1.5], rtol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize(
    "alpha, times, first, last, mean, error",
    [
        (0.5, 200, 5, 50, 0.389, 0.006),
        (0.5, 3200, 5, 50, 0.473, 0.001),
        (1.0, 200, 5, 50, 0.914, 0.005),
        (1.0, 3200, 5, 50, 0.987, 0.002),
        (1.0, 800, 11, 100, 0.967, 0.002),
        (2.0, 200, 5, 50, 2.001, 0.012),
        (2.0, 3200, 5, 50, 2.002, 0.002),
    ],
)
def test_exponents_of_samples(alpha, times, first, last, mean, error):
    """Against ten draws of an independent program."""

    def one(key):
        x = activity(alpha, times, key)
        x = x - x.mean(0, keepdims=True)
        return rank_exponent(jnp.linalg.svd(x, compute_uv=False) ** 2, first, last).value

    found = np.asarray(jax.lax.map(one, jax.random.split(jax.random.key(2), 10)))
    assert abs(found.mean() - mean) < 3 * np.hypot(found.std(ddof=1) / 10**0.5, error)
    assert times < 3200 or alpha < 1 or abs(found.mean() - alpha) < 0.02


def test_independent_noise_does_not_count():
    """The sum of values is the shared variance; the noise in x1 alone turns its directions."""
    signal = 3.0 * jax.random.normal(jax.random.key(0), (300, 1)) * jnp.ones((1, 6))
    noise = 2.0 * jax.random.normal(jax.random.key(1), (2, 300, 6))
    shared = cross_validated_spectrum(signal + noise[0], signal + noise[1])
    plain = cross_validated_spectrum(signal + noise[0], signal + noise[0])
    assert abs(shared[0] - 54) < 6 and abs(plain[0] - 54) < 12 and plain[0] > shared[0]
    assert np.all(np.abs(shared[1:]) < 1) and np.all(plain[1:] > 2)
    x = np.asarray(signal + noise[0])
    np.testing.assert_allclose(plain, np.sort(np.linalg.eigvalsh(np.cov(x.T, bias=True)))[::-1], rtol=1e-9)


def test_a_recording_of_any_unit():
    x = jax.random.normal(jax.random.key(2), (2, 9, 4))
    found = cross_validated_spectrum(*(1e-15 * x.astype(jnp.float32)))
    np.testing.assert_allclose(found * 1e15 * 1e15, cross_validated_spectrum(*x), rtol=2e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "alpha, plain, shared", [(0.5, (0.406, 0.003), (0.457, 0.003)), (1.0, (0.655, 0.006), (1.040, 0.007))]
)
def test_spectra_below_noise(alpha, plain, shared):
    """Noise of variance .02 in each unit, 1600 inputs, ranks 5 to 50, against ten draws of an independent program."""

    def one(key):
        of_signal, *of_noise = jax.random.split(key, 3)
        x = activity(alpha, 1600, of_signal)
        x1, x2 = (x + 0.02**0.5 * jax.random.normal(k, x.shape) for k in of_noise)
        noisy = jnp.linalg.svd(x1 - x1.mean(0, keepdims=True), compute_uv=False) ** 2
        return jnp.stack([rank_exponent(s, 5, 50).value for s in (noisy, cross_validated_spectrum(x1, x2))])

    found = np.asarray(jax.lax.map(one, jax.random.split(jax.random.key(3), 10)))
    for values, (mean, error) in zip(found.T, (plain, shared), strict=True):
        assert abs(values.mean() - mean) < 3 * np.hypot(values.std(ddof=1) / 10**0.5, error)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: rank_exponent(np.ones((3, 3)), 1, 2), "`eigenvalues`"),
        (lambda: rank_exponent([1.0, np.nan], 1, 2), "`eigenvalues`"),
        (lambda: rank_exponent(RANKS, 0, 5), "`first`"),
        (lambda: rank_exponent(RANKS, 5, 5), "`last`"),
        (lambda: rank_exponent(RANKS, 5, 401), "`last`"),
        (lambda: cross_validated_spectrum(np.ones((4, 3)), np.ones((4, 3))), "`x1` must vary"),
        (lambda: cross_validated_spectrum(np.eye(3), np.ones((4, 3))), "`x1` and `x2`"),
        (lambda: cross_validated_spectrum(np.eye(3), np.full((3, 3), np.nan)), "`x2` must be finite"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()
