"""Design of weights: what is stored is stable, what is not is proven; optima against general-purpose optimisers."""

import itertools
from fractions import Fraction
from math import inf

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.stats import norm

from jaxnets.learning import (
    FREE,
    compose,
    explain,
    factorise,
    storable,
    store,
    store_sparsest,
    store_widest,
)

VARIANTS = [store, store_widest, store_sparsest]


def drives(W, patterns, bias=0.0):
    """(2 s - 1) o (W s + b), patterns as rows."""
    return (2 * patterns - 1) * (patterns @ np.asarray(W).T + bias)


def random_problem(rng, n, K):
    """Patterns with a random connectome: some synapses missing, the senders of a known sign or none."""
    mask = (rng.random((n, n)) < 0.7) & ~np.eye(n, dtype=bool)
    return rng.integers(0, 2, (K, n)), mask, rng.choice([-1, 1, FREE], n)


def proves(certificate, patterns, unit, mask, signs):
    """Gordan and Motzkin in whole numbers, over the synapses that exist."""
    s = patterns[list(certificate.patterns)]
    c = (np.array(certificate.weights, dtype=object) * (2 * s[:, unit] - 1)) @ s
    useless = [c[j] == 0 if np.isnan(signs[j]) else c[j] * int(signs[j]) <= 0 for j in range(len(c))]
    return bool(np.all(useless | ~mask[unit]))


# --- stored or not


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_is_stored_is_stable_and_the_rest_is_proven(variant):
    rng = np.random.default_rng(0)
    rows = 0, 0
    for _ in range(40):
        n = int(rng.integers(3, 10))
        patterns, mask, signs = random_problem(rng, n, int(rng.integers(1, 6)))
        found = variant(patterns, mask=mask, signs=signs)
        W = found.weights
        feasible = found.feasible
        assert found.stored == feasible.all()
        np.testing.assert_array_equal(np.isnan(W), np.broadcast_to(~feasible[:, None], (n, n)))
        assert not np.any(W[feasible] * ~mask[feasible])
        assert not np.any(W[feasible] * np.where(np.isnan(signs), 0, signs) < 0)
        margins = drives(W, patterns).min(0)
        assert np.all(margins[feasible] > 0)
        np.testing.assert_allclose(margins[feasible], found.margins[feasible], rtol=1e-12)
        np.testing.assert_allclose(found.signs[feasible] * found.strengths[feasible], W[feasible])
        for i in np.flatnonzero(~feasible):
            assert proves(found.certificates[i], patterns, i, mask, signs) and found.certificates[i].limit == 0
            assert f"unit {i} cannot be" in explain(found.certificates[i], patterns, i)
        rows = rows[0] + feasible.sum(), rows[1] + (~feasible).sum()
    assert min(rows) > 20


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint8, np.float32])
def test_any_dtype_of_patterns(dtype):
    patterns = np.array([[1, 1, 0, 0], [0, 0, 1, 1]])
    expected = store(patterns)
    assert expected.stored
    np.testing.assert_array_equal(store(patterns.astype(dtype)).weights, expected.weights)
    np.testing.assert_array_equal(store(jnp.asarray(patterns, dtype)).weights, expected.weights)


def test_two_opposite_pairs():
    """An active unit hears its partner alone, at most with weight 1, and no margin is larger."""
    found = store(np.array([[1, 1, 0, 0], [0, 0, 1, 1]]))
    np.testing.assert_allclose(found.margins, 1, rtol=1e-12)
    np.testing.assert_array_equal(found.signs[np.ix_([0, 1], [0, 1])], 1 - np.eye(2))
    sparse = store_sparsest(np.array([[1, 1, 0, 0], [0, 0, 1, 1]]))
    assert np.all(np.count_nonzero(np.round(sparse.weights, 9), axis=1) == 2)
    wide = store_widest(np.array([[1, 1, 0, 0], [0, 0, 1, 1]]))
    np.testing.assert_allclose(wide.weights[:2], [[0, 1, -0.5, -0.5], [1, 0, -0.5, -0.5]], atol=1e-9)


# --- bias, margin, bounds, noise


def test_a_given_and_a_free_bias():
    silent_and_all = np.array([[0, 0, 0], [1, 1, 1]])
    assert not store(silent_and_all).feasible.any()  # no drive without an active unit
    for variant in VARIANTS:
        given = variant(silent_and_all, bias=-0.3, margin=0.2)
        assert given.stored and np.all(given.bias == -0.3)
        assert np.all(drives(given.weights, silent_and_all, given.bias) >= 0.2 * (1 - 1e-9))
        free = variant(silent_and_all, bias=[FREE, FREE, -0.5], margin=0.2)
        assert free.stored and free.bias[2] == -0.5 and np.all(free.bias[:2] <= -0.2 + 1e-9)
        assert np.all(drives(free.weights, silent_and_all, free.bias) >= 0.2 * (1 - 1e-9))
        wrong = variant(silent_and_all, bias=[-1.0, 0.5, FREE], margin=0.2)
        np.testing.assert_array_equal(wrong.feasible, [True, False, True])
        assert wrong.certificates[1].limit == Fraction(-1, 2) and wrong.certificates[1].patterns == (0,)
        assert np.isnan(wrong.bias[1])
    # The margin cannot pass |b| in the silent pattern.
    tight = store(silent_and_all, bias=-0.25, margin=0.3)
    assert not tight.stored and all(c.limit == Fraction(1, 4) for c in tight.certificates)


def test_a_unit_without_synapses_has_its_bias():
    found = store([[1, 1, 0], [1, 0, 1]], mask=np.zeros((3, 3)), bias=FREE, bounds=2.0)
    np.testing.assert_array_equal(found.feasible, [True, False, False])
    assert found.bias[0] == found.margins[0] == 2 and not np.any(found.weights[0])
    assert found.certificates[1].weights == (1, 1) and found.certificates[1].limit == 0


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_scale_does_not_matter(scale):
    """Weights, margins and biases in other units."""
    patterns = np.array([[1, 1, 0, 0, 1], [0, 1, 1, 0, 0], [1, 0, 0, 1, 1]])
    bias = np.array([0.1, -0.1, 0.2, -0.2, FREE])
    same = lambda found, unit: np.testing.assert_allclose(found.weights / scale, unit.weights, rtol=1e-9, atol=1e-9)
    same(store(patterns, bounds=scale, bias=scale * bias), store(patterns, bias=bias))
    for variant in (store_widest, store_sparsest):
        unit, found = variant(patterns, bias=bias), variant(patterns, margin=scale, bias=scale * bias)
        assert unit.stored
        same(found, unit)


def test_margins_that_cannot_be_have_their_limit():
    """n = 3 units on together: a drive is the sum of two weights of at most 1."""
    patterns = np.ones((1, 3))
    np.testing.assert_allclose(store(patterns).margins, 2, rtol=1e-12)
    assert store(patterns, margin=2.0).stored
    refused = store(patterns, margin=2.1)
    assert not refused.feasible.any() and all(c.limit == 2 for c in refused.certificates)
    assert not store_sparsest(patterns, margin=2.1, bounds=1.0).feasible.any()
    np.testing.assert_allclose(store_sparsest(patterns, margin=2.1, bounds=1.5).margins, 2.1, rtol=1e-9)


def test_weight_noise_in_the_worst_case():
    rng = np.random.default_rng(1)
    patterns = rng.integers(0, 2, (3, 8))
    mask = (rng.random((8, 8)) < 0.8) & ~np.eye(8, dtype=bool)
    epsilon = 0.1
    for variant in VARIANTS:
        plain, robust = variant(patterns, mask=mask), variant(patterns, mask=mask, weight_noise=epsilon)
        assert plain.stored and robust.stored
        corners = rng.choice([-epsilon, epsilon], (2000, 8, 8)) * mask
        assert all(np.all(drives(robust.weights + d, patterns) > 0) for d in corners)
        worst = drives(robust.weights, patterns) - epsilon * patterns @ mask.T
        np.testing.assert_allclose(worst.min(0), robust.margins, rtol=1e-9)
        # The corner that hurts most is tight: one pattern of each unit has no more than its margin.
        if variant is not store:
            np.testing.assert_allclose(robust.margins, 1, rtol=1e-9)
    # No weights within bounds stand errors as large as the bounds.
    assert not store(patterns, mask=mask, weight_noise=1.0).feasible.any()


def test_widest_bounds_the_errors_of_gaussian_noise():
    rng = np.random.default_rng(2)
    patterns = np.array([[1, 1, 0, 0, 1, 0], [0, 1, 1, 0, 0, 1], [1, 0, 1, 1, 0, 0]])
    found = store_widest(patterns)
    assert found.stored
    sigma, trials = 0.4, 4000
    noisy = found.weights * (1 + sigma * rng.normal(size=(trials, 6, 6)))
    failed = np.mean([drives(W, patterns) <= 0 for W in noisy], axis=0)
    limit = norm.cdf(-1 / (sigma * np.linalg.norm(found.weights, axis=1)))
    assert np.all(failed <= limit + 4 * np.sqrt(limit / trials))
    assert np.max(failed / limit) > 0.1  # and not for nothing


# --- optima


def margin_condition(patterns, i):
    return (2 * patterns[:, i] - 1)[:, None] * patterns


@pytest.mark.parametrize("bounded", [False, True])
def test_widest_is_optimal(bounded):
    """The conditions of Karush, Kuhn and Tucker, w = clip(A^T y, l, u) for a y >= 0 that vanishes above the margin."""
    rng = np.random.default_rng(3)
    bounds = 0.7 if bounded else inf
    compared, at_a_limit = 0, 0
    for _ in range(40):
        n = int(rng.integers(4, 8))
        patterns, mask, signs = random_problem(rng, n, int(rng.integers(1, 5)))
        found = store_widest(patterns, mask=mask, signs=signs, bounds=bounds)
        for i in np.flatnonzero(found.feasible):
            A, w = margin_condition(patterns, i), found.weights[i]
            lower = np.where(mask[i] & ~(signs > 0), -bounds, 0)
            upper = np.where(mask[i] & ~(signs < 0), bounds, 0)
            assert np.all(A @ w > 1 - 1e-9)
            bind = A[A @ w < 1 + 1e-9].T
            above = w > lower + 1e-9  # then A^T y >= w; and below the upper limit A^T y <= w
            below = w < upper - 1e-9
            rows, most = np.vstack([-bind[above], bind[below]]), np.append(-w[above], w[below]) + 1e-8
            assert linprog(np.zeros(bind.shape[1]), A_ub=rows, b_ub=most).status == 0
            compared, at_a_limit = compared + 1, at_a_limit + np.sum((lower < upper) & ~(above & below))
    assert compared > 20 and at_a_limit > 20


def test_widest_meets_the_optimality_conditions_near_capacity():
    """w = A^T y, y >= 0, y (A w - 1) = 0: large weights, and none of the accuracy lost."""
    rng = np.random.default_rng(4)
    patterns = rng.integers(0, 2, (36, 25))
    found = store_widest(patterns)
    assert found.feasible.sum() > 5
    for i in np.flatnonzero(found.feasible):
        A = margin_condition(patterns, i)
        A[:, i] = 0
        w = found.weights[i]
        assert np.min(A @ w) > 1 - 1e-9
        bind = A @ w < 1 + 1e-9
        y, *_ = np.linalg.lstsq(A[bind].T, w)
        np.testing.assert_allclose(A[bind].T @ y, w, atol=1e-9 * np.max(np.abs(w)))
        assert np.min(y) > -1e-9 * np.max(np.abs(y))


@pytest.mark.slow
def test_sparsest_is_the_least_of_all_vertices():
    """A least sum is at a vertex: as many conditions that bind as weights that do not vanish."""
    rng = np.random.default_rng(5)
    compared = 0
    for _ in range(30):
        n, K = 6, 3
        patterns = rng.integers(0, 2, (K, n))
        found = store_sparsest(patterns)
        for i in np.flatnonzero(found.feasible):
            A = margin_condition(patterns, i)
            A[:, i] = 0
            least = inf
            for size in range(1, K + 1):
                for rows in itertools.combinations(range(K), size):
                    for columns in itertools.combinations(range(n), size):
                        square = A[np.ix_(rows, columns)]
                        if abs(np.linalg.det(square)) > 0.5:
                            w = np.linalg.solve(square, np.ones(size))
                            if np.all(A[:, columns] @ w > 1 - 1e-9):
                                least = min(least, np.abs(w).sum())
            np.testing.assert_allclose(np.abs(found.weights[i]).sum(), least, rtol=1e-9)
            assert np.count_nonzero(np.abs(found.weights[i]) > 1e-9) <= K
            compared += 1
    assert compared > 30


def test_the_best_of_all_weights():
    """No weights of the same bounds, norm or sum have a larger margin than those that maximise it."""
    rng = np.random.default_rng(6)
    patterns = np.array([[1, 1, 0, 0, 1], [0, 1, 1, 0, 0], [1, 0, 0, 1, 1]])
    W = rng.normal(size=(20000, 5, 5)) * (1 - np.eye(5))
    reached = np.min((2 * patterns - 1) * np.einsum("mij,kj->mki", W, patterns), axis=1)
    for variant, size in ((store, np.max), (store_widest, np.linalg.norm), (store_sparsest, np.sum)):
        found = variant(patterns)
        assert found.stored
        best = found.margins / size(np.abs(found.weights), axis=1)
        tried = np.max(reached / size(np.abs(W), axis=2), axis=0)
        assert np.all(tried <= best + 1e-12) and np.all(tried > 0.3 * best)


# --- how many


@pytest.mark.slow
def test_storable_is_the_first_that_fails():
    rng = np.random.default_rng(7)
    for _ in range(8):
        patterns, mask, signs = random_problem(rng, 7, 9)
        found = storable(patterns, mask=mask, signs=signs)
        held = np.array([store(patterns[:k], mask=mask, signs=signs).feasible for k in range(1, 10)])
        np.testing.assert_array_equal(found.counts, held.sum(0))
        assert found.count == held.all(1).sum()
        for i, (count, certificate) in enumerate(zip(found.counts, found.certificates, strict=True)):
            assert (certificate is None) == (count == 9)
            if certificate:
                assert certificate.patterns[-1] == count and proves(certificate, patterns, i, mask, signs)
        some = storable(patterns, mask=mask, signs=signs, units=[4, 1])
        np.testing.assert_array_equal(some.counts, found.counts[[4, 1]])
        assert some.units == (4, 1)


# --- factorisation


@pytest.mark.slow
def test_factorisation_round_trip():
    rng = np.random.default_rng(8)
    for _ in range(20):
        n = int(rng.integers(2, 11))
        patterns = rng.integers(0, 2, (int(rng.integers(1, n + 1)), n))
        if np.linalg.matrix_rank(patterns) < len(patterns):
            continue
        W = rng.normal(size=(n, n))
        Y, Z = factorise(W, patterns)
        np.testing.assert_allclose(Y, W @ patterns.T, atol=1e-12)
        np.testing.assert_allclose(np.asarray(Z) @ patterns.T, np.zeros(Y.shape), atol=1e-12)
        np.testing.assert_allclose(compose(patterns, Y, Z), W, atol=1e-11)
        # Z is free, and all weights that hold the patterns are of this form.
        other = rng.normal(size=(n, n))
        magnitudes = rng.uniform(0.1, 2, patterns.T.shape)
        designed = compose(patterns, magnitudes * (2 * patterns.T - 1), other)
        np.testing.assert_allclose(drives(designed, patterns), magnitudes.T, atol=1e-10)
        least = compose(patterns, magnitudes * (2 * patterns.T - 1))
        assert np.linalg.norm(least) <= np.linalg.norm(designed)


def test_factorisation_of_what_was_stored():
    patterns = np.array([[1, 1, 0, 0, 1], [0, 1, 1, 0, 0], [1, 0, 0, 1, 1]])
    Y, _ = factorise(store(patterns).weights, patterns)
    np.testing.assert_array_equal(np.sign(Y), 2 * patterns.T - 1)


def test_gradients_of_the_factorisation():
    """Linear in W: the derivative along any direction is the value there."""
    rng = np.random.default_rng(9)
    patterns = np.array([[1, 1, 0, 0, 1], [0, 1, 1, 0, 0]])
    W, V = jnp.asarray(rng.normal(size=(2, 5, 5)))
    again = lambda W: compose(patterns, *factorise(W, patterns))
    np.testing.assert_allclose(jax.jvp(again, (W,), (V,))[1], V, atol=1e-12)
    many = jax.jit(jax.vmap(again))(jnp.stack([W, V]))
    np.testing.assert_allclose(many, jnp.stack([again(W), again(V)]), atol=1e-12)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: store([1, 0]), "`patterns`"),
        (lambda: store([[1, 2]]), "`patterns`"),
        (lambda: store(np.zeros((0, 3))), "`patterns`"),
        (lambda: jax.jit(lambda s: store(s).weights)(jnp.eye(2)), "`patterns` must be known, not traced"),
        (lambda: store([[1, 0]], bounds=inf), "`bounds`"),
        (lambda: store([[1, 0]], bias=[1, 2, 3]), "`bias`"),
        (lambda: store([[1, 0]], bias=inf), "`bias`"),
        (lambda: store([[1, 0]], margin=-1), "`margin`"),
        (lambda: store([[1, 0]], weight_noise=FREE), "`weight_noise`"),
        (lambda: store_widest([[1, 0]], margin=0), "`margin`"),
        (lambda: store_sparsest([[1, 0]], margin=0), "`margin`"),
        (lambda: storable([[1, 0]], units=[2]), "`units`"),
        (lambda: storable([[1, 0]], units=[]), "`units`"),
        (lambda: factorise(np.ones((2, 2)), [[1, 0], [1, 0]]), "`patterns` must be linearly independent"),
        (lambda: factorise(np.ones((3, 3)), [[1, 0]]), "`J`"),
        (lambda: compose([[1, 0]], np.ones((1, 2))), "`Y`"),
        (lambda: compose([[1, 0]], np.ones((2, 1)), np.ones(2)), "`Z`"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
