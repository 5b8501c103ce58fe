"""The mean field at two times: exact cases, its equations in dense algebra, checked courses, networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import i0

from jaxnets.couplings import IID, CellTypes, DeepHebbian, Elliptic, LowRank, RandomModes
from jaxnets.dynamics import RateNetwork, simulate
from jaxnets.meanfield import stationary, transient
from jaxnets.transfer import Linear, Tanh

TANH = Tanh()


def at(times, values, step=0.1):
    return np.asarray(values)[[round(t / step) for t in times]]


# --- exact cases ----------------------------------------------------------------------------------------------


def test_linear_units():
    """C(t, t) = v e^{-2t} I_0(2 g t), with an error that falls as the square of the step."""
    t, errors = np.array([1.0, 2.0, 3.0]), []
    for step in (0.1, 0.05):
        found = at(t, transient(IID(2.0), Linear(), duration=3.1, step=step, variance=1.0).variance, step)
        errors.append(found / (np.exp(-2 * t) * i0(4 * t)) - 1)
    np.testing.assert_allclose(errors[0], np.zeros(3), atol=4e-3)
    np.testing.assert_allclose(errors[0] / errors[1], np.full(3, 4.0), rtol=0.05)


def test_units_alone():
    """J = 0: the start decays, noise is an Ornstein-Uhlenbeck process from 0, inputs are filtered."""
    v, sigma, q = 0.7, 0.4, 0.3
    input = lambda t: jnp.where(t >= 1, 2.0, 0.0)  # jumps at one of the times
    run = transient(
        IID(0.0), TANH, duration=3.0, variance=v, mean=1.0, input=input, noise=sigma, input_covariance=q, replica=0.5
    )
    t = np.asarray(run.times)
    assert t.shape == (31,) and t[-1] == pytest.approx(3.0)
    both, apart = np.exp(-(t[:, None] + t)), np.exp(-np.abs(t[:, None] - t))
    answer = q * np.outer(1 - np.exp(-t), 1 - np.exp(-t)) + sigma**2 * (apart - both)
    np.testing.assert_allclose(run.c_x, answer + v * both, rtol=1e-12)
    np.testing.assert_allclose(run.c_x_replica, answer + v / 2 * both, rtol=1e-12)
    np.testing.assert_allclose(run.squared_distance(), v * np.exp(-2 * t), rtol=1e-10)
    mean = np.exp(-t) + 2 * np.where(t > 1, 1 - np.exp(-(t - 1)), 0)
    np.testing.assert_allclose(run.mean, mean[None], rtol=1e-6)  # one tenth of input e^t by three points a step
    np.testing.assert_allclose(run.second_moment, run.variance + mean**2, rtol=1e-6)


@pytest.mark.parametrize("echo", [False, True])
def test_the_equations_in_dense_algebra(echo):
    """C = G C^eta G^T with C^eta = g^2 Y, Y = C^phi + a S Y S^T and S = diag(beta) G, all as matrices."""
    ensemble = DeepHebbian(0.8, 0.0, (1.7,)) if echo else IID(1.7)
    run = transient(ensemble, TANH, duration=3.1, variance=0.4, weights=[0.3, 0.7], input=[1.0, -0.5])
    with pytest.raises(ValueError, match="`replica`"):
        run.squared_distance()
    n, h = run.times.size, 0.1
    E = np.exp(-h)
    late = 1 - (1 - E) / h
    step_back = np.eye(n, k=-1)
    forced = late * np.eye(n) + (1 - E - late) * step_back
    forced[0] = 0
    G = np.linalg.solve(np.eye(n) - E * step_back, forced)
    S, Y = np.asarray(run.beta)[:, None] * G, np.asarray(run.c_phi)
    a = 1.7**2 if echo else 0.0
    for _ in range(60):
        Y = np.asarray(run.c_phi) + a * S @ Y @ S.T
    c = (0.8 if echo else 1.0) * 1.7**2 * G @ Y @ G.T + 0.4 * np.exp(-h * (np.arange(n)[:, None] + np.arange(n)))
    np.testing.assert_allclose(run.c_x, c, rtol=2e-4)
    # <phi phi> of two classes, by points.
    z, w = np.polynomial.hermite_e.hermegauss(60)
    w = w / w.sum()
    for s, t in ((20, 20), (25, 10), (31, 30)):
        pair = np.linalg.cholesky(np.asarray(run.c_x)[np.ix_([s, t], [s, t])] + 1e-14 * np.eye(2))
        mean = np.asarray(run.mean)[:, [s, t]]
        x = (
            mean[:, 0, None, None] + pair[0, 0] * z[:, None],
            mean[:, 1, None, None] + pair[1, 0] * z[:, None] + pair[1, 1] * z,
        )
        product = np.einsum("c,cij,i,j->", [0.3, 0.7], np.tanh(x[0]) * np.tanh(x[1]), w, w)
        np.testing.assert_allclose(run.c_phi[s, t], product, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.slow
def test_gradients_and_maps():
    def last(parameters):
        g, v, amplitude = parameters
        run = transient(IID(g), TANH, duration=3.0, variance=v, input=lambda t: amplitude * jnp.sin(t), replica=0.9)
        return run.squared_distance()[-1] + run.c_x[20, 10] + run.second_moment[15]

    at = jnp.array([1.6, 0.4, 0.8])
    steps = 1e-5 * np.eye(3)
    values = jax.jit(jax.vmap(last))(jnp.concatenate([at[None] + steps, at[None] - steps]))
    np.testing.assert_allclose(values[0], last(at + steps[0]), rtol=1e-12)
    np.testing.assert_allclose(jax.grad(last)(at), (values[:3] - values[3:]) / 2e-5, rtol=1e-6)


# --- published and checked courses ------------------------------------------------------------------------------


def test_growth_from_a_small_start():
    """i.i.d. couplings, g = 2, from v = .01, and a second start that is correlated .999."""
    run = transient(IID(2.0), TANH, duration=5.1, variance=0.01, replica=0.999)
    assert run.converged
    np.testing.assert_allclose(at([2, 5], run.variance), [0.06717, 1.0850], rtol=2e-4)
    np.testing.assert_allclose(at([2, 5], np.diagonal(run.c_x_replica)), [0.06710, 1.0836], rtol=2e-4)
    np.testing.assert_allclose(run.response(5.0, 4.0), run.beta[50] * np.exp(-1), rtol=1e-12)
    assert run.response(4.0, 5.0) == 0


@pytest.mark.slow
def test_courses_of_a_chaotic_network():
    """Chaos that grows, that a common step kills, and of which sines of random phases leave a part."""
    run = transient(IID(2.0), TANH, duration=40, variance=0.01, replica=0.999)
    np.testing.assert_allclose(at([10, 20, 30, 40], run.variance), [1.8650, 1.9152, 1.9210, 1.9232], rtol=2e-4)
    replica = np.diagonal(run.c_x_replica)
    np.testing.assert_allclose(at([10, 20, 30, 40], replica), [1.8578, 1.8503, 1.5417, 0.9512], rtol=1e-3)
    on = lambda t: (t >= 15) & (t < 35)
    start = dict(duration=44, variance=0.5, replica=0.9)
    run = transient(IID(2.0), TANH, input=lambda t: jnp.where(on(t), 2.0, 0.0), **start)
    np.testing.assert_allclose(at([14.9, 25, 34.9, 44], run.variance), [1.8928, 3.0315, 3.0362, 1.8265], rtol=1e-3)
    assert run.squared_distance()[349] < 2e-4
    phases = 2 * np.pi * np.arange(8) / 8
    run = transient(
        IID(2.0),
        TANH,
        weights=np.full(8, 1 / 8),
        input=lambda t: jnp.where(on(t), 3 * jnp.cos(2 * t + phases), 0.0),
        **start,
    )
    times = [5, 14.9, 16, 17, 20, 25, 30, 34.9, 36, 38, 44]
    moments = [1.5268, 1.8928, 3.0581, 2.6660, 1.8816, 1.6977, 1.6587, 1.6499, 1.1703, 1.5109, 1.8992]
    np.testing.assert_allclose(at(times, run.second_moment), moments, rtol=1e-3)
    apart = [0.2536, 0.8911, 0.7612, 0.5251, 0.3186, 0.2368, 0.2190, 0.2182, 0.2959, 0.5633, 1.1306]
    np.testing.assert_allclose(at(times, run.squared_distance() / 2), apart, rtol=3e-3)


@pytest.mark.slow
@pytest.mark.parametrize("ensemble", [IID(2.0), DeepHebbian(1.0, 0.0, (2.0,)), RandomModes.flat(2.0)])
def test_long_courses_end_in_the_stationary_state(ensemble):
    run, state = transient(ensemble, TANH, duration=80, step=0.1, variance=1.0), stationary(ensemble, TANH)
    lags = np.array([0, 10, 20, 40])
    expected = np.interp(lags / 10, state.lags, state.c_x)
    np.testing.assert_allclose(np.asarray(run.c_x)[-1, -1 - lags], expected, rtol=1e-3)
    np.testing.assert_allclose(run.beta[-1], state.beta, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("ensemble", [IID(2.0), DeepHebbian(1.0, 0.0, (2.0,))])
def test_courses_of_networks(ensemble):
    """Ten networks under an input that is switched on: means within three of their errors, finite N beside."""
    input = lambda t: jnp.where(t >= 4, 1.0, 0.0)
    run = transient(ensemble, TANH, duration=8.0, variance=0.5, input=input, replica=0.9)

    def course(key):
        key, start, other = jax.random.split(key, 3)
        net = RateNetwork(ensemble.sample(2000, key=key), TANH, input=input)
        a, b = (jax.random.normal(k, (2000,)) for k in (start, other))
        x0 = jnp.sqrt(0.5) * jnp.stack([a, 0.9 * a + jnp.sqrt(1 - 0.9**2) * b])
        x = simulate(net, x0, duration=8.0, dt=0.05, save_every=20, progress=False).states
        x = x - jnp.mean(x, -1, keepdims=True)
        return jnp.mean(x[:, 0] ** 2, -1), jnp.mean((x[:, 0] - x[:, 1]) ** 2, -1)

    samples = np.array([course(key) for key in jax.random.split(jax.random.key(5), 10)])
    mean, error = samples.mean(0), samples.std(0, ddof=1) / np.sqrt(10)
    theory = np.stack([at(range(8), run.variance), at(range(8), run.squared_distance())])
    assert np.all(np.abs(mean - theory) < 3 * error + 0.01 * theory)


# --- bad input ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change, words",
    [
        (dict(ensemble=Elliptic(1.0, 0.5)), "memory kernel"),
        (dict(ensemble=IID(1.0) + LowRank([[0.5]])), "finite-rank"),
        (dict(ensemble=CellTypes([0.5, 0.5], [[1.0, 2.0], [1.0, 1.0]])), "one cell type"),
        (dict(transfer=np.tanh), "`transfer`"),
        (dict(duration=0.0), "`duration`"),
        (dict(step=-0.1), "`step`"),
        (dict(duration=1e9), "`duration`"),
        (dict(variance=-1.0), "`variance`"),
        (dict(noise=np.nan), "`noise`"),
        (dict(replica=1.5), "`replica`"),
        (dict(weights=[0.5, 0.6]), "`weights`"),
        (dict(mean=[1.0, 2.0]), "`mean`"),
        (dict(input=[1.0, 2.0]), "`input`"),
        (dict(input=lambda t: jnp.ones(3)), "`input`"),
        (dict(input=lambda t: 1 / (t - t)), "`input`"),
        (dict(input_covariance=-1.0), "`input_covariance`"),
        (dict(input_covariance=lambda s, t: s - t), "`input_covariance`"),
    ],
)
def test_bad_arguments(change, words):
    arguments = {"ensemble": IID(1.0), "transfer": TANH, "duration": 1.0} | change
    with pytest.raises(ValueError, match=words):
        transient(**arguments)
