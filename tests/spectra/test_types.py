"""Spectra of units with cell types and time constants: one type, equal types, samples, gradients, changes of units."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compilations import compilations

import jaxnets as jn
from jaxnets import Discrete
from jaxnets.couplings import BlockMeans, CellTypes, DeepHebbian, Elliptic, LowRank, RandomModes, SingularModes
from jaxnets.spectra import critical_value, law, outliers, quantiles, void_area
from jaxnets.transfer import Tanh

FRACTIONS = np.array([0.7, 0.3])
G = np.sqrt([[1, 2.5], [0.6, 1.6]])
S = np.array([[0.5, -0.6], [-0.6, 0.3]])
TAU = np.array([1.0, 3.0])
MEANS = np.array([[6.0, -4.0], [7.0, -2.0]])
POINTS = np.array([0.1 + 0.2j, -0.5, -1.5 + 0.1j, 0.9j, 4.0])


@functools.partial(jax.jit, static_argnames="sign")
def _edge(g, symmetry, tau, sign=1):
    spectrum = law(CellTypes(FRACTIONS, g, symmetry), tau=tau)
    return spectrum.right_edge() if sign > 0 else spectrum.left_edge()


def _mass(spectrum, left, right, top, num=40):
    """The fraction of eigenvalues in a box around the real axis, by the contour integral of g."""
    x, weight = np.polynomial.legendre.leggauss(num)
    lower = (left + right) / 2 + (right - left) / 2 * x - 1j * top
    side = right + 1j * top * x
    points, steps = [], []
    for z, dz in ((lower, (right - left) / 2), (side, 1j * top)):
        points += [z]
        steps += [dz * weight]
    points += [left + 1j * top * x, (left + right) / 2 + (right - left) / 2 * x + 1j * top]
    steps += [-1j * top * weight, -(right - left) / 2 * weight]
    total = 0
    for z, step in zip(np.concatenate(points).reshape(-1, 16), np.concatenate(steps).reshape(-1, 16), strict=True):
        point = spectrum.solve(z)
        assert np.all(point.converged)
        total += np.sum(np.asarray(point.green) * step)
    return float((total / (2j * np.pi)).real)


def _jacobian(ensemble, gains, tau, n, key):
    """diag(1/tau) (-1 + J G) of one network, gains and tau of each unit."""
    J = np.asarray(ensemble.sample(n, key=key).dense())
    return (-np.eye(n) + J * gains) / tau[:, None]


# --- one type and equal types


def test_equal_types_are_an_elliptic_law():
    """An ellipse of uniform density; without time constants, z is an eigenvalue of J G."""
    g, s = 1.3, 0.2
    spectrum, z = law(CellTypes([0.4, 0.6], g, s)), np.array([0.1 + 0.2j, 0.5 + 0.1j, 1.2, 2.0, 1.2j])
    np.testing.assert_allclose([spectrum.right_edge(), spectrum.left_edge()], [g * (1 + s), -g * (1 + s)], rtol=1e-12)
    inside = np.array([True, True, True, False, False])
    np.testing.assert_allclose(spectrum.density(z), inside / (np.pi * g**2 * (1 - s**2)), rtol=1e-10, atol=1e-12)
    found = spectrum.solve(z)
    np.testing.assert_array_equal(found.inside, inside)
    np.testing.assert_allclose(found.green[:3], (z.conj() - s * z)[:3] / (g**2 * (1 - s**2)), rtol=1e-10)
    outside = 2 / (z[3:] * (1 + np.sqrt(1 - 4 * s * g**2 / z[3:] ** 2)))
    np.testing.assert_allclose(found.green[3:], outside, rtol=1e-10)
    np.testing.assert_allclose(found.t, np.stack([found.green] * 2, 1), rtol=1e-10)
    assert np.all(found.converged)


@pytest.mark.slow
def test_equal_types_are_one_type():
    """Edges, solution and density to rounding; without time constants, z is an eigenvalue of J G."""
    one, two = law(Elliptic(1.3, 0.2)), law(CellTypes([0.4, 0.6], 1.3, 0.2))
    np.testing.assert_allclose(two.right_edge(), one.right_edge(), rtol=1e-12)
    np.testing.assert_allclose(two.left_edge(), one.left_edge(), rtol=1e-12)
    z = np.array([0.1 + 0.2j, 0.5 + 0.1j, 1.2, 2.0, 1j])
    np.testing.assert_allclose(two.density(z), one.density(z), rtol=1e-10, atol=1e-12)
    found, expected = two.solve(z), one.solve(z)
    np.testing.assert_allclose(found.green, expected.green, rtol=1e-10)
    np.testing.assert_array_equal(found.inside, expected.inside)
    np.testing.assert_allclose(found.t, np.stack([expected.t] * 2, 1), rtol=1e-10)
    np.testing.assert_allclose(found.u, np.stack([expected.u] * 2, 1), rtol=1e-10, atol=1e-14)
    assert not found.converged.size == 0 and np.all(found.converged)


@pytest.mark.slow
@pytest.mark.parametrize(
    "part",
    [
        DeepHebbian(0.4, 0.2, (1.0,)),
        DeepHebbian(0.3, 0.0, (-1.0, -0.5)),  # its rightmost points are a conjugate pair
        RandomModes(np.array([1.5, 0.5, -0.8]), np.array([0.2, 0.5, 0.3]), load=0.8, overlap=0.6),
        SingularModes(np.array([1.8, 0.9]), np.array([0.3, 0.7])),
    ],
)
def test_sums_of_equal_types(part):
    gains = Discrete([0.3, 1.0], [0.4, 0.6])
    one, two = law(part + Elliptic(0.6, 0.2), gains), law(part + CellTypes([0.4, 0.6], 0.6, 0.2), gains)
    edge = float(one.right_edge())
    np.testing.assert_allclose([two.right_edge(), two.left_edge()], [edge, one.left_edge()], rtol=1e-10)
    z = edge * np.array([0.3 + 0.2j, 0.9, 0.2 + 0.6j, 1.3])
    np.testing.assert_allclose(two.density(z), one.density(z), rtol=1e-8, atol=1e-10)


@pytest.mark.slow
def test_the_ring_of_singular_modes_and_its_void():
    part = SingularModes(np.array([1.8, 0.9]), np.array([0.3, 0.7]))
    one, two = law(part + Elliptic(0.6, 0.2)), law(part + CellTypes([0.4, 0.6], 0.6, 0.2))
    # The void ends at .83 and the ring at 1.43.
    z = np.array([0.1, 0.5j, 0.82, 0.84, 0.9, 1.0, 1.13, 1.25, 0.9 + 0.9j, 1.42, 1.45, 1.9])
    np.testing.assert_allclose(two.density(z), one.density(z), rtol=1e-8, atol=1e-10)
    assert two.solve(z).converged.all()
    np.testing.assert_array_equal(two.solve(z).inside, one.solve(z).inside)
    np.testing.assert_allclose(two.real_crossings(), one.real_crossings(), rtol=1e-8)
    for curve, expected in zip(two.boundary(64), one.boundary(64), strict=True):
        np.testing.assert_allclose(np.max(np.abs(curve)), np.max(np.abs(expected)), rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("tau", [None, (1.0, 1.5)])
def test_the_void_of_singular_modes_beside_two_types(tau):
    """The density integrates to 1 around the void. Eigenvalues of two networks of 1000 units: within 3 errors."""
    n, f = 1000, [0.4, 0.6]
    ensemble = SingularModes(np.array([1.8, 0.9]), np.array([0.3, 0.7])) + CellTypes(
        f, [[0.3, 0.6], [0.2, 0.4]], [[0.2, -0.3], [-0.3, 0.5]]
    )
    spectrum = law(ensemble, [Discrete([0.8, 1.0]), Discrete([1.1, 0.9], [0.3, 0.7])], tau=tau)
    gains = np.repeat([0.8, 1.0, 1.1, 0.9], [200, 200, 180, 420])
    times = np.ones(n) if tau is None else np.repeat(tau, [400, 600])
    values = []
    for key in jax.random.split(jax.random.key(0), 2):
        A = np.asarray(ensemble.sample(n, key=key).dense()) * gains[None] - (0 if tau is None else np.eye(n))
        values.append(np.linalg.eigvals(A / times[:, None]))
    values = np.concatenate(values)
    edge, hole = sorted((np.asarray(curve) for curve in spectrum.boundary(64)), key=np.ptp)[::-1]
    centre, radius = np.mean(hole[:-1]).real, np.ptp(hole.real) / 2
    assert np.sum(np.abs(values - centre) < 0.95 * radius) == 0  # edges of samples are 3 % wide
    axis = np.linspace(-2.2, 2.2, 111)
    z, cell = axis + 1j * axis[:, None], (axis[1] - axis[0]) ** 2
    mass = np.asarray(spectrum.density(z)) * cell
    np.testing.assert_allclose(np.sum(mass), 1, atol=2e-3)
    for part in (0.3, 0.6):
        border = radius + part * (np.ptp(edge.real) / 2 - radius)
        expected = np.sum(mass[np.abs(z - centre) < border])
        error = np.sqrt(expected * (1 - expected) / values.size)
        np.testing.assert_allclose(np.mean(np.abs(values - centre) < border), expected, atol=3 * error)


@pytest.mark.slow
def test_time_constants_of_one_type():
    """A = (-1 + J G) / tau has the spectrum of J G, shifted and scaled."""
    one, other = law(Elliptic(0.8, 0.3), [0.4, 1.0]), law(Elliptic(0.8, 0.3), [0.4, 1.0], tau=2.0)
    np.testing.assert_allclose(other.right_edge(), (one.right_edge() - 1) / 2, rtol=1e-10)
    z = np.array([0.1 + 0.1j, 0.4, 1.2])
    np.testing.assert_allclose(other.density((z - 1) / 2), 4 * np.asarray(one.density(z)), rtol=1e-9)


# --- published and derived numbers


def test_edges_of_two_types_with_time_constants():
    """Distances from -1/2 of theory and, within 3 %, of samples with N = 1500."""
    for symmetry, right, left in ((0.0, 0.5446, 1.3460), (S, 0.6729, 1.7222)):
        spectrum = law(CellTypes(FRACTIONS, G, symmetry), tau=TAU)
        np.testing.assert_allclose([spectrum.right_edge() + 0.5, -0.5 - spectrum.left_edge()], [right, left], atol=5e-5)


def test_another_law_of_types_compiles_nothing():
    def questions(scale):
        spectrum = law(CellTypes(FRACTIONS, scale * G, S), tau=scale * TAU)
        return spectrum.right_edge(), spectrum.left_edge(), spectrum.density(POINTS)

    questions(1.0)
    with compilations() as programs:
        questions(1.1)
    assert not programs


def test_masses_of_boxes():
    """From samples with N = 1500: .4503(91) and .5163(91)."""
    np.testing.assert_allclose(_mass(law(CellTypes(FRACTIONS, G, 0.0), tau=TAU), -1.2, -0.2, 0.5), 0.4509, atol=1e-4)
    np.testing.assert_allclose(_mass(law(CellTypes(FRACTIONS, G, S), tau=TAU), -1.2, -0.2, 0.5), 0.5164, atol=1e-4)


@pytest.mark.slow
def test_the_boundary_of_two_types_with_time_constants():
    for symmetry, height in ((0.0, 0.7216), (S, 0.6527)):
        spectrum = law(CellTypes(FRACTIONS, G, symmetry), tau=TAU)
        (curve,) = spectrum.boundary(num_points=256)
        np.testing.assert_allclose(curve.real.max(), spectrum.right_edge(), rtol=1e-9)
        upper = curve[curve.imag > 0]
        above = np.interp(-0.5, upper.real[np.argsort(upper.real)], upper.imag[np.argsort(upper.real)])
        np.testing.assert_allclose(above, height, atol=5e-4)


@pytest.mark.slow
def test_voids_and_islands_of_sums():
    """At g = .02 an island around 0 is smaller than the cells of the grid."""
    part = DeepHebbian(0.4, 0.2, (1.0,))
    for g in (0.02, 0.1, 0.2, 0.3):
        one, two = law(part + Elliptic(g)).boundary(64), law(part + CellTypes([0.4, 0.6], g)).boundary(64)
        assert len(one) == len(two)
        for a, b in zip(one, two, strict=True):
            np.testing.assert_allclose([b.real.min(), b.real.max()], [a.real.min(), a.real.max()], rtol=1e-8)
        crossings = [law(part + one).real_crossings() for one in (Elliptic(g), CellTypes([0.4, 0.6], g))]
        np.testing.assert_allclose(*crossings, rtol=1e-8)


@pytest.mark.slow
def test_a_symmetric_spectrum_lies_on_the_line():
    one, two = law(Elliptic(1.3, 1.0)), law(CellTypes([0.4, 0.6], 1.3, 1.0))
    x = np.array([-2.61, -1.0, 0.0, 2.5, 2.7])
    assert two.is_symmetric()
    np.testing.assert_allclose(two.density(x), one.density(x), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(two.right_edge(), 2.6, rtol=1e-9)
    (curve,) = two.boundary(num_points=33)
    np.testing.assert_allclose([curve.real.min(), curve.real.max()], [-2.6, 2.6], rtol=1e-6)
    np.testing.assert_allclose(two.real_crossings(), [-2.6, 2.6], rtol=1e-6)


# --- atoms


def test_atoms():
    """Units without output, without gain, and groups of different size that only act on each other."""
    spectrum = law(CellTypes([0.3, 0.7], np.array([[0, 1.0], [0, 1.0]])), tau=[2.0, 1.0])
    np.testing.assert_allclose(spectrum.atoms().z, [-0.5])
    np.testing.assert_allclose(spectrum.atoms().mass, [0.3])
    between = law(CellTypes([0.3, 0.7], np.array([[0, 1.0], [1.0, 0]])))
    np.testing.assert_allclose(between.atoms(), [[0], [0.4]])
    silent = law(CellTypes([0.5, 0.5], 1.0), [Discrete([0.0, 1.0]), Discrete([1.0])], tau=[1.0, 3.0])
    np.testing.assert_allclose(silent.atoms(), [[-1], [0.25]])
    assert law(CellTypes([0.5, 0.5], 1.0)).atoms().z.size == 0
    np.testing.assert_allclose([between.zero_mass(), silent.zero_mass()], [0.4, 0])
    J = np.random.default_rng(0).standard_normal((100, 100))
    J[:30, :30] = J[30:, 30:] = 0
    values = np.linalg.eigvals(J)
    assert np.sum(np.abs(values) < 1e-6) == 40


# --- outliers


@pytest.mark.slow
def test_outliers_of_block_means():
    found = outliers(CellTypes(FRACTIONS, G, S, MEANS), Tanh(), variance=[0.5, 1.5], tau=TAU)
    values = np.asarray(found.values)
    np.testing.assert_allclose(values[np.isfinite(values)], [1.7751], atol=5e-5)  # 1.776 and 1.760 in samples


@pytest.mark.slow
def test_outliers_without_symmetry_are_eigenvalues_of_the_means():
    found = np.asarray(outliers(CellTypes(FRACTIONS, 0.1, 0.0, MEANS), tau=TAU).values)
    expected = np.linalg.eigvals((-np.eye(2) + MEANS * FRACTIONS) / TAU[:, None])
    np.testing.assert_allclose(np.sort(found.real), np.sort(expected), rtol=1e-9)


@pytest.mark.slow
def test_outliers_of_dale_networks():
    ensemble = CellTypes.from_weights([0.8, 0.2], np.array([[1.0, -6.0], [1.0, -6.0]]), size=1000, probability=0.1)
    ensemble = 0.9 / float(law(ensemble).right_edge()) * ensemble
    found = np.asarray(outliers(ensemble, tau=[1.0, 3.0]).values)
    found = np.sort_complex(found)
    np.testing.assert_allclose([found.real, found.imag], [[0.0042, 0.0042], [-0.8835, 0.8835]], atol=5e-5)
    np.testing.assert_allclose(law(ensemble, tau=[1.0, 3.0]).right_edge(), -0.0355, atol=5e-5)


@pytest.mark.slow
def test_outliers_of_means_and_modes_together():
    modes = LowRank(np.array([[1.5, 0.8], [-0.8, 1.5]])) + LowRank(1.0, uniform=True)
    ensemble = CellTypes(FRACTIONS, 0.3, 0.2) + BlockMeans(FRACTIONS, MEANS) + modes
    found = np.asarray(outliers(ensemble).values)
    found = found[np.isfinite(found)]
    assert found.size == 4
    n = 1200
    z = np.asarray(jn.eigen.eigenvalues(ensemble.sample(n, key=jax.random.key(1))))
    beyond = z[np.abs(z) > 0.6]
    assert beyond.size == 4
    nearest = np.abs(beyond[:, None] - found[None]).min(1)
    assert np.all(nearest < 10 / np.sqrt(n))


@pytest.mark.slow
def test_an_outlier_of_one_type_with_time_constants():
    found = np.asarray(outliers(Elliptic(0.7, 0.5) + LowRank(2.0), tau=2.0).values)
    np.testing.assert_allclose(found[np.isfinite(found)], [(2 + 0.49 * 0.5 / 2 - 1) / 2], rtol=1e-9)


# --- gradients, maps, changes of units


@pytest.mark.slow
def test_slopes_and_maps_of_an_edge():
    args = (jnp.asarray(G), jnp.asarray(S), jnp.asarray(TAU))
    found = jax.jit(jax.grad(_edge, (0, 1, 2)))(*args)
    h = 1e-5
    for k, (slope, at) in enumerate(zip(found, args, strict=True)):
        step = np.linspace(0.5, 1.0, at.size).reshape(at.shape)
        step = step + step.T
        moved = [_edge(*(x + sign * h * step if i == k else x for i, x in enumerate(args))) for sign in (1, -1)]
        np.testing.assert_allclose(np.sum(slope * step), (moved[0] - moved[1]) / (2 * h), rtol=1e-6)
    many = jax.jit(jax.vmap(lambda g: _edge(g, *args[1:])))(jnp.stack([args[0], 1.2 * args[0]]))
    np.testing.assert_allclose(many, [_edge(*args), _edge(1.2 * args[0], *args[1:])], rtol=1e-12)


@pytest.mark.slow
def test_slopes_of_a_solution():
    def green(g, z):
        point = law(CellTypes(FRACTIONS, g, S), tau=TAU).solve(z)
        return jnp.sum(point.green.real + point.u[..., 0] + point.t[..., 1].imag)

    g, z, h = jnp.asarray(G), jnp.asarray([-0.4 + 0.2j]), 1e-5
    slope = jax.jit(jax.grad(green))(g, z)
    step = np.array([[1.0, 0.5], [0.3, 0.8]])
    moved = [green(g + sign * h * step, z) for sign in (1, -1)]
    np.testing.assert_allclose(np.sum(slope * step), (moved[0] - moved[1]) / (2 * h), rtol=1e-6)


@pytest.mark.slow
def test_the_slope_of_an_outlier():
    def largest(g):
        return jnp.nanmax(outliers(CellTypes(FRACTIONS, g, S, MEANS), tau=TAU).values.real)

    found, h = jax.jit(jax.value_and_grad(largest))(jnp.asarray(G)), 1e-5
    moved = [jax.jit(largest)(jnp.asarray(G) * (1 + sign * h)) for sign in (1, -1)]
    np.testing.assert_allclose(np.sum(found[1] * G), (moved[0] - moved[1]) / (2 * h), rtol=1e-6)
    np.testing.assert_allclose(
        found[0], np.nanmax(np.asarray(outliers(CellTypes(FRACTIONS, G, S, MEANS), tau=TAU).values).real)
    )


@pytest.mark.slow
def test_units_and_order_of_types():
    z, order = POINTS, [1, 0]
    spectrum = law(CellTypes(FRACTIONS, G, S), tau=TAU)
    edge, density = spectrum.right_edge(), np.asarray(spectrum.density(z))
    assert np.any(density > 0) and np.all(np.isfinite(density))
    slower = law(CellTypes(FRACTIONS, G, S), tau=100 * TAU)
    np.testing.assert_allclose(100 * slower.right_edge(), edge, rtol=1e-9)
    np.testing.assert_allclose(slower.density(z / 100) / 1e4, density, rtol=1e-8, atol=1e-12)
    other = law(CellTypes(FRACTIONS[order], G[order][:, order], S[order][:, order]), tau=TAU[order])
    np.testing.assert_allclose(other.right_edge(), edge, rtol=1e-10)
    np.testing.assert_allclose(other.density(z), density, rtol=1e-9, atol=1e-12)
    plain, scaled = law(CellTypes(FRACTIONS, G, S)), law(-1e-3 * CellTypes(FRACTIONS, G, S))
    np.testing.assert_allclose(scaled.left_edge(), -1e-3 * plain.right_edge(), rtol=1e-9)
    np.testing.assert_allclose(scaled.density(-1e-3 * z) * 1e-6, plain.density(z), rtol=1e-8, atol=1e-12)


# --- arguments


def test_gains_and_time_constants_within_types():
    """Nodes given jointly are the product of independent laws where they list it."""
    ensemble = CellTypes(FRACTIONS, G, S)
    law_of = Discrete([0.5, 1.0], [0.3, 0.7])
    apart = law(ensemble, [law_of, None], tau=[Discrete([1.0, 2.0]), 3.0])
    joint = law(
        ensemble,
        [Discrete([0.5, 0.5, 1.0, 1.0], [0.15, 0.15, 0.35, 0.35]), np.array([1.0])],
        tau=[np.array([1.0, 2.0, 1.0, 2.0]), 3.0],
    )
    np.testing.assert_allclose(apart.right_edge(), joint.right_edge(), rtol=1e-12)


def test_bad_arguments():
    ensemble = CellTypes(FRACTIONS, G)
    for expected, call in (
        ("`tau` must be finite numbers > 0", lambda: law(ensemble, tau=[1.0, 0.0])),
        ("`tau` must be a number or", lambda: law(ensemble, tau=[1.0, 2.0, 3.0])),
        ("`gains` must be one law, or one for each of 2", lambda: law(ensemble, [Discrete([1.0])] * 3)),
        ("`variance` must be a number or", lambda: law(ensemble, Tanh(), variance=[1.0, 1.0, 1.0])),
        ("`variance` of the input", lambda: law(ensemble, Tanh())),
        ("one for each of its 3 gains", lambda: law(ensemble, [[1.0, 2.0, 3.0], None], tau=[np.ones(2), 1.0])),
        ("must have feedback", lambda: law(CellTypes(FRACTIONS, np.array([[0.0, 1.0], [0.0, 0.0]])))),
        ("block means that are not 0", lambda: outliers(ensemble)),
        ("cell types", lambda: void_area(law(ensemble))),
        ("cell types", lambda: quantiles(law(ensemble), 5)),
        ("cell types", lambda: critical_value(lambda g: g * ensemble, 1.0)),
    ):
        with pytest.raises(ValueError, match=expected):
            call()


# --- samples


def _random_case(seed):
    rng = np.random.default_rng(seed)
    num = 2 + seed % 2
    fractions = rng.dirichlet(5 * np.ones(num))
    g = rng.uniform(0.4, 1.6, (num, num))
    symmetry = rng.uniform(-0.7, 0.7, (num, num)) if seed % 3 else np.zeros((num, num))
    means = rng.uniform(-0.5, 0.5, (num, num)) if seed % 4 == 1 else np.zeros((num, num))
    probability = rng.uniform(0.3, 0.9, (num, num)) if seed % 3 == 0 else None
    ensemble = CellTypes(fractions, g, (symmetry + symmetry.T) / 2, means, probability)
    return ensemble, rng.uniform(0.4, 1.0, num), rng.uniform(0.5, 3.0, num)


def _compared(seed, n, samples):
    """Edges of samples over theirs, and masses within half of the boundary, with the standard error of counts."""
    ensemble, gains, tau = _random_case(seed)
    spectrum = law(ensemble, [Discrete([0.5 * x, x]) for x in gains], tau=tau)
    curve = spectrum.boundary(num_points=400)[0]
    centre = curve.mean()
    inner = centre + 0.8 * (curve - centre)
    point = spectrum.solve(inner)
    assert np.all(point.converged)
    mass = np.sum((point.green[1:] + point.green[:-1]) / 2 * np.diff(inner)) / (2j * np.pi)
    edges, counts = [], []
    for key in range(samples):
        of = np.asarray(ensemble.labels(n))
        draw = np.random.default_rng(key).choice([0.5, 1.0], n)
        z = np.linalg.eigvals(_jacobian(ensemble, gains[of] * draw, tau[of], n, jax.random.key(key)))
        edges.append(z.real.max())
        counts.append(np.mean(jn.spectra.contains(inner, z)))
    return spectrum, np.array(edges), mass.real, np.array(counts)


@pytest.mark.slow
def test_a_sample_of_three_types():
    spectrum, edges, mass, counts = _compared(1, 200, 3)
    size = float(spectrum.right_edge() - spectrum.left_edge())
    np.testing.assert_allclose(edges.mean(), spectrum.right_edge(), atol=0.05 * size)
    np.testing.assert_allclose(counts.mean(), mass, atol=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_samples_of_random_types(seed):
    n, samples = (1000, 4) if seed % 2 else (2000, 2)
    spectrum, edges, mass, counts = _compared(seed, n, samples)
    size = float(spectrum.right_edge() - spectrum.left_edge())
    assert abs(edges.mean() - float(spectrum.right_edge())) < 0.01 * size
    # Counts of one matrix fluctuate far less than those of independent points; what is left is a boundary layer.
    assert abs(counts.mean() - mass) < 3 * np.sqrt(mass * (1 - mass) / (n * samples))
