"""Particles against exact likelihoods and posteriors of linear networks, sums over a grid, another filter."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compilations import compilations

from jaxnets.dynamics import euler, simulate
from jaxnets.inference import Affine, Currents, Gaussian, Poisson, Rates, StochasticLowRank, smc
from jaxnets.transfer import Linear, ReLU, Tanh

RNG = np.random.default_rng(3)
N, R, B, T = 6, 2, 3, 12
M, NN = RNG.standard_normal((N, R)), 0.2 * RNG.standard_normal((R, N)) / N
NOISE = np.array([[0.5, 0.0], [0.2, 0.4]])
KEYS = jax.random.split(jax.random.key(5), 300)


def linear(scale=1.0, observation=None):
    observation = Gaussian(0.8, Currents(1.3, 0.2)) if observation is None else observation
    return StochasticLowRank(
        M, NN * scale, 0.8, NOISE, Linear(), initial_mean=[0.5, -0.5], initial_noise=0.7, observation=observation
    )


def recording(model, gaps=True):
    y = np.array(model.sample(B, T, key=jax.random.key(1)).recording)
    if gaps:
        y[RNG.random(y.shape) < 0.2] = np.nan
        y[1, 4], y[2, 9:] = np.nan, np.nan  # a step without data, and a shorter trial
    return y


def kalman(model, y, C, bias, noise, xp=np):
    """Log-likelihood, filtered and smoothed moments of one trial, by the textbook; in JAX for its gradient."""
    A = model.leak * xp.eye(R) + model.n @ model.m
    Q, mean = model.noise @ model.noise.T, model.initial_mean
    P, total, before, after = model.initial_noise @ model.initial_noise.T, 0.0, [], []
    for t in range(len(y)):
        if t:
            mean, P = A @ mean, A @ P @ A.T + Q
        before.append((mean, P))
        seen = np.flatnonzero(np.isfinite(y[t]))
        H = C[seen]
        S = H @ P @ H.T + xp.eye(len(seen)) * noise**2
        miss = y[t, seen] - H @ mean - bias
        if len(seen):
            total = total - (miss @ xp.linalg.solve(S, miss) + xp.linalg.slogdet(2 * np.pi * S)[1]) / 2
        gain = P @ H.T @ xp.linalg.inv(S)
        mean, P = mean + gain @ miss, P - gain @ H @ P
        after.append((mean, P))
    smooth = [after[-1]]
    for (mean, P), (ahead, P_ahead) in zip(after[-2::-1], before[:0:-1], strict=True):
        G = P @ A.T @ xp.linalg.inv(P_ahead)
        smooth.append((mean + G @ (smooth[-1][0] - ahead), P + G @ (smooth[-1][1] - P_ahead) @ G.T))
    return total, after, smooth[::-1]


def exact(model, y, xp=np):
    if xp is np:
        model = jax.tree.map(np.asarray, model)
    read = model.observation.readout
    of_trial = lambda y: kalman(model, y, read.gain * model.m, read.bias, model.observation.noise, xp)
    return sum(of_trial(trial)[0] for trial in y)


def estimates(model, y, num_particles, copies=300, **options):
    """Independent estimates of the log-likelihood: copies of all trials are trials of their own."""
    many = np.tile(y, (copies, 1, 1))
    found = smc(model, many, num_particles=num_particles, key=KEYS[0], **options)
    return np.asarray(found.log_likelihood).reshape(copies, len(y)).sum(1)


def test_likelihood_is_unbiased_and_its_error_falls_as_one_over_k():
    model = linear()
    y = recording(model)
    truth = float(exact(model, y))
    errors, spreads = [], []
    for K in (4, 16):
        found = estimates(model, y, K) - truth
        ratio = np.exp(found)
        assert abs(ratio.mean() - 1) < 4 * ratio.std() / np.sqrt(len(found))
        errors.append(-found.mean())
        spreads.append(found.var())
    assert errors[0] > 3 * spreads[0] / 8 > 0  # a bound: below by half of the variance
    assert 2.5 < errors[0] / errors[1] < 7 and 2.5 < spreads[0] / spreads[1] < 6  # 4


@pytest.mark.slow
def test_gradient_is_that_of_the_exact_likelihood():
    model = linear()
    y = recording(model)

    def estimate(model, key):
        return jnp.sum(smc(model, y, num_particles=64, key=key).log_likelihood)

    found = jax.jit(jax.vmap(jax.grad(estimate), (None, 0)))(model, KEYS[:40])
    truth = jax.grad(lambda model: exact(model, y, jnp))(model)
    for name in ("m", "n", "leak", "noise", "initial_mean", "initial_noise"):
        draws, value = np.asarray(getattr(found, name)), np.asarray(getattr(truth, name))
        if name in ("noise", "initial_noise"):
            draws, value = np.tril(draws), np.tril(value)
        error = np.linalg.norm(draws.mean(0) - value)
        # Leaving out resampling costs some per cent at this number of particles.
        assert error < 0.08 * np.linalg.norm(value) + 4 * np.linalg.norm(draws.std(0)) / np.sqrt(40), name


def test_latents_are_those_of_the_exact_smoother():
    model = linear()
    y = recording(model)
    found = smc(model, y, num_particles=256, key=jax.random.key(0))
    known = jax.tree.map(np.asarray, model)
    A = known.leak * np.eye(R) + known.n @ known.m
    for b in range(B):
        _, after, smooth = kalman(known, y[b], 1.3 * M, 0.2, 0.8)
        for value, error, moments in (
            (found.filtered, found.filtered_error, after),
            (found.latents, found.latents_error, smooth),
        ):
            spread = np.sqrt(np.array([np.diag(P) for _, P in moments]))
            assert np.max(np.abs(value[b] - np.array([mean for mean, _ in moments])) / spread) < 0.3
            np.testing.assert_allclose(error[b], spread, rtol=0.2)
        ahead = np.array([A @ mean for mean, _ in after[:-1]]) @ (1.3 * M.T) + 0.2
        assert np.sqrt(np.mean((found.prediction[b, 1:] - ahead) ** 2)) < 0.1
    assert found.num_observed.tolist() == np.isfinite(y).sum((1, 2)).tolist()
    assert np.all(found.ess >= 1) and np.all(found.ess <= 256 * (1 + 1e-9))


LAWS = {
    "currents": Gaussian(0.5),
    "rates": Gaussian(0.5, Rates(1.5, 0.1)),
    "affine": Gaussian(0.5, Affine(RNG.standard_normal((2, 1)), [0.1, 0.2])),
    "softplus": Poisson(readout=Currents(2.0, 0.3)),
    "exp": Poisson(jnp.exp, Rates(0.8)),
}


slow = lambda *values: pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("law", "bootstrap"),
    [("exp", False), slow("rates", True), *(slow(law, False) for law in ("affine", "currents", "rates", "softplus"))],
)
def test_likelihoods_of_nonlinear_networks_are_sums_over_a_grid(law, bootstrap):
    transfer = ReLU() if law == "rates" else Tanh()
    m, threshold, weights = (
        np.array([[1.0], [-0.6], [0.8]]),
        np.array([0.1, -0.2, 0.3]),
        np.array([[0.5], [0.2], [0.0]]),
    )
    model = StochasticLowRank(
        m, [[0.5, -0.4, 0.3]], 0.6, 0.4, transfer, threshold=threshold, input_weights=weights, observation=LAWS[law]
    )
    inputs = np.cos(np.arange(5.0))[:, None]
    y = np.array(model.sample(1, 5, key=jax.random.key(2), inputs=inputs).recording)
    y[0, 1, 0] = np.nan
    v = np.asarray(model.filtered_inputs(jnp.asarray(inputs)))
    grid = jnp.linspace(-6, 6, 1201)[:, None]
    step = 12 / 1200

    def density(y, v):
        seen = np.isfinite(y)
        of = lambda z: model.observation.log_density(jnp.nan_to_num(y), model.read(z, model.currents(z, v)))
        return jax.vmap(of)(grid)[:, seen].sum(1)

    normal = lambda x, sigma: np.exp(-((x / sigma) ** 2) / 2) / sigma / np.sqrt(2 * np.pi)
    chance = normal(np.asarray(grid[:, 0]), 1.0)
    truth = 0.0
    for t in range(5):
        if t:
            ahead = np.asarray(jax.vmap(lambda z, t=t: model.step(z, v[t - 1]))(grid))[:, 0]
            chance = normal(np.asarray(grid[:, 0])[:, None] - ahead[None], 0.4) @ chance * step
        chance = chance * np.exp(density(y[0, t], v[t]))
        truth += np.log(chance.sum() * step)
        chance = chance / (chance.sum() * step)
    estimate = lambda key: smc(model, y, num_particles=64, key=key, inputs=inputs, bootstrap=bootstrap).log_likelihood[
        0
    ]
    found = np.exp(np.asarray(jax.jit(jax.vmap(estimate))(KEYS)) - truth)
    assert abs(found.mean() - 1) < 4 * found.std() / np.sqrt(len(KEYS)) < 0.15


def test_numbers_of_particles_up_to_a_power_of_two_share_a_program():
    model = linear()
    y = recording(model)
    smc(model, y, num_particles=200, key=KEYS[0])
    with compilations() as programs:
        found = smc(model, y, num_particles=250, key=KEYS[0])
    assert not programs
    assert float(found.ess.max()) < 250 * (1 + 1e-9)


def test_trials_of_a_list_are_those_of_an_array_and_a_trial_stands_alone():
    model = linear()
    y = recording(model)
    whole = smc(model, y, num_particles=256, key=KEYS[0])
    listed = smc(model, [y[0], y[1], y[2, :9]], num_particles=256, key=KEYS[0])
    assert np.array_equal(whole.log_likelihood, listed.log_likelihood)
    other = smc(model, y * np.array([1.0, 2.0, 1.0])[:, None, None], num_particles=256, key=KEYS[0])
    assert np.array_equal(whole.log_likelihood[::2], other.log_likelihood[::2])


def test_gauge():
    model = StochasticLowRank(
        M, NN, 0.8, NOISE, Tanh(), observation=Gaussian(0.5, Affine(RNG.standard_normal((4, R)))), initial_mean=1.0
    )
    A = np.array([[2.0, 0.3], [-1.0, 0.5]])
    other = eqx.tree_at(
        lambda o: (o.m, o.n, o.noise, o.initial_mean, o.initial_noise, o.observation),
        model,
        (
            M @ np.linalg.inv(A),
            A @ NN,
            jnp.linalg.cholesky(A @ NOISE @ NOISE.T @ A.T),
            A @ model.initial_mean,
            jnp.linalg.cholesky(A @ A.T),
            Gaussian(0.5, model.observation.readout.in_gauge(A)),
        ),
    )
    first, second = model.in_canonical_gauge(), other.in_canonical_gauge()
    for one, two in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-12)
    np.testing.assert_allclose(first.m @ first.n, M @ NN, atol=1e-12)
    np.testing.assert_allclose(first.m.T @ first.m / N, np.eye(R), atol=1e-12)
    np.testing.assert_allclose(first.m @ first.noise @ first.noise.T @ first.m.T, M @ NOISE @ NOISE.T @ M.T, atol=1e-12)


def test_to_network_takes_the_steps_of_the_model():
    model = StochasticLowRank(M, NN, 0.8, 0.1, threshold=0.1 * np.arange(N), input_weights=M[:, :1])
    u = np.array([0.7])
    net = model.to_network(dt=0.5, input=u)
    z = jnp.array([1.0, -0.5])
    run = simulate(net, M @ z + M[:, 0] * 0.7 - model.threshold, duration=2.0, dt=0.5, scheme=euler, progress=False)
    for states in run.states:
        np.testing.assert_allclose(states, M @ z + M[:, 0] * 0.7 - model.threshold, atol=1e-12)
        z = model.step(z, u)


BAD = {
    r"`recording` must have shape \(time, units\)": np.ones(3),
    "`recording` must have the 6 units of the model, got": np.ones((4, 5)),
    "`recording` must be finite, with NaN for what is missing, got inf in trial 0, step 1, unit 2": (
        np.where(np.arange(24).reshape(4, 6) == 8, np.inf, 1.0)
    ),
}


@pytest.mark.parametrize("message", BAD)
def test_recordings_that_are_none(message):
    with pytest.raises(ValueError, match=message):
        smc(linear(), BAD[message], key=KEYS[0])


def test_models_that_are_none():
    for message, change in {
        "`m` must have fewer modes than units": {"m": np.ones((2, 2)), "n": np.ones((2, 2))},
        r"`n` must have shape \(2, 6\)": {"n": M},
        r"`leak` must be a number in \[0, 1\)": {"leak": 1.0},
        "`noise` must be finite standard deviations > 0": {"noise": [0.1, 0.0]},
        "`noise` must be standard deviations, or a lower triangular": {"noise": np.ones((2, 2))},
        "`observation` must fit 6 units and 2 modes": {"observation": Gaussian(1.0, Currents(np.ones(5)))},
        "`observation` must be one of": {"observation": "poisson"},
    }.items():
        with pytest.raises(ValueError, match=message):
            StochasticLowRank(**{"m": M, "n": NN, "leak": 0.8, "noise": 0.1} | change)
    with pytest.raises(ValueError, match="`inputs` must be None for a model without"):
        smc(linear(), np.ones((4, N)), key=KEYS[0], inputs=np.ones((4, 1)))
    with pytest.raises(ValueError, match="`recording` must be counts .* got 0.5 in trial 0, step 0, unit 0"):
        smc(linear(observation=Poisson()), np.full((4, N), 0.5), key=KEYS[0])


def test_an_independent_filter_agrees():
    """The bootstrap filter of cuthbert, a library that shares no code with ours."""
    particle_filter = pytest.importorskip("cuthbert.smc.particle_filter")
    resampling = pytest.importorskip("cuthbertlib.resampling.systematic")
    cuthbert = pytest.importorskip("cuthbert")

    model = StochasticLowRank(M, 4 * NN, 0.8, NOISE, Tanh(), observation=Gaussian(0.8))
    y = recording(model, gaps=False)[0]

    def propagate(key, z, at):
        z = jnp.where(at["first"], z, model.step(z))
        L = jnp.where(at["first"], model.initial_noise, model.noise)
        return z + L @ jax.random.normal(key, z.shape, z.dtype)

    def log_potential(before, z, at):
        return jnp.sum(model.observation.log_density(at["y"], model.read(z, model.currents(z))))

    theirs = particle_filter.build_filter(
        lambda key: model.initial_mean, propagate, log_potential, 128, resampling.resampling
    )
    at = {"y": jnp.asarray(y), "first": jnp.arange(T) == 0}

    def estimate(key):
        first, rest = jax.random.split(key)
        with jax.numpy_dtype_promotion("standard"):
            states = cuthbert.filter(theirs, at, theirs.init_prepare(key=first), key=rest)
        return states.log_normalizing_constant[-1]

    found = np.array(jax.jit(jax.vmap(estimate))(KEYS))
    of_ours = lambda key: smc(model, y, num_particles=128, key=key, bootstrap=True).log_likelihood[0]
    ours = np.array(jax.jit(jax.vmap(of_ours))(KEYS))
    error = np.sqrt((found.var() + ours.var()) / len(KEYS))
    assert abs(found.mean() - ours.mean()) < 4 * error < 0.5
    assert 0.8 < found.std() / ours.std() < 1.25
