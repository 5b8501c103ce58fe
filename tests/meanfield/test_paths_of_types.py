"""Stationary states of types that hear themselves: one type, exact cases, the modes of means, networks, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

from jaxnets.couplings import CellTypes, Elliptic, RandomModes
from jaxnets.dynamics import RateNetwork, simulate
from jaxnets.meanfield import Phase, chaos_onset, largest_lyapunov, stationary, stationary_by_paths
from jaxnets.meanfield.types.means import mean_modes, num_growing
from jaxnets.meanfield.types.problem import problem_of
from jaxnets.population import dimension
from jaxnets.spectra import law
from jaxnets.transfer import Erf, Linear, Tanh

KEY = jax.random.key(0)
SMALL = {"num_paths": 16, "period": 120.0, "max_lag": 30.0, "memory": 10.0}
F, TAU, SYMMETRY = np.array([0.3, 0.7]), np.array([1.0, 2.0]), np.array([[0.5, -0.4], [-0.4, 0.3]])
G = np.array([[2.0, 1.0], [3.0, 2.0]])
WITHOUT = CellTypes(F, G)


def _elliptic(scale=1.0, means=0.0, symmetry=SYMMETRY):
    return CellTypes(F, scale * G, symmetry=symmetry, means=means)


# --- the modes of means -----------------------------------------------------------------------------------------


def test_growing_modes_of_means_are_counted_around_their_zeros():
    """Units without memory kernel have a response beta / (1 + i w tau), and their modes are eigenvalues."""
    rng, w = np.random.default_rng(0), np.linspace(0, 400, 40001)
    counts = []
    for _ in range(12):
        means, beta = 9 * rng.standard_normal((2, 2)), rng.uniform(0.3, 1, 2)
        problem = problem_of(CellTypes(F, G, means=means), Tanh(), 0.0, TAU, None)
        modes = np.asarray(mean_modes(problem, jnp.asarray(beta)))
        response = beta[:, None] / (1 + 1j * TAU[:, None] * w)
        counts.append((int(num_growing(problem, jnp.asarray(response))), np.sum(modes.real > 0)))
    found, expected = np.array(counts).T
    np.testing.assert_array_equal(found, expected)
    assert set(expected) == {0, 1, 2}


@pytest.mark.slow
@pytest.mark.parametrize(
    "means, phase",
    [(np.zeros((2, 2)), Phase.CHAOTIC), ([[9.0, -9.0], [9.0, 3.0]], Phase.OSCILLATING), (8.0, Phase.DRIFTING)],
)
def test_the_phase_of_means(means, phase):
    means = np.broadcast_to(means, (2, 2))
    state = stationary(_elliptic(means=means), Tanh(), tau=TAU, key=KEY)
    assert state.phase == phase and state.converged == (phase is Phase.CHAOTIC)


# --- exact cases ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_equal_types_are_one_type():
    """With the same random numbers: to rounding."""
    one = stationary_by_paths(Elliptic(2.0, 0.4), Tanh(), 0.3, key=KEY, **SMALL)
    two = stationary_by_paths(CellTypes(F, np.full((2, 2), 2.0), symmetry=0.4), Tanh(), 0.3, key=KEY, **SMALL)
    for name in ("c_x", "c_phi", "impulse", "c_slope", "beta", "c_x_error", "c_phi_error", "response_error"):
        a, b = getattr(one, name), getattr(two, name)
        np.testing.assert_allclose(b, np.broadcast_to(a, b.shape), rtol=1e-6, atol=1e-8 * np.max(np.abs(a)))
    np.testing.assert_allclose(two.response(0.7), np.full(2, one.response(0.7)), rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.0, (0.8, 0.2)])
def test_without_memory_kernel(noise):
    found = stationary_by_paths(WITHOUT, [Tanh(), Erf()], noise, tau=TAU, key=None, tolerance=1e-8, max_lag=80.0)
    exact = stationary(WITHOUT, [Tanh(), Erf()], noise, tau=TAU)
    assert found.converged and exact.converged and found.phase == exact.phase
    for name in ("c_x", "c_phi"):
        for a in range(2):
            c = np.interp([0, 1, 2, 5], exact.lags, getattr(exact, name)[a])
            np.testing.assert_allclose(np.interp([0, 1, 2, 5], found.lags, getattr(found, name)[a]), c, rtol=2e-3)
    w = jnp.array([0.0, 0.4, 2.0])
    np.testing.assert_allclose(found.response(w), exact.response(w), rtol=2e-3)


def _linear(scale, symmetry, w):
    """S_a(w) of linear units, by plain iteration of S_a = 1 / (1 + i w tau_a - r_a(S))."""
    R = F[None] * symmetry * (scale * G) * (scale * G).T
    S = 1 / (1 + 1j * w * TAU)
    for _ in range(2000):
        S = (S + 1 / (1 + 1j * w * TAU - R @ S)) / 2
    return S


def _linear_variance(scale, symmetry, noise):
    """C = |S|^2 (W C + 2 sigma^2), integrated over frequencies."""
    W = F[None] * (scale * G) ** 2

    def spectrum(w):
        power = np.abs(_linear(scale, symmetry, w)) ** 2
        return np.linalg.solve(np.eye(2) - power[:, None] * W, 2 * power * noise**2)

    return [quad(lambda w, a=a: spectrum(w)[a] / np.pi, 0, np.inf, epsrel=1e-5, limit=100)[0] for a in range(2)]


@pytest.mark.slow
def test_linear_networks_of_types():
    scale, noise = 0.2, np.array([0.7, 0.4])
    state = stationary_by_paths(
        _elliptic(scale), Linear(), noise, tau=TAU, key=KEY, tolerance=1e-7, **(SMALL | {"memory": 25.0})
    )
    assert state.converged and state.phase == Phase.DRIVEN
    np.testing.assert_allclose(state.variance, _linear_variance(scale, SYMMETRY, noise), rtol=3e-3)
    np.testing.assert_allclose(state.response(0.5), _linear(scale, SYMMETRY, 0.5), rtol=3e-3)


@pytest.mark.slow
def test_rest_of_types():
    state = stationary(_elliptic(0.2), Tanh(), tau=TAU, key=KEY)
    assert state.converged and state.phase == Phase.SILENT and np.all(state.c_x == 0)
    np.testing.assert_allclose(state.response(0.5), _linear(0.2, SYMMETRY, 0.5), rtol=1e-3)


@pytest.mark.slow
def test_onset_of_types_that_hear_themselves():
    """The onset is where the right edge is 1; one type that is split has the onset of the whole."""
    onset = chaos_onset(_elliptic(), Tanh())
    assert onset.converged
    edge = law(_elliptic(float(onset.value))).rightmost()
    np.testing.assert_allclose(edge.z.real, 1, rtol=1e-6)
    same = chaos_onset(CellTypes(F, np.full((2, 2), 1.7), symmetry=0.5), Tanh())
    np.testing.assert_allclose(same.value, 1 / (1.7 * 1.5), rtol=1e-6)


# --- gradients, and networks ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_gradient_of_types():
    """By forward mode, at fixed random numbers."""

    def variance(scale):
        ensemble = CellTypes(F, scale * jnp.asarray(G), symmetry=SYMMETRY)
        return stationary_by_paths(ensemble, Tanh(), 0.5, tau=TAU, key=KEY, tolerance=1e-8, **SMALL).variance

    _, slope = jax.jvp(variance, (0.5,), (1.0,))
    central = (variance(0.502) - variance(0.498)) / 0.004
    np.testing.assert_allclose(slope, central, rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("more", [None, RandomModes.flat(1.5, overlap=0.3)])
def test_networks_of_types(more):
    """Five networks of N = 2000, with time constants; alone, and with modes that units hear themselves through."""
    ensemble = _elliptic() if more is None else _elliptic() + more
    state = stationary(ensemble, Tanh(), tau=TAU, key=jax.random.key(2))
    assert state.converged and state.phase == Phase.CHAOTIC
    n, found = 2000, []
    labels = np.asarray(_elliptic().labels(n))
    tau = jnp.asarray(TAU[labels], jnp.float32)
    for seed in range(5):
        J = ensemble.sample(n, key=jax.random.key(seed), dtype=jnp.float32)
        start = jax.random.normal(jax.random.key(100 + seed), (2, n), jnp.float32)
        run = simulate(RateNetwork(J, Tanh(), tau=tau), start, duration=500.0, discard=100.0, save_every=10, dt=0.1)
        by_type = lambda x: [float(jnp.mean(x[..., labels == a] ** 2)) for a in range(2)]
        found.append(by_type(run.states) + by_type(run.rates))
    mean, error = np.mean(found, 0), np.std(found, 0, ddof=1) / np.sqrt(5)
    predicted = np.concatenate([state.variance, state.c_phi[:, 0]])
    own = np.concatenate([state.c_x_error[:, 0], state.c_phi_error[:, 0]])
    np.testing.assert_allclose(mean / predicted, 1, atol=0.01 + 4 * np.max(np.hypot(error, own) / predicted))


# --- refusals ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change, message",
    [
        ({"key": None}, "`key` must be a key"),
        ({"noise": (1.0, 2.0, 3.0)}, "`noise` must be a number or one for each of 2 types"),
        ({"tau": (1.0, -2.0)}, "`tau` must be finite numbers > 0"),
        ({"input": 0.5}, "`input` must be None"),
        ({"transfer": [Tanh()] * 3}, "`transfer` must be one, or one for each of 2 types"),
    ],
)
def test_bad_arguments_with_types(change, message):
    with pytest.raises(ValueError, match=message):
        stationary(**({"ensemble": _elliptic(), "transfer": Tanh(), "key": KEY} | change))


@pytest.mark.slow
def test_what_is_not_derived_with_a_memory_kernel():
    state = stationary(_elliptic(0.2), Tanh(), key=KEY)
    for fn in (dimension, largest_lyapunov):
        with pytest.raises(ValueError, match="without memory kernel"):
            fn(state)
    with pytest.raises(ValueError, match="only the onset from rest"):
        chaos_onset(_elliptic(), Tanh(), input=0.5)
