"""Regions of low-rank piecewise-linear networks (Pals et al. 2024, NeurIPS): few, and all fixed points among them."""

from math import comb

import numpy as np
import pytest

from jaxnets.multistability import piecewise_fixed_points, regions
from jaxnets.transfer import ReLU


@pytest.mark.parametrize(("n", "rank", "expected"), [(10, 2, 56), (10, 3, 176), (100, 2, 5051)])
def test_number_of_regions(n, rank, expected):
    rng = np.random.default_rng(n + rank)
    found = regions(rng.standard_normal((n, rank)), rng.standard_normal(n))
    assert len(found) == sum(comb(n, r) for r in range(rank + 1)) == expected


@pytest.mark.slow
def test_fixed_points_of_a_large_network_solve_its_equation():
    """Rank 2, n = 60: 1831 of 2^60 regions."""
    rng, n = np.random.default_rng(0), 60
    M, N, h = rng.standard_normal((n, 2)), 2 / n * rng.standard_normal((n, 2)), rng.standard_normal(n)
    found = piecewise_fixed_points(M, N, ReLU(), h)
    assert found.num_regions == 1 + n + comb(n, 2) and len(found.kappa) > 0 and found.num_singular == 0
    x = found.points
    np.testing.assert_allclose(x, np.maximum(x + h, 0) @ N @ M.T, atol=1e-10)
    for point, values in zip(x, found.eigenvalues, strict=True):
        jacobian = M @ (N.T * (point + h > 0)) - np.eye(n)
        largest = np.max(np.linalg.eigvals(jacobian).real)
        np.testing.assert_allclose(max(-1, values[0].real), largest, atol=1e-9)
