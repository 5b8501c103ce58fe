"""Fixed points for N -> infinity: exact cases, branches, stability, sampled networks, gradients, failures."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq, fsolve
from scipy.stats import norm

from jaxnets import Discrete
from jaxnets.couplings import IID, DeepHebbian, Elliptic, LowRank, RandomModes, SingularModes
from jaxnets.meanfield import Input, static_stability, static_state, static_states
from jaxnets.meanfield.static.line import half_plane, number_missed
from jaxnets.meanfield.static.outliers import order_parameter_map
from jaxnets.meanfield.static.state import mismatch
from jaxnets.spectra import outliers
from jaxnets.transfer import Erf, Linear, ReLU, Tanh

KEY = jax.random.key(0)


def gauss(f, variance, mean=0.0):
    """<f(mean + sqrt(variance) z)> by adaptive quadrature, split at 0 where f may have a kink."""
    sd = np.sqrt(variance)
    split = np.clip(-mean / sd, -12, 12)
    parts = [quad(lambda z: f(mean + sd * z) * norm.pdf(z), a, b)[0] for a, b in ((-12, split), (split, 12))]
    return sum(parts)


def slope(x):
    return 1 - np.tanh(x) ** 2


# --- exact cases ------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("overlap", [2.0, *(pytest.param(x, marks=pytest.mark.slow) for x in (1.05, 20.0))])
def test_one_mode_alone(overlap):
    """kappa = O kappa <phi'>, and the outlier O <phi' + x phi''> in its direction."""
    state = static_state(IID(0.0) + LowRank(overlap), Tanh(), guess_kappa=overlap)
    assert state.converged
    variance = brentq(lambda v: overlap * gauss(slope, v) - 1, 1e-4, 1e4, xtol=1e-13)
    np.testing.assert_allclose(state.kappa, [np.sqrt(variance)], rtol=1e-8)
    np.testing.assert_allclose(state.rate_power, gauss(lambda x: np.tanh(x) ** 2, variance), rtol=1e-8)
    radial = overlap * gauss(lambda x: slope(x) * (1 - 2 * x * np.tanh(x)), variance)
    found = static_stability(state)
    np.testing.assert_allclose(found.outliers[0], radial, rtol=1e-7, atol=1e-9)
    assert found.stable and found.converged


@pytest.mark.slow
def test_mode_near_onset():
    # <phi'> = 1 - kappa^2 + 2 kappa^4 = 1 / O at O = 1 + e: kappa^2 = e + e^2 + ...
    for excess in (0.02, 0.005):
        state = static_state(IID(0.0) + LowRank(1 + excess), Tanh(), guess_kappa=0.2, guess_variance=0.01)
        np.testing.assert_allclose(state.kappa[0] ** 2 / excess, 1, atol=1.5 * excess)


@pytest.mark.slow
def test_erf_has_closed_forms():
    g, mu2 = 1.3, 0.4
    state = static_state(IID(g) + LowRank(0.0), Erf(), Input(variance=mu2))
    V = float(state.variance)
    np.testing.assert_allclose(state.response, 1 / np.sqrt(1 + np.pi * V / 2), rtol=1e-11)
    np.testing.assert_allclose(state.rate_power, 2 / np.pi * np.arcsin(V / (V + 2 / np.pi)), rtol=1e-11)
    np.testing.assert_allclose(V, mu2 + g**2 * state.rate_power, rtol=1e-11)


@pytest.mark.slow
@pytest.mark.parametrize("s", [-0.5, 0.0, 0.6])
def test_linear_networks(s):
    """x = (1 - J)^{-1} I: S solves S (1 - s g^2 S) = 1, and <x^2> = <x>^2 + (...)."""
    g, mean, variance = 0.6, 0.3, 0.2
    state = static_state(Elliptic(g, s) + LowRank(0.0), Linear(), Input(mean=mean, variance=variance))
    S = 2 / (1 + np.sqrt(1 - 4 * s * g**2))
    np.testing.assert_allclose(state.response, S, rtol=1e-11)
    # x = S h, so that <x> = S mean and <h^2> = mean^2 + variance + g^2 <x^2>.
    np.testing.assert_allclose(state.rate_power, S**2 * (mean**2 + variance) / (1 - g**2 * S**2), rtol=1e-10)
    np.testing.assert_allclose(state.rate, S * mean, rtol=1e-11)
    np.testing.assert_allclose(state.bulk, g**2 * S**2, rtol=1e-10)


@pytest.mark.slow
def test_relu_by_hand():
    """Excitation against inhibition: mean and variance of the field, with closed forms of <phi> and <phi^2>."""
    J0, g, mean = -1.5, 1.0, 1.0

    def moments(m, v):
        sd, active = np.sqrt(v), norm.cdf(m / np.sqrt(v))
        rate = m * active + sd * norm.pdf(m / sd)
        return rate, (m**2 + v) * active + m * sd * norm.pdf(m / sd), active

    def equations(y):
        rate, power, _ = moments(*y)
        return y[0] - mean - J0 * rate, y[1] - 0.1 - g**2 * power

    m, v = fsolve(equations, (0.3, 0.6), xtol=1e-13)
    rate, power, active = moments(m, v)
    state = static_state(IID(g) + LowRank(J0, noise=0.0, uniform=True), ReLU(), Input(mean=mean, variance=0.1))
    assert state.converged
    for found, exact in ((state.mean, m), (state.variance, v), (state.rate, rate), (state.rate_power, power)):
        np.testing.assert_allclose(found, exact, rtol=1e-9)
    np.testing.assert_allclose(state.response, active, rtol=1e-9)
    np.testing.assert_allclose(static_stability(state).edge, g * np.sqrt(active), rtol=1e-7)


@pytest.mark.slow
def test_means_of_loadings():
    """m = a + s u and n = b + c u + w: kappa = <n phi> = b <phi> + c s kappa <phi'>, field of mean a kappa."""
    a, s, b, c, g = 1.2, 0.8, 0.8, 0.7, 0.5
    state = static_state(IID(g) + LowRank(np.outer([a, s], [b, c]), noise=0.0, uniform=True), Tanh(), Input(mean=0.1))
    assert state.converged
    kappa = float(state.kappa[0]) / a
    mean, variance = 0.1 + a * kappa, (s * kappa) ** 2 + g**2 * float(state.rate_power)
    np.testing.assert_allclose([state.mean, state.variance], [mean, variance], rtol=1e-9)
    np.testing.assert_allclose(state.rate_power, gauss(lambda x: np.tanh(x) ** 2, variance, mean), rtol=1e-9)
    exact = b * gauss(np.tanh, variance, mean) + c * s * kappa * gauss(slope, variance, mean)
    np.testing.assert_allclose(kappa, exact, rtol=1e-9)


@pytest.mark.slow
def test_reaction_of_symmetric_couplings():
    """The law of x for r != 0, by scipy: x - s g^2 S phi(x) = h, and the averages over h."""
    g, s, mean, extra = 0.7, 0.6, 0.5, 0.2
    state = static_state(Elliptic(g, s) + LowRank(0.0), Tanh(), Input(mean=mean, variance=extra))
    assert state.converged
    r = s * g**2 * float(state.response)

    def x_of(h):
        return brentq(lambda x: x - r * np.tanh(x) - h, h - 1, h + 1, xtol=1e-14)

    V = extra + g**2 * float(state.rate_power)
    np.testing.assert_allclose(state.rate_power, gauss(lambda h: np.tanh(x_of(h)) ** 2, V, mean), rtol=1e-8)
    np.testing.assert_allclose(
        state.response, gauss(lambda h: slope(x_of(h)) / (1 - r * slope(x_of(h))), V, mean), rtol=1e-8
    )


# --- branches ---------------------------------------------------------------------------------------------------
@pytest.mark.slow
def test_phase_diagram_of_one_mode():
    """tanh: the structured states appear at O = 1 whatever g < 1; V depends on O alone, <phi'> = 1 / O."""
    g = 0.8
    below = static_states(IID(g) + LowRank(0.98), Tanh(), key=KEY, num_starts=16)
    assert below.counts.shape == (1,) and below.state.variance[0] == 0 and below.stability.stable[0]
    above = static_states(IID(g) + LowRank(1.02), Tanh(), key=KEY, num_starts=16)
    np.testing.assert_array_equal(above.stability.stable, [False, True, True])
    np.testing.assert_allclose(above.state.kappa[1], -above.state.kappa[2], rtol=1e-7)
    # kappa^2 = V - g^2 <phi^2> with V = e + e^2 and <phi^2> = 1 - 1/O = e - e^2.
    np.testing.assert_allclose(above.state.kappa[2, 0] ** 2 / (0.02 * (1 - g**2)), 1, atol=0.1)
    np.testing.assert_allclose(below.stability.outliers[0, 0], 0.98, rtol=1e-9)
    np.testing.assert_allclose(above.stability.outliers[0, 0], 1.02, rtol=1e-9)


@pytest.mark.slow
def test_structured_state_becomes_chaotic():
    """g^2 <phi'^2> = 1 with V set by O; beside it, at larger g, the unstructured state, unstable along the mode."""
    overlap = 3.0
    V = brentq(lambda v: overlap * gauss(slope, v) - 1, 1e-4, 1e4, xtol=1e-13)
    onset = 1 / np.sqrt(gauss(lambda x: slope(x) ** 2, V))
    for g, stable in ((onset - 1e-4, True), (onset + 1e-4, False)):
        found = static_states(IID(g) + LowRank(overlap), Tanh(), key=KEY, num_starts=24)
        assert found.counts.shape == (4,) and found.failed == 0
        np.testing.assert_array_equal(found.stability.stable, [False, False, stable, stable])
        np.testing.assert_allclose(found.state.variance[2:], V, rtol=1e-7)
        np.testing.assert_allclose(found.stability.edge, np.sqrt(found.state.bulk), rtol=1e-6)
        np.testing.assert_allclose(found.stability.outliers[1, 0], overlap * found.state.response[1], rtol=1e-8)


@pytest.mark.slow
def test_two_modes():
    """O = diag(a, b), a > b > 1: pure states +-, those of b unstable towards a at z = a / b, and no mixed ones."""
    found = static_states(IID(0.5) + LowRank(np.diag([2.0, 1.7])), Tanh(), key=KEY, num_starts=32)
    assert found.counts.shape == (5,)
    np.testing.assert_array_equal(found.stability.stable, [False, False, False, True, True])
    np.testing.assert_allclose(found.stability.outliers[:, 0], [2, 2 / 1.7, 2 / 1.7, 1.7 / 2, 1.7 / 2], rtol=1e-8)
    assert np.all(np.abs(found.state.kappa[1:3, 0]) < 1e-8) and np.all(np.abs(found.state.kappa[3:, 1]) < 1e-8)


@pytest.mark.slow
def test_ring():
    """O = a 1: a ring of states of one radius, marginal along it, which an input selects."""
    ensemble = IID(0.5) + LowRank(2 * np.eye(2))
    found = static_states(ensemble, Tanh(), key=KEY, num_starts=8)
    radius = np.linalg.norm(found.state.kappa[1:], axis=-1)
    assert len(radius) == 7
    np.testing.assert_allclose(radius, radius[0], rtol=1e-7)
    np.testing.assert_allclose(found.stability.outliers[1:, 0], 1, rtol=1e-7)
    assert not np.any(found.stability.stable)
    driven = static_state(ensemble, Tanh(), Input(left=jnp.array([0.06, 0.08])))
    np.testing.assert_allclose(driven.kappa[1] / driven.kappa[0], 4 / 3, rtol=1e-9)
    assert static_stability(driven).stable


# --- stability --------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("mu", [1.4, 0.9 + 1.1j])
def test_outliers_at_rest(mu):
    """At x = 0 an eigenvalue mu of O has its outlier at mu + s g^2 / mu; also as the spectra room finds it."""
    g, s = 0.5, 0.6
    overlaps = np.array([[np.real(mu), -np.imag(mu)], [np.imag(mu), np.real(mu)]])
    ensemble = Elliptic(g, s) + LowRank(overlaps)
    rest = static_state(ensemble, Tanh(), guess_kappa=0.0, guess_variance=1e-3)
    assert rest.converged and rest.variance == 0
    S = float(rest.response)
    np.testing.assert_allclose(S, 2 / (1 + np.sqrt(1 - 4 * s * g**2)), rtol=1e-10)
    found = static_stability(rest)
    np.testing.assert_allclose(found.edge, g * (1 + s), rtol=1e-6)
    np.testing.assert_allclose(found.outliers[0], mu + s * g**2 / mu, rtol=1e-6)
    np.testing.assert_allclose(found.outliers[0].real, outliers(ensemble).values[0].real, rtol=1e-6)


@pytest.mark.slow
def test_rightmost_of_a_pair_and_another():
    """At rest mu + s g^2 / mu: the pair is the rightmost, though mu and its place at z = 1 are further left."""
    g, s = 0.9, -0.8
    overlaps = np.zeros((3, 3))
    overlaps[0, 0], overlaps[1:, 1:] = 1.0, [[0.9, -1.2], [1.2, 0.9]]
    rest = static_state(Elliptic(g, s) + LowRank(overlaps), Tanh(), guess_kappa=0.0, guess_variance=1e-3)
    found = static_stability(rest)
    mu = np.array([0.9 + 1.2j, 0.9 - 1.2j, 1.0])
    np.testing.assert_allclose(found.outliers[:3], mu + s * g**2 / mu, rtol=1e-8)
    assert found.missed == 0 and found.converged and found.stable
    np.testing.assert_allclose(found.rightmost, found.outliers[0])
    assert np.all(np.isnan(found.outliers[3:]))


@pytest.mark.slow
def test_unstable_outlier_far_from_the_guess():
    """Beside a bulk that is stable, one that Newton's method from z = 1 does not reach.

    D(1) < 0 and D(inf) = 1: an odd number of real zeros beyond 1.
    """
    ensemble = Elliptic(1.134, 0.78) + LowRank(np.array([[4.134, 1.562], [-1.172, -2.006]]))
    inp = Input(-0.087, 0.00185, left=-0.163, right=-0.04)
    state = static_state(ensemble, Tanh(), inp, guess_kappa=-0.326)
    found = static_stability(state)
    assert state.converged and found.converged and found.edge < 1
    gains = Discrete(Tanh().slope(state.x), state.weights)
    M = order_parameter_map(state, gains, jnp.array(1.0 + 0j), state.response.astype(complex))
    assert np.linalg.det(np.eye(4) - np.asarray(M)).real < 0
    assert not found.stable and found.rightmost.real > 1 and found.missed == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "overlaps", [np.array([[0.8, 1.0], [0.0, 0.8]]), 0.8 * np.eye(2), np.diag([0.8, 0.8 + 1e-3]), np.diag([40.0, 0.54])]
)
def test_zeros_are_counted_with_their_multiplicity(overlaps):
    rest = static_state(IID(0.5) + LowRank(overlaps), Tanh(), guess_kappa=0.0, guess_variance=1e-3)
    found = static_stability(rest)
    assert found.missed == 0 and found.converged
    np.testing.assert_allclose(found.rightmost, np.max(np.diag(overlaps)), rtol=1e-6)


@pytest.mark.slow
def test_what_is_missed_is_counted():
    """Of three zeros known, one or a pair is taken away from the list."""
    overlaps = np.zeros((3, 3))
    overlaps[0, 0], overlaps[1:, 1:] = 1.0, [[0.9, -1.2], [1.2, 0.9]]
    state = static_state(Elliptic(0.9, -0.8) + LowRank(overlaps), Tanh(), guess_kappa=0.0, guess_variance=1e-3)
    gains = Discrete(Tanh().slope(state.x), state.weights)
    line = eqx.filter_jit(half_plane)(state, gains, jnp.array(0.18))
    mu = jnp.array([0.9 + 1.2j, 0.9 - 1.2j, 1.0])
    z = mu - 0.8 * 0.81 / mu
    for kept in ([0, 1, 2], [0, 1], [2], []):
        known = jnp.full(3, jnp.nan + 0j).at[jnp.array(kept, int)].set(z[jnp.array(kept, int)])
        assert number_missed(line, known, jnp.ones(3)) == 3 - len(kept)


def _at_one(ensemble, transfer, inp):
    """M(1), and what it must be: 1 - (Jacobian of the static equations) in the coordinates of M."""
    state = static_state(ensemble, transfer, inp)
    assert state.converged
    gains = Discrete(transfer.slope(state.x), state.weights)
    M = eqx.filter_jit(order_parameter_map)(state, gains, jnp.array(1.0 + 0j), state.response.astype(complex))
    y = jnp.concatenate([state.kappa, jnp.stack([state.rate_power, state.response])])
    jacobian = eqx.filter_jit(jax.jacfwd(mismatch))(y, state.problem, 100)
    c = np.sqrt(float(state.rate_power))
    scale = np.concatenate([np.ones(state.kappa.shape), [2 * c, 1 / c]])
    return M, (np.eye(len(y)) - np.asarray(jacobian)) * scale[None] / scale[:, None]


MIXED = Input(mean=0.3, variance=0.2, left=0.3, right=-0.4)


@pytest.mark.slow
def test_zero_frequency_is_the_static_equation():
    """A static change of the order parameters is an eigenvector at z = 1: with a reaction, means and all inputs."""
    ensemble = Elliptic(0.6, 0.5) + LowRank(np.array([[0.8, 0.5], [-0.3, 0.9]]), noise=0.7, uniform=True)
    M, exact = _at_one(ensemble, Tanh(), MIXED)
    np.testing.assert_allclose(M, exact, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(
    "random", [DeepHebbian(0.3, 0.3, (0.4,)), RandomModes.two_valued(0.9, 0.3, 0.4, load=0.7, overlap=0.6)]
)
@pytest.mark.parametrize("transfer", [Tanh(), ReLU()])
def test_zero_frequency_of_other_ensembles(random, transfer):
    """These have kappa(S) that varies, whose derivative is 2 u_1."""
    M, exact = _at_one(0.8 * random + LowRank(np.array([[0.6, 0.2], [-0.3, 0.5]]), noise=0.7), transfer, MIXED)
    np.testing.assert_allclose(M, exact, atol=1e-8)


# --- sampled networks -------------------------------------------------------------------------------------------


def sampled(random, low_rank, transfer, inp, theory, n, key):
    """kappa, <x>, <x^2>, <phi^2> and eigenvalues at a fixed point of one network whose loadings have exact moments.

    Without that the overlaps fluctuate by 1 / sqrt(n), and kappa much more where it depends steeply on them.
    """
    keys = jax.random.split(key, 3)
    J = np.asarray(random.sample(n, key=keys[0]).dense())
    K = low_rank.overlaps.shape[0]
    free = np.concatenate([np.ones((n, 1)), np.asarray(jax.random.normal(keys[1], (n, 2 * K + 1)))], 1)
    q, r = np.linalg.qr(free)
    exact = np.sqrt(n) * q * np.sign(np.diag(r))
    U, W, noise = exact[:, 1 : K + 1].copy(), exact[:, K + 1 : 2 * K + 1], exact[:, -1]
    if low_rank.uniform:
        U[:, 0] = 1
    V = U @ np.asarray(low_rank.overlaps).T + float(low_rank.noise) * W
    J = J + U @ V.T / n
    current = float(inp.mean) + U @ np.broadcast_to(inp.left, K) + W @ np.broadcast_to(inp.right, K)
    current = current + np.sqrt(float(inp.variance)) * noise
    x = current + U @ np.asarray(theory.kappa)
    for _ in range(400):
        x = x + 0.3 * (J @ np.asarray(transfer(jnp.asarray(x))) + current - x)
    for _ in range(3):
        G = np.asarray(transfer.slope(jnp.asarray(x)))
        missed = J @ np.asarray(transfer(jnp.asarray(x))) + current - x
        x = x - np.linalg.solve(J * G[None] - np.eye(n), missed)
    assert np.max(np.abs(missed)) < 1e-6
    phi = np.asarray(transfer(jnp.asarray(x)))
    z = np.linalg.eigvals(J * np.asarray(transfer.slope(jnp.asarray(x)))[None])
    numbers = np.concatenate([V.T @ phi / n, [np.mean(x), np.mean(x**2), np.mean(phi**2)]])
    return numbers, z[np.argsort(-z.real)]


CASES = {
    "independent": (IID(0.6), LowRank(1.5), Tanh(), MIXED),
    "unequal loadings": (IID(0.5), LowRank(np.outer([1.2, 0.8], [0.8, 0.7]), 0.5, True), Tanh(), Input(0.1, 0.1)),
    "rotation": (IID(0.5), LowRank(np.array([[1.6, -0.5], [0.5, 1.6]])), Tanh(), Input(left=jnp.array([0.6, 0.0]))),
    "balance": (IID(1.0), LowRank(-2.5, 0.0, True), ReLU(), Input(1.0, 0.1)),
    "excitation": (IID(0.5), LowRank(0.6, 0.0, True), ReLU(), Input(0.2, 0.3)),
    "symmetric": (Elliptic(0.4, 0.7), LowRank(1.4), Tanh(), Input(0.3, 0.2)),
    "antisymmetric": (Elliptic(0.6, -0.7), LowRank(1.7), Tanh(), Input(0.3, 0.2)),
    "modes": (RandomModes.flat(0.5, 0.5, 0.7), LowRank(1.5), Tanh(), Input(0.3, 0.2, left=0.3)),
    "sequence": (DeepHebbian(0.3, 0.2, (0.4,)), LowRank(1.5), Tanh(), Input(0.3, 0.2, left=0.3)),
    "singular": (SingularModes(jnp.array([0.2, 0.6, 0.9])), LowRank(1.5), Tanh(), Input(0.3, 0.2, left=0.3)),
}


def _compare(name, n, samples):
    random, low_rank, transfer, inp = CASES[name]
    state = static_state(random + low_rank, transfer, inp)
    found = static_stability(state)
    assert state.converged and found.converged
    mean_x, power_x = state.average(state.x), state.average(state.x**2)
    theory = np.concatenate([state.kappa, np.array([mean_x, power_x, state.rate_power])])
    runs = [sampled(random, low_rank, transfer, inp, state, n, key) for key in jax.random.split(KEY, samples)]
    numbers = np.stack([numbers for numbers, _ in runs])
    return theory, numbers, found, np.stack([z for _, z in runs])


def _agree(theory, numbers, n):
    """Means over samples within four standard errors and the bias of order 1 / n; one sample within 5 / sqrt(n)."""
    error = np.std(numbers, axis=0, ddof=1) / np.sqrt(len(numbers))
    size = 1 + np.abs(theory)
    assert np.all(np.abs(np.mean(numbers, 0) - theory) < 4 * error + 4 / n * size), (theory, np.mean(numbers, 0), error)
    assert np.all(np.abs(numbers - theory[None]) < 5 / np.sqrt(n) * size[None])


@pytest.mark.slow
def test_one_sampled_network():
    theory, numbers, found, z = _compare("unequal loadings", 300, 6)
    _agree(theory, numbers, 300)
    outlier = z[:, 0].real
    np.testing.assert_allclose(
        np.mean(outlier), found.outliers[0].real, atol=4 * np.std(outlier) / np.sqrt(6) + 4 / 300
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_sampled_networks(name):
    n = 800
    theory, numbers, found, z = _compare(name, n, 8)
    _agree(theory, numbers, n)
    for outlier in found.outliers[jnp.isfinite(found.outliers.real)]:
        nearest = np.argmin(np.abs(z - complex(outlier)), axis=1)
        at = z[np.arange(8), nearest]
        error = 4 * np.std(at) / np.sqrt(8) + 4 / n
        np.testing.assert_allclose(np.mean(at), complex(outlier), atol=error)
        z = np.stack([np.delete(row, k) for row, k in zip(z, nearest, strict=True)])
    # The edge of n eigenvalues is blurred by n^{-1/2} at most (a disc), in units of its radius.
    np.testing.assert_allclose(np.mean(np.max(z.real, axis=1)), found.edge, atol=2.5 / np.sqrt(n))


# --- derivatives, transformations, failures ---------------------------------------------------------------------


@pytest.mark.slow
def test_gradients():
    def numbers(p):
        ensemble = Elliptic(p[0], p[1]) + LowRank(p[2] * jnp.array([[1.0, 0.3], [-0.2, 0.8]]), p[3])
        inp = Input(p[4], p[5], left=p[6], right=p[7])
        state = static_state(ensemble, Tanh(), inp)
        return jnp.stack([*state.kappa, state.variance, state.response, state.bulk, state.average(state.x**2)])

    p = jnp.array([0.6, 0.4, 1.5, 0.8, 0.2, 0.1, 0.15, 0.1])
    numbers = jax.jit(numbers)
    exact = jax.jit(jax.jacrev(numbers))(p)
    h = 1e-4
    steps = h * jnp.eye(len(p))
    central = jnp.stack([(numbers(p + step) - numbers(p - step)) / (2 * h) for step in steps], axis=1)
    np.testing.assert_allclose(exact, central, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_gradient_of_the_rest_state():
    """<phi^2> = variance / (1 - g^2) to first order in the input, also at 0."""
    power = lambda v: static_state(IID(0.5) + LowRank(0.3), Tanh(), Input(variance=v)).rate_power
    np.testing.assert_allclose(jax.grad(power)(0.0), 1 / 0.75, rtol=1e-9)
    kappa = lambda c: static_state(IID(0.5) + LowRank(0.3), Tanh(), Input(left=c)).kappa[0]
    np.testing.assert_allclose(jax.grad(kappa)(0.0), 0.3 / 0.7, rtol=1e-9)


@pytest.mark.slow
def test_jit_vmap_is_the_loop():
    @jax.jit
    def kappa(g):
        state = static_state(IID(g) + LowRank(2.0), Tanh())
        return jnp.stack([state.kappa[0], state.variance, state.converged.astype(float)])

    gains = jnp.linspace(0.0, 3.0, 200)
    mapped = jax.jit(jax.vmap(kappa))(gains)
    assert np.all(mapped[:, 2] == 1)
    np.testing.assert_allclose(mapped, np.stack([kappa(g) for g in gains]), rtol=1e-9, atol=1e-9)


@pytest.mark.slow
def test_failures_are_data():
    # Linear above onset: no fixed point has a finite positive variance.
    state = static_state(IID(1.2) + LowRank(0.0), Linear(), Input(variance=0.1))
    assert not state.converged
    # s g^2 > 1/4: the linear response of symmetric couplings does not exist.
    assert not static_state(Elliptic(0.9, 0.9) + LowRank(0.0), Linear(), Input(variance=0.1)).converged


def test_bad_input():
    good = IID(0.5) + LowRank(np.eye(2))
    for arguments, options, message in [
        ((Tanh(), Tanh()), {}, "`ensemble`"),
        ((good, np.tanh), {}, "`transfer`"),
        ((good, Tanh(), 0.3), {}, "`input` must be an `Input`"),
        ((good, Tanh(), Input(left=jnp.ones(3))), {}, "`left` .* 2 modes"),
        ((good, Tanh(), Input(right=jnp.ones(1))), {}, "`right` .* 2 modes"),
        ((good, Tanh()), {"guess_kappa": jnp.ones(3)}, "`guess_kappa`"),
        ((good, Tanh()), {"guess_variance": 0.0}, "`guess_variance`"),
        ((good, Tanh()), {"nodes": 10}, "`nodes`"),
    ]:
        with pytest.raises(ValueError, match=message):
            static_state(*arguments, **options)
    for values, message in [
        ({"mean": np.nan}, "`mean`"),
        ({"variance": -0.1}, "`variance`"),
        ({"left": np.inf}, "`left`"),
        ({"right": np.ones((1, 1))}, "`right`"),
    ]:
        with pytest.raises(ValueError, match=message):
            Input(**values)
    for options, message in [
        ({"num_starts": 0}, "`num_starts`"),
        ({"scale": -1.0}, "`scale`"),
        ({"same": 0.0}, "`same`"),
    ]:
        with pytest.raises(ValueError, match=message):
            static_states(good, Tanh(), key=KEY, **options)
    with pytest.raises(ValueError, match="concrete"):
        eqx.filter_jit(lambda e: static_states(e, Tanh(), key=KEY))(good)
