"""Averages on the circle, Gaussian averages."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets._numerics import (
    as_complex,
    as_float,
    gaussian_quadrature,
    in_batches,
    is_concrete,
    laurent_product,
    reciprocal_moments,
    reciprocal_moments_real,
)


@pytest.mark.parametrize(
    "value, dtype", [(1, jnp.float64), (True, jnp.float64), (np.float32(2), jnp.float32), ([1, 2.5], jnp.float64)]
)
def test_as_float_keeps_a_precision_and_else_takes_the_default(value, dtype):
    found = as_float(value)
    assert found.dtype == dtype and not found.weak_type
    np.testing.assert_array_equal(found, np.asarray(value, float))


@pytest.mark.parametrize("value", [1j, "one", None, [[1.0], [1.0, 2.0]]])
def test_as_float_refuses_what_is_not_real(value):
    with pytest.raises(ValueError):
        as_float(value)


def test_as_complex_keeps_the_precision():
    assert as_complex(jnp.ones(2, jnp.float32)).dtype == jnp.complex64
    assert as_complex(jnp.ones(2)).dtype == jnp.complex128
    z = jnp.ones(2, jnp.complex64)
    assert as_complex(z) is z


def test_is_concrete():
    assert is_concrete(1.0, {"a": jnp.ones(2)})
    jax.jit(lambda x: np.testing.assert_(not is_concrete(1.0, (x,))))(1.0)


def test_laurent_product_is_the_convolution():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=4), rng.normal(size=3)
    np.testing.assert_allclose(laurent_product(jnp.asarray(a), jnp.asarray(b)), np.convolve(a, b), atol=1e-15)


def _on_the_circle(coefficients, num=2**14):
    w = np.exp(2j * np.pi * np.arange(num) / num)
    d = len(coefficients) // 2
    return w, sum(c * w ** (k - d) for k, c in enumerate(coefficients))


@pytest.mark.parametrize("d", [1, 2, 4])
@pytest.mark.parametrize("kind", ["positive", "complex"])
def test_reciprocal_moments_against_the_trapezoid_rule(d, kind):
    rng = np.random.default_rng(d)
    half = rng.normal(size=d + 1) + 1j * rng.normal(size=d + 1)
    D = np.convolve(half, np.conj(half[::-1]))  # |half(w)|^2
    D[d] += 0.05
    if kind == "complex":  # still winds around 0 as often forwards as backwards
        D = D * (0.3 - 1.2j) + 0.02 * np.arange(2 * d + 1)
    w, values = _on_the_circle(D)
    expected = [np.mean(w**k / values) for k in range(-d, d + 1)]
    np.testing.assert_allclose(reciprocal_moments(jnp.asarray(D)), expected, rtol=1e-10, atol=1e-11)


@pytest.mark.slow
@pytest.mark.parametrize("d", [1, 2, 3, 6])
def test_moments_of_a_real_denominator(d):
    rng = np.random.default_rng(d)
    half = rng.normal(size=d + 1) + 1j * rng.normal(size=d + 1)
    D = np.convolve(half, np.conj(half[::-1]))
    D[d] += 0.05
    general = lambda D: reciprocal_moments(D)[d:]
    real = lambda D: reciprocal_moments_real(D[d:])
    np.testing.assert_allclose(real(jnp.asarray(D)), general(jnp.asarray(D)), rtol=1e-10, atol=1e-11)
    shift = jnp.asarray(np.convolve(D, np.conj(D[::-1]))[d : 3 * d + 1])  # Hermitian too
    slopes = [jax.jvp(moments, (jnp.asarray(D),), (shift,))[1] for moments in (real, general)]
    np.testing.assert_allclose(*slopes, rtol=1e-9, atol=1e-9 * np.abs(slopes[1]).max())


def _both(a):
    """The moments 0 and 1 of 1 / |1 - a w|^2, which are 1 and a over 1 - a^2, by both functions."""
    D = jnp.stack([-a, 1 + a**2, -a]).astype(complex)
    return reciprocal_moments(D)[1:], reciprocal_moments_real(D[1:])


def test_reciprocal_moments_of_a_root_next_to_the_circle():
    a = 1 - 0.005
    for found in _both(jnp.asarray(a)):
        np.testing.assert_allclose(found, np.array([1, a]) / (1 - a**2), rtol=1e-11)


@pytest.mark.slow
@pytest.mark.parametrize("which", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_reciprocal_moments_are_differentiable(which):
    moment = lambda a: _both(a)[which][1].real
    exact = lambda a: a / (1 - a**2)
    np.testing.assert_allclose(jax.grad(moment)(0.8), jax.grad(exact)(0.8), rtol=1e-11)
    np.testing.assert_allclose(jax.grad(jax.grad(moment))(0.8), jax.grad(jax.grad(exact))(0.8), rtol=1e-10)


def test_gaussian_quadrature():
    z, weights = gaussian_quadrature()
    np.testing.assert_allclose([jnp.sum(weights * z**k) for k in (0, 2, 4, 6)], [1, 1, 3, 15], rtol=1e-9)
    np.testing.assert_allclose(jnp.sum(weights * jnp.cos(3 * z)), np.exp(-4.5), rtol=1e-10)


@pytest.mark.parametrize("miss", [0.1, 1e-3, 1e-5])
def test_moments_of_a_root_next_to_the_circle(miss):
    """D = |P|^2 with P of roots at three places: residues, however close one of them is to the circle."""
    roots = np.array([(1 - miss) * np.exp(0.7j), 0.3, -0.5])
    P = np.poly(roots)[::-1]
    D = np.asarray(laurent_product(P, np.conj(P[::-1])))
    slopes = np.polyval(np.polyder(D[::-1]), roots)
    expected = np.array([np.sum(roots ** (k + 2) / slopes) for k in range(4)])
    for found in (reciprocal_moments_real(D[3:]), reciprocal_moments(jnp.asarray(D))[3:]):
        # D is known to rounding, and its least value is about miss^2.
        np.testing.assert_allclose(found, expected, rtol=0, atol=abs(expected[0]) * (1e-12 + 4e-16 / miss**2))


def test_batches_of_one_size_serve_any_number_of_rows():
    @in_batches
    def scaled(factor, rows, more):
        return rows[0] * factor, rows[1].sum(1) + more

    rows = np.arange(7.0), np.arange(14.0).reshape(7, 2)
    for size in (2, 7, 16):
        twice, sums = scaled(jnp.array(2.0), rows, size, np.float64(1))
        np.testing.assert_array_equal(twice, 2 * rows[0])
        np.testing.assert_array_equal(sums, rows[1].sum(1) + 1)
