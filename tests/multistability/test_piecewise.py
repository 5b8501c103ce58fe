"""Regions against counts in closed form and linear programmes, fixed points against all 2^n orthants."""

import itertools
from math import comb

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linprog

from jaxnets.multistability import (
    piecewise_fixed_points,
    regions,
    stable_patterns,
)
from jaxnets.transfer import PiecewiseLinear, ReLU, as_piecewise_linear, clipped_linear, heaviside


def _normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


# --- regions


@pytest.mark.parametrize("rank", [1, pytest.param(2, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)])
def test_numbers_of_regions(rank):
    n = 7
    A, h = _normal(rank, n, rank), _normal(10 + rank, n)
    assert len(regions(A, h)) == sum(comb(n, r) for r in range(rank + 1))
    # Central: 2 sum_{r < R} C(n - 1, r).
    assert len(regions(A, np.zeros(n))) == 2 * sum(comb(n - 1, r) for r in range(rank))
    # Scale does not matter.
    np.testing.assert_array_equal(regions(A, h), regions(1e3 * A, 1e-6 * 1e3 * h))
    # More dimensions than hyperplanes: all sides.
    assert len(regions(_normal(5, rank, 4), _normal(6, rank))) == 2**rank


@pytest.mark.slow
def test_degenerate_arrangements():
    # Parallel lines; a grid; lines through one point that is not 0; a line twice, once turned round.
    assert len(regions(np.ones((5, 2)), np.arange(5.0))) == 6
    assert len(regions(np.repeat(np.eye(2), 4, 0), np.tile(np.arange(4.0), 2))) == 25
    A = _normal(0, 6, 2)
    assert len(regions(A, -A @ [0.3, 0.7])) == 12
    doubled = regions(np.concatenate([A, -A[:1]]), np.concatenate([_normal(1, 6), -_normal(1, 6)[:1]]))
    assert len(doubled) == 1 + 6 + 15 and np.all(doubled[:, 0] != doubled[:, 6])
    # A hyperplane of no direction has one side.
    assert regions(np.array([[0.0, 0.0], [1.0, 0.0]]), np.array([1.0, 0.0])).tolist() == [[True, False], [True, True]]
    # Planes through one line, and others; three normals in a plane.
    A = np.array([[1.0, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 1]])
    assert len(regions(A, np.zeros(4))) == 12


@pytest.mark.slow
def test_regions_are_those_that_have_an_interior():
    for seed in range(3):
        A, h = np.round(2 * _normal(seed, 6, 3)), np.round(2 * _normal(10 + seed, 6))
        A[0] += np.all(A == 0, 1)[0]
        A = A[np.any(A != 0, 1)]
        h = h[: len(A)]
        expected = set()
        for side in itertools.product([False, True], repeat=len(A)):
            sign = np.where(side, 1.0, -1.0)
            # The largest t with sign (A kappa + h) >= t.
            constraints = np.concatenate([-sign[:, None] * A, np.ones((len(A), 1))], 1)
            result = linprog([0, 0, 0, -1], constraints, sign * h, bounds=[(None, None)] * 3 + [(None, 1)])
            if result.x[3] > 1e-7:
                expected.add(side)
        assert {tuple(side) for side in regions(A, h).tolist()} == expected


# --- fixed points


def by_hand(M, N, slopes, intercepts, breaks, h):
    """kappa and leading real parts of all fixed points, from every assignment of pieces."""
    n, rank = M.shape
    pieces = np.array(list(itertools.product(range(len(slopes)), repeat=n)))
    a, c = slopes[pieces], intercepts[pieces]
    matrices = np.einsum("ir,ki,is->krs", N, a, M)
    kappa = np.linalg.solve(np.eye(rank) - matrices, ((a * h + c) @ N)[..., None])[..., 0]
    edges = np.concatenate([[-np.inf], breaks, [np.inf]])
    x = kappa @ M.T + h
    inside = np.all((x > edges[pieces]) & (x < edges[pieces + 1]), 1)
    return kappa[inside], np.max(np.linalg.eigvals(matrices[inside]).real, 1, initial=-np.inf) - 1


@pytest.mark.parametrize("rank", [1, *(pytest.param(rank, marks=pytest.mark.slow) for rank in (2, 3))])
def test_fixed_points_are_those_of_all_orthants(rank):
    count, several = 0, 0
    for seed in range(17):
        n = 10
        M, h = _normal(seed, n, rank), _normal(100 + seed, n)
        N = (1.5 * _normal(200 + seed, n, rank) + 2 * M) / np.sqrt(n)
        for transfer in (ReLU(), heaviside()):
            found = piecewise_fixed_points(M, N, transfer, h)
            transfer = as_piecewise_linear(transfer)
            slopes, intercepts, breaks = (
                np.asarray(v) for v in (transfer.slopes, transfer.intercepts, transfer.breaks)
            )
            kappa, leading = by_hand(M, N, slopes, intercepts, breaks, h)
            assert len(found.kappa) == len(kappa) and not np.any(found.boundary)
            assert found.num_regions == sum(comb(n, r) for r in range(rank + 1))
            count += len(kappa)
            several += len(kappa) > 1
            for point, real in zip(kappa, leading, strict=True):
                k = np.argmin(np.max(np.abs(found.kappa - point), 1))
                np.testing.assert_allclose(found.kappa[k], point, atol=1e-9)
                np.testing.assert_allclose(found.eigenvalues[k, 0].real, real, atol=1e-9)
                assert found.stable[k] == (real < 0)
            np.testing.assert_allclose(found.points, found.kappa @ M.T, atol=1e-12)
    assert count > 20 and several > 3


@pytest.mark.slow
def test_several_break_points():
    several = 0
    for seed in range(4):
        n = 6
        M, N, h = _normal(seed, n, 2), 1.2 * _normal(10 + seed, n, 2), 0.5 * _normal(20 + seed, n)
        transfer = clipped_linear(-0.5, 1.0)
        found = piecewise_fixed_points(M, N, transfer, h)
        slopes, intercepts, breaks = (np.asarray(v) for v in (transfer.slopes, transfer.intercepts, transfer.breaks))
        kappa, _ = by_hand(M, N, slopes, intercepts, breaks, h)
        assert len(found.kappa) == len(kappa) > 0
        gaps = np.max(np.abs(found.kappa[:, None] - kappa[None]), -1)
        assert np.all(np.min(gaps, 0) < 1e-9) and np.all(np.min(gaps, 1) < 1e-9)
        several += len(kappa) > 1
    assert several > 0


@pytest.mark.slow
def test_threshold_units_have_their_stable_patterns():
    n = 8
    M, N, h = _normal(0, n, 2), _normal(1, n, 2) + _normal(0, n, 2), 0.3 * _normal(2, n)
    found = piecewise_fixed_points(M, N, heaviside(), h)
    assert np.all(found.stable) and np.all(found.eigenvalues == -1)
    expected = stable_patterns(M @ N.T, h).patterns
    assert len(expected) > 1
    # x' = -x + W H(x + h): s is stable when W s + h lies in its orthant.
    assert {tuple(x + h > 0) for x in found.points} == {tuple(pattern) for pattern in expected}


def test_two_units_that_inhibit_each_other():
    # x = max(1 - 2 y, 0) and the other way round: (1, 0), (0, 1), stable, and (1/3, 1/3), a saddle with 1 and -3.
    W = np.array([[0.0, -2.0], [-2.0, 0.0]])
    found = piecewise_fixed_points(np.eye(2), W.T, ReLU(), 1.0)
    order = np.argsort(found.points[:, 0])
    # x = W max(x + 1, 0): rates are x + 1.
    np.testing.assert_allclose(found.points[order] + 1, [[-1, 1], [1 / 3, 1 / 3], [1, -1]], atol=1e-12)
    np.testing.assert_array_equal(found.stable[order], [True, False, True])
    np.testing.assert_allclose(found.eigenvalues[order[1]], [1, -3], atol=1e-12)


@pytest.mark.slow
def test_borders_and_continua():
    # h = 0: the origin belongs to all regions, and is found once; its stability is not decided by one of them.
    M, N = _normal(0, 5, 2), _normal(1, 5, 2) / 5
    found = piecewise_fixed_points(M, N, ReLU())
    assert np.sum(found.boundary) == 1 and not np.any(found.stable[found.boundary])
    np.testing.assert_allclose(found.points[found.boundary], np.zeros((1, 5)), atol=1e-12)
    assert found.num_regions == 10
    # A threshold unit is not at rest where it jumps.
    assert len(piecewise_fixed_points(np.ones((1, 1)), -np.ones((1, 1)), heaviside(), 0.0).kappa) == 0
    # x = max(x, 0): all x > 0 are fixed, and 0 is their border.
    line = piecewise_fixed_points(np.ones((1, 1)), np.ones((1, 1)), ReLU())
    assert line.num_singular == 1 and np.all(line.boundary)


def test_a_piecewise_linear_function():
    transfer = PiecewiseLinear([-1.0, 2.0], [0.5, 0.0, -1.0], [0.0, 3.0, 1.0])
    x = jnp.array([-2.0, -1.0, 0.0, 2.0, 3.0])
    np.testing.assert_allclose(transfer(x), [-1, -0.5, 3, 3, -2])
    np.testing.assert_allclose(as_piecewise_linear(ReLU())(x), np.maximum(x, 0))
    np.testing.assert_allclose(heaviside()(x), x > 0)
    np.testing.assert_allclose(clipped_linear(-1.5, 1.0)(x), np.clip(x, -1.5, 1.0))


# --- bad arguments


@pytest.mark.parametrize(
    "change, message",
    [
        ({"left": np.ones(3)}, r"`left` must have shape \(n, R\)"),
        ({"right": np.ones((3, 1))}, "`right` must have the shape of `left`"),
        ({"transfer": np.tanh}, "`transfer` must be made of lines"),
        ({"offset": np.ones(2)}, "`offset`"),
        ({"left": np.full((3, 2), np.nan)}, "`left` must be finite"),
        ({"tolerance": 0.0}, "`tolerance`"),
    ],
)
def test_bad_networks(change, message):
    arguments = {"left": np.ones((3, 2)), "right": np.ones((3, 2)), "transfer": heaviside()} | change
    with pytest.raises(ValueError, match=message):
        piecewise_fixed_points(**arguments)


def test_bad_arrangements_and_functions():
    with pytest.raises(ValueError, match="`normals` must have shape"):
        regions(np.ones(3), np.ones(3))
    with pytest.raises(ValueError, match="`offsets` must have shape"):
        regions(np.ones((3, 2)), np.ones(2))
    with pytest.raises(ValueError, match="must be concrete"):
        jax.jit(lambda A: regions(A, np.ones(3)))(jnp.ones((3, 2)))
    with pytest.raises(ValueError, match="`breaks` must be increasing"):
        PiecewiseLinear([1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0])
    with pytest.raises(ValueError, match="`slopes` must have shape"):
        PiecewiseLinear([0.0], [1.0], [0.0, 0.0])
