"""Associative memory as a problem: its eigenvalue law in closed form, its Jacobian, and its free energy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets import Discrete
from jaxnets.couplings import DeepHebbian
from jaxnets.replica import Hopfield, SymmetricCore, saddle, symmetric_core
from jaxnets.replica.hopfield import bulk

PURE = np.eye(9)[4]


def window(load, *hetero, auto=1.0, patterns="binary"):
    return DeepHebbian(load, auto, hetero or (0.0,), patterns=patterns, symmetric=True)


def test_law_of_a_window():
    """d = 1: <ln(1 - x lambda)> = ln (b + sqrt(b^2 - 4 x^2 gamma^2)) / 2 with b = 1 - x c, and its derivatives."""
    c, gamma = 1.0, 0.4
    log = lambda x: jnp.log((1 - x * c + jnp.sqrt((1 - x * c) ** 2 - 4 * (x * gamma) ** 2)) / 2)
    core = symmetric_core(window(0.1, gamma, auto=c), 3)
    derivatives = [log, jax.grad(log), jax.grad(jax.grad(log)), jax.grad(jax.grad(jax.grad(log)))]
    exact = jax.jit(lambda x: [f(x) for f in derivatives])
    for x in (0.3, -1.0, 0.9 / 1.8, 0.99 / 1.8):
        found = bulk(core.eigenvalues, jnp.array(x))
        value, *slopes = exact(x)
        np.testing.assert_allclose(found.log, value, atol=1e-14)
        for ours, slope in zip((found.pull, found.noise, found.noise_slope), slopes, strict=True):
            np.testing.assert_allclose(ours, -slope, rtol=1e-9)
    np.testing.assert_array_equal(core.condensed, np.eye(3) + gamma * (np.eye(3, k=1) + np.eye(3, k=-1)))
    assert np.isnan(bulk(core.eigenvalues, jnp.array(1 / 1.79)).noise)


@pytest.mark.parametrize("patterns", ["binary", "gaussian"])
def test_jacobian_is_the_derivative(patterns):
    core = symmetric_core(window(0.05, 0.2, patterns=patterns), 3, core_nodes=64)
    problem, y = Hopfield(core, 0.2), jnp.array([0.8, 0.1, 0.05, 0.3])
    ours, theirs = jax.jit(lambda y: (problem.jacobian(y), jax.jacfwd(problem.mismatch)(y)))(y)
    np.testing.assert_allclose(ours, theirs, atol=1e-11)


def test_free_energy_is_stationary():
    """In m, q and r at once, which fixes every sign in it."""
    problem = Hopfield(symmetric_core(window(0.02, 0.2, -0.1), 9), 0.3)
    value_and_slopes = jax.jit(
        jax.value_and_grad(lambda m, q, r: problem.functional(m, q, r, (1 - q) / 0.3), (0, 1, 2))
    )
    for guess in (PURE, 0 * PURE):
        state = saddle(problem, jnp.append(guess, 0))
        q, r = problem.q_and_r(state.y[-1])
        assert state.converged and q > 0.1
        value, slopes = value_and_slopes(state.y[:-1], q, r)
        np.testing.assert_allclose(value, state.free_energy, rtol=1e-12)
        for slope in slopes:
            np.testing.assert_allclose(slope, 0, atol=1e-12)


@pytest.mark.slow
def test_temperature_of_breaking():
    """`glassiness` is the temperature at which the replicon of a state would vanish."""
    core, y = symmetric_core(window(0.1), 1), jnp.array([0.9, 0.2])
    warm, cold = Hopfield(core, 0.2), Hopfield(core)
    np.testing.assert_allclose(warm.replicon(y), 1 - warm.glassiness(y) / 0.2, rtol=1e-12)
    assert cold.replicon(y) == -np.inf and cold.glassiness(y) > 0


def test_bad_arguments_are_named():
    law = Discrete([1.0])
    core = SymmetricCore(0.1, np.eye(2), law)
    cases = [
        (lambda: SymmetricCore(-0.1, np.eye(2), law), "load"),
        (lambda: SymmetricCore(0.1, [[1.0, 0.5], [0.0, 1.0]], law), "condensed"),
        (lambda: SymmetricCore(0.1, np.eye(2), [1.0]), "eigenvalues"),
        (lambda: SymmetricCore(0.1, np.eye(2), law, coarse=[1.0]), "coarse"),
        (lambda: SymmetricCore(0.1, np.eye(2), law, patterns="sparse"), "patterns"),
        (lambda: symmetric_core(core, 3), "num_condensed"),
        (lambda: symmetric_core(window(0.1), 3, core_nodes=7), "core_nodes"),
        (lambda: symmetric_core(DeepHebbian(0.1, 1.0, (0.5,)), 1), "ensemble"),
        (lambda: Hopfield(window(0.1)), "core"),
        (lambda: Hopfield(core, -0.1), "temperature"),
        (lambda: Hopfield(core, nodes=3), "nodes"),
    ]
    for call, name in cases:
        with pytest.raises(ValueError, match=f"`{name}`"):
            call()
