"""Exact flow against networks solved by hand, a plain loop over events, and steep ramps in small steps."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq

from jaxnets.multistability import Trajectory, basins, flow, is_stable, stable_patterns, state_graph


def _normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def ring(n):
    """Unit i inhibits unit i + 1, which is on otherwise: fields are +1 and -1."""
    return -2 * np.roll(np.eye(n), 1, 0), np.ones(n)


def flows(W, x0s, b, max_events=1000, record=0):
    return flow(W, x0s, b, max_events=max_events, record=record)


# --- networks solved by hand


def test_one_event():
    # Unit 2 excites unit 1 and switches off at t = ln(1 + x_2 / |f_2|) = ln 2.
    W, b = np.array([[0.0, 2.0], [0.0, 0.0]]), np.array([-1.0, -0.5])
    found = flow(W, np.array([0.4, 0.5]), b, record=3)
    assert found.fixed and not found.cycle and found.period == 0
    x1 = 1 + (0.4 - 1) / 2
    later = np.log(1 + x1)
    np.testing.assert_allclose(found.trajectory.times, [0, np.log(2), np.log(2) + later, np.inf], rtol=1e-14)
    np.testing.assert_allclose(found.trajectory.states[1], [x1, 0], atol=1e-15)
    np.testing.assert_allclose(found.trajectory.activities, [[1, 1], [1, 0], [0, 0], [0, 0]])
    np.testing.assert_allclose(found.state, b)
    np.testing.assert_allclose(found.time, np.log(2) + later, rtol=1e-14)
    np.testing.assert_allclose(found.trajectory.at(0.3), [1 - 0.6 * np.exp(-0.3), -0.5 + np.exp(-0.3)], rtol=1e-14)
    after = np.log(2) + later + 0.7
    np.testing.assert_allclose(found.trajectory.at(after)[0], -1 + np.exp(-0.7), rtol=1e-13)


@pytest.mark.slow
@pytest.mark.parametrize("n", [3, 5])
def test_period_of_a_ring_of_inhibition(n):
    r"""Each unit follows the last after tau, so that T = 2 n tau.

    A unit moves between X = (1 - q) / (1 + q) and -X, q = e^{-n tau}, and crosses 0 at tau = ln(1 + X) after its field
    changed: with y = e^{-tau}, 1 + y^n = 2 y. n = 3: y^2 + y = 1, the golden ratio, and T = 6 ln((1 + sqrt 5) / 2).
    """
    W, b = ring(n)
    y = brentq(lambda y: 1 + y**n - 2 * y, 0.4, 0.9, xtol=1e-15)
    found = flow(W, np.linspace(-0.3, 0.4, n), b, record=200)
    assert found.cycle and not found.fixed
    np.testing.assert_allclose(found.period, -2 * n * np.log(y), rtol=1e-8)
    np.testing.assert_allclose(found.mean_activity, np.full(n, 0.5), rtol=1e-8)
    if n == 3:
        np.testing.assert_allclose(found.period, 6 * np.log((1 + np.sqrt(5)) / 2), rtol=1e-8)
    times = found.trajectory.times[np.isfinite(found.trajectory.times)]
    states = jax.vmap(found.trajectory.at)(times[-1] - found.period * jnp.array([0.0, 0.3, 1.0, 1.3]))
    np.testing.assert_allclose(states[:2], states[2:], atol=1e-8)


def test_itineraries_do_not_depend_on_the_start_but_on_the_order():
    W, b = ring(3)
    one, two = flow(W, np.array([0.3, -0.2, 0.1]), b), flow(W, np.array([-0.5, 0.7, 0.4]), b)
    other = flow(W.T, np.array([0.3, -0.2, 0.1]), b)
    np.testing.assert_allclose(one.itinerary, two.itinerary, atol=1e-10)
    np.testing.assert_allclose(one.period, other.period, rtol=1e-8)
    np.testing.assert_allclose(one.mean_activity, other.mean_activity, rtol=1e-8)
    assert abs(one.itinerary - other.itinerary) > 0.1


@pytest.mark.parametrize("x0", [1.0, -1.0, 0.0])
def test_a_unit_that_inhibits_itself_slides(x0):
    W, b = np.array([[-2.0]]), np.array([0.5])
    found = flow(W, np.array([x0]), b)
    assert found.fixed and found.sliding[0]
    np.testing.assert_allclose(found.state, [0.0])
    np.testing.assert_allclose(found.activity, b / 2, rtol=1e-14)
    # From 1 towards W + b = -1.5, from -1 towards b.
    expected = {1.0: np.log(1 + 1 / 1.5), -1.0: np.log(1 + 1 / 0.5), 0.0: 0.0}[x0]
    np.testing.assert_allclose(found.time, expected, rtol=1e-14)


def test_sliding_ends_when_its_activity_leaves_the_interval():
    # Unit 1 slides with h = .5 until unit 2 goes off, which takes 3 from its field: f_1 = 1 - 3 < 0 with h = 0.
    W, b = np.array([[-2.0, 3.0], [0.0, 0.0]]), np.array([-2.0, -1.0])
    found = flow(W, np.array([0.1, 2.0]), b, record=4)
    np.testing.assert_allclose(found.trajectory.activities[1:3], [[0.5, 1], [0, 0]], atol=1e-14)
    np.testing.assert_allclose(found.trajectory.times[2], np.log(3), rtol=1e-14)
    assert found.fixed and not np.any(found.sliding)
    np.testing.assert_allclose(found.state, b)


def test_a_spiral_into_a_corner_arrives_in_finite_time():
    # Around x = 0 each turn is shorter by a factor: two units then slide at once.
    W = np.array([[-1.0, 2.0], [-2.0, -1.0]])
    found = flow(W, np.array([0.3, 0.2]), -W @ [0.5, 0.4], record=100)
    assert found.fixed and np.all(found.sliding) and found.events > 10
    np.testing.assert_allclose(found.activity, [0.5, 0.4], rtol=1e-12)
    np.testing.assert_allclose(found.state, [0, 0])
    times = np.asarray(found.trajectory.times)[: int(found.events)]
    assert times[-1] - times[-6] < 1e-6
    # Without self-inhibition it takes infinitely many turns and infinite time.
    W = np.array([[0.0, 2.0], [-2.0, 0.0]])
    endless = flow(W, np.array([0.3, 0.2]), -W @ [0.5, 0.5], max_events=300)
    assert not endless.fixed and not endless.cycle and endless.events == 300
    assert np.isnan(endless.period) and np.all(np.isnan(endless.mean_activity))
    assert np.max(np.abs(endless.state)) < 0.1


def test_switches_at_one_time():
    # Two equal units that excite each other, kept off by a third until it goes off itself.
    W = np.array([[0.0, 1.0, -3.0], [1.0, 0.0, -3.0], [0.0, 0.0, 0.0]])
    found = flow(W, np.array([-0.5, -0.5, 1.0]), np.array([1.0, 1.0, -1.0]))
    assert found.fixed and found.events == 2
    np.testing.assert_allclose(found.activity, [1, 1, 0])
    # Two that inhibit each other: one wins, or both would slide where that is a choice; here consistent either way.
    W, b = np.array([[0.0, -2.0], [-2.0, 0.0]]), np.ones(2)
    found = flow(W, np.array([-0.5, -0.5]), b)
    assert found.fixed
    f = W @ found.activity + b
    on, off = found.activity == 1, found.activity == 0
    assert np.all(np.where(on, f > 0, np.where(off, f < 0, np.abs(f) < 1e-14)))


def test_marginal_fields():
    # f_1 = 0: x_1 decays on its side, whatever that is, and never switches.
    W, b = np.array([[0.0, 0.0], [0.0, 0.0]]), np.array([0.0, 1.0])
    for x0 in (0.3, -0.3, 0.0):
        found = flow(W, np.array([x0, -1.0]), b, record=2)
        assert found.fixed
        np.testing.assert_allclose(found.activity, [x0 > 0, 1])
        np.testing.assert_allclose(found.trajectory.at(2.0)[0], x0 * np.exp(-2.0), atol=1e-15)
    # .1 + .2 - .3 is 5.6e-17 and would have it switch after ln 1e16.
    found = flow(np.tile([0.1, 0.2, -0.3, 0], (4, 1)), np.array([0.5, 0.5, 0.5, -0.5]))
    assert found.fixed and found.events == 0


# --- random networks


def plain_loop(W, b, x, max_events=500):
    """Events without sliding: times, states, and whether a unit came that would have to slide."""
    s, t, times, states = x > 0, 0.0, [0.0], [x]
    for _ in range(max_events):
        f = W @ s + b
        with np.errstate(divide="ignore", invalid="ignore"):
            waits = np.where(x * f < 0, np.log(1 - x / f), np.inf)
        waits[(x == 0) & (s == (f > 0))] = np.inf
        i = np.argmin(waits)
        if not np.isfinite(waits[i]):
            return np.array(times), np.array(states), s
        x = f + (x - f) * np.exp(-waits[i])
        x[i], t = 0.0, t + waits[i]
        s = s.copy()
        s[i] = ~s[i]
        times.append(t)
        states.append(x)
        x = x.copy()
        x[i] = 1e-300 * (1 if s[i] else -1)
    return np.array(times), np.array(states), None


@pytest.mark.slow
def test_events_are_those_of_a_plain_loop():
    compared = 0
    for seed in range(12):
        n = 8
        W = _normal(seed, n, n)
        np.fill_diagonal(W, np.abs(np.diag(W)))
        b, x0s = 0.3 * _normal(100 + seed, n), _normal(200 + seed, 4, n)
        found = flows(W, x0s, b, record=60, max_events=60)
        for k, x0 in enumerate(x0s):
            times, states, s = plain_loop(W, b, x0)
            if s is None:
                assert not found.fixed[k]
                continue
            compared += 1
            assert found.fixed[k] and found.events[k] == len(times) - 1
            np.testing.assert_array_equal(found.activity[k], s)
            np.testing.assert_allclose(found.trajectory.times[k, : len(times)], times, rtol=1e-9)
            np.testing.assert_allclose(found.trajectory.states[k, : len(times)], states, atol=1e-9)
            assert bool(is_stable(W, found.activity[k], b))
    assert compared > 30


@partial(jax.jit, static_argnames=("width", "duration"))
def ramp_states(W, b, x0s, width, duration):
    """Small Euler steps with H(x) replaced by a ramp from -width to width."""
    step = 0.1 * width

    def advance(_, x):
        return x + step * (jnp.clip(0.5 + x / (2 * width), 0, 1) @ W.T + b[None] - x)

    return jax.lax.fori_loop(0, round(duration / step), advance, x0s)


@pytest.mark.slow
def test_flow_is_the_limit_of_steep_ramps():
    num_sliding = 0
    for seed in range(4):
        n, duration = 6, 3.0
        W, b, x0s = _normal(seed, n, n), 0.5 * _normal(10 + seed, n), _normal(20 + seed, 10, n)
        found = flows(W, x0s, b, record=50)
        exact = jax.vmap(Trajectory.at, (0, None))(found.trajectory, duration)
        inner = (found.trajectory.activities > 1e-9) & (found.trajectory.activities < 1 - 1e-9)
        num_sliding += int(np.sum(np.any(inner, (1, 2))))
        wide, narrow = (np.max(np.abs(ramp_states(W, b, x0s, width, duration) - exact), 1) for width in (4e-3, 1e-3))
        # Near a wall both lag by their width, times the gain of what follows.
        assert np.max(narrow) < 0.02 and np.sum(narrow) < 0.5 * np.sum(wide)
    assert num_sliding >= 10


@pytest.mark.slow
def test_every_end_is_an_attractor():
    num_sliding = num_cycles = 0
    for seed in range(6):
        n = 10
        W, b, x0s = _normal(seed, n, n), 0.2 * _normal(50 + seed, n), _normal(60 + seed, 60, n)
        found = flows(W, x0s, b)
        assert not np.any(found.fixed & found.cycle)
        # What is undecided wanders, and no event was without a consistent side.
        assert np.all(found.fixed | found.cycle | (found.events == 1000))
        h = np.asarray(found.activity)
        f = h @ W.T + b
        slides = np.asarray(found.sliding)
        assert np.all((h[slides] >= -1e-13) & (h[slides] <= 1 + 1e-13)) and np.all(np.abs(f[slides]) < 1e-12)
        assert np.all(np.isin(h[~slides], [0, 1]))
        fixed = np.asarray(found.fixed)
        assert np.all(((2 * h - 1) * f)[fixed][~slides[fixed]] > 0)
        np.testing.assert_allclose(found.state[fixed], f[fixed], atol=1e-12)
        listed = {tuple(pattern) for pattern in stable_patterns(W, b).patterns}
        assert {tuple(pattern > 0.5) for pattern in h[fixed & ~np.any(slides, 1)]} <= listed
        num_sliding += np.sum(np.any(slides, 1) & fixed)
        num_cycles += np.sum(found.cycle)
    assert num_sliding > 20 and num_cycles > 20


def test_stable_patterns_hold_under_small_kicks_within_their_orthant():
    W, b = _normal(3, 9, 9), np.zeros(9)
    s = stable_patterns(W, b).patterns
    assert len(s) > 0
    found = flows(W, (s @ W.T) * np.random.default_rng(0).uniform(0.1, 3, s.shape), b)
    assert np.all(found.fixed) and np.all(found.events == 0)
    np.testing.assert_array_equal(found.activity, s)


@pytest.mark.slow
def test_jit_of_vmap_is_the_loop_and_derivatives_pass():
    W, b, x0s = _normal(0, 6, 6), 0.5 * _normal(10, 6), _normal(20, 5, 6)
    mapped = flows(W, x0s, b, record=4)
    for k, x0 in enumerate(x0s):
        alone = flow(W, x0, b, record=4)
        for one, many in zip(jax.tree.leaves(alone), jax.tree.leaves(mapped), strict=True):
            np.testing.assert_allclose(one, many[k], atol=1e-12)
    # Forward: the first switching time ln(1 - x / f) by its start.
    first = lambda x: flow(np.zeros((1, 1)), x, -1.0, record=1).trajectory.times[1]
    slope = jax.jacfwd(first)(jnp.array([0.5]))
    np.testing.assert_allclose(slope, [1 / 1.5], rtol=1e-12)


@pytest.mark.slow
def test_single_precision():
    W, b = ring(3)
    found = flow(W.astype(np.float32), np.array([0.3, -0.2, 0.1]), b)
    assert found.state.dtype == jnp.float32 and found.cycle
    np.testing.assert_allclose(found.period, 6 * np.log((1 + np.sqrt(5)) / 2), rtol=3e-3)


# --- basins and graphs


def test_basins_of_a_bistable_unit():
    # x_1 goes where it starts. Unit 2 runs along a ring of three with no say in it.
    found = basins(np.array([[2.0]]), -1.0, num_starts=1000, key=jax.random.key(0))
    np.testing.assert_array_equal(np.sort(found.activities[:, 0]), [0, 1])
    assert np.all(np.abs(found.shares - 0.5) < 4 * found.error)
    np.testing.assert_allclose(found.error, np.sqrt(np.prod(found.shares) / 1000))
    np.testing.assert_array_equal(np.bincount(found.index) / 1000, found.shares)
    assert found.undecided == 0 and np.all(found.periods == 0)


@pytest.mark.slow
def test_basins_of_a_pair_have_exact_shares():
    # Mutual inhibition, fields 1 and -1: who starts higher wins when both start on or both off, by symmetry one half;
    # a quarter of the starts is decided at once for either.
    W = np.array([[0.0, -2.0], [-2.0, 0.0]])
    found = basins(W, 1.0, num_starts=2000, key=jax.random.key(1))
    assert {tuple(a) for a in found.activities} == {(0.0, 1.0), (1.0, 0.0)}
    assert np.all(np.abs(found.shares - 0.5) < 4 * found.error)


def test_basins_tell_cycles_from_fixed_points():
    # A unit that latches switches a ring of three on, and leaves its units on otherwise.
    W, b = np.zeros((4, 4)), np.array([-1.0, 3.0, 3.0, 3.0])
    W[0, 0] = 2
    W[1:, 1:] = ring(3)[0]
    W[1:, 0] = -2
    found = basins(W, b, num_starts=400, key=jax.random.key(0))
    assert len(found.shares) == 2
    order = np.argsort(found.periods)
    np.testing.assert_allclose(found.activities[order], [[0, 1, 1, 1], [1, 0.5, 0.5, 0.5]], atol=1e-8)
    np.testing.assert_allclose(found.periods[order], [0, 6 * np.log((1 + np.sqrt(5)) / 2)], atol=1e-8)
    # The latch alone decides.
    assert np.all(np.abs(found.shares - 0.5) < 4 * found.error)


def test_the_index_of_a_start_is_where_its_flow_ends():
    # Many attractors, in an order by share that is no exchange of pairs.
    n, num_starts, key = 8, 100, jax.random.key(0)
    W = _normal(4, n, n) + 1.5 * np.eye(n)
    b = -0.5 * np.sum(W, 1)
    found = basins(W, b, num_starts=num_starts, key=key, spread=2.0)
    assert len(found.shares) > 4 and np.all(np.diff(found.shares) <= 0)
    ends = flows(W, 2.0 * jax.random.normal(key, (num_starts, n)), b)
    decided = found.index >= 0
    np.testing.assert_array_equal(decided, np.asarray(ends.fixed | ends.cycle))
    np.testing.assert_allclose(found.activities[found.index[decided]], ends.mean_activity[decided], atol=1e-3)


@pytest.mark.slow
def test_graph_of_a_bistable_unit():
    graph = state_graph(np.array([[2.0]]), -1.0, num_starts=200, key=jax.random.key(0))
    np.testing.assert_array_equal(graph.activities, [[0], [1]])
    np.testing.assert_array_equal(graph.targets, [[1], [0]])
    np.testing.assert_array_equal(graph.edges, [[0, 1], [1, 0]])
    np.testing.assert_allclose(np.sum(graph.shares), 1)
    still = state_graph(np.array([[2.0]]), -1.0, num_starts=200, key=jax.random.key(0), kick=0.9)
    np.testing.assert_array_equal(still.edges, np.diag([1, 1]))


@pytest.mark.slow
def test_targets_are_where_flows_go():
    n, key = 8, jax.random.key(0)
    W = _normal(4, n, n) + 1.5 * np.eye(n)
    b = -0.5 * np.sum(W, 1)
    graph = state_graph(W, b, num_starts=200, key=key)
    np.testing.assert_array_equal(graph.activities[: graph.num_stable], stable_patterns(W, b).patterns)
    assert graph.num_stable > 3
    np.testing.assert_array_equal(np.sum(graph.edges, 1), np.sum(graph.targets >= 0, 1))
    for a in range(3):
        f = W @ graph.activities[a] + b
        for i in range(n):
            found = flow(W, np.where(np.arange(n) == i, -f, f), b)
            reached = graph.activities[graph.targets[a, i]]
            np.testing.assert_allclose(found.mean_activity, reached, atol=1e-6)


def test_a_graph_without_stable_patterns():
    W, b = ring(3)
    graph = state_graph(W, b, num_starts=50, key=jax.random.key(0))
    assert graph.num_stable == 0 and graph.edges.shape == (0, 1) and graph.targets.shape == (0, 3)
    np.testing.assert_allclose(graph.shares, [1])


# --- bad arguments


@pytest.mark.parametrize(
    "change, message",
    [
        ({"x0": np.ones(2)}, r"`x0` must have shape \(..., 3\)"),
        ({"x0": np.ones((3, 2))}, r"`x0` must have shape \(..., 3\)"),
        ({"x0": np.array([0, 1, np.nan])}, "`x0` must be finite"),
        ({"bias": np.ones(2)}, "`bias`"),
        ({"max_events": 0}, "`max_events`"),
        ({"record": -1}, "`record`"),
        ({"tolerance": 0.0}, "`tolerance`"),
    ],
)
def test_bad_arguments(change, message):
    with pytest.raises(ValueError, match=message):
        flow(**({"J": np.eye(3), "x0": np.ones(3)} | change))


def test_bad_graphs():
    key = jax.random.key(0)
    with pytest.raises(ValueError, match="`patterns` must be stable in every row"):
        state_graph(np.eye(2), num_starts=10, key=key, patterns=np.array([[1, 0]]))
    with pytest.raises(ValueError, match="`kick`"):
        state_graph(np.eye(2), num_starts=10, key=key, kick=0.0)
    with pytest.raises(ValueError, match="`flow`"):
        jax.jit(lambda W: basins(W, num_starts=10, key=key).shares)(jnp.eye(2))
    with pytest.raises(ValueError, match="`spread`"):
        basins(np.eye(2), num_starts=10, key=key, spread=-1.0)
