"""The area of voids: of laws known in closed form, against the curves of boundaries, and of drawn sets of points."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets import spectra
from jaxnets.couplings import IID, DeepHebbian, SingularModes


def ring(radius, num):
    return radius * np.exp(2j * np.pi * (np.arange(num) + 0.5) / num)


def enclosed(law):
    """By the polygons of the boundary: voids, less the islands in them."""
    curves = law.boundary(num_points=1024)
    total = 0.0
    for curve in curves:
        depth = sum(bool(spectra.contains(other, curve[0])) for other in curves if other is not curve)
        area = abs(np.sum((np.conj(curve[:-1]) * np.diff(curve)).imag)) / 2
        total += 0 if depth == 0 else area if depth % 2 else -area
    return total


LOADS, GAMMAS = jnp.array([0.1, 0.4, 0.7, 1.3]), jnp.array([1.0, 2.0, 0.5, 1.0])


def of_one_shift(load, gamma):
    """Exactly, a disc of radius gamma (1 - load)^(3/2), and none from load 1 on."""
    return spectra.void_area(spectra.law(DeepHebbian(load, hetero=(gamma,))))


@pytest.mark.slow
def test_one_shift_is_exact():
    found = jax.jit(jax.vmap(of_one_shift))(LOADS, GAMMAS)
    assert found.converged.all()
    exact = np.pi * GAMMAS**2 * np.maximum(1 - LOADS, 0) ** 3
    # Half a per cent of g^2 = load gamma^2, or of the area.
    np.testing.assert_array_less(np.abs(found.value - exact), 5e-3 * np.maximum(exact, LOADS * GAMMAS**2))


@pytest.mark.slow
def test_one_shift_is_differentiable():
    slopes = jax.jit(jax.vmap(jax.grad(lambda *at: of_one_shift(*at).value)))(LOADS, GAMMAS)
    exact = -3 * np.pi * GAMMAS**2 * np.maximum(1 - LOADS, 0) ** 2
    np.testing.assert_allclose(slopes, exact, atol=0.05 * np.pi)


@pytest.mark.slow
@pytest.mark.parametrize(
    "ensemble",
    [
        DeepHebbian(0.3, 0.5, (0.9,)),  # off the origin
        DeepHebbian(0.8, 0.3, (0.6, 0.6, 0.6)),  # nested
        DeepHebbian(0.3) + 0.1 * IID(),  # an island in the void
        SingularModes((1.0, 2.0)),  # a void that no zeta reaches
        IID(),
    ],
    ids=["off", "nested", "island", "singular", "none"],
)
def test_agrees_with_the_curves(ensemble):
    law = spectra.law(ensemble)
    found = spectra.void_area(law)
    assert found.converged
    assert found.value == pytest.approx(enclosed(law), rel=1e-2, abs=1e-4)


@pytest.mark.slow
def test_second_order_in_the_cells():
    law = spectra.law(DeepHebbian(0.4))
    exact = np.pi * 0.6**3
    errors = [float(jnp.abs(spectra.void_area(law, cells=cells).value - exact)) for cells in (64, 128, 256)]
    assert errors[2] < errors[0] / 8 and errors[2] < 3e-4 * exact


@pytest.mark.slow
def test_strips_that_no_grid_resolves_do_not_converge():
    """Their residual is not below the error, however thin they are."""
    loads = jnp.array([0.001, 0.002, 0.005, 0.007, 0.01, 0.015, 0.03, 0.05, 0.07])
    found = jax.jit(jax.vmap(of_one_shift))(loads, jnp.ones_like(loads))
    exact = np.pi * (1 - loads) ** 3
    np.testing.assert_array_less(np.abs(found.value / exact - 1), 2 * found.residual)
    np.testing.assert_array_equal(found.converged, loads > 0.02)


OPEN = ring(1.0, 200)[np.abs(np.angle(ring(1.0, 200))) < 2.5]  # the gap is 1.3 wide, discs .16


@pytest.mark.parametrize(
    ("values", "area"),
    [
        (ring(1.0, 200), np.pi),
        (3 + 2 * ring(1.0, 200), 4 * np.pi),
        (np.concatenate([ring(1.0, 200), np.zeros(50)]), np.pi),  # exact zeros are no eigenvalues
        (np.concatenate([ring(1.0, 200), [0.01]]), np.pi),  # one in it: discs pass it on all sides
        (np.concatenate([ring(1.0, 200), ring(2.0, 400)]), 4 * np.pi),  # two voids
        (np.concatenate([2 + ring(0.5, 100), -2 + ring(0.5, 100)]), np.pi / 2),  # side by side
        (OPEN, 0.0),  # open to the outside
    ],
    ids=["ring", "scaled", "zeros", "point", "rings", "beside", "open"],
)
def test_observed_area_of_points(values, area):
    found = float(spectra.observed_void_area(values))
    assert found == pytest.approx(area, rel=0.03, abs=1e-9)


def test_observed_area_in_a_batch_and_of_nothing():
    values = np.stack([ring(1.0, 200), 2 * ring(1.0, 200)])
    found = jax.jit(jax.vmap(spectra.observed_void_area))(jnp.asarray(values))
    np.testing.assert_allclose(found, found[0] * np.array([1.0, 4.0]), rtol=1e-12)
    assert np.isnan(spectra.observed_void_area(np.full(200, np.nan + 0j)))
    assert spectra.observed_void_area(np.asarray(values[0], np.complex64)).dtype == np.float32


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: spectra.observed_void_area(np.ones((2, 3), complex)), "eigenvalues"),
        (lambda: spectra.observed_void_area(ring(1.0, 9), reach=0.0), "reach"),
        (lambda: spectra.observed_void_area(ring(1.0, 9), cells=3), "cells"),
        (lambda: spectra.void_area(spectra.law(IID()), cells=1), "cells"),
    ],
)
def test_bad_arguments(call, named):
    with pytest.raises(ValueError, match=f"`{named}`"):
        call()
