"""Single weights with laws of their own, whose means have many modes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.couplings import CellTypes, Profile, SpikeSlab
from jaxnets.spectra import ProfileLaw, coverage, law


def made_up(n, seed=0):
    """Means with a radius of about .8, and variances that differ."""
    rng = np.random.default_rng(seed)
    mean = 0.8 * rng.standard_normal((n, n)) / n**0.5
    return mean, 0.2 / n * (2 * rng.uniform(size=(n, n))) ** 2


def test_a_law_of_single_weights():
    mean, variances = made_up(24)
    found = law(Profile(mean, variances))
    assert isinstance(found, ProfileLaw)
    sparse = law(2.0 * SpikeSlab(mean, 0.3, variances))
    assert isinstance(sparse, ProfileLaw)
    np.testing.assert_allclose(sparse.mean, 1.4 * mean, rtol=1e-12)
    np.testing.assert_allclose(sparse.variances, 4 * 0.7 * (variances + 0.3 * mean**2), rtol=1e-12)


def test_the_equation_of_the_support():
    mean, variances = made_up(24)
    z = np.array([0.9 + 0.2j, -1.4, 0.3])
    found = ProfileLaw(jnp.asarray(mean), jnp.asarray(variances))
    expected = [
        max(np.abs(np.linalg.eigvals(variances @ np.abs(np.linalg.inv(z * np.eye(24) - mean)) ** 2))) for z in z
    ]
    np.testing.assert_allclose(found.stability(z), expected, rtol=1e-10)
    traced = jax.jit(lambda mean, z: ProfileLaw(mean, jnp.asarray(variances)).stability(z))(mean, z)
    np.testing.assert_allclose(traced, expected, rtol=1e-10)


def test_slopes_of_stability():
    mean, variances = map(jnp.asarray, made_up(8))
    at = lambda mean, variances: ProfileLaw(mean, variances).stability(1.1 + 0.2j)
    h = 1e-6
    for number, slope in enumerate(jax.grad(at, (0, 1))(mean, variances)):
        i = np.unravel_index(np.argmax(np.abs(slope)), (8, 8))
        ends = [
            at(*(x.at[i].add(s * h) if k == number else x for k, x in enumerate((mean, variances)))) for s in (1, -1)
        ]
        np.testing.assert_allclose(slope[i], (ends[0] - ends[1]) / (2 * h), rtol=1e-6)


def test_without_means_the_law_is_a_disc():
    """Independent weights of variance g^2 / N: radius g, and density 1 / (pi g^2)."""
    found = ProfileLaw(jnp.zeros((12, 12)), jnp.full((12, 12), 0.5 / 12))
    (curve,) = found.boundary(64)
    np.testing.assert_allclose(np.abs(curve), 0.5**0.5, rtol=1e-10)
    np.testing.assert_allclose([found.right_edge(), -found.left_edge()], 0.5**0.5, rtol=1e-9)
    z = np.array([[0.1, 0.3 + 0.5j], [0.69, 0.75]])
    np.testing.assert_allclose(found.density(z), 2 / np.pi * (np.abs(z) < 0.5**0.5), atol=1e-8)


def test_units_that_reach_each_other_in_turns():
    """Two halves without couplings within them: rho(V) = g^2 although -g^2 is an eigenvalue of V too."""
    variances = np.kron([[0, 4.0], [1.0, 0]], np.ones((6, 6))) / 12
    found = ProfileLaw(jnp.zeros((12, 12)), jnp.asarray(variances))
    np.testing.assert_allclose(found.stability(0.5), 1 / 0.25, rtol=1e-10)


def test_the_level_at_an_eigenvalue_of_the_means():
    found = ProfileLaw(jnp.eye(4), jnp.full((4, 4), 0.1))
    assert found.stability(1.0) == np.inf


def test_means_of_equal_weights_on_the_diagonal():
    """mu = c 1 moves the disc by c."""
    found = law(Profile(0.4 * np.eye(12), np.full((12, 12), 0.5 / 12)))
    np.testing.assert_allclose([found.right_edge(), found.left_edge()], 0.4 + np.array([1, -1]) * 0.5**0.5, rtol=1e-9)
    np.testing.assert_allclose(found.density(np.array([0.4, 0.9 + 0.2j])), 2 / np.pi, rtol=1e-8)


def test_voids_come_after_edges():
    """Means that are a permutation, of eigenvalues on the unit circle, have a ring."""
    n, v = 12, 0.8
    mean = np.roll(np.eye(n), 1, 0)
    found = law(Profile(mean, np.full((n, n), v / n)))
    curves = found.boundary(128)
    assert len(curves) == 2
    # For equal variances and normal means rho(V B) = (v / N) sum |z - w|^-2 over the eigenvalues w of mu.
    roots = np.exp(2j * np.pi * np.arange(n) / n)
    for curve in curves:
        sums = np.sum(np.abs(np.asarray(curve)[:, None] - roots[None]) ** -2.0, 1) * v / n
        np.testing.assert_allclose(sums, 1, rtol=1e-8)
    assert np.abs(curves[0]).min() > 1 > np.abs(curves[1]).max()


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda one: one.boundary(4), "`num_points`"),
        (lambda one: one.stability(np.nan), "`z`"),
        (lambda one: one.density("z"), "`z`"),
        (lambda one: law(Profile(*made_up(24)), np.ones(3)), "`gains`, `variance` and `tau`"),
        (lambda one: law(Profile(*made_up(24), 0.5)), "few modes here"),
        (lambda one: Profile(*made_up(24)).block_means(), "few modes here"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call(ProfileLaw(jnp.zeros((3, 3)), jnp.ones((3, 3))))


@pytest.mark.slow
def test_types_of_few_means_have_the_same_edge():
    """Two types with means of rank one beside the law of `CellTypes` with N = 40 units, where it is exact."""
    types = CellTypes((0.5, 0.5), [[1.0, 0.3], [0.5, 0.8]])
    labels = np.repeat([0, 1], 20)
    variances = np.asarray(types.g)[labels][:, labels] ** 2 / 40
    found = ProfileLaw(jnp.zeros((40, 40)), jnp.asarray(variances))
    np.testing.assert_allclose(found.right_edge(), law(types).right_edge(), rtol=1e-6)
    z = np.array([0.1, 0.4 + 0.1j])
    np.testing.assert_allclose(found.density(z), law(types).density(z), rtol=1e-5)


@pytest.mark.slow
def test_samples_lie_inside_and_the_share_outside_falls():
    """A band of eigenvalues along the edge lies outside in one network; its width falls as N^(-1/2)."""
    outside = []
    for n, samples in ((30, 120), (60, 60), (120, 30)):
        mean, variances = made_up(n, seed=3)
        found = law(Profile(mean, variances))
        draws = [Profile(mean, variances).sample(n, key=jax.random.key(i)).dense() for i in range(samples)]
        values = np.linalg.eigvals(np.stack([np.asarray(draw) for draw in draws]))
        outside.append(float(coverage(values.ravel(), found.boundary()).outside))
    assert outside[0] < 0.1 and outside[2] < 0.7 * outside[0]
    x = np.linspace(-1.4, 1.4, 57)
    mean, variances = made_up(30, seed=3)
    density = np.asarray(law(Profile(mean, variances)).density(x[None] + 1j * x[:, None]))
    assert np.all(np.isfinite(density))
    np.testing.assert_allclose(density.sum() * (x[1] - x[0]) ** 2, 1, atol=0.02)
