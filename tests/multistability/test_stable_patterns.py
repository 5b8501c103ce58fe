"""Stable patterns against all 2^n of them in NumPy, and their expected number."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.couplings.operators import Diagonal, Modes
from jaxnets.multistability import descend, is_stable, margins, stable_patterns
from jaxnets.multistability.patterns import as_couplings, by_programme, cast_bias, required_margins


def every_pattern(n):
    return (np.arange(2**n)[:, None] >> np.arange(n)) & 1


def by_hand(W, b):
    s = every_pattern(len(W))
    return s[np.min((2 * s - 1) * (s @ W.T + b), 1) > 0]


def cases(num, sizes, seed=0):
    """Normal weights, and whole ones with many marginal fields; with and without a bias."""
    rng = np.random.default_rng(seed)
    for k in range(num):
        n = int(rng.choice(sizes))
        W, b = 1.5 * rng.standard_normal((n, n)), rng.standard_normal(n) * (k % 2)
        yield (W, b) if k % 4 < 2 else (np.round(W), np.round(b))


# --- given patterns


def test_margins_of_a_pair():
    W = np.array([[0.0, 2.0], [-3.0, 1.0]])
    patterns = np.array([[0, 0], [1, 0], [0, 1], [1, 1]])
    # Fields (0, 0), (0, -3), (2, 1), (2, -2), plus b = (.5, -1).
    np.testing.assert_array_equal(margins(W, patterns), [0, 0, -2, -2])
    np.testing.assert_array_equal(margins(W, patterns, [0.5, -1.0]), [-0.5, 0.5, -2.5, -3.0])
    np.testing.assert_array_equal(is_stable(W, patterns, [0.5, -1.0]), [False, True, False, False])
    assert not np.any(is_stable(W, patterns))  # a field of 0 is not stable


def test_operators_types_and_axes():
    rng = np.random.default_rng(0)
    W = Modes(rng.standard_normal((7, 2)), rng.standard_normal((7, 2)), Diagonal(jnp.array([3.0, -2.0])))
    patterns = rng.random((3, 4, 7)) < 0.5
    found = margins(W, patterns, 0.1)
    fields = patterns @ np.asarray(W.dense()).T + 0.1
    np.testing.assert_allclose(found, np.min((2 * patterns - 1) * fields, -1), atol=1e-14)
    np.testing.assert_array_equal(margins(W.dense(), patterns.astype(np.int8), 0.1), margins(W.dense(), patterns, 0.1))
    assert margins(W, patterns[0, 0]).shape == ()
    loop = [margins(W, pattern, 0.1) for pattern in patterns[0]]
    np.testing.assert_allclose(jax.jit(jax.vmap(lambda s: margins(W, s, 0.1)))(patterns[0]), loop, atol=1e-14)


def test_slope_of_a_margin():
    rng = np.random.default_rng(1)
    W, b, s = rng.standard_normal((5, 5)), rng.standard_normal(5), np.array([1, 0, 1, 1, 0])
    i = np.argmin((2 * s - 1) * (W @ s + b))
    slope = jax.grad(lambda W: margins(W, s, b))(jnp.asarray(W))
    expected = np.zeros((5, 5))
    expected[i] = (2 * s[i] - 1) * s
    np.testing.assert_array_equal(slope, expected)


# --- all patterns


def test_all_patterns_are_those_by_hand():
    for W, b in cases(40, np.arange(1, 11)):
        found = stable_patterns(W, b)
        assert found.complete
        np.testing.assert_array_equal(found.patterns, by_hand(W, b))


def test_patterns_in_both_halves_and_many_batches():
    # Independent pairs that inhibit each other, with a bias: one of each pair is on. 2^8 stable patterns of 16 units.
    n, rng = 16, np.random.default_rng(0)
    order = rng.permutation(n)
    W = np.zeros((n, n))
    for i, j in order.reshape(-1, 2):
        W[i, j] = W[j, i] = -2.0
    found = stable_patterns(W, 1.0)
    pairs = found.patterns[:, order].reshape(-1, 8, 2)
    assert len(found.patterns) == 2**8 and np.all(np.sum(pairs, -1) == 1)
    codes = found.patterns @ (1 << np.arange(n))
    assert np.all(np.diff(codes) > 0)


@pytest.mark.slow
@pytest.mark.parametrize("n", [20, 22, 24])
def test_larger_networks(n):
    rng = np.random.default_rng(n)
    hidden = np.unique(rng.random((4, n)) < 0.5, axis=0)
    W = (2.0 * hidden - 1).T @ np.linalg.pinv(hidden.T.astype(float)) + 0.0
    found = stable_patterns(W)
    listed = {tuple(pattern) for pattern in found.patterns}
    assert {tuple(pattern) for pattern in hidden} <= listed
    s = ((np.arange(2**n)[:: 2**n // 2**16 + 1, None] >> np.arange(n)) & 1).astype(bool)
    for pattern, stable in zip(s, np.min((2 * s - 1) * (s @ W.T), 1) > 1e-12, strict=True):
        assert not stable or tuple(pattern) in listed
    assert np.all(is_stable(W, found.patterns))


def test_a_margin_of_rounding_errors_is_decided_as_is_stable_does():
    # .1 + .2 - .3 is 5.6e-17 in this order of summation, and may be 0 in others.
    W = np.tile([0.1, 0.2, -0.3], (3, 1))
    found = stable_patterns(W)
    expected = every_pattern(3)[np.asarray(is_stable(W, every_pattern(3)))]
    np.testing.assert_array_equal(found.patterns, expected)


def test_required_margins_know_what_is_exact():
    W = np.array([[1.5, -0.25], [1e-30, 1.0], [0.1, 0.3], [0.0, 0.0]])
    found = required_margins(np.pad(W, ((0, 0), (0, 2))), np.array([2.0, 0.0, 0.0, 0.0]))
    assert found[0] == 0.125 and found[1] < 0 and found[2] < 0 and found[3] > 0


def test_single_precision():
    for W, b in cases(6, [9]):
        W, b = W.astype(np.float32), b.astype(np.float32)
        found = stable_patterns(W, b).patterns
        np.testing.assert_array_equal(found, every_pattern(9)[np.asarray(is_stable(W, every_pattern(9), b))])


def test_the_programme_finds_what_the_search_finds():
    for W, b in cases(16, np.arange(2, 10), seed=1):
        W = as_couplings(W)
        found = by_programme(W, cast_bias(b, W), 60.0, 1000)
        assert found.complete
        np.testing.assert_array_equal(found.patterns, stable_patterns(W, b).patterns)


def test_beyond_the_search_the_programme_answers():
    # 29 units: pairs as above, and one that is off: a few of 2^14 patterns.
    n = 29
    W = np.zeros((n, n))
    for i in range(0, n - 1, 2):
        W[i, i + 1] = W[i + 1, i] = -2.0
    bias = np.ones(n)
    bias[-1] = -1
    found = stable_patterns(W, bias, max_patterns=3)
    assert not found.complete and "3 patterns" in found.reason
    assert len(np.unique(found.patterns, axis=0)) == 3 and np.all(is_stable(W, found.patterns, bias))
    # One is left of the four of the first two pairs when the other pairs and one unit of each of these are held.
    bias[4 : n - 1 : 2] = 3
    bias[[0, 2]] = 3
    alone = stable_patterns(W, bias)
    assert alone.complete and len(alone.patterns) == 1


def test_descent_finds_a_part_of_all():
    for W, b in cases(6, [8], seed=2):
        everything = {tuple(pattern) for pattern in stable_patterns(W, b).patterns}
        found = descend(W, b, num_starts=50, key=jax.random.key(0))
        assert not found.complete and {tuple(pattern) for pattern in found.patterns} <= everything
    # With an energy every start arrives.
    rng = np.random.default_rng(0)
    W = rng.standard_normal((8, 8))
    W = W + W.T + 3 * np.eye(8)
    found = descend(W, -1.0, num_starts=2000, key=jax.random.key(0))
    assert len(found.patterns) > 1
    np.testing.assert_array_equal(found.patterns, stable_patterns(W, -1.0).patterns)


@pytest.mark.slow
@pytest.mark.parametrize("n", [6, 8, 10])
def test_expected_number_of_stable_patterns(n):
    """1 - 2^-n nonzero ones for any symmetric law: all-off is marginal, every other is stable with probability 2^-n."""
    rng, num = np.random.default_rng(n), 20000
    s = every_pattern(n).astype(float)
    counts = []
    for _ in range(num // 500):
        # A symmetric law that is not normal.
        W = rng.standard_normal((500, n, n)) ** 3
        fields = np.einsum("kij,sj->ksi", W, s)
        counts.append(np.sum(np.all((2 * s - 1) * fields > 0, -1), -1))
        if len(counts) == 1:
            found = [len(stable_patterns(matrix).patterns) for matrix in W[:20]]
            np.testing.assert_array_equal(found, counts[0][:20])
    counts = np.concatenate(counts)
    error = np.std(counts) / np.sqrt(num)
    assert abs(np.mean(counts) - (1 - 2.0**-n)) < 3 * error


# --- bad arguments


@pytest.mark.parametrize(
    "change, message",
    [
        ({"J": np.ones((2, 3))}, "`J` must be a square matrix"),
        ({"J": np.ones((2, 3, 3))}, "`J` must be one n x n matrix"),
        ({"J": np.full((3, 3), np.nan)}, "`J` must be made of finite numbers"),
        ({"bias": np.ones(2)}, "`bias` must be a number or have shape"),
        ({"bias": np.inf}, "`bias` must be finite"),
        ({"time_limit": 0.0}, "`time_limit`"),
        ({"max_patterns": 0}, "`max_patterns`"),
    ],
)
def test_bad_arguments(change, message):
    with pytest.raises(ValueError, match=message):
        stable_patterns(**({"J": np.eye(3)} | change))


def test_bad_patterns_and_traced_networks():
    with pytest.raises(ValueError, match=r"`patterns` must have shape \(..., 3\)"):
        is_stable(np.eye(3), np.ones(4))
    with pytest.raises(ValueError, match="`patterns` must be made of 0 and 1"):
        margins(np.eye(3), np.array([1.0, 0.5, 0.0]))
    with pytest.raises(ValueError, match="`is_stable`"):
        jax.jit(lambda W: stable_patterns(W).patterns)(jnp.eye(3))
    with pytest.raises(ValueError, match="`num_starts`"):
        descend(np.eye(3), num_starts=0, key=jax.random.key(0))
