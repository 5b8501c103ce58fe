"""Other units and another order of units change nothing: J -> q J with all inputs and states, and permutations."""

import jax
import numpy as np
import pytest
from compilations import compilations

from jaxnets.learning import compose, factorise, largest_margin, store, store_sparsest, store_widest
from jaxnets.multistability import (
    basins,
    descend,
    follow_pattern,
    is_stable,
    margins,
    piecewise_fixed_points,
    regions,
    stable_patterns,
)
from jaxnets.multistability.patterns import as_couplings, by_programme, cast_bias
from jaxnets.transfer import PiecewiseLinear, ReLU, clipped_linear

UNITS = [(1e-30, np.float64), (1e30, np.float64), (1e-15, np.float32), (1e15, np.float32)]


def network(n=7, seed=3):
    rng = np.random.default_rng(seed)
    J = rng.standard_normal((n, n)) + 1.5 * np.eye(n)
    return J, -0.5 * np.sum(J, 1)


@pytest.mark.parametrize(("q", "dtype"), UNITS)
def test_patterns_in_other_units(q, dtype):
    J, b = (x.astype(dtype) for x in network())
    q = dtype(q)
    found = stable_patterns(J, b)
    assert len(found.patterns) > 3
    np.testing.assert_array_equal(stable_patterns(q * J, q * b).patterns, found.patterns)
    np.testing.assert_allclose(
        margins(q * J, found.patterns, q * b), q * np.asarray(margins(J, found.patterns, b)), rtol=1e-4
    )
    assert np.all(is_stable(q * J, found.patterns, q * b))
    operator = as_couplings(q * J)
    listed = by_programme(operator, cast_bias(q * b, operator), 60.0, 1000)
    np.testing.assert_array_equal(listed.patterns, found.patterns)


@pytest.mark.parametrize("q", [2.0**-100, 2.0**100])
def test_exact_fields_are_exact_in_units_of_a_power_of_two(q):
    J = np.array([[0.0, 1.0, -1.0], [1.0, 0.0, 0.0], [-1.0, 1.0, 1.0]])
    np.testing.assert_array_equal(stable_patterns(q * J).patterns, stable_patterns(J).patterns)


def test_patterns_of_permuted_units():
    J, b = network()
    order = np.random.default_rng(0).permutation(len(b))
    expected = {tuple(s[order]) for s in stable_patterns(J, b).patterns}
    assert {tuple(s) for s in stable_patterns(J[order][:, order], b[order]).patterns} == expected


@pytest.mark.parametrize("q", [1e-30, 1e30])
def test_flows_and_descents_in_other_units(q):
    J, b = network()
    key = jax.random.key(0)
    found = basins(J, b, num_starts=40, key=key)
    again = basins(q * J, q * b, num_starts=40, key=key, spread=q)
    np.testing.assert_array_equal(again.index, found.index)
    np.testing.assert_allclose(again.activities, found.activities, atol=1e-6)
    np.testing.assert_allclose(again.periods, found.periods, atol=1e-6)
    ends, same = (descend(u * J, u * b, num_starts=20, key=key).patterns for u in (1.0, q))
    np.testing.assert_array_equal(ends, same)


@pytest.mark.parametrize("q", [1e-30, 1e30])
def test_branches_in_other_units(q):
    """The steepness has the inverse unit of x."""
    J, b = network()
    pattern = stable_patterns(J, b).patterns[0]
    one, other = follow_pattern(J, pattern, b), follow_pattern(q * J, pattern, q * b)
    assert other.converged and other.fold == one.fold
    np.testing.assert_allclose(q * other.critical_steepness, one.critical_steepness, rtol=1e-6)


@pytest.mark.parametrize(("q", "dtype"), UNITS)
def test_piecewise_fixed_points_in_other_units(q, dtype):
    """x and the break points scale; the couplings of units with slopes of order one do not."""
    rng = np.random.default_rng(1)
    M, N, h = (rng.standard_normal(shape).astype(dtype) for shape in ((6, 2), (6, 2), 6))
    tolerance, q = (1e-10 if dtype == np.float64 else 1e-5), dtype(q)
    clipped = clipped_linear(-0.5, 1.0)
    scaled = PiecewiseLinear(q * clipped.breaks.astype(dtype), clipped.slopes, q * clipped.intercepts.astype(dtype))
    for one, other in ((ReLU(), ReLU()), (clipped, scaled)):
        found = piecewise_fixed_points(M, N, one, h, tolerance=tolerance)
        again = piecewise_fixed_points(M, N, other, q * h, tolerance=tolerance)
        assert again.num_regions == found.num_regions and len(found.kappa) > 0
        np.testing.assert_allclose(again.kappa, q * found.kappa, rtol=1e-3)
        np.testing.assert_array_equal(again.stable, found.stable)
    np.testing.assert_array_equal(regions(q * M, q * h, tolerance=tolerance), regions(M, h, tolerance=tolerance))


@pytest.mark.parametrize("q", [1e-30, 1e30])
def test_learning_in_other_units(q):
    """Bounds and margins set the unit of weights."""
    s = (np.random.default_rng(0).random((4, 9)) < 0.5).astype(int)
    found, again = (store(s, bounds=u, progress=False) for u in (1.0, q))
    np.testing.assert_array_equal(again.feasible, found.feasible)
    np.testing.assert_allclose(again.margins, q * found.margins, rtol=1e-9)
    for solve in (store_widest, store_sparsest):
        found, again = (solve(s, margin=u, progress=False) for u in (1.0, q))
        np.testing.assert_allclose(again.weights, q * found.weights, rtol=1e-6, atol=1e-6 * q)
    A = np.random.default_rng(1).standard_normal((5, 4))
    one, other = (largest_margin(u * A, -np.ones(4), np.ones(4)) for u in (1.0, q))
    np.testing.assert_allclose(other.margin, q * one.margin, rtol=1e-9)
    np.testing.assert_allclose(other.weights, one.weights, atol=1e-9)
    J, independent = np.random.default_rng(2).standard_normal((9, 9)), s[np.any(s, 1)]
    Y, Z = (np.asarray(x) for x in factorise(q * J, independent))
    np.testing.assert_allclose(compose(independent, Y, Z), q * J, rtol=1e-9, atol=1e-12 * q)


def test_another_size_and_rank_compile_nothing():
    rng = np.random.default_rng(0)
    with compilations() as programs:
        for n, rank in ((5, 1), (6, 2), (8, 3)):
            piecewise_fixed_points(rng.standard_normal((n, rank)), rng.standard_normal((n, rank)), ReLU(), 0.1)
            J, b = network(n)
            for pattern in stable_patterns(J, b).patterns[:1]:
                follow_pattern(J, pattern, b)
    assert programs == []
