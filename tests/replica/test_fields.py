"""Averages over the field of a unit: by enumeration of patterns, and their derivatives by differentiation."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from enumeration import enumerated

from jaxnets.replica.fields import field_averages, field_entropy, field_law, field_slopes


@partial(jax.jit, static_argnums=3)
def averages(a, variance, T, binary):
    field = field_law(a, variance, T, 200, binary)
    return *field_averages(field), field_entropy(field)


@pytest.mark.parametrize("T", [0.0, 0.05, 0.7])
@pytest.mark.parametrize(("a", "variance"), [((0.9, 0.4, -0.3, 0.05, 0.4), 0.06), ((1.3,), 0.3), ((0.0, 0.0), 1.0)])
def test_averages_by_enumeration(a, variance, T):
    found = averages(jnp.array(a), jnp.array(variance), jnp.array(T), True)
    exact = enumerated(np.array(a), variance, T)
    for ours, theirs in zip(found, exact, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-13)


def test_averages_over_gaussian_patterns():
    a, variance, T = np.array([0.5, -0.2]), 0.1, 0.6
    found = averages(jnp.array(a), jnp.array(variance), jnp.array(T), False)
    for ours, theirs in zip(found, enumerated(a, variance, T, "gaussian"), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-10)


@pytest.mark.parametrize("binary", [True, False])
def test_slopes_are_derivatives(binary):
    """Of the overlaps and the response by the fields and the variance."""
    a, variance, T = jnp.array([0.9, 0.4, 0.4]), jnp.array(0.06), jnp.array(0.2)

    def of(a, variance):
        found = field_averages(field_law(a, variance, T, 128, binary))
        return found.overlaps, found.response

    slopes = jax.jit(lambda a, variance: field_slopes(field_law(a, variance, T, 128, binary)))(a, variance)
    (m_a, m_v), (chi_a, chi_v) = jax.jit(jax.jacfwd(of, (0, 1)))(a, variance)
    np.testing.assert_allclose(slopes.overlaps_a, m_a, atol=1e-11)
    np.testing.assert_allclose(slopes.overlaps_variance, m_v, atol=1e-11)
    np.testing.assert_allclose(2 * slopes.overlaps_variance, chi_a, atol=1e-11)
    np.testing.assert_allclose(slopes.response_variance, chi_v, atol=1e-11)
