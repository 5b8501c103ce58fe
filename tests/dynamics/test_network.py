"""The equation of motion and its Jacobian against their definitions in numpy and finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.couplings import IID, DeepHebbian
from jaxnets.dynamics.network import RateNetwork
from jaxnets.transfer import Tanh

N = 9
RNG = np.random.default_rng(0)
J = RNG.standard_normal((N, N)) / 3
TAU, ROW_GAINS, SIGMA, DRIVE, X = RNG.uniform(0.5, 2, (5, N))


def _network(J=J, **kwargs):
    settings = {"noise": SIGMA, "input": lambda t: jnp.sin(t) * jnp.asarray(DRIVE), "tau": TAU, "row_gains": ROW_GAINS}
    return RateNetwork(J, Tanh(), **{**settings, **kwargs})


def test_drift_and_kick_by_definition():
    net, t = _network(), 0.7
    expected = (-X + ROW_GAINS * (J @ np.tanh(X)) + np.sin(t) * DRIVE) / TAU
    np.testing.assert_allclose(net.drift(jnp.asarray(t), jnp.asarray(X)), expected, rtol=1e-13)
    np.testing.assert_allclose(net.kick(jnp.asarray(X)), np.sqrt(2) * SIGMA / TAU * X, rtol=1e-13)


@pytest.mark.parametrize("setting", [{}, {"tau": 2.0, "row_gains": 0.5, "noise": 0.1, "input": None}, {"input": 0.3}])
def test_columns_are_states(setting):
    net, t = _network(**setting), jnp.asarray(0.7)
    columns = jnp.asarray(RNG.standard_normal((N, 4)))
    np.testing.assert_allclose(net.drift(t, columns)[:, 2], net.drift(t, columns[:, 2]), rtol=1e-12)
    np.testing.assert_allclose(net.kick(columns)[:, 2], net.kick(columns[:, 2]), rtol=1e-12)


def test_columns_compile_without_transposes():
    """Mapped over columns instead, per-unit arrays make XLA transpose all states, twice an evaluation."""
    net, t = _network(), jnp.zeros(())
    text = jax.jit(lambda x: net.drift(t, x)).lower(jnp.zeros((N, 4))).compile().as_text()
    assert " transpose(" not in text
    mapped = jax.jit(jax.vmap(lambda x: net.drift(t, x), 1, 1)).lower(jnp.zeros((N, 4))).compile().as_text()
    assert " transpose(" in mapped  # else the assertion above shows nothing


def test_linearized_is_the_drift_and_its_jacobian():
    net, x, V = _network(), jnp.asarray(X), jnp.asarray(RNG.standard_normal((N, 3)))
    drift, tangents, slopes = net.linearized(jnp.asarray(0.7), x, V)
    np.testing.assert_allclose(drift, net.drift(jnp.asarray(0.7), x), rtol=1e-13)
    np.testing.assert_allclose(tangents, net.jacobian(x) @ V, atol=1e-13)
    np.testing.assert_allclose(slopes, 1 / np.cosh(X) ** 2, rtol=1e-12)


@pytest.mark.parametrize("coupling", ["dense", "modes"])
def test_jacobian_is_the_derivative_of_the_drift(coupling):
    operator = J if coupling == "dense" else DeepHebbian(0.4, 0.5, (1.0,)).sample(N, key=jax.random.key(0))
    net, x = _network(operator), jnp.asarray(X)
    jacobian = net.jacobian(x)
    step = 1e-5
    columns = [
        (net.drift(jnp.zeros(()), x + d) - net.drift(jnp.zeros(()), x - d)) / (2 * step) for d in step * jnp.eye(N)
    ]
    np.testing.assert_allclose(jacobian.dense(), np.stack(columns, 1), atol=1e-9)  # step^2 and 1e-16 / step
    v = jnp.asarray(RNG.standard_normal((N, 3)))
    np.testing.assert_allclose(jacobian @ v, jacobian.dense() @ v, atol=1e-13)
    np.testing.assert_allclose(jacobian @ v[:, 0], jacobian.dense() @ v[:, 0], atol=1e-13)
    np.testing.assert_allclose(jacobian.T @ v, jacobian.dense().T @ v, atol=1e-13)


@pytest.mark.parametrize("tau", [1.5, TAU])
def test_jacobian_eigenvalues(tau):
    jacobian = _network(DeepHebbian(0.4, 0.5, (1.0,)).sample(N, key=jax.random.key(0)), tau=tau).jacobian(X)
    expected = np.linalg.eigvals(np.asarray(jacobian.dense()))
    found = np.asarray(jacobian.eigenvalues())
    # As sets: each has its own nearest neighbour. The zeros of J are defective up to rounding, 1e-16^(1/2).
    assert np.max(np.min(np.abs(found[:, None] - expected[None]), 1)) < 1e-6
    assert np.max(np.min(np.abs(found[:, None] - expected[None]), 0)) < 1e-6


def test_jacobian_of_batches():
    batch = jax.vmap(lambda key: IID(1.2).sample(N, key=key))(jax.random.split(jax.random.key(0), 2))
    net, states = _network(batch), jnp.asarray(RNG.standard_normal((2, 3, N)))
    found = net.jacobian(states)
    assert found.shape == (2, 3, N, N)
    dense = found.dense()
    for m in range(2):
        for k in range(3):
            one = _network(batch.dense()[m]).jacobian(states[m, k]).dense()
            np.testing.assert_allclose(dense[m, k], one, atol=1e-14)
    found = _network(batch, tau=1.5).jacobian(states).eigenvalues()
    one = _network(batch.dense()[1], tau=1.5).jacobian(states[1, 2]).eigenvalues()
    np.testing.assert_allclose(np.sort_complex(found[1, 2]), np.sort_complex(one), atol=1e-10)


def test_precision_is_that_of_the_coupling():
    drive = jnp.asarray(DRIVE, jnp.float32)
    net = _network(jnp.asarray(J, jnp.float32), input=lambda t: jnp.sin(t) * drive)
    assert all(values.dtype == jnp.float32 for values in (net.tau, net.row_gains, net.noise))
    assert net.drift(jnp.float32(0), jnp.zeros(N, jnp.float32)).dtype == jnp.float32
    assert net.jacobian(X).dense().dtype == jnp.float32


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"J": np.zeros((3, 4))}, "`J` must be a square matrix"),
        ({"noise": -0.1}, "`noise` must be"),
        ({"noise": np.ones(N + 1)}, "`noise` must be a number or have shape"),
        ({"tau": 0.0}, "`tau` must be"),
        ({"row_gains": np.nan}, "`row_gains` must be"),
        ({"input": np.inf}, "`input` must be"),
        ({"input": np.ones((2, N))}, "`input` must be a number or have shape"),
        ({"input": 1j}, "`input`"),
    ],
)
def test_bad_networks(arguments, message):
    with pytest.raises(ValueError, match=message):
        _network(**arguments)


def test_a_transfer_must_be_callable():
    with pytest.raises(ValueError, match="`transfer` must be a function"):
        RateNetwork(J, "tanh")  # pyright: ignore


def _by_numpy(x):
    return np.tanh(2 * x)


@pytest.mark.parametrize(
    ("transfer", "message"),
    [
        (np.tanh, r"`transfer` must be made of functions of `jax.numpy`.*`tanh` gives TracerArrayConversionError"),
        (_by_numpy, r"line \d+ of test_network.py, `return np.tanh\(2 \* x\)`, gives TracerArrayConversionError"),
        (lambda x: x if x[0] > 0 else -x, r"`transfer` .* test_network.py, .* gives TracerBoolConversionError"),
        (jnp.sum, f"`transfer` must give one rate for each of {N} units"),
    ],
)
def test_a_transfer_must_be_compiled(transfer, message):
    with pytest.raises(ValueError, match=message):
        RateNetwork(J, transfer)


def test_couplings_that_are_not_finite_are_named():
    broken = J.copy()
    broken[2, 5] = np.nan
    with pytest.raises(ValueError, match="`J` must be finite numbers, got nan in row 2, column 5"):
        RateNetwork(broken, Tanh())
    modes = DeepHebbian(0.4, 0.5, (1.0,)).sample(N, key=jax.random.key(0))
    with pytest.raises(ValueError, match="`J` must be finite, got NaN or infinite numbers in Modes"):
        RateNetwork(np.inf * modes, Tanh())
    traced = jax.jit(lambda J: RateNetwork(J, Tanh()).drift(jnp.zeros(()), jnp.ones(N)))
    assert np.isnan(traced(jnp.asarray(broken))[2])  # under `jit` failure is data


@pytest.mark.parametrize("dtype", [int, np.float16, ">f8", object, jnp.bfloat16])
def test_couplings_of_other_types_are_taken_in_the_nearest(dtype):
    matrix = np.rint(4 * J)
    net = RateNetwork(jnp.asarray(matrix, dtype) if dtype is jnp.bfloat16 else matrix.astype(dtype), Tanh())
    assert net.dtype == (jnp.float32 if dtype in (np.float16, jnp.bfloat16) else jnp.float64)
    np.testing.assert_array_equal(net.J.dense(), matrix)


@pytest.mark.parametrize("x", [np.zeros(N + 1), np.full(N, np.nan)])
def test_bad_states_of_the_jacobian(x):
    with pytest.raises(ValueError, match="`x` must"):
        _network().jacobian(x)
