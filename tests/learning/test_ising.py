"""Ising models: sums over all configurations, trees, published numbers, and fits against the truth."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.learning import (
    Ising,
    binarise,
    maximum_entropy,
    naive_mean_field,
    pseudo_likelihood,
    pseudo_likelihood_error,
    solutions,
)


def glass(rng, n, beta):
    J = rng.normal(size=(n, n)) * beta / np.sqrt(n)
    J = np.triu(J, 1)
    return Ising(J + J.T, 0.3 * rng.normal(size=n))


def tree(rng, n):
    J = np.zeros((n, n))
    for i in range(1, n):
        j = rng.integers(i)
        J[i, j] = J[j, i] = rng.normal()
    return Ising(J, rng.normal(size=n))


def every(n):
    return np.array(list(itertools.product([-1.0, 1.0], repeat=n)))


def law(model):
    s = every(len(model.h))
    weights = np.exp(np.einsum("mi,ij,mj->m", s, model.J, s) / 2 + s @ model.h)
    return s, weights


def drawn(rng, model, count):
    s, weights = law(model)
    return s[rng.choice(len(s), count, p=weights / weights.sum())]


def test_exact_averages():
    model = glass(np.random.default_rng(0), 6, 1.0)
    (s, weights), found = law(model), model.exact()
    p = weights / weights.sum()
    np.testing.assert_allclose(found.log_z, np.log(weights.sum()), rtol=1e-13)
    np.testing.assert_allclose(found.means, p @ s, atol=1e-13)
    np.testing.assert_allclose(found.pairs, (s * p[:, None]).T @ s, atol=1e-13)
    np.testing.assert_allclose(found.entropy, -p @ np.log(p) / 6, rtol=1e-12)
    slope = jax.grad(lambda h: Ising(model.J, h).exact().log_z)(model.h)
    np.testing.assert_allclose(slope, found.means, atol=1e-13)


def test_trees_are_exact():
    model = tree(np.random.default_rng(1), 6)
    found, exact = model.belief_propagation(), model.exact()
    assert found.converged
    np.testing.assert_allclose([found.log_z, found.entropy], [exact.log_z, exact.entropy], rtol=1e-9)
    np.testing.assert_allclose(found.means, exact.means, atol=1e-9)
    coupled = np.asarray(model.J) != 0
    np.testing.assert_allclose(found.pairs[coupled], exact.pairs[coupled], atol=1e-9)


def test_entropies_at_a_distance():
    model, reference = glass(np.random.default_rng(2), 6, 0.3), np.array([1, 1, -1, 1, -1, -1])
    fields = np.array([0.0, 0.5, 2.0])
    exact = model.entropy_curve(reference, fields, exact=True)
    found = model.entropy_curve(reference, fields)
    assert found.converged.all()
    np.testing.assert_allclose(found.entropies, exact.entropies, atol=4e-3)
    np.testing.assert_allclose(found.distances, exact.distances, atol=4e-3)
    # ds / dd = -2 x for the tilted law whose weights do not depend on s: J = h = 0.
    free = Ising(np.zeros((6, 6))).entropy_curve(reference, fields, exact=True)
    d = np.asarray(free.distances)
    np.testing.assert_allclose(free.entropies, -d * np.log(d) - (1 - d) * np.log(1 - d), atol=1e-13)


@pytest.mark.slow
@pytest.mark.parametrize(("beta", "error"), [(0.3, 1e-3), (0.6, 6e-3), (1.0, 5e-2)])
def test_belief_propagation_of_glasses(beta, error):
    """Entropies at N = 14 in fields of size .3; beta = 1 is the edge of the glass."""
    misses = []
    for seed in range(6):
        model = glass(np.random.default_rng(seed), 14, beta)
        misses.append(float(model.belief_propagation().entropy - model.exact().entropy))
    assert np.sqrt(np.mean(np.square(misses))) < error


def test_pseudo_likelihood_of_exact_probabilities_is_the_truth():
    model = glass(np.random.default_rng(3), 5, 0.8)
    s, weights = law(model)
    fit = pseudo_likelihood(s, weights=weights)
    assert fit.converged
    np.testing.assert_allclose(fit.model.J, model.J, atol=1e-12)
    np.testing.assert_allclose(fit.model.h, model.h, atol=1e-12)
    # The errors from samples, with these weights, are those of the law.
    J_error, h_error = pseudo_likelihood_error(model, len(s))
    np.testing.assert_allclose(fit.J_error, J_error, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(fit.h_error, h_error, rtol=1e-9)


def test_error_formula_by_information_matrices():
    """The same formula as it stands in the theory, from inverses of information matrices."""
    model = glass(np.random.default_rng(4), 4, 0.7)
    s, weights = law(model)
    p, n = weights / weights.sum(), 4
    theta = np.concatenate([model.J, np.asarray(model.h)[:, None]], 1)
    one = np.concatenate([s, np.ones((len(s), 1))], 1)
    inverse, rest, places = [], [], []
    for i in range(n):
        keep = [k for k in range(n + 1) if k != i]
        f = np.tanh(one @ theta[i])
        inverse.append(np.linalg.inv((one[:, keep] * (p * (1 - f**2))[:, None]).T @ one[:, keep]))
        rest.append(s[:, i] - f)
        places.append(keep)
    J_error, h_error = pseudo_likelihood_error(model, 1)
    for i, j in ((0, 1), (2, 3)):
        cross = (one[:, places[i]] * (p * rest[i] * rest[j])[:, None]).T @ one[:, places[j]]
        a, b = places[i].index(j), places[j].index(i)
        variance = inverse[i][a, a] + inverse[j][b, b] + 2 * (inverse[i] @ cross @ inverse[j])[a, b]
        np.testing.assert_allclose(J_error[i, j] ** 2, variance / 4, rtol=1e-10)
    np.testing.assert_allclose(h_error[1] ** 2, inverse[1][-1, -1], rtol=1e-10)


@pytest.mark.slow
def test_errors_of_samples():
    """Squares of errors over their variances are 1 on average."""
    rng = np.random.default_rng(5)
    model, count, ratios = glass(rng, 5, 0.6), 2000, []
    J_error, h_error = pseudo_likelihood_error(model, count)
    upper = np.triu_indices(5, 1)
    for _ in range(30):
        fit = pseudo_likelihood(drawn(rng, model, count))
        off = np.asarray(fit.model.J - model.J)[upper] / np.asarray(J_error)[upper]
        ratios.append(np.mean(np.append(off, (fit.model.h - model.h) / h_error) ** 2))
        np.testing.assert_allclose(fit.J_error[upper], J_error[upper], rtol=0.15)
    assert abs(np.mean(ratios) - 1) < 4 * np.std(ratios, ddof=1) / np.sqrt(30)


def test_naive_mean_field_is_biased_by_strong_couplings():
    rng = np.random.default_rng(6)
    misses = []
    for beta in (0.1, 0.2):
        model = glass(rng, 5, beta)
        s, weights = law(model)
        misses.append(np.max(np.abs(naive_mean_field(s, weights=weights).J - model.J)))
    assert misses[0] < 0.02 < 1 and misses[1] < 0.1
    independent = Ising(np.zeros((3, 3)), np.array([0.2, -0.5, 1.0]))
    s, weights = law(independent)
    found = naive_mean_field(s, weights=weights)
    # The inverse covariance has 1 / (1 - m^2) on its diagonal alone.
    np.testing.assert_allclose(found.J, 0, atol=1e-13)
    np.testing.assert_allclose(found.h, independent.h, rtol=1e-12)


def test_maximum_entropy():
    model = glass(np.random.default_rng(7), 6, 0.8)
    state = model.exact()
    fit = maximum_entropy(state.means, (state.pairs + state.pairs.T) / 2)
    assert fit.converged
    np.testing.assert_allclose(fit.model.J, model.J, atol=1e-7)
    np.testing.assert_allclose(fit.model.h, model.h, atol=1e-7)


def test_entropies_of_solutions_fall_with_each_order():
    """S1 of independent weights >= S2 of pairs >= ln(Z) / N: a test without parameters."""
    s = solutions(np.random.default_rng(8).choice([-1, 1], (4, 9)))
    means, pairs = s.weights.mean(0), s.weights.T.astype(float) @ s.weights / len(s.weights)
    fit = maximum_entropy(means, pairs, shrinkage=1e-3)
    moments = fit.model.exact()
    assert fit.converged
    np.testing.assert_allclose(moments.means, 0.999 * means, atol=1e-8)
    np.testing.assert_allclose(moments.pairs[np.triu_indices(9, 1)], 0.999 * pairs[np.triu_indices(9, 1)], atol=1e-8)
    p = (1 + means) / 2
    independent = -np.mean(p * np.log(p) + (1 - p) * np.log(1 - p))
    assert independent > moments.entropy > s.entropy


def test_recordings():
    """Bins of spike counts; a pair that fires together has a positive coupling far beyond its error."""
    rng = np.random.default_rng(9)
    shared = rng.random(4000) < 0.2
    counts = rng.poisson(0.2, (4000, 4)) + np.stack([shared, shared, np.zeros(4000), np.zeros(4000)], 1)
    s = binarise(counts, window=2)
    assert s.shape == (2000, 4) and set(np.unique(s)) == {-1, 1}
    np.testing.assert_array_equal(s == 1, counts.reshape(2000, 2, 4).sum(1) > 0)
    fit = pseudo_likelihood(s)
    assert fit.converged and fit.model.J[0, 1] > 10 * fit.J_error[0, 1]
    assert abs(fit.model.J[2, 3]) < 4 * fit.J_error[2, 3]
    # A penalty makes couplings smaller.
    assert pseudo_likelihood(s, penalty=0.1).model.J[0, 1] < fit.model.J[0, 1]


def test_bad_arguments_are_named():
    J, s = np.zeros((3, 3)), every(3)
    cases = [
        (lambda: Ising(np.triu(np.ones((3, 3)), 1)), "J"),
        (lambda: Ising(np.eye(3)), "J"),
        (lambda: Ising(J, np.zeros(2)), "h"),
        (lambda: Ising(np.zeros((21, 21))).exact(), "J"),
        (lambda: Ising(J).belief_propagation(damping=1.0), "damping"),
        (lambda: Ising(J).entropy_curve([1, 0, 1], [0.0]), "reference"),
        (lambda: pseudo_likelihood((s + 1) / 2), "samples"),
        (lambda: pseudo_likelihood(s[:4]), "samples"),
        (lambda: pseudo_likelihood(s, penalty=-1.0), "penalty"),
        (lambda: pseudo_likelihood(s, weights=np.ones(3)), "weights"),
        (lambda: naive_mean_field(s[[0, -1]]), "samples"),
        (lambda: maximum_entropy(np.zeros(17), np.eye(17)), "means"),
        (lambda: maximum_entropy(np.zeros(3), np.ones((2, 2))), "pairs"),
        (lambda: binarise(s, np.zeros(2)), "threshold"),
        (lambda: binarise(s, 2.0), "activity"),
    ]
    for call, name in cases:
        with pytest.raises(ValueError, match=f"`{name}` must"):
            call()
    assert jnp.isfinite(Ising(J).exact().log_z)
