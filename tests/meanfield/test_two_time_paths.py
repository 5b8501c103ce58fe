"""Two-time mean field on paths: exact cases, the Gaussian closure where it holds, stationary states, networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import i1

from jaxnets.couplings import IID, CellTypes, DeepHebbian, Elliptic, LowRank, Product, RandomModes
from jaxnets.dynamics import RateNetwork, simulate
from jaxnets.meanfield import stationary_by_paths, transient, transient_by_paths
from jaxnets.transfer import Linear, Tanh

KEY, TANH = jax.random.key(0), Tanh()


def hopfield(load, strength=2.0):
    return DeepHebbian(load, strength, (0.0,))


def eigenvalues_of_patterns(load, strength):
    """Eigenvalues of J = strength xi xi^T / N and their weights: the law of Marchenko and Pastur."""
    low, high = (1 - np.sqrt(load)) ** 2, (1 + np.sqrt(load)) ** 2
    theta = np.pi * (np.arange(400) + 0.5) / 400
    x = (high + low) / 2 + (high - low) / 2 * np.cos(theta)
    weights = ((high - low) / 2 * np.sin(theta)) ** 2 / (2 * np.pi * x) * np.pi / 400
    return strength * np.append(x, 0), np.append(weights, 1 - load)


# --- exact cases ----------------------------------------------------------------------------------------------


def test_linear_symmetric_networks():
    """C(t, t) = v e^{-2t} I_1(4 g t) / (2 g t), without sampling error, with an error of the square of the step."""
    errors = []
    for step in (0.1, 0.05):
        run = transient_by_paths(
            Elliptic(1.0, 1.0), Linear(), key=KEY, duration=1.5, step=step, num_paths=160, variance=1.0
        )
        assert run.converged and run.c_x_error[-1, -1] < 1e-12
        errors.append(run.variance[-1] / (np.exp(-3) * i1(6) / 3) - 1)
    assert abs(errors[0]) < 2e-3
    np.testing.assert_allclose(errors[0] / errors[1], 4, rtol=0.2)


def test_linear_hebbian_networks():
    """Eigenvalues mu of J give C(t, s) = v <e^{(mu - 1)(t + s)}> and S(t, s) = <e^{(mu - 1)(t - s)}>."""
    mu, w = eigenvalues_of_patterns(0.5, 0.6)
    run = transient_by_paths(hopfield(0.5, 0.6), Linear(), key=KEY, duration=1.5, num_paths=160, variance=2.0)
    mean = lambda t: np.sum(w * np.exp((mu - 1) * t))
    np.testing.assert_allclose(run.c_x[15, 10], 2 * mean(2.5), rtol=2e-3)
    np.testing.assert_allclose(
        run.response([1.5, 1.5, 1.05], [0.0, 1.0, 0.5]), [mean(1.5), mean(0.5), mean(0.55)], rtol=2e-3
    )
    np.testing.assert_allclose(run.response(0.5, 1.0), 0)
    assert run.overlap is None and run.overlap_error is None


@pytest.mark.slow
def test_more_times_than_paths():
    """Numbers of distant times are independent then: a linear network has errors, and they are what they say."""
    run = transient_by_paths(Elliptic(0.5, 1.0), Linear(), key=KEY, duration=5, num_paths=160, variance=1.0)
    t = np.asarray(run.times)[1:]
    exact = np.exp(-2 * t) * i1(2 * t) / t
    assert run.converged
    np.testing.assert_array_less(np.abs(run.variance[1:] - exact), 4 * np.diagonal(run.c_x_error)[1:] + 0.01 * exact)


@pytest.mark.parametrize(
    "ensemble", [IID(2.0), pytest.param(DeepHebbian(1.0, 0.0, (2.0,)), marks=pytest.mark.slow)], ids=["iid", "shift"]
)
def test_the_gaussian_closure_without_memory_kernel(ensemble):
    """Classes with inputs, inputs of Gaussian strength and noise: `transient` has no sampling error."""
    arguments = dict(
        duration=1.5,
        variance=0.5,
        mean=[0.3, 0.0],
        weights=[0.5, 0.5],
        input=lambda t: jnp.stack([jnp.sin(3 * t), 1.0]),
    )
    arguments |= dict(noise=0.3, input_covariance=0.2)
    exact = transient(ensemble, TANH, **arguments)
    run = transient_by_paths(ensemble, TANH, key=KEY, num_paths=2000, **arguments)
    for name in ("c_x", "c_phi", "beta"):
        miss, error = np.asarray(getattr(run, name) - getattr(exact, name)), getattr(run, f"{name}_error")
        assert np.sqrt(np.mean(miss**2)) < 3 * np.sqrt(np.mean(error**2)) + 1e-3, name
    np.testing.assert_allclose(run.mean, exact.mean, atol=0.02)
    np.testing.assert_allclose(run.response(1.4, 0.7), exact.response(1.4, 0.7), rtol=0.02)
    np.testing.assert_allclose(run.kernel, np.zeros((16, 16)), atol=1e-9 if ensemble.is_memoryless() else 1e-3)


def test_a_hopfield_cue():
    """One pattern of few: m grows as m' = -m + <xi phi> says, and other paths find the same within errors."""
    ensemble = hopfield(0.05)
    runs = [
        transient_by_paths(
            ensemble, TANH, key=jax.random.key(seed), duration=2, num_paths=400, variance=0.25,
            condensed=ensemble.stored(1), cue=[0.5],
        )
        for seed in range(2)
    ]  # fmt: skip
    for run in runs:
        assert run.converged
        # Networks of 2000 units have .387(3), .711(5), .840(2); more paths .3944, .718, .847.
        np.testing.assert_allclose(np.asarray(run.overlap)[0, [0, 10, 20]], [0.3944, 0.718, 0.847], atol=0.01)
        assert np.all(run.overlap_error < 0.02)


# --- transformations ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_gradients_and_maps():
    def last(parameters):
        s, v, amplitude, cue = parameters
        ensemble = Elliptic(1.2, s) + hopfield(0.1, 1.5)
        run = transient_by_paths(
            ensemble, TANH, key=KEY, duration=1.5, num_paths=160, variance=v, noise=0.2,
            input=lambda t: amplitude * jnp.sin(2 * t), condensed=hopfield(0.1, 1.5).stored(2), cue=cue * jnp.ones(2),
        )  # fmt: skip
        return run.overlap[0, -1] + run.c_x[15, 10] + run.second_moment[-1] + run.responses[15, 3]

    at, steps = jnp.array([0.4, 0.4, 0.8, 0.5]), 1e-4 * np.eye(4)
    values = jax.jit(jax.vmap(last))(jnp.concatenate([at[None] + steps, at[None] - steps]))
    np.testing.assert_allclose(values[0], last(at + steps[0]), rtol=1e-9)
    np.testing.assert_allclose(jax.grad(last)(at), (values[:4] - values[4:]) / 2e-4, rtol=1e-4)


# --- stationary states, networks, checked courses ---------------------------------------------------------------


@pytest.mark.slow
def test_long_courses_end_in_the_stationary_state():
    ensemble = Elliptic(2.0, 0.2)
    run = transient_by_paths(ensemble, TANH, key=KEY, duration=25, step=0.2, num_paths=2000, variance=1.0)
    state = stationary_by_paths(ensemble, TANH, key=KEY, num_paths=128, period=240.0, memory=20.0)
    assert run.converged and state.converged
    lags = np.array([0, 5, 10, 20])
    expected, known = (np.interp(lags / 5, state.lags, a) for a in (state.c_x, state.c_x_error))
    # The mean over the last times, whose errors go together.
    late = np.arange(80, 126)
    found = [np.mean(np.asarray(run.c_x)[late, late - lag]) for lag in lags]
    error = [np.mean(np.asarray(run.c_x_error)[late, late - lag]) for lag in lags]
    assert np.all(np.abs(found - expected) < 3 * np.hypot(error, known) + 3e-3 * expected)
    total = 0.2 * np.sum(np.asarray(run.responses)[-1])
    np.testing.assert_allclose(total, np.sum(state.impulse) * 0.1, rtol=0.05)


@pytest.mark.slow
def test_a_limited_memory_of_responses():
    """Chaos forgets: with responses of 6 time constants the course is that with all."""
    run = lambda memory: transient_by_paths(
        Elliptic(3.0, 0.2), TANH, key=KEY, duration=12, num_paths=800, variance=1.0, memory=memory
    )
    full, short = run(None), run(6.0)
    np.testing.assert_allclose(short.c_x, full.c_x, atol=0.02 * float(full.variance[-1]))
    assert np.all(np.asarray(short.responses)[120, :56] == 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    "ensemble, times, table, error",
    [
        # Five networks of 1500 units; theory_time of this package's notes, table iii.
        (
            RandomModes.flat(2.0, overlap=0.3),
            [1, 2, 4, 6, 8, 12, 16],
            [1.456, 3.330, 5.94, 6.92, 7.26, 7.22, 7.32],
            [0.038, 0.087, 0.15, 0.22, 0.21, 0.16, 0.13],
        )
    ],
)
def test_courses_against_recorded_networks(ensemble, times, table, error):
    run = transient_by_paths(ensemble, TANH, key=KEY, duration=16, num_paths=2000, variance=1.0)
    at = [round(10 * t) for t in times]
    found, own = np.asarray(run.variance)[at], np.sqrt(np.diagonal(run.c_x_error) ** 2)[at]
    assert run.converged and np.all(np.abs(found - table) < 3 * np.hypot(own, error))


def networks(ensemble, num, n, duration, start):
    """x of some networks at whole times."""

    def course(key):
        key, own = jax.random.split(key)
        J = ensemble.sample(n, key=key)
        x0 = start(J, jax.random.normal(own, (n,)))
        return J, simulate(RateNetwork(J, TANH), x0, duration=duration, dt=0.05, save_every=20, progress=False).states

    return [course(key) for key in jax.random.split(jax.random.key(7), num)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "ensemble", [Elliptic(1.5, 0.5), RandomModes.flat(2.0, overlap=0.3)], ids=["elliptic", "modes"]
)
def test_courses_of_networks(ensemble):
    """Networks of 2000 units: means within three of their errors, finite N beside."""
    run = transient_by_paths(ensemble, TANH, key=KEY, duration=8, num_paths=1200, variance=1.0)
    runs = networks(ensemble, 6, 2000, 8.0, lambda J, z: z)
    samples = np.array([np.mean(np.asarray(x) ** 2, -1) for _, x in runs])
    mean, error = samples.mean(0), samples.std(0, ddof=1) / np.sqrt(len(samples))
    theory, own = (np.asarray(a)[::10][: len(mean)] for a in (run.variance, np.diagonal(run.c_x_error)))
    assert np.all(np.abs(mean - theory) < 3 * np.hypot(error, own) + 0.01 * theory)


# --- bad input ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change, words",
    [
        (dict(ensemble=IID(1.0) + LowRank([[0.5]])), "finite-rank"),
        (dict(ensemble=CellTypes([0.5, 0.5], [[1.0, 2.0], [1.0, 1.0]])), "one cell type"),
        (dict(transfer=np.tanh), "`transfer`"),
        (dict(key=3), "`key`"),
        (dict(duration=0.0), "`duration`"),
        (dict(variance=-1.0), "`variance`"),
        (dict(noise=np.nan), "`noise`"),
        (dict(num_paths=402), "`num_paths`"),
        (dict(num_paths=120), "`num_paths`"),
        (dict(weights=[0.5, 0.6]), "`weights`"),
        (dict(input=[1.0, 2.0]), "`input`"),
        (dict(cue=[0.5]), "`condensed`"),
        (dict(condensed=2.0), "`condensed`"),
        (dict(condensed=hopfield(0.1).stored(2), cue=[0.5]), "`cue`"),
        (dict(condensed=hopfield(0.1).stored(1), cue=[np.inf]), "`cue`"),
        (dict(memory=0.0), "`memory`"),
    ],
)
def test_bad_arguments(change, words):
    arguments = {"ensemble": IID(1.0), "transfer": TANH, "duration": 1.0, "key": KEY, "num_paths": 400} | change
    with pytest.raises(ValueError, match=words):
        transient_by_paths(**arguments)


@pytest.mark.slow
def test_single_precision():
    """Its rounding does not grow in the roots of smooth covariances."""
    with jax.enable_x64(False):
        run = transient_by_paths(Elliptic(1.5, 0.5), TANH, key=KEY, duration=6, num_paths=400, variance=1.0)
        assert run.c_x.dtype == np.float32 and run.converged
        np.testing.assert_allclose(np.asarray(run.variance)[[10, 20, 40]], [0.5205, 0.846, 1.722], rtol=0.05)


@pytest.mark.parametrize(
    "ensemble",
    [
        Elliptic(1.3, 0.4),
        RandomModes.two_valued(2.0, 1.0, 0.3, overlap=0.3),
        DeepHebbian(0.5, 0.3, (0.4, 0.2)),
        DeepHebbian(0.5, 0.3, (0.4, 0.2), symmetric=True),
        hopfield(0.3),
        IID(2.0) + 0.7 * DeepHebbian(0.5, 0.3, (0.4,)) - RandomModes.flat(0.5, overlap=1.0),
    ],
)
def test_sums_of_fractions_are_r_and_kappa(ensemble):
    """At real t; and what is stored, where one part stores patterns."""
    f, t = ensemble.feedback(), 0.31
    r, kappa = ensemble.r_and_kappa(jnp.asarray(t + 0j))
    found = f.linear * t + jnp.sum(f.weights * jnp.real(f.poles / (1 - f.poles * t)))
    np.testing.assert_allclose(found, r, atol=1e-12)
    np.testing.assert_allclose(f.white + jnp.sum(f.weights * f.powers / jnp.abs(1 - f.poles * t) ** 2), kappa)


def test_what_ensembles_store():
    chain = (0.5 * DeepHebbian(0.5, 0.3, (0.4, 0.2)) + IID(1.0)).stored(3)
    np.testing.assert_allclose(chain.core, [[0.15, 0, 0], [0.2, 0.15, 0], [0.1, 0.2, 0.15]])
    assert chain.binary and not RandomModes.flat(2.0, overlap=1.0).stored(1).binary
    for ensemble in (IID(1.0), RandomModes.flat(2.0, overlap=0.5), hopfield(0.1) + hopfield(0.2)):
        assert ensemble.stored(2) is None


def test_products_have_no_memory_kernel():
    assert Product((IID(1.0), IID(2.0))).feedback().poles.shape == (0,)
