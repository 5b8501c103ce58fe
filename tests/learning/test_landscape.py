"""All solutions of small perceptrons against exact moments of their number; clusters; annealing."""

import itertools
from math import comb, log

import jax
import numpy as np
import pytest

from jaxnets.learning import anneal, clusters, solutions


def random_patterns(rng, num, n):
    return rng.choice([-1, 1], (num, n))


def allowed(n, kappa, symmetric):
    u = (2 * np.arange(n + 1) - n) / np.sqrt(n)
    return np.abs(u) < kappa if symmetric else u > kappa


def exact_moments(num, n, kappa, symmetric=False):
    """E Z and E Z^2 for random binary patterns: fields of one and of two weight vectors are binomial."""
    fits = allowed(n, kappa, symmetric)
    binomial = lambda m: np.array([comb(m, k) for k in range(m + 1)]) / 2.0**m
    first = 2.0**n * (binomial(n) @ fits) ** num
    second = 0.0
    for d in range(n + 1):
        same, turned = np.ogrid[: n - d + 1, : d + 1]
        both = fits[same + turned] & fits[same + d - turned]
        second += 2.0**n * comb(n, d) * (binomial(n - d) @ both @ binomial(d)) ** num
    return first, second


def test_solutions_by_brute_force():
    rng = np.random.default_rng(0)
    for n, num, kappa, symmetric in ((7, 4, 0.0, False), (8, 3, 0.3, False), (13, 5, 0.0, False), (9, 4, 1.0, True)):
        xi = random_patterns(rng, num, n)
        every = np.array(list(itertools.product([-1, 1], repeat=n)))[:, ::-1]
        u = every @ xi.T / np.sqrt(n)
        expected = every[np.all(np.abs(u) < kappa if symmetric else u > kappa, 1)]
        found = solutions(xi, kappa, symmetric=symmetric)
        np.testing.assert_array_equal(found.weights, expected)
        assert found.entropy == (log(len(expected)) / n if len(expected) else -np.inf)


@pytest.mark.parametrize("kappa", [0.0, 0.5])
def test_moments_of_the_number(kappa):
    """E Z and E Z^2 at N = 12, where fields of exactly 0 are frequent."""
    rng, n, num, draws = np.random.default_rng(1), 12, 4, 400
    counts = np.array([len(solutions(random_patterns(rng, num, n), kappa).weights) for _ in range(draws)], float)
    for power, exact in zip((1, 2), exact_moments(num, n, kappa), strict=True):
        values = counts**power
        assert abs(values.mean() - exact) < 4 * values.std(ddof=1) / np.sqrt(draws)


def test_fluctuations_of_the_symmetric_perceptron():
    """ln(Z / E Z) has the mean -v / 2 and the variance v, with e^v = E Z^2 / (E Z)^2."""
    rng, n, num, kappa, draws = np.random.default_rng(2), 17, 8, 1.0, 120
    first, second = exact_moments(num, n, kappa, symmetric=True)
    v = log(second / first**2)
    logs = []
    for _ in range(draws):
        found = solutions(random_patterns(rng, num, n), kappa, symmetric=True)
        logs.append(n * found.entropy - log(first))
    assert abs(np.mean(logs) + v / 2) < 4 * np.std(logs, ddof=1) / np.sqrt(draws)
    assert abs(np.var(logs, ddof=1) / v - 1) < 4 * np.sqrt(2 / draws) + 0.1


@pytest.mark.slow
def test_the_largest_number_of_weights():
    xi = random_patterns(np.random.default_rng(3), 9, 24)
    found = solutions(xi)
    u = found.weights.astype(int) @ xi.T
    assert len(found.weights) > 0 and np.all(u > 0)


def test_clusters():
    """A path of three, a pair, and one alone; by a search from each solution for a perceptron."""
    rows = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 1, -1], [1, 1, 1, -1, -1], [-1, -1, 1, 1, 1], [-1, -1, -1, 1, 1]])
    found = clusters(np.concatenate([rows, [[-1, 1, -1, -1, 1]]]))
    assert found.sizes.tolist() == [3, 2, 1] and found.labels.tolist() == [0, 0, 0, 1, 1, 2]
    s = solutions(random_patterns(np.random.default_rng(4), 8, 11)).weights
    near = (s.astype(int) @ s.T == 11 - 2) | np.eye(len(s), dtype=bool)
    reach = np.linalg.matrix_power(near.astype(float), len(s)) > 0 if len(s) < 60 else near
    found = clusters(s)
    if len(s) < 60:
        np.testing.assert_array_equal(found.labels[:, None] == found.labels, reach)
    assert found.sizes.sum() == len(s) and np.all(np.diff(found.sizes) <= 0)


def test_annealing_finds_solutions():
    xi = random_patterns(np.random.default_rng(5), 7, 15)
    found = anneal(xi, key=jax.random.key(0), chains=200, sweeps=60)
    errors = np.sum(np.asarray(found.weights).astype(int) @ xi.T <= 0, 1)
    np.testing.assert_array_equal(found.errors, errors)
    assert np.mean(errors == 0) > 0.75
    # About one in 30 of the random weights that they started from.
    assert len(solutions(xi).weights) < 0.1 * 2**15


def test_bad_arguments_are_named():
    xi = random_patterns(np.random.default_rng(6), 3, 5)
    cases = [
        (lambda: solutions(np.ones((2, 25))), "patterns"),
        (lambda: solutions(xi + 1), "patterns"),
        (lambda: solutions(xi, np.inf), "kappa"),
        (lambda: solutions(xi, 0.0, symmetric=True), "kappa"),
        (lambda: clusters(np.ones((2, 5))), "weights"),
        (lambda: clusters(np.zeros((2, 5))), "weights"),
        (lambda: anneal(xi, key=0), "key"),
        (lambda: anneal(xi, key=jax.random.key(0), hottest=0.0), "hottest"),
    ]
    for call, name in cases:
        with pytest.raises(ValueError, match=f"`{name}` must"):
            call()
