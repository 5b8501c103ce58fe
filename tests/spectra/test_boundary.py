"""Thin supports: how many curves there are, against the components that a flood of the zeta plane finds."""

import jax
import numpy as np
import pytest

from jaxnets.couplings import IID, DeepHebbian
from jaxnets.spectra import contains, coverage, law
from jaxnets.spectra.levels import Level, onto
from jaxnets.spectra.outside import extent, image


def _kinds(curves):
    """Numbers of edges and of voids."""
    depths = [sum(bool(contains(other, curve[:1])[0]) for other in curves if other is not curve) for curve in curves]
    return sum(depth % 2 == 0 for depth in depths), sum(depth % 2 == 1 for depth in depths)


def _flooded_voids(spectrum, core, num=420, least=12):
    """Bounded regions m < 1 of the zeta plane, of more than some cells, that lambda(theta) parts."""
    from scipy.ndimage import label

    powers = np.arange(1, core.hetero.size + 1)
    waves = np.exp(-1j * np.outer(np.linspace(0, 2 * np.pi, 200001), powers))
    curve = float(core.auto) + waves @ np.asarray(core.hetero)
    reach = 1.15 * float(extent(spectrum.ensemble, spectrum.gains))
    left, right, top = curve.real.min() - reach, curve.real.max() + reach, curve.imag.max() + reach
    cell = (right - left) / num
    half = int(np.ceil(top / cell))
    x, y = left + cell * (np.arange(num) + 0.513), cell * (np.arange(half) + 0.5)
    m = jax.jit(jax.vmap(lambda zeta: image(spectrum.ensemble, spectrum.gains, zeta).m))
    upper = np.stack([np.asarray(m(x + 1j * height)) < 1 for height in y])
    free = np.concatenate([upper[::-1], upper])
    column = np.clip(((curve.real - left) / cell - 0.013).astype(int), 0, num - 1)
    free[np.clip(np.floor(curve.imag / cell).astype(int) + half, 0, 2 * half - 1), column] = False
    labels, _ = label(free)
    sizes = np.bincount(labels[free])
    sizes[labels[0, 0]] = 0
    return int(np.sum(sizes >= least))


def test_a_thin_ring_is_one_component():
    """|lambda| is .0685 at least, where the support is 1/20000 as thin as long: one edge, and a void in each loop."""
    assert _kinds(law(DeepHebbian(0.05, 0.3, (0.45,) * 4)).boundary(num_points=256)) == (1, 6)


@pytest.mark.parametrize("unit", [1e-300, 1e-30, 1.0, 1e30, 1e300])
def test_points_reach_the_level_in_any_unit(unit):
    """m = unit / |zeta|: from the level itself, from a point beyond a step, and with no step allowed."""

    def at(zeta, state):
        m = unit / np.abs(zeta)
        return Level(zeta, m, -m / np.conj(zeta), state)

    start = unit * np.array([1.0, 3.0, 1.5])
    zeta, level = onto(at, start + 0j, np.zeros((3, 1)) + 0j, unit * np.array([0.5, 0.5, 0]), 1)
    np.testing.assert_allclose(zeta / unit, [1, 2.5, 1.5])
    np.testing.assert_allclose(level.m, [1, 0.4, 2 / 3])


# At load .01 the support of equal weights is thinner than the averages over angles are exact where branches cross.
KNOWN = [(a, h, load) for a, h in [(0.3, (0.9,)), (0.5, (0.5, 0.4)), (1.0, (1.0,))] for load in (0.01, 0.05, 0.3)]
KNOWN += [(0.3, h, load) for h in [(0.6,) * 3, (0.45,) * 4] for load in (0.05, 0.3)]


@pytest.mark.slow
@pytest.mark.parametrize("auto, hetero, load", KNOWN)
def test_counts_are_those_of_a_flood(auto, hetero, load):
    core = DeepHebbian(load, auto, hetero)
    spectrum = law(core)
    assert _kinds(spectrum.boundary(num_points=512)) == (1, _flooded_voids(spectrum, core))


@pytest.mark.slow
@pytest.mark.parametrize("hetero", [(0.6,) * 3, (0.45,) * 4])
def test_curves_that_cannot_be_followed_are_reported(hetero):
    with pytest.warns(UserWarning, match="was not followed to its end near z = .*may be missing"):
        law(DeepHebbian(0.01, 0.3, hetero)).boundary(num_points=512)


@pytest.mark.slow
def test_noise_fills_the_thin_places():
    core = DeepHebbian(0.05, 0.3, (0.45,) * 4)
    spectrum = law(core + 0.05 * IID())
    edges, voids = _kinds(spectrum.boundary(num_points=512))
    assert edges == 2 and voids == _flooded_voids(spectrum, core)  # the zeros are an island in the ring


@pytest.mark.slow
@pytest.mark.parametrize("hetero, voids", [((0.9,), 1), ((0.6, 0.6, 0.6), 4)])
def test_counts_with_gains_are_those_of_a_flood(hetero, voids):
    core = DeepHebbian(0.05, 0.3, hetero)
    spectrum = law(core, np.array([0.8, 1.2]))
    assert _kinds(spectrum.boundary(num_points=128)) == (1, voids)
    assert _flooded_voids(spectrum, core, num=240) == voids


def test_coverage_counts():
    circle = np.exp(2j * np.pi * np.linspace(0, 1, 257))
    curves = [2 * circle, circle]
    z = np.array([0.0, 0.5, 1.5, -1.5j, 2.05, 3.0])
    assert coverage(z, curves) == (2 / 6, 1 / 6)
    assert coverage(z, curves, margin=0.1) == (1 / 6, 1 / 6)
    np.testing.assert_array_equal(contains(circle, z), [True, True, False, False, False, False])
