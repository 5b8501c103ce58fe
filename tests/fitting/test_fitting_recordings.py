"""Recordings: the theory they are compared with, small simulated networks, and recordings that say nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.couplings import IID, RandomModes
from jaxnets.dynamics import RateNetwork, simulate
from jaxnets.fitting import fit_recording
from jaxnets.fitting.recordings import _family, _pair_theory
from jaxnets.meanfield import stationary
from jaxnets.population import dimension
from jaxnets.transfer import Tanh

DT = 0.5


def record(n, gain, rank, duration, seed):
    keys = jax.random.split(jax.random.key(seed))
    J = RandomModes.of_rank(gain, rank).sample(n, key=keys[0], dtype=jnp.float32)
    start = jax.random.normal(keys[1], (n,), jnp.float32)
    network = RateNetwork(J, Tanh())
    run = simulate(network, start, duration=duration + 100, discard=100, dt=0.1, save_every=5, progress=False)
    return np.asarray(run.rates, float)


@pytest.fixture(scope="module")
def network():
    return record(600, 4.0, 0.5, 700, seed=1)


@pytest.fixture(scope="module")
def whole(network):
    return fit_recording(network, DT, population_size=600)


@pytest.mark.slow
def test_a_small_network(whole):
    assert whole.converged
    assert abs(whole.g - 4) < 4 * whole.g_error < 1
    assert abs(whole.time_constant - 1) < 4 * whole.time_constant_error < 0.6
    assert abs(whole.inverse_rank - 2) < 4 * whole.inverse_rank_error
    assert abs(whole.noise) < 0.03
    assert whole.effective_rank == pytest.approx(1 / float(whole.inverse_rank))


@pytest.mark.slow
def test_measurement_noise_is_found_and_taken_off(network, whole):
    share = 0.25
    sd = np.sqrt(share / (1 - share) * network.var())
    noisy = network + sd * np.random.default_rng(0).standard_normal(network.shape)
    found = fit_recording(noisy, DT, population_size=600)
    assert found.noise == pytest.approx(share, abs=0.02)
    # The same network: what differs is what the noise does to 840000 samples, far less than the errors.
    assert abs(found.g - whole.g) < 0.5 * whole.g_error
    assert abs(found.inverse_rank - whole.inverse_rank) < whole.inverse_rank_error


@pytest.mark.slow
def test_units_of_time_and_the_size_of_the_population(network, whole):
    slow = fit_recording(network, 20 * DT)
    assert slow.time_constant == pytest.approx(20 * float(whole.time_constant), rel=1e-3)
    assert slow.g == pytest.approx(float(whole.g), rel=1e-3)
    assert np.isnan(slow.inverse_rank) and any("size" in note for note in slow.notes)
    # 300 modes in the network of 600 units: both are bounds.
    assert slow.fewest_modes < 320 and slow.fewest_units < 620


@pytest.mark.slow
@pytest.mark.parametrize("gain", [1.5, 3.3, 7.0])
def test_the_family_of_autocovariances(gain):
    lags = jnp.linspace(0, 20, 41)
    exact = stationary(IID(gain), Tanh(), num_lags=41, max_lag=20.0).c_phi
    np.testing.assert_allclose(_family(Tanh())(jnp.asarray(gain), lags), exact, atol=2e-5 * exact[0])


@pytest.mark.slow
@pytest.mark.parametrize("rank", [pytest.param(0.3, marks=pytest.mark.slow), 2.0])
def test_sums_over_pairs(rank):
    gain = 2.5
    A, B = _pair_theory(jnp.asarray(gain), jnp.array([0.0, 50.0]), Tanh())
    ensemble = RandomModes.of_rank(gain, rank)
    expected = 1 / dimension(stationary(ensemble, Tanh()), ensemble).phi - 1
    assert A[0] + B[0] / rank == pytest.approx(float(expected), rel=1e-4)
    # Changes over a lag at which nothing is left are differences of independent activity: C and 2 C have one dimension.
    np.testing.assert_allclose([A[1], B[1]], [A[0], B[0]], rtol=0.05)


GOOD = np.cumsum(np.random.default_rng(0).standard_normal((2000, 12)), axis=0)
NOISE = np.random.default_rng(0).standard_normal((2000, 12))


def changed(x, index, value):
    x = x.copy()
    x[index] = value
    return x


@pytest.mark.parametrize(
    ("rates", "options", "says"),
    [
        (GOOD[:, 0], {}, "shape"),
        (GOOD[:, :5], {}, "10 units"),
        ([["a"] * 12] * 200, {}, "real numbers"),
        (changed(GOOD, (7, 3), np.nan), {}, "time 7, unit 3.*leave"),
        (changed(GOOD, (slice(None), 4), 1.0), {}, r"constant units \[4\]"),
        (GOOD[:100], {}, "160 times"),
        (GOOD, {}, "record for longer"),
        (NOISE, {}, "sampled within"),
        (NOISE[:400], {}, "sampled within"),
        (NOISE, {"interval": -1.0}, "`interval`"),
        (NOISE, {"population_size": 5}, "`population_size`"),
        (NOISE, {"transfer": "Tanh()"}, "`transfer`"),
    ],
)
def test_bad_recordings(rates, options, says):
    with pytest.raises(ValueError, match=says):
        fit_recording(rates, **({"interval": DT} | options))


# --- random truths


def truth(seed):
    rng = np.random.default_rng(seed)
    return rng.uniform(3, 6), float(np.exp(rng.uniform(np.log(0.1), np.log(3))))


@pytest.mark.slow
def test_random_truths():
    """Networks of 2000 units for 2000 time constants: most strengths within 3%, most ranks within 20%."""
    found = []
    for seed in range(10):
        gain, rank = truth(1000 + seed)
        result = fit_recording(record(2000, gain, rank, 2000, seed), DT, population_size=2000)
        found.append(
            [
                result.g / gain,
                (result.g - gain) / result.g_error,
                result.inverse_rank * rank,
                (result.inverse_rank - 1 / rank) / result.inverse_rank_error,
            ]
        )
    gains, z_gains, ranks, z_ranks = np.abs(np.array(found)).T
    # Of 10 at a chance of .9 and of .8: fewer than these come by a chance of 1% or less.
    assert np.sum(np.abs(gains - 1) < 0.03) >= 6
    assert np.sum(np.abs(1 / ranks - 1) < 0.2) >= 5
    # One standard error covers 68%.
    assert np.sum(z_gains < 1) >= 3 and np.sum(z_ranks < 1) >= 3 and max(z_gains.max(), z_ranks.max()) < 4
