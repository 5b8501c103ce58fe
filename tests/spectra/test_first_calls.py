"""One concrete law: small programs that are compiled once, and the numbers of the traced one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compilations import compilations

from jaxnets.couplings import IID, DeepHebbian, Elliptic, LowRank, RandomModes
from jaxnets.spectra import critical_value, law, outliers

OVERLAPPING = RandomModes(np.array([1.5, 0.5, -0.8]), np.array([0.2, 0.5, 0.3]), load=0.8, overlap=0.6)
GAINS = np.array([1.0, 0.6, 0.3])


def _questions(load, window):
    ensemble = DeepHebbian(load, 0.3, window)
    spectrum = law(ensemble)
    critical = critical_value(lambda auto: DeepHebbian(load, auto, window), 0.3, edge=1.6)
    found = spectrum.right_edge(), spectrum.real_crossings(), critical.value, outliers(ensemble + LowRank(3.0)).values
    return [np.asarray(x) for x in found]


def test_another_window_of_shifts_and_another_function_compile_nothing():
    """Windows of three and four shifts share programs: shifts of strength 0 change nothing."""
    three = _questions(0.5, (0.5, 0.2, 0.1))
    with compilations() as programs:
        four = _questions(0.5, (0.5, 0.2, 0.1, 0.0))
        other = _questions(0.6, (0.4, 0.2, 0.1))
    # What an ensemble does to its own arrays has their shape.
    assert set(programs) <= {"jit(stage)", "jit(_split)"}
    for a, b in zip(three, four, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    assert other[0] != three[0]
    np.testing.assert_allclose(law(DeepHebbian(0.5, three[2], (0.5, 0.2, 0.1))).right_edge(), 1.6, rtol=1e-10)


def test_another_load_and_other_points_compile_nothing():
    """Of a density and a boundary, whose time grows with the window, so that it is not filled up."""

    def questions(load, num_points):
        spectrum = law(DeepHebbian(load, 0.3, (0.5,)))
        density = spectrum.density(np.linspace(0.2, 0.6, num_points) + 0.2j)
        return np.asarray(density), spectrum.boundary(num_points=4 * num_points)

    questions(0.5, 8)
    with compilations() as programs:
        density, curves = questions(0.6, 11)
    assert programs == []
    assert density.shape == (11,) and curves[0].shape == (44,) and np.all(density > 0)


@pytest.mark.parametrize("gains", [None, pytest.param(GAINS, marks=pytest.mark.slow)], ids=["alone", "with gains"])
def test_one_law_has_the_edges_of_a_traced_one(gains):
    spectrum = law(OVERLAPPING, gains)
    left, crossings = jax.jit(lambda law: (law.left_edge(), law.real_crossings()))(spectrum)
    np.testing.assert_allclose(spectrum.left_edge(), left, rtol=1e-12)
    found = spectrum.real_crossings()
    np.testing.assert_allclose(found, crossings[: found.size], rtol=1e-10)
    assert np.all(np.isnan(crossings[found.size :]))
    np.testing.assert_allclose(found[-1], spectrum.right_edge(), rtol=1e-12)


@pytest.mark.slow
def test_an_edge_off_the_axis():
    """A conjugate pair; the number is that of the compiled loop, in float64."""
    edge = law(DeepHebbian(0.3, 0.0, (-1.0, -0.5))).rightmost()
    assert edge.converged and edge.z.imag > 0.1 and edge.residual < 1e-12
    np.testing.assert_allclose(edge.z.real, 0.8635817307692298, rtol=1e-12)


def test_edges_in_single_precision():
    ensemble = Elliptic(np.float32(1.2), np.float32(0.4))
    edge = law(ensemble).rightmost()
    assert edge.converged and edge.z.dtype == np.complex64
    np.testing.assert_allclose(edge.z.real, 1.2 * 1.4, rtol=1e-6)
    assert law(ensemble).left_edge().dtype == law(ensemble).real_crossings().dtype == np.float32


def test_critical_values_of_new_functions():
    """g (1 + s) = edge, by functions that are made anew."""
    for s, edge in ((0.25, 1.0), (-0.5, 2.0)):
        found = critical_value(lambda g, s=s: Elliptic(g, s), 0.5, edge=edge)
        assert found.converged and found.residual < 1e-12
        np.testing.assert_allclose(found.value, edge / (1 + s), rtol=1e-12)


def test_critical_values_at_the_end_of_a_range_and_beyond():
    symmetry = lambda edge: critical_value(lambda s: Elliptic(1.0, s), 0.99, edge=edge)
    np.testing.assert_allclose(symmetry(1.2).value, 0.2, rtol=1e-10)
    assert not symmetry(2.5).converged  # |s| > 1: the ensemble refuses, the solver says so in its result
    assert not critical_value(lambda g: IID(1.0 + 0 * g), 0.5, edge=2.0).converged


def test_outliers_of_one_law_are_those_of_a_traced_one():
    ensemble = OVERLAPPING + LowRank(np.array([[3.0, 1.0], [-1.0, 3.0]])) + LowRank(0.1)
    found, traced = outliers(ensemble, GAINS), jax.jit(lambda e: outliers(e, GAINS))(ensemble)
    np.testing.assert_allclose(found.values, traced.values, rtol=1e-12)
    np.testing.assert_array_equal(found.converged, traced.converged)
    assert np.isnan(found.values).sum() == 1 and found.residual.max() < 1e-12


@pytest.mark.slow
def test_padded_ensembles_are_the_same_law():
    a = DeepHebbian(0.5, 0.3, (0.5, 0.2, 0.1))
    ensemble = 0.5 * a - IID(0.3)
    padded = ensemble.padded()
    assert padded.terms[0].ensemble.hetero.shape == (4,) and a.hetero.shape == (3,)
    assert DeepHebbian(0.5, 0.3, (0.5, 0.2)).padded().hetero.shape == (2,)
    t = jnp.asarray(0.3 + 0.2j)
    np.testing.assert_allclose(padded.r_and_kappa(t), ensemble.r_and_kappa(t), rtol=1e-14)
    np.testing.assert_allclose(padded.poles(), ensemble.poles(), atol=1e-14)
