"""The stationary state of one unit: exact cases, independent solutions, its equation, its gradients, its failures."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import simpson, solve_ivp
from scipy.linalg import eigh_tridiagonal
from scipy.special import jnp_zeros

from jaxnets import Discrete
from jaxnets._numerics.chebyshev import evaluate, grid
from jaxnets.couplings import IID, DeepHebbian, Elliptic, LowRank, RandomModes, SingularModes
from jaxnets.meanfield import chaos_onset, largest_lyapunov, stationary
from jaxnets.meanfield.unit.covariances import covariances
from jaxnets.meanfield.unit.lyapunov import _ground_decay
from jaxnets.transfer import Erf, Linear, ReLU, Tanh, Transfer

Z = np.linspace(-9, 9, 301)
GAUSS = np.exp(-(Z**2) / 2) / np.sum(np.exp(-(Z**2) / 2))


def _summary(state):
    return jnp.stack([state.variance, state.beta, state.c_x[64], state.c_phi[64], state.c_slope[64]])


# --- exact cases ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_erf_has_closed_forms():
    state = stationary(IID(3.0), Erf())
    assert state.converged
    width = float(state.variance) + 2 / np.pi
    np.testing.assert_allclose(state.beta, 1 / np.sqrt(1 + np.pi * state.variance / 2), rtol=1e-11)
    np.testing.assert_allclose(state.c_phi, 2 / np.pi * np.arcsin(state.c_x / width), rtol=1e-9)
    np.testing.assert_allclose(state.c_slope, 2 / np.pi / np.sqrt(width**2 - state.c_x**2), rtol=1e-9)
    # The energy at lag 0, with the integral of the arcsine.
    C0 = float(state.variance)
    well = 2 / np.pi * (C0 * np.arcsin(C0 / width) + np.sqrt(width**2 - C0**2) - width)
    np.testing.assert_allclose(9 * well, C0**2 / 2, rtol=1e-10)


@pytest.mark.parametrize("transfer", [Linear(), Erf()])
def test_linear_network_with_noise(transfer):
    # phi(x) = x: C'' = (1 - g^2) C, C'(0) = -sigma^2. Erf is linear at small noise, up to C_0.
    g, sigma = 0.8, 1e-4 if isinstance(transfer, Erf) else 0.7
    k = np.sqrt(1 - g**2)
    state = stationary(IID(g), transfer, sigma)
    assert state.converged
    exact = sigma**2 / k * np.exp(-k * np.asarray(state.lags))
    np.testing.assert_allclose(state.c_x, exact, rtol=1e-10 if isinstance(transfer, Linear) else 1e-6)
    np.testing.assert_allclose(state.decay_rate, k, rtol=1e-6)


@pytest.mark.slow
def test_white_noise_alone():
    state = stationary(IID(0.0), Tanh(), 0.5)
    np.testing.assert_allclose(state.c_x, 0.25 * np.exp(-np.asarray(state.lags)), rtol=1e-10)


def test_mean_slope_of_tanh():
    # phi' = 1 - phi^2.
    state = stationary(IID(4.0), Tanh(), 0.3)
    np.testing.assert_allclose(state.beta, 1 - state.c_phi[0], rtol=1e-10)
    w = np.array([0.0, 0.7])
    np.testing.assert_allclose(state.response(w), float(state.beta) / (1 + 1j * w), rtol=1e-14)


@pytest.mark.slow
def test_quiescent_below_onset():
    state = stationary(IID(0.9), Tanh())
    assert state.converged
    for field in (state.variance, state.residual, *state.c_x, *state.c_phi):
        assert field == 0
    assert state.beta == 1
    small = {"nodes": 41, "num_lags": 17}
    assert jax.jit(jax.jacfwd(lambda g: stationary(IID(g), Erf(), **small).c_x[3]))(0.9) == 0


def test_near_onset():
    # At g = 1 + e, from Var Phi = C_0^2 / 2 - C_0^3 + ...: C_0 = e and lambda = e^2 / 2, up to a factor 1 + O(e).
    for excess in (0.02, 0.005):
        state = stationary(IID(1 + excess), Tanh())
        assert state.converged
        np.testing.assert_allclose(state.variance / excess, 1, atol=1.5 * excess)
        np.testing.assert_allclose(largest_lyapunov(state).value / (excess**2 / 2), 1, atol=6 * excess)


# --- independent solutions --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_orbit_by_direct_integration():
    """C'' = C - g^2 C^phi(C) from C_0, by scipy on another rule; instability lets this follow the orbit for a while."""
    g = 3.0
    state = stationary(IID(g), Tanh(), max_lag=8.0)
    C0 = float(state.variance)

    def c_phi(C):
        inner = np.tanh(np.sqrt(C) * Z[:, None] + np.sqrt(max(C0 - C, 0)) * Z[None]) @ GAUSS
        return GAUSS @ inner**2

    orbit = solve_ivp(lambda t, y: [y[1], y[0] - g**2 * c_phi(y[0])], (0, 8), [C0, 0.0], rtol=1e-9, t_eval=[1, 2, 4, 8])
    np.testing.assert_allclose(state.c_x[jnp.array([128, 256, 512, 1024])], orbit.y[0], rtol=1e-5)


@pytest.mark.parametrize("g, sigma", [(1.5, 0.0), (5.0, 0.0), (2.0, 0.5), (0.7, 0.5)])
def test_equation_in_frequency(g, sigma):
    """(1 + w^2) C^x(w) = g^2 C^phi(w) + 2 sigma^2, the transforms by Simpson's rule."""
    state = stationary(IID(g), Tanh(), sigma)
    assert state.converged
    t, x, phi = (np.asarray(a) for a in (state.lags, state.c_x, state.c_phi))
    for w in (0.0, 0.3, 1.0):
        C_x, C_phi = (2 * simpson(c * np.cos(w * t), x=t) for c in (x, phi))
        total = g**2 * C_phi + 2 * sigma**2
        # The tail beyond the last lag is e^{-16}.
        assert abs((1 + w**2) * C_x - total) < 1e-5 * 2 * simpson(x, x=t)


@pytest.mark.slow
def test_equation_of_the_shift():
    """(1 + w^2) C^x(w) = kappa(S(w)) C^phi(w), kappa from the ensemble."""
    ensemble = 0.8 * DeepHebbian(load=0.7, auto=0.0, hetero=(1.9,))
    state = stationary(ensemble, Tanh())
    assert state.converged
    t = np.asarray(state.lags)
    for w in (0.0, 0.5):
        C_x, C_phi = (2 * simpson(np.asarray(c) * np.cos(w * t), x=t) for c in (state.c_x, state.c_phi))
        S = state.response(w)
        _, r, kappa = ensemble.blocks(jnp.conj(S), S, jnp.zeros(()))
        np.testing.assert_allclose(abs(r), 0, atol=1e-12)
        np.testing.assert_allclose((1 + w**2) * C_x, kappa.real * C_phi, rtol=1e-5)


@pytest.mark.slow
def test_only_the_strength_matters():
    g = 2.5
    same = [
        RandomModes.flat(g, load=1.0),
        SingularModes([g, g]),
        Elliptic(g, 0.0),
        -0.5 * IID(2 * g),
        IID(1.5) + RandomModes.two_valued(2.0, 0.0, 0.5, load=2.0) + SingularModes([0.0]),
    ]
    expected = _summary(stationary(IID(g), Tanh()))
    for ensemble in same:
        np.testing.assert_allclose(_summary(stationary(ensemble, Tanh())), expected, rtol=1e-12)


@pytest.mark.slow
def test_small_noise_is_continuous():
    quiet = stationary(IID(2.0), Tanh(), max_lag=20.0)
    for sigma in (1e-2, 1e-1):
        noisy = stationary(IID(2.0), Tanh(), sigma, max_lag=20.0)
        # sigma^4 in the energy of lag 0; C'(0) = -sigma^2 shifts the orbit in time by sigma^2 / |C''(0)|, here .12.
        assert abs(noisy.variance - quiet.variance) < 50 * sigma**4
        assert jnp.max(jnp.abs(noisy.c_x - quiet.c_x)) < 10 * sigma**2


@pytest.mark.slow
def test_strong_gain():
    state = stationary(IID(20.0), Erf())
    assert state.converged
    width = state.variance + 2 / np.pi
    np.testing.assert_allclose(state.c_phi, 2 / np.pi * jnp.arcsin(state.c_x / width), rtol=1e-8)
    assert stationary(IID(20.0), Tanh()).converged
    poor = stationary(IID(20.0), Tanh(), nodes=101)
    assert not poor.converged
    assert not poor.residual < 1e-4


@pytest.mark.parametrize("variance", [0.01, 4.0, 290.0])
def test_covariances_of_rates(variance):
    """Fewer points in one of two directions, at correlations from 0 to 1, are as good as many in both."""
    correlations = np.sin(np.linspace(0.01, np.pi / 2 - 0.01, 16))
    found = covariances(Tanh(), jnp.asarray(variance), correlations, 801)
    for c, value in zip(correlations[::3], found[::3], strict=True):
        np.testing.assert_allclose(value, Tanh().covariance(jnp.asarray(variance), c, (1601, 1601)), rtol=3e-8)


def test_no_stationary_state_is_not_converged():
    assert not stationary(IID(1.5), Linear(), 0.3).converged


# --- Lyapunov exponent ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_ground_state_of_an_exact_well():
    # Poeschl-Teller: n (n + 1) / cosh^2 has its ground state at q = n.
    errors = []
    for num in (101, 201):
        tau = np.linspace(0, 12, num)
        q, _ = _ground_decay(jnp.asarray(6 / np.cosh(tau) ** 2), jnp.asarray(0.0), jnp.asarray(tau[1]))
        errors.append(abs(q - 2))
    assert errors[1] < 1e-4
    assert errors[0] / errors[1] > 12  # fourth order, at least


def test_ground_state_of_a_well_with_a_kink():
    # A e^{-|tau|}: psi = J_{2q}(2 sqrt(A) e^{-|tau|/2}), whose slope at 0 vanishes; q = 1/2 at the first zero of J_1'.
    A = (jnp_zeros(1, 1)[0] / 2) ** 2
    errors = []
    for num in (101, 201):
        tau = np.linspace(0, 40, num)
        q, _ = _ground_decay(jnp.asarray(A * np.exp(-tau)), jnp.asarray(-A), jnp.asarray(tau[1]))
        errors.append(abs(q - 0.5))
    assert errors[1] < 1e-4
    assert errors[0] / errors[1] > 12  # fourth order again


def test_kink_of_the_slopes():
    state = stationary(IID(1.5), Tanh(), 0.6)
    curvature = lambda x: -2 * np.tanh(x) / np.cosh(x) ** 2
    exact = -(0.6**2) * GAUSS @ curvature(np.sqrt(state.variance) * Z) ** 2
    # Two derivatives at the end of a series of 50 terms: 50^4 times the rounding of its values.
    np.testing.assert_allclose(state.c_slope_kink, exact, rtol=1e-6)
    assert stationary(IID(1.5), Tanh()).c_slope_kink == 0


@pytest.mark.parametrize("g, sigma", [(2.0, 0.0), (2.0, 0.5)])
def test_exponent_from_a_dense_matrix(g, sigma):
    state = stationary(IID(g), Tanh(), sigma)
    exponent = largest_lyapunov(state)
    assert exponent.converged
    lowest = []
    for stride in (1, 2):
        U = 1 - g**2 * np.asarray(state.c_slope)[::stride]
        h = float(state.lags[stride])
        # Three points, of second order; an even function has psi_{-1} = psi_1, which scaling psi_0 makes symmetric.
        side = np.full(U.size - 1, -1 / h**2)
        side[0] *= np.sqrt(2)
        lowest.append(eigh_tridiagonal(2 / h**2 + U, side, select="i", select_range=(0, 0))[0][0])
    E0 = (4 * lowest[0] - lowest[1]) / 3
    np.testing.assert_allclose(exponent.value, -1 + np.sqrt(1 - E0), atol=2e-6)


@pytest.mark.parametrize("transfer, sigma", [(Tanh(), 0.0), (Linear(), 0.4)])
def test_exponent_of_rest(transfer, sigma):
    # -1 + g: the right edge of -1 + J.
    exponent = largest_lyapunov(stationary(IID(0.6), transfer, sigma))
    assert exponent.converged
    np.testing.assert_allclose(exponent.value, -0.4, atol=1e-9)


def test_noise_suppresses_chaos():
    values = [float(largest_lyapunov(stationary(IID(1.5), Tanh(), sigma)).value) for sigma in (0.0, 0.3, 1.0)]
    assert values[0] > values[1] > values[2]
    assert values[0] > 0 > values[2]


def test_lags_that_end_too_early():
    assert not largest_lyapunov(stationary(IID(2.0), Tanh(), max_lag=4.0)).converged


# --- onset ------------------------------------------------------------------------------------------------------


class Steep(Transfer):
    """phi(x) = tanh(s x)."""

    steepness: jax.Array

    def __call__(self, x):
        return jnp.tanh(self.steepness * x)

    def slope(self, x):
        return self.steepness * Tanh().slope(self.steepness * x)

    def slope_law(self, mean, variance):
        law = Tanh().slope_law(self.steepness * mean, self.steepness**2 * variance)
        return Discrete(self.steepness * law.values, law.weights)

    def antiderivative(self, x):
        return Tanh().antiderivative(self.steepness * x) / self.steepness

    def covariance(self, variance, correlation, nodes=201):
        return Tanh().covariance(self.steepness**2 * variance, correlation, nodes)


@pytest.mark.slow
@pytest.mark.parametrize(
    "ensemble, transfer, expected",
    [
        (IID(2.5), Tanh(), 0.4),
        pytest.param(RandomModes.flat(1.0, load=4.0) + IID(0.0), Erf(), 0.5, marks=pytest.mark.slow),
        (DeepHebbian(load=0.25, auto=0.0, hetero=(1.0,)), Tanh(), 0.8944272),
        (IID(2.0), Steep(jnp.array(4.0)), 0.125),
    ],
)
def test_onset(ensemble, transfer, expected):
    onset = chaos_onset(ensemble, transfer)
    assert onset.converged
    np.testing.assert_allclose(onset.value, expected, rtol=1e-7)
    assert stationary(0.99 * onset.value * ensemble, transfer).variance == 0
    assert stationary(1.01 * onset.value * ensemble, transfer).variance > 0


@pytest.mark.slow
def test_onset_and_its_gradient_by_an_overlap():
    """The edge of flat modes is rho (1 + load) + sqrt(load) (1 + rho^2), also at the rho = 0 that leaves no memory."""
    load, rho = 0.7, jnp.array([0.0, 0.3, -0.3, 1.0])
    onset = lambda rho: chaos_onset(RandomModes.flat(1.0, load, rho), Tanh()).value
    expected = lambda rho: 1 / (rho * (1 + load) + load**0.5 * (1 + rho**2))
    found = jax.jit(jax.vmap(jax.value_and_grad(onset)))(rho)
    np.testing.assert_allclose(found, jax.vmap(jax.value_and_grad(expected))(rho), rtol=1e-7)


def test_no_onset_without_couplings():
    assert not chaos_onset(IID(0.0), Tanh()).converged


def test_steepness_is_a_gain():
    # x -> s x turns tanh(s x) into tanh(x) with s times the couplings.
    steep, plain = stationary(IID(1.25), Steep(jnp.array(2.0))), stationary(IID(2.5), Tanh())
    np.testing.assert_allclose(4 * steep.c_x, plain.c_x, rtol=1e-9)
    np.testing.assert_allclose(largest_lyapunov(steep).value, largest_lyapunov(plain).value, rtol=1e-9)


# --- transforms -------------------------------------------------------------------------------------------------


def _observed(g, sigma, steepness):
    state = stationary(IID(g), Steep(steepness), sigma, max_lag=20.0, num_lags=257, nodes=101)
    return jnp.stack([state.variance, state.c_x[64], state.c_phi[64], state.beta, largest_lyapunov(state).value])


@pytest.mark.slow
def test_gradients_against_differences():
    at = (jnp.array(1.7), jnp.array(0.4), jnp.array(1.1))
    observed = jax.jit(_observed)
    found = jax.jit(jax.jacrev(_observed, argnums=(0, 1, 2)))(*at)
    for i, derivative in enumerate(found):
        up, down = ([x + sign * 1e-4 * (i == j) for j, x in enumerate(at)] for sign in (1, -1))
        np.testing.assert_allclose(derivative, (observed(*up) - observed(*down)) / 2e-4, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
def test_gradient_of_the_shift():
    def observed(gamma, load):
        return _summary(stationary(DeepHebbian(load, 0.0, gamma[None]), Tanh(), max_lag=20.0, nodes=101))

    at = (jnp.array(1.3), jnp.array(0.8))
    found = jax.jit(jax.jacfwd(observed, argnums=(0, 1)))(*at)
    for i, derivative in enumerate(found):
        up, down = ([x + sign * 1e-4 * (i == j) for j, x in enumerate(at)] for sign in (1, -1))
        np.testing.assert_allclose(derivative, (observed(*up) - observed(*down)) / 2e-4, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
def test_second_derivative():
    variance = lambda g: stationary(IID(g), Erf()).variance
    slope = jax.jit(jax.grad(variance))
    second = jax.grad(jax.grad(variance))(2.0)
    np.testing.assert_allclose(second, (slope(2.001) - slope(1.999)) / 0.002, rtol=1e-5)


@pytest.mark.slow
def test_two_hundred_gains_at_once():
    def observed(g):
        state = stationary(IID(g), Erf(), num_lags=257)
        return _summary(state), largest_lyapunov(state).value, state.converged

    gains = jnp.linspace(0.5, 5, 200)
    summary, exponent, converged = jax.jit(jax.vmap(observed))(gains)
    assert np.all(converged)
    assert np.all(summary[gains <= 1, 0] == 0)
    assert np.all(np.diff(summary[gains > 1, 0]) > 0)
    for i in (3, 60, 199):
        alone = observed(gains[i])
        np.testing.assert_allclose(summary[i], alone[0], rtol=1e-9)
        np.testing.assert_allclose(exponent[i], alone[1], rtol=1e-7, atol=1e-9)


@pytest.mark.slow
def test_single_precision():
    state = stationary(IID(jnp.float32(2.0)), Tanh(), nodes=101, num_lags=257)
    assert state.c_x.dtype == state.residual.dtype == jnp.float32
    assert state.converged
    np.testing.assert_allclose(state.variance, 1.924805, rtol=1e-4)


@pytest.mark.slow
def test_traced_fields_that_must_vanish():
    def variance(ensemble):
        return stationary(ensemble, Erf(), num_lags=17, nodes=101).variance

    value_and_slopes = eqx.filter_jit(eqx.filter_value_and_grad(variance))
    value, slopes = value_and_slopes(RandomModes.flat(2.0))
    expected, expected_slope = value_and_slopes(IID(2.0))
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    np.testing.assert_allclose(slopes.amplitudes[0], expected_slope.g, rtol=1e-10)
    assert np.isnan(slopes.overlap[0])
    assert np.isnan(value_and_slopes(RandomModes.flat(2.0, overlap=0.3))[0])


# --- arguments --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ensemble, reason",
    [
        (LowRank(0.0), "LowRank"),
        (IID(2.0) + 0.5 * LowRank(1.0), "LowRank"),
        (jnp.eye(3), "an ensemble of"),
    ],
)
def test_what_has_a_common_mean_is_refused(ensemble, reason):
    with pytest.raises(ValueError, match=f"(?s)`ensemble` must.*{reason}"):
        stationary(ensemble, Tanh())


@pytest.mark.parametrize(
    "name, arguments",
    [
        ("transfer", {"transfer": ReLU()}),
        ("transfer", {"transfer": jnp.tanh}),
        ("noise", {"noise": -0.1}),
        ("noise", {"noise": [0.1, 0.2]}),
        ("nodes", {"nodes": 10}),
        ("num_lags", {"num_lags": 2}),
        ("max_lag", {"max_lag": 0.0}),
    ],
)
def test_bad_arguments(name, arguments):
    with pytest.raises(ValueError, match=f"`{name}` must"):
        stationary(**{"ensemble": IID(2.0), "transfer": Tanh(), **arguments})


def test_no_exponent_with_a_memory_kernel():
    state = eqx.tree_at(lambda s: s.ensemble, stationary(IID(1.5), Tanh()), Elliptic(1.5, 0.5))
    with pytest.raises(ValueError, match="`state` must"):
        largest_lyapunov(state)


# --- the series -------------------------------------------------------------------------------------------------


def test_series_is_exact_for_polynomials():
    g = grid(8)
    values = 1 - 2 * g.nodes + 3 * g.nodes**5
    for t in (0.0, 0.31, 1.0):
        at = lambda m, t=t: evaluate(jnp.asarray(m @ values), jnp.asarray(t))
        np.testing.assert_allclose(at(g.series), 1 - 2 * t + 3 * t**5, atol=1e-14)
        np.testing.assert_allclose(at(g.running_mean), 1 - t + 3 * t**5 / 6, atol=1e-14)
        np.testing.assert_allclose(at(np.vstack([g.slope, np.zeros(8)])), -2 + 15 * t**4, atol=1e-12)
