"""Answers about matrices and ensembles in any unit of the couplings, any order of the units, and transposed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnets as jn
from jaxnets.couplings import IID, DeepHebbian, Elliptic, LowRank, RandomModes, SingularModes

MATRIX = np.random.default_rng(5).standard_normal((12, 12)) / np.sqrt(12)
FACTORS = [(np.float64, q) for q in (1e-30, 1e-12, 1e12, 1e30)] + [(np.float32, q) for q in (1e-15, 1e-12, 1e12, 1e15)]
BEYOND = [(np.float64, q) for q in (1e-300, 1e-160, 1e160, 1e300)]


def _in_unit(matrix, dtype, q):
    """q J, of the float32 numbers of J in either precision."""
    return (matrix.astype(np.float32).astype(np.float64) * q).astype(dtype)


def _ensembles(q, dtype=np.float64):
    q = np.asarray(q, dtype)
    one = dtype(1)
    return {
        "independent": IID(1.3 * q),
        "elliptic": Elliptic(1.3 * q, one / 2),
        "modes": RandomModes(np.array([1.5, -0.5, 0.0], dtype) * q, load=one / 2, overlap=one / 2),
        "sequence": DeepHebbian(one / 2, 0.25 * q, np.array([1.0, 0.5], dtype) * q),
        "singular": SingularModes(np.array([0.5, 1.5, 2.0], dtype) * q, np.array([0.5, 0.25, 0.25], dtype)),
        "rank one": LowRank(2 * q, q),
        "sum": IID(q / 2) * (2 * one) + RandomModes(np.array([1.5, 0.5], dtype) * q, load=one) + LowRank(2 * q, q),
        "multiple": RandomModes(np.array([1.5, 0.5], dtype), load=one) * q,
    }


@pytest.mark.parametrize("dtype, q", FACTORS + BEYOND)
def test_eigenvalues_of_a_multiple(dtype, q):
    found = np.asarray(jn.eigen.eigenvalues(_in_unit(MATRIX, dtype, q))).astype(complex) / q
    exact = np.linalg.eigvals(_in_unit(MATRIX, np.float64, 1.0))
    gaps = np.abs(found[:, None] - exact[None])
    assert max(gaps.min(0).max(), gaps.min(1).max()) < 1000 * np.finfo(dtype).eps
    largest = np.abs(np.asarray(jn.eigen.host_eigenvalues(_in_unit(MATRIX, dtype, q))).astype(complex)).max()
    np.testing.assert_allclose(largest / q, np.abs(exact).max(), rtol=200 * np.finfo(dtype).eps)


@pytest.mark.parametrize("q", [1e-300, 1e300])
def test_operators_and_gains_of_a_multiple(q):
    left, right = np.random.default_rng(0).standard_normal((2, 12, 3))
    modes = jn.couplings.Modes(left, q * right, jn.couplings.Diagonal(np.array([1.0, 0.5, 0.2])))
    stored = jn.couplings.Modes(left, left, jn.couplings.Shifts(0.5 * q, jnp.array([0.3]) * q, 3, symmetric=True))
    for J, unit in ((modes, jn.couplings.Modes(left, right, modes.core)), (stored, (1 / q) * stored)):
        for gains in (None, 1 / np.arange(1.0, 13)):
            found = np.asarray(jn.eigen.eigenvalues(J, None if gains is None else gains / q))
            exact = np.asarray(jn.eigen.eigenvalues(unit, gains))
            np.testing.assert_allclose(
                np.sort(np.abs(found / (q if gains is None else 1))), np.sort(np.abs(exact)), atol=1e-13
            )


def test_derivatives_and_maps_of_a_multiple():
    slope = jax.grad(lambda q: jnp.sum(jnp.abs(jn.eigen.eigenvalues(q * MATRIX))))
    exact = np.sum(np.abs(np.linalg.eigvals(MATRIX)))
    np.testing.assert_allclose([slope(q) for q in (1e-200, 1.0, 1e200)], exact, rtol=1e-12)
    batch = np.array([1e-200, 0.0, 1e200])[:, None, None] * MATRIX
    found = np.abs(np.asarray(jax.vmap(jn.eigen.eigenvalues)(batch))).sum(-1)  # each network has its own scale
    np.testing.assert_allclose(found / exact, [1e-200, 0, 1e200], rtol=1e-12)


@pytest.mark.parametrize("dtype, q", FACTORS)
def test_what_an_ensemble_of_a_multiple_says(dtype, q):
    rtol = 100 * np.finfo(dtype).eps
    for name, ensemble in _ensembles(q, dtype).items():
        unit = _ensembles(1.0)[name]
        found, expected = 1 / np.float64(ensemble.effective_rank()), 1 / unit.effective_rank()
        np.testing.assert_allclose(found, expected, rtol, rtol, err_msg=name)
        np.testing.assert_allclose(np.float64(ensemble.variance()) / q**2, unit.variance(), rtol, err_msg=name)
        np.testing.assert_allclose(ensemble.rank_fraction(), unit.rank_fraction(), rtol, err_msg=name)
        if dtype == np.float64:
            np.testing.assert_allclose(ensemble.fourth_cumulant() / q**4, unit.fourth_cumulant(), rtol, err_msg=name)


@pytest.mark.parametrize("dtype, q", FACTORS)
def test_the_ensemble_of_a_matrix(dtype, q):
    unit, found = (jn.couplings.from_matrix(_in_unit(MATRIX, *of)) for of in ((np.float64, 1.0), (dtype, q)))
    rtol = 100 * np.finfo(dtype).eps
    np.testing.assert_allclose(np.float64(found.values) / q, unit.values, rtol, rtol)
    np.testing.assert_allclose(np.abs(found.overlaps), np.abs(unit.overlaps), rtol, rtol)
    np.testing.assert_allclose(1 / np.float64(found.effective_rank()), 1 / unit.effective_rank(), rtol, rtol)
    turned = jn.couplings.from_matrix(_in_unit(MATRIX, dtype, q).T)
    order = np.random.default_rng(1).permutation(12)
    moved = jn.couplings.from_matrix(_in_unit(MATRIX, dtype, q)[np.ix_(order, order)])
    for other in (turned, moved):
        np.testing.assert_allclose(np.float64(other.values) / q, unit.values, rtol, rtol)
        np.testing.assert_allclose(other.overlaps, found.overlaps, rtol, rtol)


@pytest.mark.slow
@pytest.mark.parametrize("dtype, q", [(np.float64, 1e-200), (np.float32, 1e15), (np.float32, 1e-25)])
def test_gaussian_modes_of_a_matrix(dtype, q):
    key = jax.random.key(0)
    found = []
    for scaled in (_in_unit(MATRIX, dtype, 1.0), _in_unit(MATRIX, dtype, q)):
        modes = jn.couplings.random_modes_from_matrix(scaled, key=key, num_samples=2, num_iterations=2)
        mismatch = jn.couplings.singular_mismatch(modes, scaled, key=key, num_samples=1)
        found.append((modes, mismatch))
    rtol = 1e4 * np.finfo(dtype).eps
    np.testing.assert_allclose(np.float64(found[1][0].amplitudes) / q, found[0][0].amplitudes, rtol, rtol)
    np.testing.assert_allclose(found[1][1], found[0][1], rtol=rtol)


@pytest.mark.parametrize("dtype, q", [(np.float64, 1e-30), (np.float64, 1e30), (np.float32, 1e-15), (np.float32, 1e15)])
@pytest.mark.parametrize("name", _ensembles(1.0))
def test_the_r_transform_of_a_multiple(name, dtype, q):
    complex_dtype = np.result_type(dtype, np.complex64)
    t = np.asarray((0.2 + 0.1j) / q, complex_dtype)
    p = np.asarray(-0.1 / q / q, complex_dtype)
    found = _ensembles(q, dtype)[name].blocks(jnp.conj(t), t, p)
    exact = _ensembles(1.0)[name].blocks(*(np.asarray(x) for x in (0.2 - 0.1j, 0.2 + 0.1j, -0.1 + 0j)))
    for value, expected, power in zip(found, exact, (1, 1, 2), strict=True):
        np.testing.assert_allclose(np.asarray(value).astype(complex) / q**power, expected, 1e-4, 1e-5)


@pytest.mark.parametrize("dtype, q", [(np.float64, 1.0), (np.float64, 1e-30), (np.float32, 1e15)])
def test_means_are_set_apart(dtype, q):
    matrix = _in_unit(MATRIX + np.where(np.arange(12) < 9, 1.0, -2.0)[None], dtype, q)
    rtol, exact = 1e3 * np.finfo(dtype).eps, matrix.astype(float) / q
    for means, part in (("columns", exact.mean(0)), ("all", np.full(12, exact.mean()))):
        bulk, mean = jn.couplings.from_matrix(matrix, means=means).terms
        singular = np.linalg.svd(exact - part[None], compute_uv=False)
        np.testing.assert_allclose(np.asarray(bulk.values, float) / q, singular, rtol, 10 * rtol)
        np.testing.assert_allclose(float(mean.overlaps[0, 0]) / q, 12 * exact.mean(), rtol)
        np.testing.assert_allclose(float(mean.noise) / q, 12 * np.std(part), rtol, 10 * rtol)
        assert mean.uniform
    whole = jn.couplings.from_matrix(matrix).effective_rank()  # the mean mode counted as bulk
    assert whole < 0.3 * abs(jn.couplings.from_matrix(matrix, means="columns").effective_rank())
    with pytest.raises(ValueError, match="`means` must be"):
        jn.couplings.from_matrix(matrix, means="rows")
