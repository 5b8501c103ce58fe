"""Retrieval of sequences: measures of overlaps made by hand, and of networks whose answer is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets import memory
from jaxnets.couplings import DeepHebbian
from jaxnets.dynamics import RateNetwork, simulate
from jaxnets.observables import overlaps
from jaxnets.transfer import Linear, Tanh

P, DT = 12, 0.1


def packet(speed=0.8, width=1.5, duration=60.0, num=P, start=0, height=0.5, ring=True):
    """A Gaussian bump that travels along the sequence at constant speed: (time, P) and times."""
    times = np.arange(0, duration, DT)
    distance = np.arange(num)[None] - start - speed * times[:, None]
    if ring:
        distance = (distance + num / 2) % num - num / 2
    return height * np.exp(-(distance**2) / (2 * width**2)), times


def test_a_travelling_packet():
    speed = 0.8
    m, times = packet(speed)
    found = memory.retrieval(m, times)
    # Peaks are recorded to half a step.
    np.testing.assert_allclose(found.peak_times, np.arange(P) / speed, atol=DT / 2 + 1e-9)
    np.testing.assert_allclose(found.peaks, 0.5, rtol=(speed * DT / 2 / 1.5) ** 2 / 2)
    np.testing.assert_array_equal(found.visited, np.arange(P))
    np.testing.assert_allclose(found.speed, speed, rtol=2 * DT * speed / P)
    np.testing.assert_allclose(found.period, P / speed, atol=DT)
    np.testing.assert_allclose(found.peak_overlap, np.mean(found.peaks), rtol=1e-12)
    assert found.fidelity == 1 and found.reach == P and found.success


@pytest.mark.parametrize("start", [0, 5, P - 1])
def test_the_sequence_starts_at_the_cue(start):
    m, times = packet(start=start)
    found = memory.retrieval(m, times, cue=start)
    np.testing.assert_array_equal(found.visited, (start + np.arange(P)) % P)
    assert found.reach == P and found.fidelity == 1
    reference = memory.retrieval(*packet())
    for name in ("speed", "period", "peak_overlap"):
        np.testing.assert_allclose(getattr(found, name), getattr(reference, name), rtol=1e-12)
    np.testing.assert_allclose(found.peak_times, np.roll(reference.peak_times, start), rtol=1e-12)


@pytest.mark.parametrize("cue", [0, 4])
def test_silent_patterns_behind_the_sequence_change_nothing(cue):
    m, times = packet(start=cue)
    longer = np.pad(m, ((0, 0), (0, 5)))
    alone = memory.retrieval(m, times, cue=cue)
    for num_patterns in (P, jnp.asarray(P)):
        found = memory.retrieval(longer, times, cue=cue, num_patterns=num_patterns)
        for name in ("fidelity", "reach", "success", "speed", "period", "peak_overlap"):
            np.testing.assert_allclose(getattr(found, name), getattr(alone, name), rtol=1e-12)
        for name in ("peak_times", "peaks", "visited"):
            np.testing.assert_array_equal(getattr(found, name)[:P], getattr(alone, name))
        assert np.all(np.isnan(found.peak_times[P:])) and np.all(found.visited[P:] == -1)
    assert not memory.retrieval(longer, times, cue=cue).success


def test_a_chain_ends_at_the_last_pattern():
    start = 4
    m, times = packet(start=start, ring=False)
    found = memory.retrieval(m, times, cue=start, ring=False)
    np.testing.assert_array_equal(found.visited, [*range(start, P), -1, -1, -1, -1])
    assert found.success and found.reach == P - start and np.isnan(found.period)
    np.testing.assert_allclose(found.speed, 0.8, rtol=0.02)
    assert not memory.retrieval(m, times, cue=start, ring=True).success


def test_what_the_record_does_not_show():
    m, times = packet(speed=0.8, duration=10.0)  # the packet is at 8 in the end
    found = memory.retrieval(m, times)
    np.testing.assert_array_equal(found.visited[:8], np.arange(8))
    np.testing.assert_array_equal(found.visited[8:], -1)
    assert np.all(np.isnan(found.peak_times[8:])) and found.reach == 8 and not found.success
    np.testing.assert_allclose(found.fidelity, 7 / (P - 1))
    assert memory.retrieval(m, times, length=8).success
    # All peaks, but no second pass.
    found = memory.retrieval(*packet(speed=0.8, duration=16.0))
    assert found.success and np.isnan(found.period)


def test_a_pattern_left_out():
    m, times = packet()
    m = np.delete(m, 6, axis=1)
    m = np.insert(m, 6, 0.0, axis=1)
    found = memory.retrieval(m, times)
    assert np.isnan(found.peak_times[6]) and found.visited[-1] == -1 and found.reach == 6
    assert not found.success
    np.testing.assert_allclose(found.fidelity, (P - 3) / (P - 1))


def test_backwards_and_every_third():
    m, times = packet(speed=-0.8)
    found = memory.retrieval(m, times)
    # 0, and then P - 1 down to 1: the step from 0 to 1 alone is one forwards.
    np.testing.assert_array_equal(found.visited, [0, *range(P - 1, 0, -1)])
    np.testing.assert_allclose(found.fidelity, 1 / (P - 1))
    assert found.reach == 2 and not found.success
    # 0, 3, 6, 9 | 1, 4, 7, 10 | 2, ...
    jumps = np.argsort(np.concatenate([np.arange(k, P, 3) for k in range(3)]))
    m, times = packet()
    found = memory.retrieval(m[:, jumps], times)
    # mu + 1 comes later, but from 2 mod 3 to 0 mod 3.
    np.testing.assert_allclose(found.fidelity, (P - 1 - 3) / (P - 1))
    assert not found.success


def test_threshold_and_half_of_the_largest():
    m, times = packet(height=0.5)
    assert memory.retrieval(m, times, threshold=0.49).success
    assert not np.any(np.isfinite(memory.retrieval(m, times, threshold=0.51).peak_times))
    # A ripple below half of the maximum is no visit.
    ripple = m.copy()
    ripple[3, 8] = 0.24
    np.testing.assert_array_equal(memory.retrieval(ripple, times).peak_times, memory.retrieval(m, times).peak_times)
    ripple[3, 8] = 0.26
    np.testing.assert_allclose(memory.retrieval(ripple, times).peak_times[8], times[3])


def test_at_rest_nothing_else_is_visited():
    m = np.zeros((50, 4))
    m[:, 1] = 0.9
    found = memory.retrieval(m, np.arange(50.0), cue=1)
    np.testing.assert_array_equal(found.visited, [1, -1, -1, -1])
    assert found.fidelity == 0 and found.reach == 1 and not found.success and np.isnan(found.speed)


def test_values_that_are_not_finite_are_no_success():
    m, times = packet()
    m[200:] = np.nan
    found = memory.retrieval(m, times)
    assert not found.success and found.reach == 0 and np.isnan(found.speed)


def test_many_trials_are_each_measured_alone():
    starts = np.array([[0, 3], [7, 2]])
    m = np.stack([[packet(speed=0.5 + 0.1 * s, start=s)[0] for s in row] for row in starts])
    m, times = np.moveaxis(m, 2, 0), packet()[1]
    found = memory.retrieval(m, times, cue=starts)
    mapped = jax.jit(jax.vmap(lambda m, s: memory.retrieval(m, times, cue=s), in_axes=(1, 0)))(m, starts)
    for i, j in np.ndindex(2, 2):
        alone = memory.retrieval(m[:, i, j], times, cue=int(starts[i, j]))
        for a, b, c in zip(*map(jax.tree.leaves, (found, mapped, alone)), strict=True):
            np.testing.assert_allclose(a[i, j], c, rtol=1e-12)
            np.testing.assert_allclose(b[i, j], c, rtol=1e-12)


def test_on_top():
    m = np.array([[0.05, 0.02], [0.3, 0.4], [np.nan, 0.3], [0.5, -0.9]])
    np.testing.assert_array_equal(memory.on_top(m), [-1, 1, -1, 0])
    np.testing.assert_array_equal(memory.on_top(m, threshold=0.45), [-1, -1, -1, 0])


# --- networks


def test_a_linear_chain_is_a_cascade_of_filters():
    """Orthogonal patterns: dm^{k+1}/dt = -m^{k+1} + gamma m^k, so that m^k(t) = (gamma t)^k e^{-t} / k! peaks at k."""
    n, num, gamma = 64, 6, 1.3
    patterns = np.array([[(-1) ** bin(i & mu).count("1") for i in range(n)] for mu in range(num)], float)  # Walsh
    net = RateNetwork(memory.hebbian(patterns, 0.0, (gamma,), ring=False), Linear())
    found = memory.retrieve(net, patterns, duration=12.0, dt=0.01, save_every=1, ring=False, progress=False)
    k = np.arange(num)
    np.testing.assert_allclose(found.peak_times, k, atol=0.011)
    heights = [gamma**j * j**j * np.exp(-j) / np.prod(np.arange(1, j + 1)) for j in range(num)]
    np.testing.assert_allclose(found.peaks, heights, rtol=1e-4)
    np.testing.assert_allclose(found.speed, 1.0, atol=2e-3)
    assert found.success


@pytest.mark.slow
def test_retrieve_is_simulate_and_measure_for_all_starts():
    patterns = memory.binary(200, 8, key=jax.random.key(0))
    net = RateNetwork(memory.hebbian(patterns, 0.0, (1.5,)), Tanh())
    starts = np.array([0, 3, 7])
    found = memory.retrieve(net, patterns, cue=starts, duration=30.0, progress=False)
    for i, start in enumerate(starts):
        run = simulate(net, patterns[start], duration=30.0, save_every=2, progress=False)
        alone = memory.retrieval(overlaps(patterns, run.rates), run.times, cue=int(start))
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(a[i], b, rtol=1e-9, atol=1e-9)
    assert found.success.all()


@pytest.mark.slow
def test_mapped_over_networks():
    def of(key):
        patterns = memory.binary(150, 6, key=key)
        return memory.retrieve(RateNetwork(memory.hebbian(patterns, 0.0, (1.5,)), Tanh()), patterns, duration=15.0)

    keys = jax.random.split(jax.random.key(1), 2)
    mapped = jax.jit(jax.vmap(of))(keys)
    for i, key in enumerate(keys):
        for a, b in zip(jax.tree.leaves(mapped), jax.tree.leaves(of(key)), strict=True):
            np.testing.assert_allclose(a[i], b, rtol=1e-9, atol=1e-9)


def test_success_probability():
    found = memory.success_probability(np.array([[True, False]] * 3 + [[False, False]]))
    np.testing.assert_allclose(found.value, [0.75, 0.0])
    np.testing.assert_allclose(found.error, np.sqrt([4 / 6 * 2 / 6 / 6, 1 / 6 * 5 / 6 / 6]))


def test_the_error_of_a_probability_is_the_scatter_of_estimates():
    p, trials = 0.3, 50
    samples = np.random.default_rng(0).random((trials, 4000)) < p
    found = memory.success_probability(samples)
    # Scatter known to 1 / sqrt(8000); the mean of the errors is off by O(1 / trials).
    np.testing.assert_allclose(np.std(found.value), np.mean(found.error), rtol=0.05)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda m, t: memory.retrieval(m[:, 0], t), r"`overlaps` must have shape \(time, ..., P\)"),
        (lambda m, t: memory.retrieval(m, t[1:]), "`times` must have shape"),
        (lambda m, t: memory.retrieval(m, t[::-1]), "`times` must be rising"),
        (lambda m, t: memory.retrieval(m, t, cue=P), f"`cue` must be indices of patterns, from 0 to {P - 1}"),
        (lambda m, t: memory.retrieval(m, t, cue=0.5), "`cue` must be indices"),
        (lambda m, t: memory.retrieval(m, t, cue=[0, 1]), "`cue` must be a number or have the shape of the trials"),
        (lambda m, t: memory.retrieval(m, t, length=1), "`length` must be a whole number >= 2"),
        (lambda m, t: memory.retrieval(m, t, length=P + 1), "`length` must be at most"),
        (
            lambda m, t: memory.retrieval(m, t, num_patterns=P + 1),
            f"`num_patterns` must be a whole number from 2 to {P}",
        ),
        (lambda m, t: memory.retrieval(m, t, threshold=0.0), "`threshold` must be a finite number > 0"),
        (lambda m, t: memory.on_top(0.5), "`overlaps` must have shape"),
        (lambda m, t: memory.success_probability(np.zeros((0, 2), bool)), "`success` must have shape"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(*packet())


def test_retrieve_wants_patterns_of_the_network():
    patterns = memory.binary(20, 4, key=jax.random.key(0))
    net = RateNetwork(memory.hebbian(patterns), Tanh())
    with pytest.raises(ValueError, match=r"`patterns` must have shape \(P, 20\)"):
        memory.retrieve(net, patterns[:, :10], duration=5.0)
    batch = jax.vmap(lambda key: DeepHebbian(0.2).sample(20, key=key))(jax.random.split(jax.random.key(0), 2))
    with pytest.raises(ValueError, match="`net` must be one network"):
        memory.retrieve(RateNetwork(batch, Tanh()), patterns, duration=5.0)
