"""Networks of layers: weights, Gaussian closure and samples, against theory and exact averages."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.layers import FeedForward, Layers, correlated_weights, measured_statistics, rate_covariance
from jaxnets.transfer import Erf, Linear, ReLU, Tanh, sign


@pytest.mark.parametrize("binary", [False, True])
def test_weights_have_their_moments(binary):
    m, n, r = 40, 64, 1.6
    w = np.asarray(
        jax.vmap(lambda key: correlated_weights(m, n, r, key=key, binary=binary))(
            jax.random.split(jax.random.key(0), 50)
        )
    )
    assert not binary or np.all(np.abs(w) == 1)
    sums = w.sum(1)
    pairs = (sums**2 - (w**2).sum(1)) / (m * (m - 1))  # of two outputs of one input, by network and input
    assert abs(w.mean()) < 5 * sums.std() / m / (50 * n) ** 0.5
    assert abs((w**2).mean() - 1) < 0.03
    assert abs(pairs.mean() - r / n**0.5) < 4 * pairs.std() / (50 * n) ** 0.5
    assert abs(np.mean(w[:, :, 1:] * w[:, :, :-1])) < 4 / (50 * 63) ** 0.5  # of one output and two inputs


@pytest.mark.parametrize("binary", [False, True])
def test_off_diagonal_covariance_of_finite_linear_layers(binary):
    """E S' = g^4 (1 - 1/N) [(1 + r^2/N) (K_2 + S) + r^2 K_1^2 - e] over 200 matrices, e = 2 r^2 K_2 / N if binary."""
    n, r, g = 64, 1.0, 1.2
    x = jax.random.normal(jax.random.key(3), (n, 2 * n))
    C = x @ x.T / (2 * n)

    def off_diagonal(key):
        D = g**2 / n * (w := correlated_weights(n, n, r, key=key, binary=binary)) @ C @ w.T
        return (jnp.sum(D**2) - jnp.sum(jnp.diagonal(D) ** 2)) / n

    found = np.asarray(jax.vmap(off_diagonal)(jax.random.split(jax.random.key(4), 200)))
    K1, K2, total = np.mean(np.diag(C)), np.mean(np.diag(C) ** 2), np.sum(C**2) / n
    missing = 2 * r**2 * K2 / n if binary else 0
    exact = g**4 * (1 - 1 / n) * ((1 + r**2 / n) * total + r**2 * K1**2 - missing)
    assert abs(found.mean() - exact) < 4 * found.std() / 200**0.5


ANY = np.array([[1.0, 0.4, -0.3], [0.4, 0.8, 0.2], [-0.3, 0.2, 1.5]])


@pytest.mark.parametrize(
    "transfer", [Tanh(), *(pytest.param(f, marks=pytest.mark.slow) for f in (Erf(), sign(), ReLU(), Linear()))]
)
def test_covariances_of_rates_are_those_of_pairs(transfer):
    mean = np.array([0.3, -0.2, 0.1])
    found = rate_covariance(transfer, mean, ANY)
    for i in range(3):
        for j in range(3):
            if i == j:
                product = transfer.expected_square(jnp.asarray(mean[i]), jnp.asarray(ANY[i, i]))
            else:
                two = np.ix_([i, j], [i, j])
                product = transfer.expected_product(jnp.asarray(mean[[i, j]]), jnp.asarray(ANY[two]))
            rates = [transfer.expected(jnp.asarray(mean[k]), jnp.asarray(ANY[k, k])) for k in (i, j)]
            np.testing.assert_allclose(found.covariance[i, j], product - rates[0] * rates[1], atol=3e-8)
    assert found.error < 1e-7


def test_the_error_of_a_short_series_bounds_what_is_missing():
    strong = np.array([[1.0, 0.9], [0.9, 1.0]])
    exact = 2 / np.pi * np.arcsin(0.9)
    for terms in (4, 24):
        found = rate_covariance(sign(), np.zeros(2), strong, terms=terms)
        missing = abs(found.covariance[0, 1] - exact)
        assert missing < found.error * (1 + 1e-6) and found.error < 20 * missing


def test_a_network_is_its_layers():
    network = Layers(Tanh(), 1.2, 0.5, 0.4).sample(20, 3, key=jax.random.key(0))
    h = x = np.linspace(-1, 1, 20)
    for W, b, found in zip(network.weights, network.biases, network(jnp.asarray(x)), strict=True):
        h = np.tanh(np.asarray(W) @ h + np.asarray(b))
        np.testing.assert_allclose(found, h, rtol=1e-10)
    assert abs(np.std(network.weights) - 1.2 / 20**0.5) < 0.02 and abs(np.std(network.biases) - 0.4) < 0.1


def test_closure_of_a_linear_network_is_exact():
    network = Layers(Linear(), 0.9, 1.0, 0.3).sample(12, 2, key=jax.random.key(1))
    mean = np.linspace(0, 1, 12)
    found = network.closure(2 * np.eye(12), mean)
    W = np.asarray(network.weights)
    first = W[0] @ mean + np.asarray(network.biases[0])
    np.testing.assert_allclose(found.means[1], W[1] @ first + np.asarray(network.biases[1]), atol=1e-9)
    np.testing.assert_allclose(found.covariances[1], 2 * W[1] @ W[0] @ W[0].T @ W[1].T, atol=1e-8)


def test_statistics_of_two_halves_have_no_bias():
    """White activity of 30 units and 40 samples: the square of one covariance has S = N / T, not 0."""
    x = jax.random.normal(jax.random.key(5), (100, 80, 1, 30))
    found = jax.vmap(measured_statistics)(x)
    for values, exact in ((found.off_diagonal, 0.0), (found.variance, 1.0), (found.variance_square, 1.0)):
        assert abs(np.mean(values) - exact) < 4 * np.std(values) / 10
    plain = jax.vmap(lambda x: measured_statistics(x, x))(x)
    assert np.mean(plain.off_diagonal) > 0.3


def _of_networks(layers, n, depth, num, binary):
    def one(key):
        found = layers.sample(n, depth, key=key, binary=binary).closure()
        return found.statistics, jnp.linalg.eigvalsh(found.covariances[0])[-1]

    keys = jax.random.split(jax.random.key(n), num)
    return jax.lax.map(one, keys)


def _close(values, exact, allowance):
    error = np.std(values, axis=0, ddof=1) / len(values) ** 0.5
    assert np.all(np.abs(np.mean(values, axis=0) - exact) < 4 * error + allowance), (np.mean(values, 0), exact, error)


SIZES = [
    pytest.param(n, num, transfer, g, marks=pytest.mark.slow)
    for n, num in ((250, 12), (500, 8), (1000, 4))
    for transfer, g in ((Tanh(), 1.5), (sign(), 1.0))
]


@pytest.mark.parametrize("n, num, transfer, g", [(60, 12, sign(), 1.0), *SIZES])
def test_networks_have_the_covariances_of_theory(n, num, transfer, g):
    layers = Layers(transfer, g, 1.0)
    depth = 3 if n > 100 else 2
    theory, (found, top) = layers.recursion(depth), _of_networks(layers, n, depth, num, True)
    ratios = found.off_diagonal / found.variance**2
    exact = theory.off_diagonal / theory.variance**2
    _close(ratios[:, :1], exact[:1], 0.5 * exact[:1] / n)  # the first layer has no correction of 1 / sqrt(N)
    _close(ratios, exact, 2 * exact / n**0.5)
    _close(found.variance, theory.variance, 1 / n**0.5)
    _close(found.dimension, theory.dimension, 2 * theory.dimension / n**0.5)
    _close(top, layers.outliers(n, 1)[0, 0], 1 / n**0.5)


@pytest.mark.slow
@pytest.mark.parametrize("n, num", [(250, 12), (500, 8)])
def test_networks_with_biases(n, num):
    layers = Layers(Tanh(), 1.5, 1.0, 0.5)
    theory, (found, _) = layers.recursion(3), _of_networks(layers, n, 3, num, True)
    for name in ("mean_square", "variance", "variance_square", "off_diagonal", "dimension"):
        exact = np.asarray(getattr(theory, name))
        _close(getattr(found, name), exact, 2 * exact / n**0.5)


@pytest.mark.slow
def test_without_correlations_theory_is_right_to_two_percent():
    layers = Layers(Tanh(), 1.5)
    theory, (found, _) = layers.recursion(3), _of_networks(layers, 250, 3, 6, False)
    np.testing.assert_allclose(np.mean(found.dimension, 0), theory.dimension, rtol=0.02)


@pytest.mark.slow
def test_samples_through_a_network():
    """The closure's one assumption: 5000 inputs twice through networks of 500 units."""
    layers = Layers(Tanh(), 1.5, 1.0)

    def measured(key):
        of_network, *of_inputs = jax.random.split(key, 3)
        network = layers.sample(500, 4, key=of_network)
        halves = [jax.vmap(network)(jax.random.normal(k, (5000, 500))) for k in of_inputs]
        return measured_statistics(*halves)

    found = jax.lax.map(measured, jax.random.split(jax.random.key(9), 5))
    theory = layers.recursion(4)
    _close(found.variance, theory.variance, 1 / 500**0.5)
    _close(found.dimension, theory.dimension, 2 * theory.dimension / 500**0.5)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: correlated_weights(3, 4, 2.0, key=jax.random.key(0)), "`r` must be below the root"),
        (lambda: correlated_weights(3, 4, -1.0, key=jax.random.key(0)), "`r`"),
        (lambda: correlated_weights(0, 4, 1.0, key=jax.random.key(0)), "`num_outputs`"),
        (lambda: correlated_weights(3, 4, 1.0, key=0), "`key`"),
        (lambda: Layers(Tanh(), 1.0, 3.0).sample(9, 2, key=jax.random.key(0)), "`r`"),
        (lambda: Layers(Tanh()).sample(9, 0, key=jax.random.key(0)), "`depth`"),
        (lambda: FeedForward(np.ones((2, 3, 3)), np.ones((2, 4)), Tanh()), "`weights` and `biases`"),
        (lambda: FeedForward(np.full((1, 2, 2), np.inf), np.ones((1, 2)), Tanh()), "`weights` must be finite"),
        (lambda: rate_covariance(Tanh(), np.zeros(2), np.eye(3)), "`mean` and `covariance`"),
        (lambda: rate_covariance(Tanh(), np.zeros(2), np.zeros((2, 2))), "positive variances"),
        (lambda: rate_covariance(Tanh(), np.zeros(2), np.eye(2), terms=60), "`terms`"),
        (lambda: measured_statistics(np.ones((3, 1, 2))), "`first`"),
        (lambda: measured_statistics(np.ones((4, 1, 2)), np.ones((4, 2, 2))), "`first` and `second`"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()
