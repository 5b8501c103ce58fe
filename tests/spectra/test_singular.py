"""Soft counts of singular values and overlaps: against exact laws, resolvents of matrices, and samples."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
from scipy.integrate import quad

from jaxnets.couplings import IID, Elliptic, LowRank, RandomModes, SingularModes, Sparse
from jaxnets.fitting import ConstantOverlap, Exponential, GaussianModes, LinearOverlap, StretchedExponential
from jaxnets.spectra import estimated_singular_profile, observed_singular_profile, singular_profile

KEY = jax.random.key(0)
SCALES = np.geomspace(0.03, 10, 9)


def _matrix_profile(w, scales):
    """C and Q from resolvents of W^T W, without singular vectors."""
    n = len(w)
    resolvents = [np.linalg.inv(w.T @ w + eta**2 * np.eye(n)) for eta in scales]
    counts = [1 - eta**2 * np.trace(G) / n for eta, G in zip(scales, resolvents, strict=True)]
    overlaps = [eta * np.trace(w @ G) / n for eta, G in zip(scales, resolvents, strict=True)]
    return np.array(counts), np.array(overlaps)


def _average(density, low, high, fn):
    """Over (low, high) by s = low + (high - low) sin^2, for densities with square-root edges."""
    place = lambda x: low + (high - low) * np.sin(x) ** 2
    measure = lambda x: (high - low) * np.sin(2 * x)
    return quad(lambda x: density(place(x)) * fn(place(x)) * measure(x), 0, np.pi / 2, epsabs=1e-12, limit=200)[0]


def _ranks(modes, n):
    return jnp.asarray((np.arange(modes) + 0.5) / n)


def test_counts_of_independent_weights_are_those_of_the_quarter_circle():
    g = 1.7
    profile = singular_profile(IID(g), SCALES)
    density = lambda s: np.sqrt(4 * g**2 - s**2) / (np.pi * g**2)
    expected = [_average(density, 0, 2 * g, lambda s, eta=eta: s**2 / (s**2 + eta**2)) for eta in SCALES]
    np.testing.assert_allclose(profile.counts, expected, atol=1e-9)
    np.testing.assert_allclose(profile.overlaps, np.zeros(9), atol=1e-12)


@pytest.mark.parametrize("sign, load", [(1, 0.4), (-1, 0.4), (1, 2.0)])
def test_counts_of_symmetric_modes_are_those_of_marchenko_and_pastur(sign, load):
    profile = singular_profile(RandomModes.flat(1.3, load=load, overlap=sign), SCALES)
    low, high = (1.3 * (1 - np.sqrt(load)) ** 2, 1.3 * (1 + np.sqrt(load)) ** 2)
    density = lambda s: np.sqrt((s - low) * (high - s)) / (2 * np.pi * 1.3 * s)  # of mass min(load, 1), the rest at 0
    for eta, C, Q in zip(SCALES, profile.counts, profile.overlaps, strict=True):
        np.testing.assert_allclose(C, _average(density, low, high, lambda s: s**2 / (s**2 + eta**2)), atol=1e-9)  # noqa: B023
        Q_exact = sign * _average(density, low, high, lambda s: eta * s / (s**2 + eta**2))  # noqa: B023
        np.testing.assert_allclose(Q, Q_exact, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(
    "ensemble",
    [
        RandomModes(np.exp(-np.arange(60) / 15), load=0.7, overlap=np.linspace(0.2, 0.9, 60)),
        Elliptic(1.2, -0.6) + RandomModes.flat(2.0, load=0.3, overlap=0.5),
    ],
    ids=["profile", "sum"],
)
def test_counts_of_samples_differ_by_order_one(ensemble):
    n = 120
    theory = singular_profile(ensemble, SCALES)
    found = [_matrix_profile(np.asarray(ensemble.sample(n, key=k).dense()), SCALES) for k in jax.random.split(KEY, 4)]
    C, Q = np.mean(found, axis=0)
    np.testing.assert_allclose(n * C, n * np.asarray(theory.counts), atol=1.0)
    np.testing.assert_allclose(n * Q, n * np.asarray(theory.overlaps), atol=1.0)
    assert n * np.max(np.abs(theory.overlaps)) > 5  # what the tolerance must tell from 0


def test_counts_of_a_matrix_against_resolvents():
    w = np.random.default_rng(0).standard_normal((30, 30)) + 0.3 * np.eye(30)
    u, s, vt = np.linalg.svd(w)
    profile = observed_singular_profile(jnp.asarray(s), jnp.asarray(np.sum(u * vt.T, 0)), 30, jnp.asarray(SCALES))
    C, Q = _matrix_profile(w, SCALES)
    np.testing.assert_allclose(profile.counts, C, atol=1e-11)
    np.testing.assert_allclose(profile.overlaps, Q, atol=1e-11)


def test_counts_of_singular_modes_are_their_own_and_finite_ranks_add_nothing():
    values, weights = np.array([2.0, 0.0, 0.5]), np.array([0.3, 0.3, 0.4])
    profile = singular_profile(SingularModes(values, weights), SCALES)
    expected = [np.sum(weights * values**2 / (values**2 + eta**2)) for eta in SCALES]
    np.testing.assert_allclose(profile.counts, expected, atol=1e-14)
    alone = singular_profile(IID(1.0), SCALES)
    np.testing.assert_allclose(singular_profile(IID(1.0) + LowRank(3.0), SCALES).counts, alone.counts, atol=1e-14)


@pytest.mark.slow
def test_derivatives_of_the_counts_to_second_order():
    a = _ranks(20, 30)

    def total(x):
        family = GaussianModes(StretchedExponential(x[0], x[1]), LinearOverlap(x[2], x[3]), g=x[4])
        profile = singular_profile(family.ensemble(a, 20 / 30), jnp.array([0.1, 1.0]))
        return jnp.sum(profile.counts + 2 * profile.overlaps)

    x, step = jnp.array([0.3, 0.8, 0.4, -0.5, 1.2]), 1e-5
    slope = jax.jit(jax.grad(lambda x: jax.jvp(total, (x,), (jnp.ones(5),))[1]))
    value = jax.jit(total)
    first = jax.jit(jax.jacfwd(total))(x)
    for i in range(5):
        d = step * jnp.eye(5)[i]
        np.testing.assert_allclose(first[i], (value(x + d) - value(x - d)) / (2 * step), rtol=1e-6)
    # Along (1, ..., 1): the derivative of the slope is the second derivative of the value.
    d = 1e-3 * jnp.ones(5)
    second = (value(x + d) - 2 * value(x) + value(x - d)) / 1e-6
    np.testing.assert_allclose(jnp.sum(slope(x)), second, rtol=1e-4)


def test_counts_under_jit_and_vmap():
    at = lambda decay: singular_profile(
        GaussianModes(Exponential(decay), ConstantOverlap(0.3)).ensemble(_ranks(20, 30), 20 / 30),
        jnp.array([0.1, 1.0]),
    )
    decays = jnp.array([0.1, 0.5])
    mapped = jax.jit(jax.vmap(at))(decays)
    for i in range(2):
        np.testing.assert_allclose(mapped.counts[i], at(decays[i]).counts, rtol=1e-12)
        np.testing.assert_allclose(mapped.overlaps[i], at(decays[i]).overlaps, rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: singular_profile(IID(), [0.0]), "`scales` must be finite numbers > 0"),
        (lambda: singular_profile(np.eye(3), [1.0]), "`ensemble` must be an ensemble"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# --- from products alone


def _sparse(n, symmetry=0.5, unit=1.0):
    """Sparse weights with a scale, and with overlaps of singular vectors."""
    rng = np.random.default_rng(3)
    w = scipy.sparse.random_array((n, n), density=20 / n, rng=rng, data_sampler=rng.standard_normal)
    return unit * (w + symmetry * w.T) / 20**0.5


@pytest.mark.parametrize("n", [200, pytest.param(1500, marks=pytest.mark.slow)])
def test_profile_from_products_alone(n):
    """Within its errors of all singular values of the dense matrix, which the errors then cover."""
    pytest.importorskip("matfree")
    w, scales = _sparse(n), np.array([0.15, 0.5, 1.5])
    u, s, vt = np.linalg.svd(w.toarray())
    exact = observed_singular_profile(jnp.asarray(s), jnp.asarray(np.sum(u * vt.T, axis=0)), n, jnp.asarray(scales))
    found = estimated_singular_profile(Sparse(w), scales, key=KEY, num_vectors=16)
    for name in ("counts", "overlaps"):
        error = getattr(found, f"{name}_error")
        misses = (getattr(found, name) - getattr(exact, name)) / error
        assert np.all(np.abs(misses) < 3.5) and np.all(error < 3 / np.sqrt(16 * n)), (name, misses)


def test_profile_of_few_directions():
    """Where the Krylov space of a vector ends, all of it has been seen: exact for each vector, in any unit."""
    pytest.importorskip("matfree")
    scales, few = np.array([0.5, 2.0]), {"num_vectors": 2, "num_steps": 5}
    for unit in (1.0, 1e-140):
        found = estimated_singular_profile(unit * 2 * np.eye(40), unit * scales, key=KEY, **few)
        np.testing.assert_allclose(found.counts, 4 / (4 + scales**2), rtol=1e-12)
        np.testing.assert_allclose(found.overlaps, 2 * scales / (4 + scales**2), rtol=1e-12)
        np.testing.assert_allclose(found.counts_error, 0, atol=1e-12)
    plain = estimated_singular_profile(np.zeros((40, 40)), scales, key=KEY, **few)
    np.testing.assert_array_equal(plain.counts, 0)


def test_without_matfree(monkeypatch):
    monkeypatch.setitem(sys.modules, "matfree", None)
    monkeypatch.setitem(sys.modules, "matfree.decomp", None)
    with pytest.raises(ImportError, match=r"pip install jaxnets\[lanczos\]"):
        estimated_singular_profile(np.eye(4), [1.0], key=KEY)
    with pytest.raises(ValueError, match="`scales` must be"):
        estimated_singular_profile(np.eye(4), [0.0], key=KEY)
    with pytest.raises(ValueError, match="`num_vectors` must be"):
        estimated_singular_profile(np.eye(4), [1.0], key=KEY, num_vectors=1)


def test_observed_counts_far_from_the_scales():
    """A value whose square overflows counts as 1, and one whose square underflows as 0."""
    found = observed_singular_profile([1e200, 1e-200], [1.0, 1.0], 2, [1.0])
    np.testing.assert_allclose(found.counts, 0.5)
    np.testing.assert_allclose(found.overlaps, 0, atol=1e-100)
