"""Stationary states with a memory kernel: exact cases, other solvers, networks, errors, gradients, failures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

from jaxnets import Discrete
from jaxnets.couplings import IID, DeepHebbian, Elliptic, LowRank, RandomModes
from jaxnets.dynamics import RateNetwork, simulate
from jaxnets.meanfield import chaos_onset, stationary, stationary_by_paths
from jaxnets.meanfield.types.problem import Functions
from jaxnets.meanfield.unit.field import Grid, Problem, Unit, Unknowns, _spectrum, field_of, gaussian_averages
from jaxnets.meanfield.unit.paths import path_averages, white
from jaxnets.observables import autocovariance
from jaxnets.population import dimension, dressed
from jaxnets.spectra import law
from jaxnets.transfer import Erf, Linear, Tanh

KEY = jax.random.key(0)
SMALL = {"num_paths": 16, "period": 120.0, "max_lag": 30.0, "memory": 10.0}
SHIFT = DeepHebbian(1.0, 0.0, (1.2,))


def _same(state, other, lags, rtol):
    """Autocovariances and response at some lags, by the values of one at those of the other."""
    for name in ("c_x", "c_phi"):
        a, b = (np.interp(lags, s.lags, getattr(s, name)) for s in (state, other))
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * b[0])
    w = jnp.array([0.0, 0.4, 2.0, 10.0])
    np.testing.assert_allclose(state.response(w), other.response(w), rtol=rtol)


# --- exact cases ------------------------------------------------------------------------------------------------


def _grid(h):
    return Grid(h=jnp.asarray(h), T=round(20 / h) + 1, M=round(8 / h) + 1, F=round(102.4 / h))


def test_spectrum_of_a_kink():
    """2 k / (k^2 + w^2) of e^{-k tau}, which noise leaves at lag 0: its error falls faster than h^2."""
    k, errors = 0.8, []
    for h in (0.2, 0.1):
        grid = _grid(h)
        w = np.asarray(grid.frequencies())
        found = _spectrum(jnp.exp(-k * grid.lags()), grid)
        errors.append(np.max(np.abs(found / (2 * k / (k**2 + w**2)) - 1)[w < 2]))
    assert errors[1] < 1e-4 and errors[0] / errors[1] > 7


@pytest.mark.slow
@pytest.mark.parametrize("ensemble", [Elliptic(0.5, 0.6), RandomModes.flat(0.3, overlap=0.6)])
def test_paths_of_linear_units_are_gaussian(ensemble):
    """With the exact response x = y for linear units: what is integrated differs from it by the error of the grid."""
    grid = _grid(0.1)
    settings = {"num_paths": 16, "period": 102.4, "max_lag": 20.0, "memory": 8.0}
    response = stationary_by_paths(ensemble, Linear(), key=KEY, **settings).impulse
    one, unit = jnp.ones(1), Unit(Linear(), jnp.ones(()), grid, 41)
    functions = Functions((Linear(),), (None,))
    problem = Problem(ensemble, one, functions, 0.7 * one, one, one[0], grid, white(KEY, 4, grid), 41)
    fields = field_of(problem, Unknowns(0.5 * jnp.exp(-grid.lags())[None], response[None]))
    field = jax.tree.map(lambda a: a[0], fields)
    measured, known = path_averages(unit, field, problem.normal), gaussian_averages(unit, field)
    assert np.max(np.abs(field.kernel)) > 0.005
    np.testing.assert_allclose(measured.c_x, known.c_x, atol=2e-3 * float(known.c_x[0]))
    np.testing.assert_allclose(measured.c_phi, known.c_phi, atol=2e-3 * float(known.c_phi[0]))
    np.testing.assert_allclose(measured.response, response, atol=2e-4)
    np.testing.assert_allclose([measured.beta, known.beta], 1, rtol=1e-12)


@pytest.mark.slow
def test_a_shift_has_its_energy():
    state = stationary_by_paths(SHIFT, Tanh(), key=KEY, tolerance=1e-8)
    assert state.converged and np.all(state.c_x_error == 0)
    _same(state, stationary(SHIFT, Tanh(), max_lag=60.0, num_lags=2401), [0, 1, 2, 4, 8, 16], 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("transfer", [Tanh(), pytest.param(Erf(), marks=pytest.mark.slow)])
def test_independent_weights_with_noise_have_their_energy(transfer):
    state = stationary_by_paths(IID(1.5), transfer, 0.7, key=KEY, tolerance=1e-8, max_lag=40.0)
    assert state.converged
    _same(state, stationary(IID(1.5), transfer, 0.7, max_lag=40.0, num_lags=1601), [0, 0.1, 0.5, 1, 2, 4, 8], 1e-4)


@pytest.mark.slow
def test_paths_without_weight_of_their_own_change_nothing():
    """A memory kernel of 1e-9: paths are drawn and integrated, and x is y up to that."""
    state = stationary_by_paths(Elliptic(3.0, 1e-9), Tanh(), key=KEY, **SMALL)
    np.testing.assert_allclose(state.response_error, 0, atol=1e-4)
    _same(state, stationary(IID(3.0), Tanh(), max_lag=30.0, num_lags=1201), [0, 1, 2, 4, 8], 1e-3)


def _linear_variance(ensemble, sigma):
    """C(0) of x' = -x + J x + noise: the integral of 2 sigma^2 |S|^2 / (1 - kappa |S|^2), S dressed."""

    @jax.jit
    def spectrum(w):
        S = dressed(ensemble, 1 / jax.lax.complex(1.0, w)).value
        return 2 * sigma**2 * jnp.abs(S) ** 2 / (1 - ensemble.r_and_kappa(S)[1] * jnp.abs(S) ** 2)

    return quad(lambda w: float(spectrum(w)) / np.pi, 0, np.inf, epsrel=1e-7)[0]


LINEAR = [
    Elliptic(0.5, 0.5),
    Elliptic(0.8, -0.6),
    RandomModes.flat(0.3, overlap=0.6),
    DeepHebbian(0.5, 0.1, (0.2, 0.15)),
]


def _linear_errors(ensemble, dt):
    settings = SMALL | {"memory": 25.0, "dt": dt}
    state = stationary_by_paths(ensemble, Linear(), 0.7, key=KEY, tolerance=1e-7, **settings)
    assert state.converged
    S = dressed(ensemble, 1 / (1 + 0.5j)).value
    return np.array([state.variance / _linear_variance(ensemble, 0.7) - 1, abs(state.response(0.5) / S - 1)])


@pytest.mark.slow
def test_a_linear_network():
    assert np.all(np.abs(_linear_errors(LINEAR[0], 0.1)) < 2e-3)


@pytest.mark.slow
@pytest.mark.parametrize("ensemble", LINEAR)
def test_linear_networks_and_the_order_of_the_scheme(ensemble):
    coarse, fine = (np.abs(_linear_errors(ensemble, dt)) for dt in (0.2, 0.1))
    assert np.all(fine < 2e-3) and np.all(fine < 0.35 * coarse + 2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("ensemble", [Elliptic(0.5, 0.5), RandomModes.flat(0.3, overlap=-0.5)])
def test_rest(ensemble):
    state = stationary(ensemble, Tanh(), key=KEY)
    assert state.converged and state.residual < 1e-10
    assert np.all(state.c_phi == 0) and state.variance == 0
    w = jnp.array([0.0, 0.5, 3.0])
    exact = jax.vmap(lambda s: dressed(ensemble, s).value)(1 / jax.lax.complex(jnp.ones(3), w))
    np.testing.assert_allclose(state.response(w), exact, rtol=1e-3)


# --- the onset of chaos -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("symmetry", [0.5, -0.3])
def test_onset_of_partly_symmetric_weights(symmetry):
    onset = chaos_onset(Elliptic(1.7, symmetry), Tanh())
    assert onset.converged
    np.testing.assert_allclose(onset.value, 1 / (1.7 * (1 + symmetry)), rtol=1e-7)


@pytest.mark.slow
def test_onset_of_sequences_and_its_gradient():
    ensemble = lambda gamma: DeepHebbian(0.3, 0.2, (gamma, 0.3))
    value = lambda gamma: chaos_onset(ensemble(gamma), Tanh()).value
    np.testing.assert_allclose(value(0.5), 1 / law(ensemble(0.5)).right_edge(), rtol=1e-8)
    central = (value(0.501) - value(0.499)) / 0.002
    np.testing.assert_allclose(jax.grad(value)(0.5), central, rtol=1e-4)


# --- gradients and transformations --------------------------------------------------------------------------------


@pytest.mark.slow
def test_gradients_without_paths():
    def variance(gain, gamma, noise):
        ensemble = IID(gain) + DeepHebbian(0.5, 0.0, gamma[None])
        return stationary_by_paths(ensemble, Tanh(), noise, key=KEY, tolerance=1e-9, **SMALL).variance

    at = [jnp.array(0.8), jnp.array(1.1), jnp.array(0.3)]
    gradient = jax.grad(variance, (0, 1, 2))(*at)
    for i, found in enumerate(gradient):
        step = jnp.zeros(3).at[i].set(1e-3)
        high, low = (variance(*(a + s * d for a, d in zip(at, step, strict=True))) for s in (1, -1))
        np.testing.assert_allclose(found, (high - low) / 2e-3, rtol=1e-4)


@pytest.mark.slow
def test_jit_and_vmap_do_not_matter():
    solve = lambda noise: stationary_by_paths(SHIFT, Tanh(), noise, key=KEY, tolerance=1e-8, **SMALL)
    noises = jnp.array([0.0, 0.4, 1.0])
    mapped = jax.jit(jax.vmap(solve))(noises)
    for i, noise in enumerate(noises):
        one = solve(noise)
        assert one.converged == mapped.converged[i]
        np.testing.assert_allclose(mapped.c_phi[i], one.c_phi, rtol=1e-6, atol=1e-7)


@pytest.mark.slow
def test_gradient_at_fixed_random_numbers():
    variance = lambda gain: stationary_by_paths(Elliptic(gain, 0.4), Tanh(), key=KEY, tolerance=1e-7, **SMALL).variance
    found = jax.jvp(variance, (jnp.array(2.5),), (jnp.array(1.0),))[1]
    np.testing.assert_allclose(found, (variance(2.502) - variance(2.498)) / 0.004, rtol=1e-3)


# --- sampling errors, and networks ------------------------------------------------------------------------------


@pytest.mark.slow
def test_errors_are_those_of_other_random_numbers():
    keys = jax.random.split(jax.random.key(1), 8)
    states = [stationary(Elliptic(2.5, -0.3), Tanh(), key=key) for key in keys]
    for value, error in (
        ([s.variance for s in states], [s.c_x_error[0] for s in states]),
        ([s.c_phi[20] for s in states], [s.c_phi_error[20] for s in states]),
        ([s.response(0.0).real for s in states], [s.response_error for s in states]),
    ):
        # The ratio of a standard deviation of eight values to a mean of errors from eight groups.
        assert 1 / 3 < np.std(value, ddof=1) / np.mean(error) < 3


def _networks(ensemble, n, seeds, lags):
    """<x^2>, and C^phi at `lags`, of some networks: mean and standard error."""
    found = []
    for seed in range(seeds):
        J = ensemble.sample(n, key=jax.random.key(seed), dtype=jnp.float32)
        start = jax.random.normal(jax.random.key(100 + seed), (4, n), jnp.float32)
        run = simulate(RateNetwork(J, Tanh()), start, duration=500.0, discard=100.0, save_every=5, dt=0.1)
        # The mean over time of a slow unit is not subtracted: it belongs to C.
        c = autocovariance(run.rates, 0.5, max_lag=max(lags), centre=False).values
        found.append([jnp.mean(run.states**2), *(c[round(2 * lag)] for lag in lags)])
    found = np.array(found)
    return found.mean(0), found.std(0, ddof=1) / np.sqrt(seeds)


@pytest.mark.slow
@pytest.mark.parametrize(
    "ensemble",
    [Elliptic(2.0, 0.5), Elliptic(4.0, -0.5), RandomModes.flat(2.0, overlap=0.3), DeepHebbian(2.0, 0.3, (0.7, 0.5))],
)
def test_networks(ensemble):
    lags = [0, 1, 2, 4]
    state = stationary(ensemble, Tanh(), key=jax.random.key(2))
    mean, error = _networks(ensemble, 2000, 5, lags)
    predicted = [state.variance, *np.interp(lags, state.lags, state.c_phi)]
    own = [state.c_x_error[0], *np.interp(lags, state.lags, state.c_phi_error)]
    # Errors of five networks and of eight groups of paths are themselves uncertain; finite size is of order 1 / n.
    np.testing.assert_allclose(
        mean, predicted, atol=0, rtol=0.01 + 4 * np.max(np.hypot(error, own) / np.abs(predicted))
    )


@pytest.mark.slow
def test_printed_network_of_sequences():
    state = stationary(DeepHebbian(2.0, 0.3, (0.7, 0.5), patterns="gaussian"), Tanh(), key=KEY)
    assert state.converged
    printed = np.array([0.754, 0.741, 0.706, 0.610, 0.423])
    error = np.hypot([0.003, 0.004, 0.008, 0.017, 0.034], state.c_phi_error[jnp.array([0, 10, 20, 40, 80])])
    assert np.all(np.abs(state.c_phi[jnp.array([0, 10, 20, 40, 80])] - printed) < 3 * error)


@pytest.mark.slow
def test_dimension_with_a_kernel_and_its_error():
    ensemble = RandomModes.flat(6.0, load=0.25, overlap=0.3)
    states = [stationary(ensemble, Tanh(), key=key) for key in jax.random.split(KEY, 3)]
    found = [dimension(state, ensemble) for state in states]
    assert all(d.converged for d in found)
    assert np.std([d.phi for d in found], ddof=1) < 4 * np.mean([d.phi_error for d in found])


# --- failures ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_what_has_not_decayed_is_not_converged():
    # Near onset correlations last longer than the lags.
    state = stationary_by_paths(DeepHebbian(1.0, 0.0, (0.75,)), Tanh(), key=KEY, tolerance=1e-6, **SMALL)
    assert not state.converged


@pytest.mark.parametrize(
    "change, message",
    [
        ({"num_paths": 20}, "num_paths"),
        ({"num_paths": 8}, "num_paths"),
        ({"dt": 0.0}, "dt"),
        ({"memory": 40.0}, "memory"),
        ({"max_lag": 50.0}, "max_lag"),
        ({"noise": -1.0}, "noise"),
    ],
)
def test_bad_settings(change, message):
    with pytest.raises(ValueError, match=message):
        stationary_by_paths(Elliptic(2.0, 0.5), Tanh(), key=KEY, **(SMALL | change))


def test_bad_ensembles():
    with pytest.raises(ValueError, match="finite-rank"):
        stationary(Elliptic(2.0, 0.5) + LowRank(1.2), Tanh())
    with pytest.raises(ValueError, match="row_gains"):
        stationary(Elliptic(2.0, 0.5), Tanh(), row_gains=Discrete([1.0, 2.0]))
