"""Merging of equal results: representatives, numbers, failures, and points that are known before."""

import numpy as np

from jaxnets._numerics import merge

POINTS = np.array([[1.0, 0.0], [0.0, 2.0], [1.0, 1e-7], [5.0, 5.0], [0.0, 2.0 + 1e-7], [9.0, 9.0]])
RESIDUALS = np.array([3e-12, 1e-12, 2e-12, 0.5, 4e-12, np.inf])


def test_the_smallest_residual_represents_and_failures_have_no_number():
    positions, index = merge(POINTS, RESIDUALS, 1e-5)
    np.testing.assert_array_equal(positions, [1, 2, 3])  # in the order of residuals
    np.testing.assert_array_equal(index, [1, 0, 1, 2, 0, -1])
    order = np.array([5, 3, 1, 0, 4, 2])
    shuffled, numbers = merge(POINTS[order], RESIDUALS[order], 1e-5)
    np.testing.assert_array_equal(POINTS[order][shuffled], POINTS[positions])
    np.testing.assert_array_equal(numbers, index[order])


def test_tolerances():
    assert len(merge(POINTS, RESIDUALS, 1e-9)[0]) == 5
    assert len(merge(POINTS, RESIDUALS, 10.0)[0]) == 1
    points = np.array([[1000.0, 0.0], [1000.5, 0.0], [0.0, 0.4]])
    assert len(merge(points, np.zeros(3), 0.1)[0]) == 3
    assert len(merge(points, np.zeros(3), 0.1, relative=1e-3)[0]) == 2  # 0.4 of 0 is far
    # The larger of the two, not their sum.
    assert len(merge(np.array([[100.0], [100.15]]), np.zeros(2), 0.1, relative=1e-3)[0]) == 2


def test_known_points_come_first():
    known = np.array([[5.0, 5.0], [1.0, 0.0]])
    positions, index = merge(POINTS, RESIDUALS, 1e-5, known=known)
    np.testing.assert_array_equal(positions, [1])
    np.testing.assert_array_equal(index, [1, 2, 1, 0, 2, -1])
    np.testing.assert_array_equal(np.concatenate([known, POINTS[positions]])[index[:5]], np.round(POINTS[:5], 5))


def test_nothing_to_merge():
    positions, index = merge(np.zeros((0, 2)), np.zeros(0), 1e-5)
    assert positions.shape == index.shape == (0,)
    positions, index = merge(POINTS, np.full(6, np.nan), 1e-5)
    assert positions.shape == (0,) and np.all(index == -1)
