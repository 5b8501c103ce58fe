"""Multistable networks of Heaviside units (arXiv:2210.03241): counts and capacities in closed form."""

import itertools
from math import comb

import numpy as np
import pytest

from jaxnets.learning import largest_margin, store
from jaxnets.multistability import compatibility, sign_stability


def all_patterns(n):
    return np.array(list(itertools.product((0, 1), repeat=n)))[1:]


@pytest.mark.parametrize("n", [6, 8, 10])
def test_expected_number_of_stable_patterns(n):
    """Independent symmetric weights: each of the 2^N - 1 patterns but that of silence is stable with chance 2^-N."""
    rng, trials, s = np.random.default_rng(n), 20000, all_patterns(n)
    d, numbers = 2 * s - 1, []
    for _ in range(40):
        W = rng.normal(size=(trials // 40, n, n))
        numbers.append(np.sum(np.all(W @ s.T * d.T > 0, axis=1), axis=1))
    numbers = np.concatenate(numbers)
    assert abs(np.mean(numbers) - (1 - 2.0**-n)) < 3 * np.std(numbers) / np.sqrt(trials)


def test_expected_number_of_sign_stable_patterns():
    """Without zeros and with equal chances of signs: a pattern of m units asks for m N signs, so sum C(N, m) 2^-mN."""
    rng, n, trials = np.random.default_rng(0), 3, 3000
    numbers = [np.sum(sign_stability(rng.choice([-1, 1], (n, n)), all_patterns(n)).stable) for _ in range(trials)]
    expected = sum(comb(n, m) * 2.0 ** (-m * n) for m in range(1, n + 1))
    assert abs(np.mean(numbers) - expected) < 3 * np.std(numbers) / np.sqrt(trials)


def test_without_inhibition_only_all_units_are_on():
    for pattern in all_patterns(5):
        found = store(pattern[None], signs=np.ones(5))
        np.testing.assert_array_equal(found.feasible, (pattern == 1) & (pattern.sum() > 1))


@pytest.mark.slow
def test_sign_stable_patterns_are_stable_and_a_minority():
    """Of random weights: every sign-stable pattern is stable, and most stable ones hang on magnitudes."""
    rng, s = np.random.default_rng(1), all_patterns(4)
    stable, sign_stable = 0, 0
    for W in rng.normal(size=(1500, 4, 4)):
        held = np.all((2 * s - 1) * (s @ W.T) > 0, axis=1)
        structural = sign_stability(np.sign(W), s).stable
        assert np.all(held[structural])
        stable, sign_stable = stable + held.sum(), sign_stable + structural.sum()
    assert 0 < sign_stable < stable / 2


def test_patterns_of_one_sum_are_coupled():
    """Four patterns with s1 + s2 = s3 + s4: three of them force the fourth, on a unit that tells the sides apart."""
    first, second = np.array([1, 1, 0, 0, 1]), np.array([0, 0, 1, 1, 1])
    third, fourth = np.array([1, 0, 1, 0, 0]), np.array([0, 1, 0, 1, 0])
    found = compatibility([first, second, third], fourth)
    # Unit 4 is on in the left two, off in the third, and the senders' sums agree.
    assert found.forced[4] == 1 and found.off_certificates[4].weights == (1, 1, 1, 1)
    assert not found.compatible


@pytest.mark.slow
@pytest.mark.parametrize("load, holds", [(1.6, True), (2.4, False)])
def test_capacity_is_two_patterns_an_input(load, holds):
    """Half-active patterns in one row of 60 inputs: Cover's count is .993 at K = 96 and .022 at 144."""
    rng, n, trials = np.random.default_rng(2), 60, 20
    K = round(load * n)
    held = sum(
        largest_margin(rng.choice([-1, 1], (K, 1)) * rng.integers(0, 2, (K, n)), [-1] * n, [1] * n).margin > 1e-9
        for _ in range(trials)
    )
    # Three or more on the wrong side have a chance of .01 at most.
    assert (held > trials - 3) if holds else (held < 3)
