"""Spectra of Jacobians at many states against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.couplings.operators import Dense, Diagonal, Modes
from jaxnets.dynamics.jacobians import jacobian_eigenvalues
from jaxnets.dynamics.network import RateNetwork
from jaxnets.transfer import Tanh


def _normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def _dense(n, g, seed=0):
    return Dense(g / np.sqrt(n) * _normal(seed, n, n))


def _modes(n, P, seed=1):
    left, right, amplitudes = (jnp.asarray(_normal(seed + i, *shape)) for i, shape in enumerate([(n, P), (n, P), (P,)]))
    return Modes(left, right, Diagonal(3 * amplitudes))


def _everything(coupling):
    """A network in which no parameter has a value that could hide an error."""
    n = coupling.shape[-1]
    tau, gain = np.linspace(0.7, 1.6, n), np.linspace(0.8, 1.3, n)
    return RateNetwork(coupling, Tanh(), 0.3, lambda t: 0.4 * jnp.sin(t + jnp.arange(float(n))), tau, gain)


def _sorted(eigenvalues):
    return np.sort_complex(np.round(np.asarray(eigenvalues), 9))


@pytest.mark.parametrize("name", ["modes", "dense", "modes, time constants"])
@pytest.mark.parametrize("batch", [None, 1, 4])
def test_jacobian_eigenvalues(name, batch):
    coupling = _dense(10, 2.0) if name == "dense" else _modes(10, 3)
    net = _everything(coupling) if "time" in name else RateNetwork(coupling, Tanh(), tau=2.0, row_gains=1.2)
    tau, gain = (np.broadcast_to(x, 10) for x in (net.tau, net.row_gains))
    states = _normal(6, 2, 3, 10)
    found = jacobian_eigenvalues(net, states, batch=batch, progress=False)
    assert found.shape == (2, 3, 10)
    for index in np.ndindex(2, 3):
        slope = 1 - np.tanh(states[index]) ** 2
        A = (-np.eye(10) + gain[:, None] * np.asarray(coupling.dense()) * slope[None, :]) / tau[:, None]
        np.testing.assert_allclose(_sorted(found[index]), _sorted(np.linalg.eigvals(A)), atol=2e-8)
    if name == "modes":  # at the price of the rank: the other eigenvalues are exact
        assert np.all(np.sum(np.asarray(found) == -0.5, -1) == 7)
    traced = jax.jit(lambda states: jacobian_eigenvalues(net, states, batch=batch))(states)
    for index in np.ndindex(2, 3):
        np.testing.assert_allclose(_sorted(traced[index]), _sorted(found[index]), atol=2e-8)


def test_jacobian_eigenvalues_of_one_and_of_no_state():
    net = RateNetwork(_dense(4, 2.0), Tanh())
    assert jacobian_eigenvalues(net, np.ones(4)).shape == (4,)
    assert jacobian_eigenvalues(net, np.ones((0, 4))).shape == (0, 4)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"states": np.ones((2, 3))}, "`states` must have the last axis n = 4"),
        ({"states": np.full(4, np.inf)}, "`states` must be finite"),
        ({"states": np.ones(4), "batch": 0}, "`batch`"),
    ],
)
def test_jacobian_eigenvalues_of_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        jacobian_eigenvalues(RateNetwork(_dense(4, 2.0), Tanh()), **arguments)
