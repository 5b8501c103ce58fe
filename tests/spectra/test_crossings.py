"""Where the boundary of a spectrum cuts the real axis: exact laws, traced parameters, contact at 0."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.couplings import DeepHebbian, Elliptic, RandomModes, SingularModes
from jaxnets.spectra import law

OVERLAPPING = RandomModes(np.array([1.5, 0.5, -0.8]), np.array([0.2, 0.5, 0.3]), load=0.8, overlap=0.6)
# The ring of singular modes ends at <s^-2>^(-1/2) and <s^2>^(1/2).
RING_INNER, RING_OUTER = (0.3 / 1.8**2 + 0.7 / 0.4**2) ** -0.5, (0.3 * 1.8**2 + 0.7 * 0.4**2) ** 0.5


@pytest.mark.parametrize(
    "ensemble, gains, expected",
    [
        (Elliptic(1.2, 0.4), None, [-1.2 * 1.4, 1.2 * 1.4]),
        (Elliptic(1.2, -0.4), np.full(3, -0.5), [-0.6 * 0.6, 0.6 * 0.6]),
        # The void of singular modes is in no image of zeta.
        (
            SingularModes(np.array([1.8, 0.4]), np.array([0.3, 0.7])),
            None,
            [-RING_OUTER, -RING_INNER, RING_INNER, RING_OUTER],
        ),
        # The void of a deep-Hebbian network: gamma (1 - load)^(3/2) and gamma (1 + load)^(1/2).
        (DeepHebbian(0.4, 0.0, (0.9,)), None, 0.9 * np.array([-(1.4**0.5), -(0.6**1.5), 0.6**1.5, 1.4**0.5])),
        # On the line: the law of Marchenko & Pastur, c (1 -+ load^(1/2))^2.
        (DeepHebbian(0.5, 0.7, (0.0,)), None, [0.7 * (1 - 0.5**0.5) ** 2, 0.7 * (1 + 0.5**0.5) ** 2]),
    ],
    ids=["ellipse", "ellipse with gains", "ring of singular modes", "void", "line"],
)
def test_real_crossings_of_exact_laws(ensemble, gains, expected):
    found = law(ensemble, gains).real_crossings()
    np.testing.assert_allclose(found, expected, rtol=1e-8)


@pytest.mark.slow
def test_traced_real_crossings():
    """Of the void gamma (1 -+ load)^..., padded by NaN; the derivatives, and too few slots."""

    def crossings(load, gamma, most=6):
        return law(DeepHebbian(load, 0.0, gamma[None])).real_crossings(max_crossings=most)

    loads, gammas = jnp.array([0.4, 1.3]), jnp.array([0.9, 1.1])
    found = jax.jit(jax.vmap(crossings))(loads, gammas)
    outer, inner = gammas * (1 + loads) ** 0.5, 0.9 * 0.6**1.5
    np.testing.assert_allclose(found[0], [-outer[0], -inner, inner, outer[0], *[np.nan] * 4], rtol=1e-8)
    np.testing.assert_allclose(found[1], [-outer[1], outer[1], *[np.nan] * 6], rtol=1e-8)
    void = lambda load, gamma: crossings(load, gamma)[2]
    slopes = jax.grad(void, argnums=(0, 1))(loads[0], gammas[0])
    np.testing.assert_allclose(slopes, [-0.9 * 1.5 * 0.6**0.5, 0.6**1.5], rtol=1e-7)
    assert np.all(np.isnan(jax.jit(lambda load, gamma: crossings(load, gamma, 3))(loads[0], gammas[0])))


def test_real_crossings_that_touch_at_zero():
    """lambda = 1 + e^{-i theta} at load 1/2: edge and void meet at 0."""
    found = law(DeepHebbian(0.5, 1.0, (1.0,))).real_crossings()
    np.testing.assert_array_equal(found[:2], 0)
    assert found.size == 4 and found[2] > 0.1


def test_a_curve_of_poles_on_the_axis_is_inside():
    """Symmetric cores, whose sums over angles have m < 1 between poles at small loads; one with a pole at 0."""
    for core in (DeepHebbian(0.05, 1.0, (0.4,) * 3, symmetric=True), DeepHebbian(0.3, 1.0, (0.5,), symmetric=True)):
        spectrum = law(core)
        edges = [spectrum.left_edge(), spectrum.right_edge()]
        np.testing.assert_allclose(spectrum.real_crossings(), edges, rtol=1e-8, atol=1e-12)


def test_right_and_left_edges_are_crossings():
    crossings = law(OVERLAPPING).real_crossings()
    np.testing.assert_allclose(crossings[-1], law(OVERLAPPING).right_edge(), rtol=1e-9)
    np.testing.assert_allclose(crossings[0], law(OVERLAPPING).left_edge(), rtol=1e-9)
