"""Messages of given patterns against the theory of random ones, against each other and against all solutions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.learning import BinaryPerceptron, amp, belief_propagation, solutions


def random_patterns(seed, num, n):
    return np.random.default_rng(seed).choice([-1, 1], (num, n))


@pytest.mark.slow
def test_both_kinds_of_messages_agree_up_to_one_over_n():
    """N (s_BP - s_AMP) = -.10 at alpha = .5, at any N."""
    differences = []
    for n in (100, 300):
        xi = random_patterns(1, n // 2, n)
        fast, full = amp(xi), belief_propagation(xi)
        assert fast.converged and full.converged
        assert np.max(np.abs(fast.magnetisations - full.magnetisations)) < 2 / n
        differences.append(n * (full.entropy - fast.entropy))
    np.testing.assert_allclose(differences, -0.1, atol=0.04)


def test_messages_of_few_patterns_are_exact():
    """With one pattern the factor graph is a tree, up to the Gaussian field of belief propagation."""
    xi = random_patterns(2, 1, 21)
    found, exact = belief_propagation(xi), solutions(xi)
    np.testing.assert_allclose(found.entropy, exact.entropy, atol=1e-3)
    np.testing.assert_allclose(found.magnetisations, exact.weights.mean(0), atol=3e-3)


def test_messages_near_the_solutions_of_a_small_perceptron():
    xi = random_patterns(3, 5, 19)
    exact = solutions(xi)
    for found in (amp(xi), belief_propagation(xi)):
        assert found.converged
        np.testing.assert_allclose(found.entropy, exact.entropy, atol=0.02)
        np.testing.assert_allclose(found.magnetisations, exact.weights.mean(0), atol=0.1)


@pytest.mark.slow
def test_blocks_and_batches_change_no_number(monkeypatch):
    xi = np.stack([random_patterns(seed, 30, 60) for seed in (4, 5)])
    whole = [amp(one) for one in xi], [belief_propagation(one) for one in xi]
    monkeypatch.setattr("jaxnets.learning.messages.BLOCK", 60 * 8)  # four blocks, the last not full
    for solver, alone in zip((amp, belief_propagation), whole, strict=True):
        batch = jax.vmap(solver)(jnp.asarray(xi, float))
        assert batch.converged.all()
        for field in ("magnetisations", "entropy", "overlap"):
            np.testing.assert_allclose(getattr(batch, field), [getattr(one, field) for one in alone], atol=1e-6)


def test_single_precision_is_that_of_the_patterns():
    xi = random_patterns(6, 30, 60)
    found = amp(xi.astype(np.float32), tolerance=1e-5)
    assert found.magnetisations.dtype == np.float32 and found.converged
    np.testing.assert_allclose(found.entropy, amp(xi).entropy, atol=1e-4)


def test_random_starts_lead_to_one_state():
    xi = random_patterns(7, 30, 60)
    found = amp(xi, key=jax.random.key(0), tolerance=1e-8), amp(xi, tolerance=1e-8)
    np.testing.assert_allclose(found[0].magnetisations, found[1].magnetisations, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("alpha", "kappa"), [(0.3, 0.0), (0.5, 0.0), (0.7, 0.0), (0.3, 0.5)])
def test_entropies_of_large_perceptrons(alpha, kappa):
    """Ten samples at N = 1000 within four standard errors of N -> infinity."""
    state, n = BinaryPerceptron(alpha, kappa).saddle(), 1000
    found = [amp(random_patterns(seed, round(alpha * n), n), kappa) for seed in range(10)]
    assert all(one.converged for one in found)
    for field in ("entropy", "overlap"):
        values = np.array([getattr(one, field) for one in found])
        error = values.std(ddof=1) / np.sqrt(len(values))
        assert abs(values.mean() - getattr(state, field)) < 4 * error


@pytest.mark.slow
@pytest.mark.parametrize("alpha", [0.3, 0.5, 0.7])
def test_sweeps_contract_as_predicted(alpha):
    """By the larger of sqrt(Lambda) and the slope of state evolution; a little slower at finite N."""
    n, rate = 2000, float(BinaryPerceptron(alpha).saddle().contraction)
    ratios = []
    for seed in range(4):
        xi = random_patterns(seed, round(alpha * n), n)
        loose, tight = (amp(xi, tolerance=by) for by in (1e-3, 1e-7))
        ratios.append((tight.residual / loose.residual) ** (1 / (tight.sweeps - loose.sweeps)))
    assert abs(np.mean(ratios) - rate) < 4 * np.std(ratios, ddof=1) / 2 + 0.02


@pytest.mark.slow
def test_first_sweeps_follow_state_evolution():
    n, evolution = 1000, BinaryPerceptron(0.7).state_evolution(6)
    found = [[amp(random_patterns(seed, 700, n), max_sweeps=k).overlap for k in range(1, 7)] for seed in range(12)]
    error = np.std(found, axis=0, ddof=1) / np.sqrt(12)
    assert np.all(np.abs(np.mean(found, 0) - evolution) < 4 * error)


def test_bad_arguments_are_named():
    xi = random_patterns(8, 3, 5)
    cases = [
        (lambda: amp((xi + 1) // 2), "patterns"),
        (lambda: amp(xi[0]), "patterns"),
        (lambda: amp(xi, np.nan), "kappa"),
        (lambda: amp(xi, tolerance=0.0), "tolerance"),
        (lambda: amp(xi, max_sweeps=0), "max_sweeps"),
        (lambda: belief_propagation(xi, damping=1.0), "damping"),
        (lambda: belief_propagation(xi, key=3), "key"),
    ]
    for call, name in cases:
        with pytest.raises(ValueError, match=f"`{name}` must"):
            call()
