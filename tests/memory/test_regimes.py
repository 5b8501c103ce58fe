"""Regimes after a cue: the classifier on numbers, one network at a time, a sweep, and the lines of theory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sweep_functions

from jaxnets import computations, memory, plotting, sweeps
from jaxnets.couplings import IID, DeepHebbian
from jaxnets.dynamics import RateNetwork, simulate
from jaxnets.memory import Regime
from jaxnets.memory.regimes import pace, patterns_present
from jaxnets.observables.online import Overlaps
from jaxnets.transfer import Erf, Tanh


@pytest.mark.parametrize(
    "success, activity, pace, present, exponent, error, expected",
    [
        (True, 1e-4, 1.0, 9.0, 1.0, 0.01, Regime.QUIESCENT),
        (True, 1.0, 1.0, 9.0, 1.0, 0.01, Regime.SEQUENCE),
        (False, 1.0, 1.0, 9.0, 0.04, 0.01, Regime.CHAOS),
        (False, 1.0, 1.0, 9.0, 0.02, 0.01, Regime.OSCILLATION),
        (False, 1.0, 0.05, 1.2, 0.02, 0.01, Regime.FROZEN),
        (False, 1.0, 0.05, 9.0, 0.02, 0.01, Regime.MIXTURE),
        (False, 1.0, 0.05, 1.2, np.nan, 0.01, -1),
        (False, np.nan, 0.05, 1.2, 0.0, 0.01, -1),
    ],
)
def test_classify(success, activity, pace, present, exponent, error, expected):
    numbers = [jnp.asarray(x) for x in (success, activity, pace, present, exponent, error)]
    assert memory.classify(*numbers) == expected
    assert jax.jit(jax.vmap(memory.classify))(*(x[None] for x in numbers))[0] == expected


def test_majority():
    regimes = np.array([[2, 3, 3, 5], [5, 5, 2, 2], [-1, -1, -1, 4], [-1, -1, -1, -1]])
    np.testing.assert_array_equal(memory.majority(regimes), [3, 2, 4, -1])


def test_pace_of_a_rotation_is_its_angular_frequency():
    omega, interval = 0.7, 0.01
    angle = omega * interval * np.arange(5000)
    m = jnp.asarray(0.3 * np.stack([np.cos(angle), np.sin(angle)], 1))
    # The chord of a step instead of its arc.
    np.testing.assert_allclose(pace(m, interval), omega, rtol=(omega * interval) ** 2)
    assert pace(jnp.ones((5, 3)), interval) == 0 and pace(jnp.zeros((5, 3)), interval) == 0


def test_patterns_present():
    np.testing.assert_allclose(patterns_present(jnp.array([[0.2, 0.0, 0.0], [-0.4, 0.0, 0.0]])), 1)
    np.testing.assert_allclose(patterns_present(jnp.array([[0.2, -0.2, 0.2, 0.0], [-0.4, 0.4, 0.4, 0.0]])), 3)
    assert patterns_present(jnp.zeros((2, 3))) == 0


def _observe(*couplings, n=300, seed=0, **settings):
    settings = {"duration": 40.0, "exponent_duration": 40.0, "dt": 0.1, "dtype": jnp.float32, **settings}
    return memory.observe(DeepHebbian(*couplings), Tanh(), n, key=jax.random.key(seed), progress=False, **settings)


@pytest.mark.slow
def test_a_network_below_the_instability_is_quiescent():
    found = _observe(0.02, 0.0, (0.5,), exponent_duration=300.0)
    assert found.regime == Regime.QUIESCENT and found.variance < 1e-6
    # The slopes are 1: the edge is that of J, and the eigenvalues of the sample set the exponent.
    np.testing.assert_allclose(found.edge, 0.5 * np.sqrt(1.02), rtol=1e-3)
    J = DeepHebbian(0.02, 0.0, (0.5,)).sample(300, key=jax.random.key(0), dtype=jnp.float32)
    np.testing.assert_allclose(found.exponent, np.max(np.linalg.eigvals(J.dense()).real) - 1, atol=0.02)


@pytest.mark.slow
def test_chaos_of_strong_couplings():
    """At load 1 and three times the instability, where the exponent is large."""
    found = _observe(1.0, 0.0, (2.5,), n=400, duration=20.0, exponent_duration=80.0)
    assert found.regime == Regime.CHAOS and found.exponent > 0.05
    assert not found.success and found.reach < 15 and found.edge > 1


@pytest.mark.slow
def test_observations_of_many_networks_at_once():
    keys = jax.random.split(jax.random.key(1), 2)

    def observe(key):
        ensemble = DeepHebbian(0.04, 0.0, (1.5,))
        return memory.observe(ensemble, Tanh(), 100, key=key, duration=12.0, exponent_duration=8.0, dt=0.1)

    mapped = jax.vmap(observe)(keys)
    for i, key in enumerate(keys):
        for a, b in zip(jax.tree.leaves(mapped), jax.tree.leaves(observe(key)), strict=True):
            np.testing.assert_allclose(a[i], b, rtol=1e-6, atol=1e-6)


@pytest.mark.slow
def test_a_load_may_be_traced():
    """Of arrays that are longer than the sequence; the ring still closes where it does."""
    settings = {"duration": 40.0, "exponent_duration": 8.0, "dt": 0.1, "length": 4, "max_modes": 9, "progress": False}
    observe = lambda load: memory.observe(
        DeepHebbian(load, 0.0, (1.5,)), Tanh(), 150, key=jax.random.key(1), **settings
    )
    known, traced = observe(0.04), jax.jit(observe)(0.04)
    assert known.success and np.isfinite(known.period)
    for a, b in zip(jax.tree.leaves(known), jax.tree.leaves(traced), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-6, atol=1e-6)


@pytest.mark.slow
def test_a_sweep_of_regimes_is_its_points(tmp_path):
    """By keys of their values, and with the majority of trials."""
    settings = {"n": 100, "duration": 12.0, "exponent_duration": 8.0, "dt": 0.1, "length": 3, "max_modes": 4}
    ensemble = "DeepHebbian(load, auto, (gamma,))"
    described = sweeps.Sweep(
        "jaxnets.computations:regime",
        axes={"gamma": [0.3, 1.5], "auto": [0.0, 0.4]},
        fixed={"ensemble": ensemble, "load": 0.04, **settings},
        realisations=2,
        seed=2,
    )
    sweeps.run(described, tmp_path / "regimes", progress=False)
    found = sweeps.open(tmp_path / "regimes")
    kinds = memory.majority(found.regime.transpose("gamma", "auto", "realisation").values)
    assert kinds[0, 0] == Regime.QUIESCENT and kinds[1, 0] == Regime.SEQUENCE
    key = sweep_functions.key_of(2, 1, gamma=1.5, auto=0.4)
    alone = computations.regime(ensemble, load=0.04, gamma=1.5, auto=0.4, key=key, **settings)
    point = found.isel(gamma=1, auto=1, realisation=1)
    for name, value in alone.items():
        np.testing.assert_allclose(point[name], value, rtol=1e-6, atol=1e-6, err_msg=name)


def test_a_map_of_regimes():
    values = np.array([[0, 1, 5], [-1, 1, 5]])
    names = [regime.name for regime in Regime]
    ax = plotting.phases(np.arange(3), np.arange(2), values, names, plotting.figure())
    (mesh,) = ax.collections[:1]
    shown = mesh.get_array()
    np.testing.assert_array_equal(shown.mask, values < 0)
    colors = mesh.cmap(mesh.norm(shown))
    assert len({tuple(color) for color in colors[~shown.mask]}) == 3
    assert ax.get_legend_handles_labels()[1] == ["QUIESCENT", "SEQUENCE", "MIXTURE"]


# --- lines of theory


@pytest.mark.slow
def test_instability_of_one_shift():
    loads = jnp.array([0.05, 0.5])
    line = jax.vmap(lambda load: memory.instability(load, transfer=Tanh()))(loads)
    assert np.all(line.converged)
    np.testing.assert_allclose(line.value, 1 / np.sqrt(1 + loads), rtol=1e-8)


@pytest.mark.slow
def test_instability_of_windows():
    np.testing.assert_allclose(memory.instability(0.1, (1.0, 1.0), transfer=Erf()).value, 0.4842, atol=6e-5)
    np.testing.assert_allclose(memory.instability(0.1, (1.0,), 0.5, transfer=Tanh()).value, 0.3011, atol=6e-5)
    gone = memory.instability(0.5, (1.0,), 0.5, transfer=Tanh())
    assert np.isnan(gone.value) and not gone.converged


WINDOWS = [(0.0, (1.5,)), (2.0, (1.5,)), (0.0, (1.5, 1.5)), (0.5, (1.0, 0.3, 0.8))]


def speed_of_overlaps(auto, window, duration, num=300, dt=0.02):
    """Gaussian patterns, few of them in infinitely many units: u' = -u + K u <phi'>, by Euler steps, in NumPy."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    weights = weights / weights.sum()
    u, places = np.zeros(num), []
    u[0] = 1
    for _ in range(int(duration / dt)):
        m = u * (weights @ np.cosh(np.sqrt(u @ u) * nodes) ** -2)
        u = u + dt * (auto * m + sum(g * np.roll(m, r) for r, g in enumerate(window, 1)) - u)
        places.append(np.angle(u**2 @ np.exp(2j * np.pi * np.arange(num) / num)))
    late = np.unwrap(places)[-int(5 / dt) :]
    return (late[-1] - late[0]) / (5 - dt) * num / (2 * np.pi)


@pytest.mark.parametrize(("auto", "window"), WINDOWS)
def test_speed_of_a_packet(auto, window):
    """The difference falls as 1 / time."""
    speed = float(memory.packet_speed(DeepHebbian(0.01, auto, window)))
    early, late = (speed_of_overlaps(auto, window, time) / speed - 1 for time in (20, 40))
    assert 0 < late < 0.03 and late == pytest.approx(early / 2, rel=0.15)


def test_speed_of_packets_that_do_not_move():
    assert memory.packet_speed(DeepHebbian(0.01, 1.0, (0.5, 0.2), symmetric=True)) == 0
    assert np.isnan(memory.packet_speed(DeepHebbian(0.01, 0.0, (-1.5, -1.5))))
    assert np.isnan(memory.packet_speed(DeepHebbian(0.01, -1.0, (-0.5,))))


def test_slope_of_the_speed():
    slopes = jax.grad(lambda window: memory.packet_speed(DeepHebbian(0.1, 0.4, window)))(jnp.array([0.5, 1.1]))
    strength, moved = 0.4 + 0.5 + 1.1, 0.5 + 2.2
    np.testing.assert_allclose(slopes, np.array([1, 2]) / strength - moved / strength**2, rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(("auto", "window"), WINDOWS)
def test_speed_in_networks(auto, window):
    """Ten thousand units, 60 patterns: from the tenth pattern on, to 5%."""
    ensemble = DeepHebbian(0.006, auto, window)
    J = ensemble.sample(10_000, key=jax.random.key(0))
    speed = float(memory.packet_speed(ensemble))
    xi = J.left.T
    run = simulate(RateNetwork(J, Tanh()), xi[0], duration=45 / speed, dt=0.1, record=Overlaps(xi), progress=False)
    late = slice(int(15 / speed / 0.1), None)
    found = memory.retrieval(run.records[late], run.times[late], cue=20, length=20)
    assert found.fidelity > 0.9
    assert found.speed == pytest.approx(speed, rel=0.05)


@pytest.mark.slow
def test_self_organised_edge_of_one_shift():
    load, gamma, variance, mean = 0.3, 1.4, 0.9, 0.2
    x = np.linspace(-10, 10, 20001) * np.sqrt(variance)
    weights = np.exp(-(x**2) / (2 * variance))
    slopes, weights = 1 / np.cosh(x + mean) ** 2, weights / weights.sum()
    expected = gamma * np.sqrt(load * weights @ slopes**2 + (weights @ slopes) ** 2)
    found = memory.self_organised_edge(DeepHebbian(load, 0.0, (gamma,)), Tanh(), mean=mean, variance=variance)
    np.testing.assert_allclose(found, expected, rtol=1e-8)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda key: memory.observe(IID(1.5), Tanh(), 50, key=key), "`ensemble` must be a `DeepHebbian`"),
        (lambda key: memory.instability(0.1, transfer=np.tanh), "`transfer` must be a transfer function"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(jax.random.key(0))
