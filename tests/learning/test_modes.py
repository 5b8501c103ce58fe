"""Layers of modes: weights, gauges, importance, pruning."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.dynamics import RateNetwork
from jaxnets.learning import ModeLinear, ModeNetwork, importance, prune, strength

KEY = jax.random.key(5)


def layer(m=4, p=3, n=5, seed=0):
    rng = np.random.default_rng(seed)
    return ModeLinear(rng.standard_normal((m, p)), rng.standard_normal(p), rng.standard_normal((n, p)))


def rescaled(found, u, v):
    """The same W with other factors."""
    return ModeLinear(found.left * u[None], found.amplitudes / (u * v), found.right * v[None])


def test_a_layer_is_its_weight():
    found, x = layer(), jnp.arange(5.0)
    W = np.einsum("ia,a,ja->ij", found.left, found.amplitudes, found.right)
    np.testing.assert_allclose(found.weight(), W, rtol=1e-12)
    np.testing.assert_allclose(found(x), W @ x, rtol=1e-12)
    operator = found.operator()
    assert operator.shape == (4, 5)
    np.testing.assert_allclose(operator.dense(), W, rtol=1e-12)
    np.testing.assert_allclose(operator @ x, W @ x, rtol=1e-12)
    np.testing.assert_allclose(operator.T.dense(), W.T, rtol=1e-12)
    np.testing.assert_allclose(operator.T @ jnp.arange(4.0), W.T @ np.arange(4.0), rtol=1e-12)


@pytest.mark.parametrize("m, p, n", [(4, 3, 5), (2, 3, 5), (4, 6, 5), (4, 3, 2)])
def test_canonical_layers_have_the_singular_values(m, p, n):
    found = layer(m, p, n)
    canonical = found.canonical()
    np.testing.assert_allclose(canonical.weight(), found.weight(), atol=1e-12)
    values = np.linalg.svd(found.weight(), compute_uv=False)
    expected = np.pad(values, (0, max(0, p - len(values))))[:p]
    np.testing.assert_allclose(strength(canonical), expected, atol=1e-12)


def test_measures_and_their_gauge():
    found = layer()
    parts = np.einsum("ia,a,ja->aij", found.left, found.amplitudes, found.right)
    np.testing.assert_allclose(strength(found), np.linalg.norm(parts, axis=(1, 2)), rtol=1e-12)
    lengths = np.linalg.norm(found.left, axis=0) + np.linalg.norm(found.right, axis=0)
    size = np.abs(found.amplitudes)
    np.testing.assert_allclose(importance(found), size + size.mean() / lengths.mean() * lengths, rtol=1e-12)

    other = rescaled(found, np.array([2.0, 1.0, 0.5]), np.array([1.0, 3.0, 1.0]))
    np.testing.assert_allclose(other.weight(), found.weight(), rtol=1e-12)
    np.testing.assert_allclose(strength(other), strength(found), rtol=1e-12)
    np.testing.assert_allclose(other.canonical().amplitudes, found.canonical().amplitudes, rtol=1e-12)
    assert not np.allclose(importance(other), importance(found), rtol=0.05)


@pytest.mark.parametrize("tied", [pytest.param(False, marks=pytest.mark.slow), True])
def test_networks(tied):
    network = ModeNetwork.gaussian((6, 5, 4, 3), 2, key=KEY, tied=tied)
    x = jnp.linspace(-1, 1, 6)
    a = np.asarray(x)
    for i, part in enumerate(network.layers):
        a = part.weight() @ (a if i == 0 else np.maximum(a, 0))
    np.testing.assert_allclose(network(x), a, rtol=1e-12)
    np.testing.assert_allclose(network.canonical()(x), a, rtol=1e-10)
    assert network.tied is tied and not network.canonical().tied
    assert len(jax.tree.leaves(eqx.filter(network, eqx.is_array))) == (7 if tied else 9)
    if tied:
        np.testing.assert_array_equal(network.layers[0].left, network.layers[1].right)
    slopes = eqx.filter_grad(lambda network: jnp.sum(network(x) ** 2))(network)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(slopes))


def test_variance_of_weights():
    """Var W_ij = p / (n ln n), up to a scatter of sqrt(2 / p) = .032 by the p squared amplitudes."""
    weight = np.asarray(ModeNetwork.gaussian((200, 100), 2000, key=KEY).layers[0].weight())
    np.testing.assert_allclose(weight.var(), 2000 / (200 * np.log(200)), rtol=0.1)


@pytest.mark.slow
def test_pruning():
    network = ModeNetwork.gaussian((6, 5, 3), 4, key=KEY)
    order = np.argsort(strength(network.layers[0]))
    pruned = prune(network, 0, 0.5)
    assert np.array_equal(np.flatnonzero(pruned.amplitudes[0] == 0), np.sort(order[:2]))
    assert np.array_equal(pruned.amplitudes[1], network.amplitudes[1])
    largest_first = prune(network, -1, 0.25, lambda layer: -strength(layer))
    assert largest_first.amplitudes[1][np.argmax(strength(network.layers[1]))] == 0
    mapped = jax.vmap(lambda k: prune(network, 0, 0.5, lambda layer: jax.random.uniform(k, (4,))).amplitudes[0])
    assert np.all(np.sum(mapped(jax.random.split(KEY, 3)) == 0, 1) == 2)
    values = np.linalg.svd(network.layers[0].weight(), compute_uv=False)
    left = np.linalg.svd(prune(network.canonical(), 0, 0.5).layers[0].weight(), compute_uv=False)
    np.testing.assert_allclose(left, [*values[:2], 0, 0, 0], atol=1e-12)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: ModeLinear(np.ones((2, 3)), np.ones(2), np.ones((4, 3))), "must have shapes"),
        (lambda: ModeLinear(np.ones((2, 3)), np.full(3, np.nan), np.ones((4, 3))), "`amplitudes`"),
        (lambda: ModeNetwork.gaussian((6,), 2, key=KEY), "`sizes`"),
        (lambda: ModeNetwork.gaussian((1, 6), 2, key=KEY), "`sizes`"),
        (lambda: ModeNetwork.gaussian((6, 2), 0, key=KEY), "`modes`"),
        (lambda: ModeNetwork([], [], []), "at least one"),
        (lambda: ModeNetwork([np.ones((3, 2))] * 2, [np.ones(2)] * 2, [np.ones((4, 2))] * 2), "layers give"),
        (lambda: prune(ModeNetwork.gaussian((6, 2), 2, key=KEY), 1, 0.5), "`layer`"),
        (lambda: prune(ModeNetwork.gaussian((6, 2), 2, key=KEY), 0, 1.5), "`fraction`"),
        (lambda: RateNetwork(layer().operator(), jnp.tanh), "`J` must be a square matrix"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
