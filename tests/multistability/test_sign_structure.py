"""Signs, topology, completion and compatibility, against brute force: all sign matrices, all patterns, exact flows."""

import itertools

import numpy as np
import pytest
from scipy.optimize import linprog

from jaxnets.learning import FREE
from jaxnets.multistability import (
    check_topology,
    closure,
    compatibility,
    completes,
    count_sign_matrices,
    fewest_synapses,
    sign_constraints,
    sign_matrices,
    sign_stability,
    union_and_intersection,
)


def is_stable(W, s):
    return bool(np.all((2 * s - 1) * (W @ s) > 0))


def all_patterns(n):
    return np.array(list(itertools.product((0, 1), repeat=n)))


def held_signs(rng, n, K=1):
    """Random patterns and a random sign matrix that holds them all; None if there is none."""
    patterns = rng.integers(0, 2, (K, n))
    constraints = sign_constraints(patterns, mask=np.ones((n, n)))
    if constraints.impossible:
        return None
    signs = np.where(constraints.may_excite, 1.0, 0.0) - np.where(constraints.may_inhibit, 1.0, 0.0)
    both = constraints.may_excite & constraints.may_inhibit
    signs[both] = rng.choice([-1, 0, 1], int(both.sum()))
    signs[rng.random((n, n)) < 0.3] = 0
    for need in constraints.needs:
        signs[need.unit, rng.choice(need.sources)] = need.sign
    return patterns, signs


# --- sign stability


def test_sign_stability_against_a_thousand_magnitudes():
    """A pattern is stable for all magnitudes iff it is so for each of its units; a free sign is tried both ways."""
    rng = np.random.default_rng(0)
    stable_and_not = [0, 0]
    for trial in range(60):
        n = int(rng.integers(2, 7))
        # Few signs, so that many patterns are held; in some trials a held one is planted.
        signs = rng.choice([-1.0, 0.0, 1.0, FREE], (n, n), p=[0.35, 0.3, 0.3, 0.05])
        if trial % 2 and (held := held_signs(rng, n)):
            signs = held[1]
        patterns = all_patterns(n)
        found = sign_stability(signs, patterns)
        # Spread over six decades, so that any sign can win over all others.
        magnitudes = 10 ** rng.uniform(-3, 3, (1000, n, n))
        tried = np.where(np.isnan(signs), rng.choice([-1.0, 1.0], (1000, n, n)), signs) * magnitudes
        drives = np.einsum("mij,kj->mki", tried, patterns) * (2 * patterns - 1)
        np.testing.assert_array_equal(found.stable, np.all(drives > 0, axis=(0, 2)))
        for failure in found.failures:
            assert np.any(drives[:, failure.pattern, failure.unit] <= 0)
        assert {(f.pattern, f.unit) for f in found.failures} == set(
            zip(*np.nonzero(np.any(drives <= 0, axis=0)), strict=True)
        )
        stable_and_not[0] += found.stable.sum()
        stable_and_not[1] += (~found.stable).sum()
    assert min(stable_and_not) > 20


def test_failures_say_which_unit_and_why():
    signs = np.array([[0, 1, -1], [0, 0, 0], [0, FREE, 0]])
    found = sign_stability(signs, np.array([[1, 1, 1], [0, 1, 0]]))
    texts = [str(failure) for failure in found.failures]
    assert texts == [
        "unit 0 is active in pattern 0, but units 2 inhibit it or may",
        "unit 1 is active in pattern 0, but no active unit excites it",
        "unit 2 is active in pattern 0, but units 1 inhibit it or may",
        "unit 0 is inactive in pattern 1, but units 1 excite it or may",
        "unit 1 is active in pattern 1, but no active unit excites it",
        "unit 2 is inactive in pattern 1, but units 1 excite it or may",
    ]


# --- all sign matrices


@pytest.mark.parametrize("self_coupled", [False, True])
def test_all_sign_matrices_against_brute_force(self_coupled):
    """Row by row all 3^n choices; the product of their numbers is that of the matrices."""
    rng = np.random.default_rng(1)
    possible = 0
    for _ in range(120):
        n, K = int(rng.integers(2, 6)), int(rng.integers(1, 4))
        patterns = rng.integers(0, 2, (K, n))
        mask = rng.random((n, n)) < 0.8
        if not self_coupled:
            mask &= ~np.eye(n, dtype=bool)
        rows = []
        for i in range(n):
            choices = np.array(list(itertools.product((-1, 0, 1), repeat=n)))
            choices = choices[np.all(mask[i] | (choices == 0), axis=1)]
            d = 2 * patterns[:, i] - 1
            wrong = np.any((choices[:, None] * d[:, None] < 0) & (patterns == 1), axis=2)
            right = np.any((choices[:, None] * d[:, None] > 0) & (patterns == 1), axis=2)
            rows.append(choices[np.all(right & ~wrong, axis=1)])
        count = count_sign_matrices(patterns, mask=mask)
        assert count == np.prod([len(row) for row in rows])
        constraints = sign_constraints(patterns, mask=mask)
        assert bool(constraints.impossible) == (count == 0)
        fewest = fewest_synapses(patterns, mask=mask)
        if not count:
            assert fewest is None and next(sign_matrices(patterns, mask=mask), None) is None
            continue
        possible += 1
        assert np.all(sign_stability(fewest, patterns).stable) and not np.any(fewest[~mask])
        assert np.count_nonzero(fewest) == sum(np.count_nonzero(row, axis=1).min() for row in rows)
        for i, row in enumerate(rows):
            for j in range(n):
                values = set(row[:, j].tolist())
                forced = constraints.forced[i, j]
                assert (values == {forced}) if not np.isnan(forced) else len(values) > 1
        if count < 3000:
            listed = [tuple(matrix.ravel().astype(int)) for matrix in sign_matrices(patterns, mask=mask)]
            assert len(set(listed)) == len(listed) == count
            assert set(listed) == {tuple(np.ravel(rows_)) for rows_ in itertools.product(*rows)}
    assert 15 < possible < 105


def test_needs_are_minimal():
    """Without any one of them, some sign matrix that meets the rest fails to hold the patterns."""
    rng = np.random.default_rng(2)
    for _ in range(30):
        patterns = rng.integers(0, 2, (3, 5))
        constraints = sign_constraints(patterns)
        for dropped in constraints.needs:
            full = np.where(constraints.may_excite, 1.0, 0.0) - np.where(
                constraints.may_inhibit & ~constraints.may_excite, 1.0, 0.0
            )
            full[dropped.unit, list(dropped.sources)] = 0
            for need in constraints.needs:
                met = np.any(full[need.unit, list(need.sources)] == need.sign)
                assert met or need is dropped or not need.sources
            failures = {(f.pattern, f.unit) for f in sign_stability(full, patterns).failures}
            assert (dropped.pattern, dropped.unit) in failures


def test_two_overlapping_pairs():
    """Units 0, 1 and 1, 2: unit 0 is on with 1 and off with 1, so that only 2 may tell the patterns apart."""
    constraints = sign_constraints([[1, 1, 0], [0, 1, 1]])
    np.testing.assert_array_equal(constraints.forced, [[0, 0, -1], [1, 0, 1], [-1, 0, 0]])
    texts = [str(need) for need in constraints.impossible]
    assert texts == [
        "unit 0, active in pattern 0, needs an excitatory synapse from a unit that is active there "
        "and never where 0 is inactive, and there is none",
        "unit 2, active in pattern 1, needs an excitatory synapse from a unit that is active there "
        "and never where 2 is inactive, and there is none",
    ]
    # With self-couplings those of 0 and 2 are forced, and unit 1 needs a + from 0 or 1 and from 1 or 2: five choices.
    assert count_sign_matrices([[1, 1, 0], [0, 1, 1]], mask=np.ones((3, 3))) == 5


def test_counts_beyond_any_list():
    """One pattern of all n units: a row has 2^(n - 1) - 1 choices of excitatory synapses."""
    assert count_sign_matrices(np.ones((1, 40))) == (2**39 - 1) ** 40


# --- topology


def test_topology_against_magnitudes():
    """Possible iff some magnitudes hold the pattern: the best are found by making each unit's right signs strong."""
    rng = np.random.default_rng(3)
    seen = set()
    for _ in range(300):
        n = int(rng.integers(1, 8))
        signs = rng.choice([-1.0, 0.0, 1.0, FREE], (n, n), p=[0.3, 0.35, 0.3, 0.05])
        s = rng.integers(0, 2, n)
        found = check_topology(signs, s)
        d = 2 * s[:, None] - 1
        best = np.where(np.isnan(signs), d, signs)
        best = np.where(best == d, 100.0, 1.0) * best
        assert found.possible == is_stable(best, s)
        assert {f.unit for f in found.failures} == set(np.flatnonzero((2 * s - 1) * (best @ s) <= 0).tolist())
        if found.cycle:
            for j, i in zip(found.cycle, (*found.cycle[1:], found.cycle[0]), strict=True):
                assert s[i] and s[j] and not signs[i, j] <= 0
            assert len(set(found.cycle)) == len(found.cycle)
        active = np.flatnonzero(s)
        edges = ~(signs[np.ix_(active, active)] <= 0)
        assert (found.cycle is not None) == bool(np.any(np.linalg.matrix_power(edges.astype(int) + 0, n)))
        seen.add((found.possible, found.cycle is not None))
        if found.possible and s.any():
            assert found.cycle
    assert seen >= {(True, True), (False, True), (False, False)}


def test_without_inhibition_only_the_pattern_of_all_units():
    rng = np.random.default_rng(4)
    for _ in range(20):
        signs = (rng.random((4, 4)) < 0.7).astype(float)
        for s in all_patterns(4)[:-1]:
            found = check_topology(signs, s)
            assert not found.possible and "only the pattern of all units can be stable" in str(found)
        assert check_topology(signs, np.ones(4)).possible == bool(np.all(signs.any(1)))


def test_the_cycle_is_written_out():
    signs = np.zeros((4, 4))
    signs[[1, 2, 0, 3], [0, 1, 2, 0]] = [1, 1, 1, -1]
    assert str(check_topology(signs, [1, 1, 1, 0])).endswith("feeds itself through 0 -> 1 -> 2 -> 0")
    assert "unit 1 is active in pattern 0, but no active unit excites it" in str(check_topology(signs, [0, 1, 1, 0]))


# --- completion


def settle(W, x):
    """The pattern where the exact flow from x ends: linear between switches, from one to the next."""
    s = (x > 0).astype(int)
    for _ in range(1000):
        f = W @ s
        crossing = x * f < 0
        times = np.where(crossing, np.log1p(np.where(crossing, -x / np.where(crossing, f, 1), 0)), np.inf)
        first = np.argmin(times)
        if np.isinf(times[first]):
            return s
        x = f + (x - f) * np.exp(-times[first])
        s[first] = 1 - s[first]
        x[first] = (2 * s[first] - 1) * 1e-300  # on the far side, where f takes it
    raise AssertionError("no end")


def test_completion_against_the_exact_flow():
    rng = np.random.default_rng(5)
    results = []
    for _ in range(300):
        n = int(rng.integers(3, 11))
        held = held_signs(rng, n)
        if held is None or not held[0][0].any():
            continue
        (pattern,), signs = held
        cue = pattern * (rng.random(n) < 0.4)
        expected = closure(signs, pattern, cue)
        for _ in range(5):
            W = signs * 10 ** rng.uniform(-1, 1, (n, n))
            x = np.where(cue == 1, 1, -1) * rng.uniform(0.1, 2, n)
            np.testing.assert_array_equal(settle(W, x), expected)
        results.append(completes(signs, pattern, cue))
        assert results[-1] == np.array_equal(expected, pattern)
    assert 20 < sum(results) < len(results) - 20


def test_completion_is_refused_where_it_is_not_defined():
    signs = np.array([[0, 1, 0], [1, 0, 0], [-1, -1, 0]])
    assert completes(signs, [1, 1, 0], [1, 0, 0])
    with pytest.raises(ValueError, match="`cue`"):
        closure(signs, [1, 1, 0], [0, 0, 1])
    with pytest.raises(ValueError, match="`pattern` must be sign-stable: unit 0 is active"):
        closure(signs, [1, 0, 0], [1, 0, 0])


# --- compatibility


def identity_forbids(S, on, others):
    """Whether sum_on l s = sum_off m s over the units `others`, with l, m >= 0 of sum 1: a programme of its own."""
    M = np.vstack([(S * np.where(on, 1, -1)[:, None])[:, others].T, np.ones(len(S))])
    return linprog(np.zeros(len(S)), A_eq=M, b_eq=np.append(np.zeros(len(M) - 1), 1), method="highs-ipm").status == 0


@pytest.mark.slow
def test_coupling_against_the_identity():
    rng = np.random.default_rng(6)
    outcomes = set()
    for _ in range(40):
        n, K = int(rng.integers(3, 8)), int(rng.integers(1, 6))
        patterns, candidate = rng.integers(0, 2, (K, n)), rng.integers(0, 2, n)
        found = compatibility(patterns, candidate)
        S = np.vstack([patterns, candidate])
        for i in range(n):
            others = np.arange(n) != i
            for state, certificate in ((1, found.on_certificates[i]), (0, found.off_certificates[i])):
                on = np.append(patterns[:, i], state) == 1
                assert (certificate is not None) == identity_forbids(S, on, others)
                if certificate:
                    y = np.zeros(K + 1, int)
                    y[list(certificate.patterns)] = certificate.weights
                    np.testing.assert_array_equal((y * on) @ S[:, others], (y * ~on) @ S[:, others])
            on, off = found.may_be_on[i], found.may_be_off[i]
            forced = found.forced[i]
            assert forced == (1 if on else 0) if on != off else np.isnan(forced)
            outcomes.add((bool(on), bool(off)))
        expected = [found.may_be_on[i] if candidate[i] else found.may_be_off[i] for i in range(n)]
        np.testing.assert_array_equal(found.allowed, expected)
        assert found.compatible == all(expected)
    assert outcomes == {(True, True), (True, False), (False, True), (False, False)}


@pytest.mark.slow
def test_coupling_against_random_networks():
    """Of many networks that hold two patterns, none has a further stable pattern that is not compatible with them."""
    rng = np.random.default_rng(7)
    n, seen = 4, 0
    W = rng.normal(size=(20000, n, n)) * (1 - np.eye(n))
    patterns = all_patterns(n)
    stable = np.all(np.einsum("mij,kj->mki", W, patterns) * (2 * patterns - 1) > 0, axis=2)
    for first, second in itertools.combinations(range(1, 2**n), 2):
        both = stable[:, first] & stable[:, second]
        if not both.any():
            continue
        for third in rng.choice(np.arange(1, 2**n), 3, replace=False):
            if not compatibility(patterns[[first, second]], patterns[third]).compatible:
                seen += 1
                assert not np.any(stable[both, third])
    assert seen > 10


@pytest.mark.slow
def test_union_and_intersection_are_always_compatible():
    rng = np.random.default_rng(8)
    checked = 0
    while checked < 30:
        s, t = rng.integers(0, 2, (2, 9))
        both = union_and_intersection(s, t)
        np.testing.assert_array_equal(both.sum(0), s + t)
        # A lone active unit has no input but its own, and a unit cannot see a difference that is itself alone.
        if min(np.sum(s * t), np.sum(s > t), np.sum(t > s)) < 2:
            continue
        union, intersection = both
        assert compatibility([s, t], union).compatible and compatibility([s, t, union], intersection).compatible
        checked += 1


def test_a_shared_sum_forbids():
    """s0 + s1 = s2 + s3: a unit on in the first two cannot be off in the last two; signs may forbid more."""
    patterns = np.array([[1, 1, 1, 0, 0], [1, 0, 0, 1, 1], [0, 1, 0, 1, 0]])
    found = compatibility(patterns, [0, 0, 1, 0, 1])
    assert not found.may_be_off[0] and found.may_be_on[0] and found.forced[0] == 1
    assert found.off_certificates[0].patterns == (0, 1, 2, 3) and found.off_certificates[0].weights == (1, 1, 1, 1)
    with_signs = compatibility(patterns, [0, 0, 1, 0, 1], signs=np.ones(5))
    assert not with_signs.may_be_off.any()


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: sign_stability(np.zeros((2, 3)), [[1, 0, 0]]), "`signs`"),
        (lambda: sign_stability(2 * np.ones((2, 2)), [[1, 0]]), "`signs`"),
        (lambda: sign_stability(np.ones((2, 2)), [[1, 2]]), "`patterns`"),
        (lambda: sign_constraints([1, 0]), "`patterns`"),
        (lambda: count_sign_matrices([[1, 0]], mask=np.ones(2)), "`mask`"),
        (lambda: check_topology(np.ones((2, 2)), [[1, 0]]), "`pattern`"),
        (lambda: closure(np.ones((2, 2)), [1, 1], [1]), "`cue`"),
        (lambda: compatibility([[1, 0, 1]], [1, 0]), "`candidate`"),
        (lambda: union_and_intersection([1, 0], [1]), "`second`"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
