"""The dimension of activity for N to infinity: published and exact values, samples, gradients, failures."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compilations import compilations
from scipy.linalg import expm, solve_continuous_lyapunov

from jaxnets import Discrete
from jaxnets._numerics.filon import spectra, spectrum
from jaxnets.couplings import IID, DeepHebbian, Elliptic, Ensemble, RandomModes, SingularModes
from jaxnets.meanfield import Units, stationary
from jaxnets.meanfield.unit.response import r_and_power
from jaxnets.population import dimension, dressed, four_point_sum, four_point_sum_x, pair_covariance
from jaxnets.population.pairs import unlike
from jaxnets.transfer import Erf, Linear, Tanh


def _modes(g, rank):
    """Strength g and PR^D = rank."""
    return RandomModes.of_rank(g, rank)


@jax.jit
@functools.partial(jax.vmap, in_axes=(0, 0))
def _with_modes(g, rank):
    return dimension(stationary(_modes(g, rank), Tanh()), _modes(g, rank))


@jax.jit
def _with_noise(ensemble, transfer, sigma):
    return dimension(stationary(ensemble, transfer, sigma), ensemble)


# --- reference values ---------------------------------------------------------------------------------------------

GAINS, RANKS = np.array([1.5, 2.0, 3.0, 5.0]), np.array([1e9, 1.0, 0.25, 0.1])
PHI = [
    [0.006237, 0.003224, 0.001316, 0.000603],
    [0.019741, 0.010569, 0.004415, 0.002040],
    [0.044651, 0.024955, 0.010741, 0.005021],
    [0.074070, 0.042945, 0.018997, 0.008981],
]
X = [
    [0.005609, 0.002893, 0.001180, 0.000540],
    [0.015915, 0.008441, 0.003504, 0.001615],
    [0.031372, 0.017126, 0.007250, 0.003367],
    [0.045635, 0.025421, 0.010916, 0.005098],
]


@pytest.mark.slow
def test_table():
    """By another quadrature, on a grid of both frequencies. Independent weights are the limit of many modes."""
    g, rank = (a.ravel() for a in np.meshgrid(GAINS, RANKS, indexing="ij"))
    found = _with_modes(g, rank)
    assert np.all(found.converged) and np.all(found.residual < 1e-5)
    # The last digit of the table is a thousandth of its smallest numbers.
    np.testing.assert_allclose(found.phi.reshape(4, 4), PHI, rtol=5e-4, atol=6e-7)
    np.testing.assert_allclose(found.x.reshape(4, 4), X, rtol=5e-4, atol=6e-7)
    # One of the mapped points alone.
    alone = dimension(stationary(_modes(3.0, 0.25), Tanh()), _modes(3.0, 0.25))
    np.testing.assert_allclose([found.phi[10], found.x[10]], [alone.phi, alone.x], rtol=1e-9)
    iid = dimension(stationary(IID(3.0), Tanh()), IID(3.0))
    np.testing.assert_allclose([found.phi[8], found.x[8]], [iid.phi, iid.x], rtol=1e-7)


@pytest.mark.slow
def test_range_of_gains():
    """More nodes change nothing, from onset to strong coupling."""
    for g, transfer in ((1.05, Tanh()), (1.05, Erf()), (20.0, Tanh()), (20.0, Erf())):
        state = stationary(IID(g), transfer)
        found, finer = (dimension(state, IID(g), nodes=n) for n in (64, 160))
        assert found.converged and finer.converged
        np.testing.assert_allclose([found.phi, found.x], [finer.phi, finer.x], rtol=3e-6)


@pytest.mark.slow
def test_near_onset_of_chaos():
    # C ~ 1 / cosh(rate tau) of small variance: PR vanishes as the cube of its distance from onset, 1e-4 at .02.
    excess = np.linspace(0.02, 0.03, 16)
    found = _with_modes(1 + excess, np.full(16, 1e9))
    assert np.all(found.converged)
    np.testing.assert_allclose(found.phi / found.phi[0] / (excess / excess[0]) ** 3, 1, atol=0.1)
    np.testing.assert_allclose(found.x / found.phi, 1, atol=0.002)


# --- spectra ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_spectrum_of_an_exponential():
    """2 k / (k^2 + w^2), with a kink at 0 and a tail, to fourth order at any w."""
    k, w = 0.6, np.array([[0.0, 0.1], [1.0, -5.0], [20.0, 60.0]])
    exact = 2 * k / (k**2 + w**2)
    errors = []
    for num in (256, 511):  # an even and an odd number of lags
        h = 8 / k / (num - 1)
        found = spectrum(jnp.exp(-k * h * np.arange(num)), jnp.asarray(h), jnp.asarray(k), w)
        assert found.shape == w.shape
        errors.append(np.max(abs(found[:2] / exact[:2] - 1)))
        np.testing.assert_allclose(found, exact, atol=1e-5 * exact[0, 0])
    assert errors[0] / errors[1] > 14 and errors[1] < 1e-5


@pytest.mark.slow
def test_spectrum_of_a_smooth_function():
    """pi / cosh(pi w / 2), at sums of frequencies."""
    a, b = np.array([0.0, 0.3, 2.0]), np.array([0.1, 1.5])
    lags = np.linspace(0, 20, 801)
    sums = jnp.stack([1 / np.cosh(lags), np.exp(-(lags**2))])
    found = spectra(sums, jnp.asarray(lags[1]), jnp.asarray(1.0), a, b)
    w = a[:, None] + b
    np.testing.assert_allclose(found[0], np.pi / np.cosh(np.pi * w / 2), atol=1e-7)
    np.testing.assert_allclose(found[1], np.sqrt(np.pi) * np.exp(-(w**2) / 4), atol=1e-7)


@pytest.mark.slow
def test_spectra_of_a_state():
    """(1 + w^2) C^x = g^2 C^phi + 2 sigma^2, with the kink that noise makes."""
    state, w = stationary(IID(1.8), Tanh(), 0.4), np.array([0.0, 0.4, 1.0, 6.0])
    total = 1.8**2 * state.spectrum_phi(w) + 2 * 0.4**2
    np.testing.assert_allclose((1 + w**2) * state.spectrum_x(w), total, rtol=1e-5)
    np.testing.assert_allclose((1 + w**2) * state.spectrum_x(w), total, atol=1e-6 * float(total[0]))


# --- linear networks ----------------------------------------------------------------------------------------------


def _linear_network(g, rank, num=600):
    """N / PR of dx/dt = (J - 1) x + noise, by equal angles in w = k tan(theta)."""
    k = np.sqrt(1 - g**2)
    theta = np.pi * (np.arange(num) + 0.5) / num - np.pi / 2
    s = 1 / (1 + 1j * k * np.tan(theta))
    # C dw / (2 pi) over C(0) is d theta / pi: weights 1 / num.
    ladder = g**2 * np.conj(s)[:, None] * s
    return np.mean((1 + abs(ladder) ** 2 / rank) / abs(1 - ladder) ** 2)


@pytest.mark.slow
@pytest.mark.parametrize("g, rank", [(0.8, np.inf), (0.8, 0.25), (0.3, 1.0), (0.95, np.inf)])
def test_linear_network_with_noise(g, rank):
    ensemble = SingularModes([g, g]) if rank == np.inf else _modes(g, rank)
    if rank == np.inf:
        ensemble = IID(g)
    found = _with_noise(ensemble, Linear(), 0.7)
    assert found.converged
    np.testing.assert_allclose(found.phi, 1 / _linear_network(g, rank), rtol=1e-6)
    np.testing.assert_allclose(found.x, found.phi, rtol=1e-6)  # x and phi are the same


ENSEMBLES = {
    "iid": IID(0.6),
    "elliptic": Elliptic(0.6, -0.7),
    "overlapping modes": RandomModes.two_valued(0.7, 0.2, 0.4, load=0.7, overlap=0.3),
    "deep-Hebbian": DeepHebbian(load=0.5, auto=0.1, hetero=(0.2, 0.1)),
    "symmetric": DeepHebbian(load=0.3, auto=0.2, hetero=(0.1,), symmetric=True),
}


@pytest.mark.parametrize(
    "name",
    ["iid", "elliptic", "overlapping modes"]
    + [pytest.param(name, marks=pytest.mark.slow) for name in ("deep-Hebbian", "symmetric")],
)
def test_noise_in_sums_over_states(name):
    """In a linear network x is phi, and so are their sums over pairs."""
    ensemble = ENSEMBLES[name]
    s = 1 / (1 + 1j * np.array([0.7, -0.3]))
    S = [dressed(ensemble, x).value for x in s]
    # 2 sigma^2 |s|^2 over the spectrum: one over (1/N) tr F F^*.
    z = [(1 - r_and_power(ensemble, S_k)[1]) / abs(S_k / s_k) ** 2 for S_k, s_k in zip(S, s, strict=True)]
    np.testing.assert_allclose(four_point_sum_x(ensemble, *S, *z), four_point_sum(ensemble, *S), rtol=1e-10)


class LinearState(eqx.Module):
    """The state of a linear network with white noise and any ensemble: C(w) = 2 (1/N) tr F F^* / (1 + w^2)."""

    ensemble: Ensemble
    lags: jax.Array
    c_x: jax.Array
    decay_rate: jax.Array
    noise: jax.Array
    residual: jax.Array
    converged: jax.Array
    units: None = None
    impulse: None = None

    def __init__(self, ensemble, duration=40.0, num=2049):
        self.ensemble = ensemble
        w = 0.05 * np.arange(1600)  # of period 125 in tau
        s = 1 / (1 + 1j * w)
        S = jax.jit(jax.vmap(lambda s: dressed(ensemble, s).value))(jnp.asarray(s))
        power = jax.vmap(lambda s: r_and_power(ensemble, s)[1])(S)
        n = np.asarray(abs(S / s) ** 2 / (1 - power))
        self.lags = jnp.linspace(0, duration, num)
        # C(tau) = e^{-|tau|} + (1 / pi) int_0^inf 2 (n - 1) / (1 + w^2) cos(w tau) dw
        terms = 2 * (n - 1) / (1 + w**2) * np.where(w == 0, 0.5, 1) * 0.05 / np.pi
        rest = np.cos(np.outer(self.lags, w)) @ terms
        self.c_x = jnp.exp(-self.lags) + rest
        self.decay_rate, self.noise, self.residual = jnp.asarray(1.0), jnp.asarray(1.0), jnp.asarray(0.0)
        self.converged = jnp.asarray(True)

    @property
    def c_phi(self):
        return self.c_x

    def response(self, w):
        one = lambda w: dressed(self.ensemble, 1 / jax.lax.complex(jnp.ones_like(w), w)).value
        return jax.vmap(one)(w.ravel()).reshape(w.shape)


def _sampled(ensemble, n, seeds, lags=(0.0,)):
    """(1/N) sum_ij C_ij(tau)^2 and (1/N) tr C, from Lyapunov's equation."""
    found = []
    for seed in range(seeds):
        A = np.asarray(ensemble.sample(n, key=jax.random.key(seed)).dense()) - np.eye(n)
        C = solve_continuous_lyapunov(A, -2 * np.eye(n))
        found.append([np.sum((expm(lag * A) @ C) ** 2) / n for lag in lags] + [np.trace(C) / n])
    return np.array(found)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["elliptic"] + [pytest.param(name, marks=pytest.mark.slow) for name in ("overlapping modes", "deep-Hebbian")],
)
def test_any_ensemble_against_samples(name):
    ensemble = ENSEMBLES[name]
    state = LinearState(ensemble)
    found = dimension(state, ensemble)
    assert found.converged
    np.testing.assert_allclose(found.x, found.phi, rtol=1e-5)
    errors = []
    for n, seeds in ((100, 12), (400, 3)):
        C2, trace = _sampled(ensemble, n, seeds).T
        np.testing.assert_allclose(trace.mean(), state.c_x[0], rtol=10 / n)
        # Twice for the square, to a mean over seeds whose scatter falls as 1/N too.
        errors.append(abs(C2 / trace**2 * found.phi - 1).mean())
    assert errors[1] < 0.6 * errors[0] and errors[1] < 0.08


@pytest.mark.slow
def test_lags_against_samples():
    """Population modes live longer than the activity of a unit."""
    ensemble, lags = IID(0.6), (0.0, 1.0, 3.0)
    state = stationary(ensemble, Linear(), 1.0)
    found = pair_covariance(state, ensemble, lags)
    assert found.residual < 1e-4 and found.converged
    one = dimension(state, ensemble)
    np.testing.assert_allclose(state.c_phi[0] ** 2 / found.phi[0], one.phi, rtol=1e-6)
    np.testing.assert_allclose(found.x, found.phi, rtol=1e-6)
    sampled = _sampled(ensemble, 400, 3, lags)[:, :3]
    np.testing.assert_allclose(found.phi, sampled.mean(0), rtol=0.02)
    assert found.phi[2] / found.phi[0] > 2 * np.exp(-2 * 0.8 * 3)


@pytest.mark.slow
def test_a_state_knows_its_ensemble():
    """Without another ensemble the own one is taken; another effective rank has the same state."""
    ensemble = _modes(0.6, 0.25)
    state = stationary(ensemble, Linear(), 0.5, nodes=41, num_lags=129)
    own, given = dimension(state, nodes=16), dimension(state, ensemble, nodes=16)
    assert own.phi == given.phi and own.x == given.x
    assert dimension(state, _modes(0.6, 1e9), nodes=16).phi > 1.2 * own.phi
    lags = jnp.array([0.0, 1.0])
    pairs = (pair_covariance(state, e, lags, nodes=16) for e in (None, ensemble))
    np.testing.assert_array_equal(*(found.phi for found in pairs))


# --- gradients, failures ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_gradients():
    def total(parameters):
        high, load, sigma = parameters
        ensemble = RandomModes(jnp.stack([high, jnp.ones_like(high)]), load=load)
        found = dimension(stationary(ensemble, Tanh(), sigma, nodes=201, num_lags=257), ensemble)
        return jnp.log(found.phi) + 2 * jnp.log(found.x)

    point, step = jnp.array([2.5, 0.5, 0.3]), 1e-4
    exact = jax.jit(jax.grad(total))(point)
    sides = jax.jit(jax.vmap(total))(point[None] + step * jnp.concatenate([jnp.eye(3), -jnp.eye(3)]))
    np.testing.assert_allclose(exact, (sides[:3] - sides[3:]) / (2 * step), rtol=1e-4)


@pytest.mark.slow
def test_what_is_not_known_is_not_converged():
    ensemble = IID(3.0)
    poor = stationary(ensemble, Tanh(), num_lags=81)
    assert poor.converged and not dimension(poor, ensemble).converged
    short = dimension(stationary(ensemble, Tanh(), max_lag=6.0), ensemble)
    assert not short.converged and short.residual > 1e-3
    few = dimension(stationary(ensemble, Tanh()), ensemble, nodes=16)
    assert not few.converged
    rest = dimension(stationary(IID(0.5), Tanh()), IID(0.5))
    assert np.isnan(rest.phi) and np.isnan(rest.x) and not rest.converged
    # The state of another ensemble.
    wrong = dimension(stationary(ensemble, Tanh()), IID(4.0))
    assert np.isnan(wrong.phi) and not wrong.converged


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: dimension(s, jnp.eye(3)), "`ensemble` must"),
        (lambda s: dimension(s, IID(0.5), nodes=8), "`nodes` must"),
        (lambda s: pair_covariance(s, IID(0.5), 1.0), "`lags` must"),
        (lambda s: pair_covariance(s, IID(0.5), [np.nan]), "`lags` must"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call(stationary(IID(0.5), Linear(), 0.5))


# --- row gains ----------------------------------------------------------------------------------------------------

SPREAD = Discrete([0.5, 1.0, 2.0], [0.3, 0.4, 0.3])


@pytest.mark.slow
def test_equal_gains_are_part_of_the_strength():
    alike = stationary(_modes(3.0, 0.5), Tanh())
    gained = stationary(_modes(1.5, 0.5), Tanh(), row_gains=Discrete([2.0, 2.0]))
    assert gained.converged
    for name in ("lags", "c_x", "c_phi", "variance", "decay_rate"):
        np.testing.assert_allclose(getattr(gained, name), getattr(alike, name), rtol=1e-9)
    expected = dimension(alike, _modes(3.0, 0.5))
    for z_scored in (False, True):
        found = dimension(gained, _modes(1.5, 0.5), z_scored=z_scored)
        np.testing.assert_allclose([found.phi, found.x], [expected.phi, expected.x], rtol=1e-7)


@pytest.mark.slow
def test_another_point_compiles_nothing():
    """Another strength, rank, or transfer parameter; and one program gives both rules of a single point."""
    for g in (2.0, 3.0):
        alone = dimension(stationary(IID(g), Tanh()), _modes(g, 0.5))
        with compilations() as programs:
            dimension(stationary(IID(1.1 * g), Tanh()), _modes(1.1 * g, 0.25))
    assert not programs
    at_once = _with_modes(np.array([3.0]), np.array([0.5]))
    np.testing.assert_allclose([alone.phi, alone.x], [at_once.phi[0], at_once.x[0]], rtol=1e-9)
    np.testing.assert_allclose(alone.residual, at_once.residual[0], rtol=0.1)


@pytest.mark.slow
def test_equation_of_the_field():
    """(1 + w^2) C_u = g^2 <C^phi>, and each gain's averages by a quadrature of its own."""
    g = 2.0
    state = stationary(IID(g), Tanh(), row_gains=SPREAD)
    assert state.converged
    gains, weights = (np.asarray(a) for a in (SPREAD.values, SPREAD.weights))
    w, mean_square = np.array([0.0, 0.5, 2.0]), weights @ gains**2
    np.testing.assert_allclose((1 + w**2) * state.spectrum_x(w) / mean_square, g**2 * state.spectrum_phi(w), rtol=1e-6)
    np.testing.assert_allclose(state.c_phi, weights @ state.units.c_phi, rtol=1e-12)
    z = np.linspace(-9, 9, 801)
    weight = np.exp(-(z**2) / 2)
    for gain, beta, c_phi, c_x in zip(gains, state.units.beta, state.units.c_phi, state.units.c_x, strict=True):
        x = gain * np.sqrt(float(state.variance) / mean_square) * z
        np.testing.assert_allclose(beta, np.average(1 / np.cosh(x) ** 2, weights=weight), rtol=1e-6)
        np.testing.assert_allclose(c_phi[0], np.average(np.tanh(x) ** 2, weights=weight), rtol=1e-6)
        np.testing.assert_allclose(c_x[0], np.average(x**2, weights=weight), rtol=1e-9)
    rest = stationary(IID(0.5), Tanh(), row_gains=SPREAD)
    np.testing.assert_allclose(rest.decay_rate, np.sqrt(1 - 0.25 * mean_square), rtol=1e-12)
    assert rest.units.c_x.shape == rest.units.c_phi.shape == (3, rest.lags.size) and np.all(rest.units.c_x == 0)


@pytest.mark.slow
@pytest.mark.parametrize("ensemble", [IID(1.0), RandomModes.flat(1.0)], ids=["iid", "modes"])
def test_unlike_units_against_samples(ensemble):
    """Sums over pairs of the sampled (1 - Gamma S J)^{-1} c_0 (1 - Gamma S J)^{-dagger}, at two frequencies."""
    n, seeds = 500, 6
    gains, weights = (np.asarray(a) for a in (SPREAD.values, SPREAD.weights))
    beta, own = np.array([0.6, 0.8, 0.6]), np.array([[1.0, 0.5, 0.2], [0.3, 1.0, 0.6]])
    W2_phi, W2_x = np.array([1.0, 2.0, 0.5]), np.array([2.0, 0.7, 0.3])
    w = np.array([1.1, 0.4])
    slope = gains * beta
    means = own @ weights / (1 - weights @ slope**2 / (1 + w**2))  # over all units
    c = own + means[:, None] * slope**2 / (1 + w[:, None] ** 2)
    C1, C2 = (np.append(c[k], means[k] / (1 + w[k] ** 2)) for k in range(2))  # with the spectrum of u

    units = Units(SPREAD, jnp.ones((3, 5)), jnp.ones((3, 5)), jnp.asarray(beta))
    pairs = unlike(units, ensemble, jnp.asarray(W2_phi), jnp.asarray(W2_x))
    single = np.array([weights @ (W2_phi**2 * c[0] * c[1]), weights @ (W2_x**2 * gains**4) * C1[-1] * C2[-1]])
    theory = single + np.asarray(pairs.added(*w, *pairs.response(jnp.asarray(w)), jnp.asarray(C1), jnp.asarray(C2)))

    index = np.repeat(np.arange(3), (weights * n).round().astype(int))
    found = []
    for seed in range(seeds):
        J = np.asarray(ensemble.sample(n, key=jax.random.key(seed)).dense())
        phi, x = [], []
        for k in range(2):
            F = np.linalg.inv(np.eye(n) - (slope[index] / (1 + 1j * w[k]))[:, None] * J)
            C = (F * own[k, index]) @ F.conj().T
            phi.append(W2_phi[index][:, None] * C)
            x.append((W2_x * gains)[index][:, None] * (J @ C @ J.T / (1 + w[k] ** 2)) * gains[index])
        found.append([np.sum(A[0] * A[1].T).real / n for A in (phi, x)])
    found = np.array(found)
    error = found.std(0, ddof=1) / np.sqrt(seeds)
    assert np.all(error < 0.05 * theory)
    assert np.all(theory > 1.5 * single)  # so that pairs matter
    assert np.all(abs(found.mean(0) - theory) < 4 * error + 2 / n * theory)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("noise", {"noise": 0.1}),
        ("row_gains", {"row_gains": [1.0, 2.0]}),
        ("row_gains", {"ensemble": DeepHebbian(load=1.0, hetero=(1.2,))}),
    ],
)
def test_what_is_not_solved_with_row_gains(name, arguments):
    with pytest.raises(ValueError, match=f"`{name}` must"):
        stationary(**{"ensemble": IID(2.0), "transfer": Tanh(), "row_gains": SPREAD, **arguments})


def test_bad_row_gains():
    with pytest.raises(ValueError, match="`row_gains` must"):
        stationary(IID(2.0), Tanh(), row_gains=Discrete([1.0, 0.0]))
    with pytest.raises(ValueError, match="`ensemble` must"):
        dimension(stationary(IID(2.0), Tanh(), row_gains=SPREAD), DeepHebbian(load=1.0, hetero=(1.2,)))
