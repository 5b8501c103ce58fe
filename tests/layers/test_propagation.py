"""Signals along depth: the edge of chaos, sizes, correlations and their depths."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.layers import Inputs, Layers, edge_of_chaos
from jaxnets.transfer import Erf, Linear, Logistic, ReLU, Tanh, sign


def test_the_edge_of_tanh_without_biases():
    assert edge_of_chaos(Tanh()).value == 1
    signals = Layers(Tanh(), 0.8).propagation()
    assert signals.size == 0 and signals.correlation == 1
    np.testing.assert_allclose(signals.correlation_depth, -1 / np.log(0.64), rtol=1e-9)


@pytest.mark.parametrize(
    "transfer", [Tanh(), *(pytest.param(f, marks=pytest.mark.slow) for f in (Erf(), Logistic(2.0)))]
)
def test_at_the_edge_chi_is_one(transfer):
    root = edge_of_chaos(transfer, 0.3)
    assert root.converged
    at = Layers(transfer, root.value, 0.0, 0.3).propagation()
    np.testing.assert_allclose(at.chi, 1, rtol=1e-8)
    around = [Layers(transfer, root.value * f, 0.0, 0.3).propagation() for f in (0.95, 1.05)]
    assert around[0].chi < 1 < around[1].chi
    assert around[0].correlation > 1 - 1e-12 and around[1].correlation < 0.999


def test_linear_signals():
    linear = Layers(Linear(), 0.5, 0.0, 0.3).propagation()
    np.testing.assert_allclose([linear.size, linear.correlation, linear.chi], [0.12, 1, 0.25], rtol=1e-10)


@pytest.mark.slow
def test_closed_forms():
    """Threshold-linear units, and the arcsine of erf and of signs."""
    relu = Layers(ReLU(), 1.2, 0.0, 0.3).propagation()
    np.testing.assert_allclose([relu.size, relu.chi], [0.09 / (1 - 0.72), 0.72], rtol=1e-10)
    signs = Layers(sign(), 1.0, 0.0, 0.3).propagation()
    c = float(signs.correlation)
    np.testing.assert_allclose(c, (2 / np.pi * np.arcsin(c) + 0.09) / 1.09, rtol=1e-10)
    np.testing.assert_allclose(signs.slope, 2 / np.pi / np.sqrt(1 - c**2) / 1.09, rtol=1e-9)
    assert np.isinf(signs.chi)
    erf = Layers(Erf(), 2.0, 0.0, 0.1).propagation()
    q, c = float(erf.size), float(erf.correlation)
    covariance = lambda c: 4 * 2 / np.pi * np.arcsin(c * q / (q + 2 / np.pi)) + 0.01
    np.testing.assert_allclose([covariance(1.0) / q, covariance(c) / q], [1, c], rtol=1e-9)


def test_it_is_the_recursion_of_independent_inputs():
    """Far down, Q and K_1 are at the fixed point, and come closer by the slope in each layer."""
    layers = Layers(Tanh(), 1.6, 0.0, 0.4)
    signals = layers.propagation()
    found = layers.recursion(60)
    total = 1.6**2 * (found.mean_square + found.variance) + 0.16
    np.testing.assert_allclose(total[-1], signals.size, rtol=1e-8)
    c = (1.6**2 * found.mean_square + 0.16) / total
    away = c - signals.correlation
    np.testing.assert_allclose(away[31:36] / away[30:35], signals.slope, rtol=1e-2)
    late = layers.recursion(400, Inputs(mean_square=0.2, variance=0.4))
    c = (1.6**2 * late.mean_square + 0.16) / (1.6**2 * (late.mean_square + late.variance) + 0.16)
    np.testing.assert_allclose(c[-1], signals.correlation, atol=1e-8)


@pytest.mark.slow
def test_derivatives():
    depth = lambda g, bias: Layers(Tanh(), g, 0.0, bias).propagation().correlation_depth
    slopes = jax.grad(depth, (0, 1))(1.5, 0.3)
    step = 1e-4
    np.testing.assert_allclose(slopes[0], (depth(1.5 + step, 0.3) - depth(1.5 - step, 0.3)) / (2 * step), rtol=1e-4)
    np.testing.assert_allclose(slopes[1], (depth(1.5, 0.3 + step) - depth(1.5, 0.3 - step)) / (2 * step), rtol=1e-4)
    edge = lambda bias: edge_of_chaos(Tanh(), bias).value
    np.testing.assert_allclose(jax.grad(edge)(0.3), (edge(0.3 + step) - edge(0.3 - step)) / (2 * step), rtol=1e-5)
    np.testing.assert_allclose(jax.vmap(edge)(jnp.array([0.0, 0.3])), [1, edge(0.3)], rtol=1e-10)


def test_signals_without_a_fixed_point():
    grown = Layers(Linear(), 1.6, 0.0, 0.3).propagation()
    assert not grown.converged and np.isnan(grown.size)
    assert not edge_of_chaos(Linear(), 0.1).converged


def test_refusals():
    with pytest.raises(ValueError, match="`bias`"):
        edge_of_chaos(Tanh(), -0.1)
    with pytest.raises(ValueError, match="`transfer`"):
        edge_of_chaos(np.tanh)
