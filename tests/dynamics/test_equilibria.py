"""Fixed points against exact ones, a scan by SciPy, and finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compilations import compilations
from scipy.optimize import brentq, root

from jaxnets.couplings.operators import Dense, Diagonal, Modes
from jaxnets.dynamics.equilibria import find_fixed_point, fixed_points
from jaxnets.dynamics.network import RateNetwork
from jaxnets.transfer import Linear, ReLU, Tanh


def _normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def _find(net, x0s, **options):
    return fixed_points(net, x0s, progress=False, **options)


def _everything(n=5, g=1.5):
    tau, gain = np.linspace(0.5, 2.0, n), np.linspace(0.8, 1.3, n)
    return RateNetwork(g / np.sqrt(n) * _normal(0, n, n), Tanh(), 0.3, 0.5 * _normal(1, n), tau, gain)


# --- known fixed points


def test_two_units_that_excite_each_other():
    w = 2.0
    net = RateNetwork(np.array([[0, w], [w, 0]]), Tanh())
    found = _find(net, 2 * _normal(0, 30, 2), num_leading=2)
    x = brentq(lambda x: x - w * np.tanh(x), 0.1, 5, xtol=1e-14)
    np.testing.assert_allclose(found.points, [[0, 0], [-x, -x], [x, x]], atol=1e-10)
    slope = w / np.cosh(x) ** 2
    np.testing.assert_allclose(
        found.eigenvalues, [[w - 1, -w - 1], [slope - 1, -slope - 1], [slope - 1, -slope - 1]], atol=1e-9
    )
    np.testing.assert_array_equal(found.stable, [False, True, True])
    assert np.all(found.residual < 1e-10) and np.all(found.converged)
    np.testing.assert_array_equal(found.counts, np.bincount(found.index, minlength=3))


def test_a_stored_pattern():
    n, c = 20, 1.8
    xi = np.sign(_normal(0, n, 1))
    net = RateNetwork(Modes(xi, xi, Diagonal(jnp.array([c]))), Tanh())
    x = brentq(lambda x: x - c * np.tanh(x), 0.1, 5, xtol=1e-14)
    found = _find(net, np.concatenate([_normal(1, 10, n), 3 * xi.T, -3 * xi.T]))
    expected = sorted([x * xi[:, 0], -x * xi[:, 0]], key=lambda point: point[0])
    np.testing.assert_allclose(found.points, [np.zeros(n), *expected], atol=1e-9)
    np.testing.assert_array_equal(found.stable, [False, True, True])
    assert {int(found.index[-1]), int(found.index[-2])} == {1, 2}


def test_all_fixed_points_of_a_small_network():
    n = 4
    matrix, current = 2.5 * _normal(8, n, n) / np.sqrt(n) + np.eye(n), 0.1 * _normal(9, n)
    starts = 3 * _normal(1, 400, n)
    found = _find(RateNetwork(matrix, Tanh(), input=current), starts)

    scanned: list[np.ndarray] = []
    for start in 3 * _normal(2, 600, n):  # other starts, another method
        result = root(lambda x: -x + matrix @ np.tanh(x) + current, start, method="hybr", tol=1e-12)
        miss = np.max(np.abs(-result.x + matrix @ np.tanh(result.x) + current))
        if miss < 1e-9 and all(np.max(np.abs(result.x - known)) > 1e-5 for known in scanned):
            scanned.append(result.x)
    assert len(found.points) == len(scanned) > 4
    gaps = np.max(np.abs(np.asarray(found.points)[:, None] - np.array(scanned)[None]), -1)
    assert np.all(gaps.min(0) < 1e-8) and np.all(gaps.min(1) < 1e-8)

    for point, leading, stable in zip(found.points, found.eigenvalues, found.stable, strict=True):
        eigenvalues = np.linalg.eigvals(-np.eye(n) + matrix * (1 - np.tanh(point) ** 2)[None])
        np.testing.assert_allclose(leading[0].real, np.max(eigenvalues.real), atol=1e-8)
        assert stable == (np.max(eigenvalues.real) < 0)
    assert np.all(np.diff(np.linalg.norm(found.points, axis=1)) > -1e-5)


def test_noise_and_time_constants_do_not_move_points_but_decide_their_stability():
    # x_1 excites itself and is inhibited by x_2, which is slow: 0 is stable only while x_2 keeps up.
    J = np.array([[2.0, -2.0], [2.0, 0.0]])
    for tau, stable in ((1.5, False), (2.0, False), (0.5, True)):
        net = RateNetwork(J, Linear(), noise=1.0, tau=np.array([1.0, tau]), input=np.array([1.0, 0.5]))
        found = _find(net, _normal(0, 3, 2), num_leading=2)
        np.testing.assert_allclose(found.points, [np.linalg.solve(np.eye(2) - J, [1.0, 0.5])], atol=1e-10)
        A = (J - np.eye(2)) / np.array([1, tau])[:, None]
        np.testing.assert_allclose(np.sort_complex(found.eigenvalues[0]), np.sort_complex(np.linalg.eigvals(A)))
        assert bool(found.stable[0]) == bool(np.max(np.linalg.eigvals(A).real) < 0) == stable


# --- merging, order, failures


def test_every_start_is_told_its_own_point():
    """Nine points of two units that are apart; starts beside them, in an order that is no involution."""
    w = np.array([2.0, 3.0])
    net = RateNetwork(np.diag(w), Tanh())
    levels = [brentq(lambda x, w=w: x - w * np.tanh(x), 0.1, 5, xtol=1e-14) for w in w]
    signs = np.array([[1, 0], [-1, 1], [0, 0], [1, 1], [0, -1], [-1, -1], [-1, 0], [0, 1], [1, -1]])
    known = signs * levels
    found = _find(net, known + 0.02)
    assert found.points.shape == (9, 2)
    np.testing.assert_allclose(found.points[found.index], known, atol=1e-9)
    np.testing.assert_allclose(found.start_residual, found.residual[found.index], atol=1e-12)
    np.testing.assert_array_equal(found.counts, np.ones(9))
    norms = np.linalg.norm(found.points, axis=1)
    assert np.all(np.diff(norms) > -1e-9) and norms[0] < 1e-9
    pairs = np.asarray(found.points)[1:5].reshape(2, 2, 2)  # of one norm: by the first coordinate
    assert pairs[0, 0, 0] < pairs[0, 1, 0]


@pytest.mark.slow
def test_duplicates_are_one_and_the_order_of_starts_does_not_matter():
    net = RateNetwork(2.5 * _normal(8, 4, 4) / 2 + np.eye(4), Tanh())
    starts = 3 * _normal(1, 60, 4)
    found = _find(net, starts)
    points = np.asarray(found.points)
    gaps = np.max(np.abs(points[:, None] - points[None]), -1) + np.eye(len(points))
    assert np.min(gaps) > 1e-3
    assert jnp.sum(found.counts) == jnp.sum(found.converged) and np.all(found.counts >= 1)
    # tanh is odd: so is the set.
    assert max(np.min(np.max(np.abs(points + x), -1)) for x in points[found.counts > 3]) < 1e-8

    shuffled = np.random.default_rng(0).permutation(60)
    again = _find(net, starts[shuffled])
    np.testing.assert_allclose(again.points, found.points, atol=1e-10)
    np.testing.assert_array_equal(again.counts, found.counts)
    np.testing.assert_array_equal(again.index, found.index[shuffled])
    twice = _find(net, np.concatenate([starts, found.points]))
    assert len(twice.points) == len(found.points)
    np.testing.assert_array_equal(twice.index[60:], np.arange(len(found.points)))


@pytest.mark.slow
def test_same_decides_what_is_one_point():
    x = brentq(lambda x: x - 2 * np.tanh(x), 0.1, 5)
    net = RateNetwork(np.array([[2.0]]), Tanh())
    starts = np.array([[-1.0], [0.01], [1.0]])
    assert len(_find(net, starts, same=0.9 * x).points) == 3
    assert len(_find(net, starts, same=1.1 * x).points) < 3


def test_without_a_fixed_point_every_start_is_reported():
    # dx/dt = -x + 2 max(x, 0) + 1 > 0
    found = _find(RateNetwork(2 * np.eye(2), ReLU(), input=1.0), _normal(0, 6, 2))
    assert found.points.shape == (0, 2) and found.eigenvalues.shape == (0, 1)
    assert found.stable.shape == found.counts.shape == found.residual.shape == (0,)
    np.testing.assert_array_equal(found.index, -np.ones(6))
    assert not np.any(found.converged) and not np.any(found.start_residual < 0.1)


def test_starts_that_fail_among_others_that_do_not():
    net = RateNetwork(3.0 / np.sqrt(40) * _normal(3, 40, 40), Tanh())
    found = _find(net, np.concatenate([3 * _normal(4, 4, 40), np.zeros((1, 40))]), max_steps=3)
    np.testing.assert_array_equal(found.index, [-1, -1, -1, -1, 0])
    np.testing.assert_array_equal(found.counts, [1])
    assert np.all(found.start_residual[:4] > 1e-6) and found.start_residual[4] == 0


def test_far_starts_arrive_where_newton_alone_does_not():
    n = 60
    matrix, starts = 4.0 / np.sqrt(n) * _normal(0, n, n), _normal(6, 20, n)
    assert np.sum(_find(RateNetwork(matrix, Tanh()), starts).converged) > 8

    def newton(x):
        for _ in range(100):
            miss = -x + matrix @ np.tanh(x)
            x = x - np.linalg.solve(-np.eye(n) + matrix * (1 - np.tanh(x) ** 2)[None], miss)
        return np.max(np.abs(miss)) < 1e-8

    assert sum(map(newton, starts)) <= 2


# --- singular Jacobians, slow points, kinks


def test_a_line_attractor_keeps_each_start():
    """x = relu(J x) for every (c, c, c, c): starts on the line are found as they are."""
    net = RateNetwork(np.ones((4, 4)) / 4, ReLU())
    starts = np.array([[1.0] * 4, [2.0] * 4])
    found = _find(net, starts)
    np.testing.assert_array_equal(found.points, starts)
    np.testing.assert_array_equal(found.residual, 0)
    np.testing.assert_array_equal(found.marginal, [1, 1])
    np.testing.assert_array_equal(found.unstable, [0, 0])
    np.testing.assert_array_equal(found.kinks, [0, 0])
    assert not np.any(found.stable) and np.all(found.converged) and not np.any(found.slow)
    traced = jax.jit(jax.vmap(lambda x0: find_fixed_point(net, x0)))(starts)
    np.testing.assert_array_equal(traced.value, starts)
    assert np.all(traced.converged)


def test_a_ring_attractor_is_sampled_by_its_starts():
    n = 64  # with fewer units tanh sees the grid, and prefers some places on the ring
    angles = 2 * np.pi * np.arange(n) / n
    bump = lambda angle: 3 * np.cos(angles - angle)
    net = RateNetwork(3 / n * np.cos(angles[:, None] - angles), Tanh())
    phases = np.linspace(0.1, 6, 9)
    found = _find(net, np.stack([bump(phase) for phase in phases]))
    assert len(found.points) == 9 and np.all(found.residual < 1e-10)
    np.testing.assert_array_equal(found.marginal, 1)
    np.testing.assert_array_equal(found.unstable, 0)
    reached = np.angle(np.asarray(found.points)[found.index] @ np.exp(1j * angles)) % (2 * np.pi)
    np.testing.assert_allclose(reached, phases, atol=0.02)  # a search does not slide along the ring


def test_a_pitchfork_is_one_point():
    """x = tanh x has one root, where all derivatives up to the second vanish."""
    net = RateNetwork(np.eye(4), Tanh())
    found = _find(net, np.concatenate([np.zeros((1, 4)), 2 * _normal(3, 12, 4)]))
    assert len(found.points) == 1 and np.all(found.converged)
    np.testing.assert_allclose(found.points, 0, atol=1e-6)
    assert found.marginal[0] == 4 and not found.stable[0] and found.start_residual[0] == 0
    traced = jax.jit(lambda x0: find_fixed_point(net, x0))(jnp.array([0.5, -1.0, 2.0, 0.0]))
    np.testing.assert_allclose(traced.value, 0, atol=1e-6)


def test_marginal_directions_are_those_of_a_hopf_bifurcation():
    A = np.array([[0.0, -2.0, 0], [2.0, 0, 0], [0, 0, 0.5]])
    found = _find(RateNetwork(A + np.eye(3), Linear(), tau=0.1), np.ones((1, 3)), num_leading=3)
    assert found.marginal[0] == 2 and found.unstable[0] == 1
    np.testing.assert_allclose(found.eigenvalues[0], [5, 20j, -20j], atol=1e-9)


def test_slow_points_have_their_speed():
    """x = 2 tanh x + I a little beyond the fold, where 2 sech^2 x = 1 and the two roots have just met."""
    fold = -np.arccosh(np.sqrt(2))
    net = RateNetwork([[2.0]], Tanh(), input=fold - 2 * np.tanh(fold) + 1e-3, tau=4.0)
    starts = np.array([[-2.0], [-1.5], [-0.5], [3.0]])
    found = _find(net, starts, speed=1e-3)
    np.testing.assert_array_equal(found.slow, [False, True])
    np.testing.assert_allclose(found.points[1], fold, atol=1e-6)
    np.testing.assert_allclose(found.speed[1], 1e-3 / 4, rtol=1e-6)
    np.testing.assert_array_equal(found.index, [1, 1, 1, 0])
    np.testing.assert_array_equal(found.converged, [False, False, False, True])
    np.testing.assert_array_equal(found.counts, [1, 3])
    for options in ({}, {"speed": 2e-4}):
        found = _find(net, starts, **options)
        assert len(found.points) == 1 and not found.slow[0]
        np.testing.assert_array_equal(found.index, [-1, -1, -1, 0])


def test_units_at_a_kink_are_counted():
    """At rest each unit is at the threshold; shifted by an input none is."""
    J = 0.3 * _normal(5, 3, 3)
    found = _find(RateNetwork(J, ReLU()), np.concatenate([np.zeros((1, 3)), _normal(6, 4, 3)]))
    np.testing.assert_array_equal(found.points[0], 0)
    assert found.kinks[0] == 3 and not found.stable[0]
    found = _find(RateNetwork(np.abs(J), ReLU(), input=1.0), np.ones((1, 3)))
    assert found.kinks[0] == 0 and found.stable[0]


def test_other_networks_and_numbers_of_starts_compile_nothing():
    def run(seed, m, **options):
        net = RateNetwork(1.5 / np.sqrt(9) * _normal(seed, 9, 9), Tanh())
        return _find(net, _normal(seed + 1, m, 9), **options)

    run(0, 20)
    with compilations() as programs:
        run(1, 20), run(2, 70), run(0, 3, tolerance=1e-6, max_steps=50, same=1e-3, num_leading=4)
    assert set(programs) <= {"jit(stage)"}  # of arguments


# --- derivatives and transformations


@pytest.mark.slow
def test_derivatives_of_a_fixed_point():
    net, step = _everything(), 1e-5
    weights = jnp.asarray(_normal(3, 5))

    def value(matrix, gain, current, tau):
        moved = RateNetwork(matrix, net.transfer, net.noise, current, tau, gain)
        return find_fixed_point(moved, jnp.zeros(5)).value

    value = jax.jit(value)
    arguments = (net.J.dense(), net.row_gains, net.input, net.tau)
    np.testing.assert_allclose(net.drift(jnp.zeros(()), value(*arguments)), 0, atol=1e-14)
    forward = jax.jacfwd(value, argnums=(0, 1, 2, 3))(*arguments)
    reverse = jax.grad(lambda *a: weights @ value(*a), argnums=(0, 1, 2, 3))(*arguments)
    for position, argument in enumerate(arguments):
        for index in list(np.ndindex(argument.shape))[::4]:
            up, down = (
                value(*(a.at[index].add(sign * step) if i == position else a for i, a in enumerate(arguments)))
                for sign in (1, -1)
            )
            slope = (up - down) / (2 * step)
            np.testing.assert_allclose(forward[position][(slice(None), *index)], slope, atol=1e-6)
            np.testing.assert_allclose(reverse[position][index], weights @ slope, atol=1e-6)
    np.testing.assert_allclose(forward[3], 0, atol=1e-13)  # time constants move nothing


@pytest.mark.slow
def test_second_derivative_of_a_fixed_point():
    # x = g tanh x: x' = tanh x / (1 - g sech^2 x)
    def value(g):
        return find_fixed_point(RateNetwork(g[None, None], Tanh()), jnp.ones(1)).value[0]

    def exact(g):
        x = value(g)
        return jnp.tanh(x) / (1 - g / jnp.cosh(x) ** 2)

    g, step = jnp.asarray(1.7), 1e-5
    np.testing.assert_allclose(jax.grad(value)(g), exact(g), rtol=1e-10)
    curvature = (exact(g + step) - exact(g - step)) / (2 * step)
    np.testing.assert_allclose(jax.grad(jax.grad(value))(g), curvature, rtol=1e-7)
    assert jax.grad(lambda x0: find_fixed_point(RateNetwork(g[None, None], Tanh()), x0).value[0])(jnp.ones(1)) == 0


def test_derivatives_through_modes():
    def value(amplitude):
        net = RateNetwork(Modes(_normal(1, 6, 2), _normal(2, 6, 2), Diagonal(amplitude * jnp.ones(2))), Tanh(), input=1)
        return jnp.sum(find_fixed_point(net, jnp.ones(6)).value ** 2)

    slope = (value(1.3 + 1e-5) - value(1.3 - 1e-5)) / 2e-5
    np.testing.assert_allclose(jax.grad(value)(1.3), slope, rtol=1e-7)


def test_jit_of_vmap_is_the_loop_and_failure_is_data():
    net, starts = _everything(), jnp.asarray(_normal(0, 4, 5))
    mapped = jax.jit(jax.vmap(lambda x0: find_fixed_point(net, x0)))(starts)
    for i, start in enumerate(starts):
        alone = find_fixed_point(net, start)
        np.testing.assert_allclose(mapped.value[i], alone.value, atol=1e-12)
        assert mapped.converged[i] and alone.converged

    currents = jnp.array([-1.0, 1.0, -2.0])  # -x + 2 max(x, 0) + I has a root for I < 0 only
    batch = jax.jit(jax.vmap(lambda I: find_fixed_point(RateNetwork(2 * np.eye(1), ReLU(), input=I), -jnp.ones(1))))
    found = batch(currents)
    np.testing.assert_array_equal(found.converged, [True, False, True])
    np.testing.assert_allclose(found.value[found.converged, 0], [-1, -2], atol=1e-12)


@pytest.mark.slow
def test_single_precision():
    net = RateNetwork(Dense(jnp.asarray(2.0 * _normal(8, 6, 6) / np.sqrt(6), jnp.float32)), Tanh())
    found = _find(net, 2 * _normal(1, 10, 6), same=1e-3)
    assert found.points.dtype == jnp.float32 and found.eigenvalues.dtype == jnp.complex64
    wide = _find(RateNetwork(np.asarray(net.J.dense(), float), Tanh()), found.points)
    assert len(found.points) == len(wide.points) > 0
    np.testing.assert_allclose(found.points, wide.points, atol=1e-4)


# --- bad arguments


@pytest.mark.parametrize(
    "change, message",
    [
        ({"x0s": np.ones(3)}, r"`x0s` must have shape \(m, 3\)"),
        ({"x0s": np.ones((0, 3))}, r"`x0s` must have shape \(m, 3\) with m >= 1"),
        ({"x0s": np.ones((2, 4))}, "`x0s` must have the last axis n = 3"),
        ({"x0s": np.full((2, 3), np.nan)}, "`x0s` must be finite"),
        ({"net": RateNetwork(np.eye(3), Tanh(), input=jnp.sin)}, "`input` must not depend on time"),
        ({"net": RateNetwork(np.zeros((2, 3, 3)), Tanh())}, "`net` must be one network"),
        ({"num_leading": 0}, "`num_leading`"),
        ({"num_leading": 4}, "`num_leading` must be at most"),
        ({"tolerance": 0.0}, "`tolerance`"),
        ({"max_steps": 0}, "`max_steps`"),
        ({"same": -1.0}, "`same`"),
        ({"speed": 0.0}, "`speed`"),
    ],
)
def test_bad_arguments(change, message):
    arguments = {"net": RateNetwork(np.eye(3), Tanh()), "x0s": np.ones((2, 3))} | change
    with pytest.raises(ValueError, match=message):
        _find(**arguments)


def test_bad_start():
    net = RateNetwork(np.eye(3), Tanh())
    with pytest.raises(ValueError, match=r"`x0` must have shape \(3,\)"):
        find_fixed_point(net, np.ones((2, 3)))
    with pytest.raises(ValueError, match="`input` must not depend on time"):
        find_fixed_point(RateNetwork(np.eye(3), Tanh(), input=jnp.sin), np.ones(3))
    with pytest.raises(ValueError, match="`find_fixed_point`"):
        jax.jit(lambda x0s: _find(net, x0s))(jnp.ones((2, 3)))


@pytest.mark.slow
def test_a_large_network():
    n = 500
    net = RateNetwork(2.0 / np.sqrt(n) * _normal(0, n, n), Tanh())
    found = _find(net, 0.3 * _normal(1, 3, n))
    assert np.all(found.converged) and np.all(found.start_residual < 1e-10)
