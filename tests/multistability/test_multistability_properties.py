"""Laws of threshold networks that hold for every small network, searched for counterexamples by hypothesis.

Weights are small whole numbers, so that fields are exact and marginal cases are common.
"""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from jaxnets.learning import compose, factorise, largest_margin, store
from jaxnets.multistability import (
    check_topology,
    closure,
    completes,
    flow,
    is_stable,
    sign_stability,
    stable_patterns,
    union_and_intersection,
)

# The same examples on every machine, and no limit of time: the first one compiles.
searched = settings(max_examples=25, deadline=None, derandomize=True)
# One size for what is compiled, all sizes for what is not.
weights = arrays(np.int64, (5, 5), elements=st.integers(-3, 3))
pattern = arrays(np.int64, 5, elements=st.integers(0, 1))
patterns = st.integers(1, 8).flatmap(lambda K: arrays(np.int64, (K, 5), elements=st.integers(0, 1)))
signs = arrays(np.int64, (5, 5), elements=st.integers(-1, 1))
EVERY = np.array(list(itertools.product((0, 1), repeat=5)))


def by_hand(W, s):
    return bool(np.all((2 * s - 1) * (W @ s) > 0))


@searched
@given(weights)
def test_all_stable_patterns(W):
    expected = [by_hand(W, s) for s in EVERY]
    np.testing.assert_array_equal(is_stable(W, EVERY), expected)
    found = stable_patterns(W)
    assert found.complete
    assert {tuple(s) for s in found.patterns.astype(int).tolist()} == {tuple(s) for s in EVERY[expected].tolist()}


@searched
@given(st.integers(1, 7).flatmap(lambda K: arrays(np.int64, (K, 5), elements=st.integers(-1, 1))))
def test_weights_or_gordans_certificate(A):
    """A w > 0 has a solution, or y >= 0, y != 0 has A^T y = 0: one of both."""
    row = largest_margin(A, -np.ones(5), np.ones(5))
    if row.certificate.limit > 0:
        assert row.margin > 0 and np.all(A @ row.weights > 0)
    else:
        y, rows = row.certificate.weights, A[list(row.certificate.patterns)]
        assert min(y) > 0
        assert all(sum(Fraction(int(a)) * b for a, b in zip(column, y, strict=True)) == 0 for column in rows.T)
        assert row.margin < 1e-9


@searched
@given(patterns)
def test_what_is_stored_is_stable_and_what_is_not_has_a_conflict(s):
    storage = store(s, progress=False)
    for i, certificate in enumerate(storage.certificates):
        d = 2 * s[:, i] - 1
        if certificate is None:
            assert np.all(d * (s @ storage.weights[i]) > 0)
        else:
            mixture = np.array(certificate.weights) @ (d[:, None] * s)[list(certificate.patterns)]
            assert not np.any(np.delete(mixture, i))  # units have no synapse with themselves


@searched
@given(signs, pattern, st.integers(0, 2**32 - 1))
def test_sign_stability_is_stability_of_all_magnitudes(J, s, seed):
    stable = sign_stability(J, s[None]).stable
    magnitudes = np.exp(3 * np.random.default_rng(seed).normal(size=(300, 5, 5)))
    # The worst magnitudes of a row: all of one sign of its weights far above the others.
    worst = np.stack([np.where(J > 0, 1e-6, 1.0), np.where(J < 0, 1e-6, 1.0)])
    each = [by_hand(J * m, s) for m in np.concatenate([magnitudes, worst])]
    assert all(each) == stable[0]


@searched
@given(weights, pattern)
def test_topology_of_every_stable_pattern(W, s):
    if by_hand(W, s):
        topology = check_topology(np.sign(W), s)
        assert topology.possible
        assert topology.cycle or not s.any()
    if np.all(W >= 0) and by_hand(W, s):
        assert s.all()


@pytest.mark.slow
@searched
@given(signs, pattern, pattern, st.integers(0, 2**32 - 1))
def test_completion_is_where_the_flow_from_the_cue_ends(J, s, cue, seed):
    assume(s.any())
    cue, on = cue * s, s == 1
    # The signs that hold the pattern, in its columns, with one synapse a unit at least.
    J[:, on] = (2 * s - 1)[:, None] * np.abs(J[:, on])
    J[:, np.argmax(s)] = np.where(np.any(J[:, on], 1), J[:, np.argmax(s)], 2 * s - 1)
    assert sign_stability(J, s[None]).stable[0]
    rng = np.random.default_rng(seed)
    reached = closure(J, s, cue)
    start = np.where(cue == 1, 1, -1) * rng.uniform(0.1, 2, 5)
    end = flow(J * np.exp(rng.normal(size=(5, 5))), start)
    assert end.fixed
    np.testing.assert_array_equal(end.activity, reached)
    assert completes(J, s, cue) == np.array_equal(reached, s)


@searched
@given(weights, arrays(np.int64, (3, 5), elements=st.integers(0, 1)))
def test_factorisation_round_trip(W, s):
    assume(np.linalg.matrix_rank(s) == 3)
    Y, Z = map(np.asarray, factorise(W, s))
    np.testing.assert_allclose(compose(s, Y, Z), W, atol=1e-9)
    np.testing.assert_allclose(Z @ s.T, np.zeros((5, 3)), atol=1e-9)
    np.testing.assert_array_equal(np.all(np.sign(np.round(Y, 9)) == 2 * s.T - 1, 0), [by_hand(W, p) for p in s])


@searched
@given(pattern, pattern)
def test_union_and_intersection(a, b):
    union, common = union_and_intersection(a, b)
    np.testing.assert_array_equal(np.asarray(union, int) + np.asarray(common, int), a + b)
