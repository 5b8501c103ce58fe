"""Patterns: their correlations against those asked for, and Hebbian couplings against sums over patterns."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets import memory
from jaxnets.couplings import DeepHebbian


def _empirical(patterns):
    return np.asarray(patterns) @ np.asarray(patterns).T / patterns.shape[1]


@pytest.mark.parametrize("make", [memory.binary, memory.gaussian])
def test_independent_patterns(make):
    n = 20000
    patterns = make(n, 6, key=jax.random.key(0))
    assert patterns.shape == (6, n) and patterns.dtype == float
    assert make(3, 2, key=jax.random.key(0), dtype=jnp.float32).dtype == jnp.float32
    # Standard errors 1 / sqrt(n), sqrt 2 of that on the diagonal of Gaussian ones; 4.5 of them.
    np.testing.assert_allclose(_empirical(patterns), np.eye(6), atol=4.5 * np.sqrt(2 / n))
    np.testing.assert_allclose(np.mean(patterns, 1), 0, atol=4.5 / np.sqrt(n))
    if make is memory.binary:
        assert set(np.unique(patterns)) == {-1.0, 1.0}
    else:
        np.testing.assert_allclose(np.mean(np.asarray(patterns) ** 4), 3, atol=4.5 * np.sqrt(96 / (6 * n)))


@pytest.mark.parametrize("make", [memory.correlated_binary, memory.correlated_gaussian])
@pytest.mark.parametrize("ring", [True, False])
def test_the_correlation_is_the_one_asked_for(make, ring):
    n = 40000
    C = np.asarray(memory.exponential_correlation(7, 2.5, ring=ring))
    patterns = make(n, C, key=jax.random.key(1))
    # Without the arcsine law, binary correlations of .67 would come out as .47.
    np.testing.assert_allclose(_empirical(patterns), C, atol=4.5 * np.sqrt(2 / n))
    if make is memory.correlated_binary:
        assert set(np.unique(patterns)) == {-1.0, 1.0}


def test_exponential_correlation():
    C = memory.exponential_correlation(5, 2.0)
    np.testing.assert_allclose(C[0], np.exp(-np.array([0, 1, 2, 2, 1]) / 2), rtol=1e-15)
    C = memory.exponential_correlation(5, 2.0, ring=False)
    np.testing.assert_allclose(C[1], np.exp(-np.array([1, 0, 1, 2, 3]) / 2), rtol=1e-15)


def test_repeated_and_opposite_patterns():
    C = np.array([[1.0, 1.0, -1.0], [1.0, 1.0, -1.0], [-1.0, -1.0, 1.0]])
    for make in (memory.correlated_binary, memory.correlated_gaussian):
        patterns = np.asarray(make(50, C, key=jax.random.key(2)))
        np.testing.assert_allclose(patterns, patterns[:1] * np.array([[1], [1], [-1]]), atol=1e-7)


@pytest.mark.parametrize("ring", [True, False])
@pytest.mark.parametrize("symmetric", [True, False])
def test_hebbian_is_the_sum_over_patterns(ring, symmetric):
    rng = np.random.default_rng(0)
    n, num, auto, hetero = 12, 7, 0.4, (0.9, -0.3)
    xi = rng.standard_normal((num, n))
    expected = auto * xi.T @ xi
    for r, gamma in enumerate(hetero, start=1):
        for mu in range(num):
            for target in (mu + r, mu - r) if symmetric else (mu + r,):
                if ring or 0 <= target < num:
                    expected += gamma * np.outer(xi[target % num], xi[mu])
    found = memory.hebbian(xi, auto, hetero, ring=ring, symmetric=symmetric)
    np.testing.assert_allclose(found.dense(), expected / n, atol=1e-14)
    assert found.symmetric == symmetric


def test_hebbian_is_what_the_ensemble_samples():
    sample = DeepHebbian(0.3, 0.5, (1.0, 0.2)).sample(20, key=jax.random.key(3), dtype=jnp.float32)
    found = memory.hebbian(sample.left.T, 0.5, (1.0, 0.2))
    assert jax.tree.structure(found) == jax.tree.structure(sample)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(sample), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def test_hebbian_of_a_batch_of_patterns():
    keys = jax.random.split(jax.random.key(4), 3)
    patterns = jax.vmap(lambda key: memory.binary(9, 4, key=key))(keys)
    batch = jax.jit(jax.vmap(lambda xi: memory.hebbian(xi, 0.1, (1.0,))))(patterns)
    for found, xi in zip(batch.dense(), patterns, strict=True):
        np.testing.assert_allclose(found, memory.hebbian(xi, 0.1, (1.0,)).dense(), rtol=1e-14)


# Equal correlations of -.45 among three are possible for Gaussians, but sin(.45 pi / 2) = .65 > 1/2 is not.
IMPOSSIBLE = np.full((3, 3), -0.45) + 1.45 * np.eye(3)


def test_what_gaussians_can_and_their_signs_cannot():
    memory.correlated_gaussian(5, IMPOSSIBLE, key=jax.random.key(0))
    with pytest.raises(ValueError, match="`correlation` must have no negative eigenvalue after sin"):
        memory.correlated_binary(5, IMPOSSIBLE, key=jax.random.key(0))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda key: memory.binary(0, 3, key=key), "`n` must be a whole number"),
        (lambda key: memory.gaussian(3, 0, key=key), "`num_patterns` must be a whole number"),
        (lambda key: memory.correlated_gaussian(3, np.ones((2, 3)), key=key), "`correlation` must be a square matrix"),
        (lambda key: memory.correlated_gaussian(3, 2 * np.eye(2), key=key), "ones on the diagonal"),
        (lambda key: memory.correlated_binary(3, [[1.0, 0.2], [0.3, 1.0]], key=key), "symmetric"),
        (lambda key: memory.correlated_gaussian(3, [[1.0, 1.2], [1.2, 1.0]], key=key), "no negative eigenvalue"),
        (lambda key: memory.exponential_correlation(3, 0.0), "`length` must be a finite number > 0"),
        (lambda key: memory.hebbian(np.ones(3)), r"`patterns` must have shape \(P, n\)"),
        (lambda key: memory.hebbian(np.full((3, 2), np.nan)), "`patterns` must be finite"),
        (lambda key: memory.hebbian(np.ones((3, 2)), auto=np.inf), "`auto` must be a finite number"),
        (lambda key: memory.hebbian(np.ones((3, 2)), hetero=[]), "`hetero` must be a non-empty"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(jax.random.key(0))
