"""The dimension of activity: linear networks of which the covariance is known, and its parts against direct sums."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from jaxnets import observables as obs
from jaxnets.observables.dimension import _blocks, _from_blocks, _moment_products, _traces

DT = 0.5


def noise(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def linear_network(n, gain, seed=0):
    """A = -1 + g J of x' = A x + sqrt(2) xi, and the covariance of x: A C + C A^T = -2."""
    A = gain * noise(seed, n, n) / np.sqrt(n) - np.eye(n)
    return A, scipy.linalg.solve_continuous_lyapunov(A, -2 * np.eye(n))


def simulate(A, C, times, trajectories, seed):
    """Stationary from the start and without error of discretisation: (time, trajectories, n)."""
    rng = np.random.default_rng(seed)
    step = scipy.linalg.expm(A * DT)
    kick = np.linalg.cholesky(C - step @ C @ step.T)
    x = np.empty((times, trajectories, len(C)))
    x[0] = rng.standard_normal(x.shape[1:]) @ np.linalg.cholesky(C).T
    for t in range(1, times):
        x[t] = x[t - 1] @ step.T + rng.standard_normal(x.shape[1:]) @ kick.T
    return x


def dimension(C):
    return np.trace(C) ** 2 / np.sum(C**2)


# --- the estimate


@pytest.mark.slow
def test_linear_networks_within_the_stated_error():
    repeats, times = 120, 1600
    A, C = linear_network(40, 0.6)
    x = 1.0 + simulate(A, C, times, repeats, seed=1)
    exact, T2 = dimension(C), float(obs.correlation_time(x, DT))
    each = lambda f: jax.jit(jax.vmap(f, in_axes=1))(jnp.asarray(x)[:, :, None])

    found = each(lambda x: obs.dimension_estimate(x, DT, correlation_time=T2))
    z = (found.value - exact) / found.error
    pieces = _blocks(times, 1, T2 / DT)[0]
    assert pieces >= 12
    # Student's t of so many pieces has this variance, its estimate the relative error sqrt(2 / repeats) or a little
    # more for the tails.
    variance = (pieces - 1) / (pieces - 3)
    assert abs(np.mean(np.square(z)) / variance - 1) < 4 * np.sqrt(2 / repeats)
    assert abs(np.mean(found.value) - exact) < 4 * np.std(found.value) / np.sqrt(repeats)
    # The errors, without dividing by them: known to 24% each, less what they have in common.
    np.testing.assert_allclose(np.sqrt(np.mean(found.error**2)), np.std(found.value), rtol=0.25)

    # The naive estimate is low by the known amount, which is visible.
    naive = each(lambda x: obs.participation_ratio(x, DT, unbiased=False))
    assert np.mean(naive) < exact - 8 * np.std(naive) / np.sqrt(repeats)
    np.testing.assert_allclose(np.mean(1 / naive), 1 / exact + T2 / (times * DT), rtol=0.02)


def test_many_short_trajectories():
    # Far fewer times than units, and fewer samples in all than would fill the space.
    A, C = linear_network(60, 0.5)
    x = simulate(A, C, 3, 40, seed=2)
    found = obs.dimension_estimate(x, DT, correlation_time=10.0)
    assert abs(found.value - dimension(C)) < 4 * found.error < dimension(C)
    assert obs.participation_ratio(x, DT, unbiased=False) < 0.8 * dimension(C)


def test_the_correlation_time_is_measured_if_not_given():
    A, C = linear_network(6, 0.5)
    x = simulate(A, C, 400, 2, seed=3)
    T2 = float(obs.correlation_time(x, DT))
    for found in (obs.dimension_estimate(x, DT).value, obs.participation_ratio(x, DT)):
        np.testing.assert_allclose(
            found, obs.participation_ratio(x, DT, correlation_time=T2, unbiased=True), rtol=1e-12
        )


def test_sample_participation_ratio():
    x = 3 + noise(4, 50, 2, 7)
    expected = dimension(np.cov(x.reshape(-1, 7).T))
    np.testing.assert_allclose(obs.participation_ratio(x, DT, unbiased=False), expected, rtol=1e-12)
    few = x[:2]
    np.testing.assert_allclose(
        obs.participation_ratio(few, DT, unbiased=False), dimension(np.cov(few.reshape(-1, 7).T)), rtol=1e-12
    )


@pytest.mark.parametrize("centre", [True, False])
def test_activity_along_one_direction_has_dimension_one(centre):
    x = noise(5, 300, 1) * noise(6, 8)[None]
    found = obs.dimension_estimate(x, DT, correlation_time=DT, centre=centre)
    # The pieces differ in size alone, which moves numerator and denominator together.
    np.testing.assert_allclose(found.value, 1.0, rtol=1e-12)
    assert found.error < 1e-12


def test_the_origin_does_not_matter():
    x = noise(7, 300, 2, 6)
    at = lambda x: obs.dimension_estimate(x, DT, correlation_time=DT)
    np.testing.assert_allclose(at(x + 50.0).value, at(x).value, rtol=1e-9)
    assert abs(obs.participation_ratio(x + 1.0, DT, correlation_time=DT, centre=False) - at(x).value) > 1


# --- its parts


def test_traces_are_averages_over_different_pieces():
    B = 6
    pieces = 0.5 + noise(8, B, 4, 3)
    M, m = [p.T @ p / 4 for p in pieces], pieces.mean(1)

    def averages(left_out):
        mean = lambda term, order: np.mean(
            [term(*pick) for pick in itertools.permutations(range(B), order) if left_out not in pick]
        )
        mmmm = mean(lambda a, b, c, d: (m[a] @ m[b]) * (m[c] @ m[d]), 4)
        tt = mean(lambda a, b: np.trace(M[a]) * np.trace(M[b]), 2)
        MM = mean(lambda a, b: np.trace(M[a] @ M[b]), 2)
        tmm = mean(lambda a, b, c: np.trace(M[a]) * (m[b] @ m[c]), 3)
        mMm = mean(lambda a, b, c: m[a] @ M[b] @ m[c], 3)
        return (tt - 2 * tmm + mmmm, MM - 2 * mMm + mmmm), (tt, MM)

    centred, raw = zip(*(averages(left_out) for left_out in (None, *range(B))), strict=True)
    np.testing.assert_allclose(_traces(jnp.asarray(pieces), True), np.transpose(centred), rtol=1e-12)
    np.testing.assert_allclose(_traces(jnp.asarray(pieces), False), np.transpose(raw), rtol=1e-12)


@pytest.mark.parametrize("L, n", [(3, 20), (3, 5), (9, 4)])  # few samples, few in a piece, many
def test_products_of_moments_by_either_route(L, n):
    pieces = noise(9, 5, L, n)
    M = [p.T @ p / L for p in pieces]
    expected = [sum(np.sum(M[a] * M[b]) for b in range(5) if b != a) for a in range(5)]
    np.testing.assert_allclose(_moment_products(jnp.asarray(pieces)), expected, rtol=1e-12)


@pytest.mark.parametrize("trajectories", [1, 2, 5, 10, 300])
@pytest.mark.parametrize("times, decay", [(400, 3.0), (1000, 20.5), (10_000, 1.0), (50_000, 80.0)])
def test_blocks_fit_and_are_apart(times, trajectories, decay):
    num, length, gap = _blocks(times, trajectories, decay)
    assert num * trajectories >= 10 and gap >= 3 * decay
    assert times - num < num * length + (num - 1) * gap <= times
    if num * trajectories > 10 * trajectories:
        # What is lost to gaps and to a piece with itself is least: one block more or fewer loses more.
        lost = lambda num: num * gap / times + 1 / (num * trajectories)
        assert lost(num) < 1.02 * min(lost(num - 1), lost(num + 1))


# --- principal components


@pytest.mark.parametrize("shape", [(40, 6), (3, 2, 9)])
def test_principal_components_diagonalise_the_covariance(shape):
    x = 1.0 + noise(10, *shape) * np.linspace(1, 2, shape[-1])
    found = obs.principal_components(x)
    C, num = obs.covariance(x), min(np.prod(shape[:-1]), shape[-1])
    assert found.directions.shape == (shape[-1], num)
    np.testing.assert_allclose(found.variances, np.linalg.eigvalsh(C)[::-1][:num], atol=1e-13)
    np.testing.assert_allclose(found.directions.T @ found.directions, np.eye(num), atol=1e-13)
    np.testing.assert_allclose(C @ found.directions, found.directions * found.variances[None], atol=1e-13)
    np.testing.assert_allclose(jnp.sum(found.explained), 1.0)

    two = obs.principal_components(x.astype(np.float32), num_components=2)
    assert two.directions.shape == (shape[-1], 2) and two.variances.dtype == jnp.float32
    np.testing.assert_allclose(two.explained, found.explained[:2], rtol=1e-5)


# --- arguments

GOOD = noise(11, 400, 3)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: obs.dimension_estimate(GOOD[:15], DT), "`x` must have 10 independent pieces"),
        (lambda: obs.participation_ratio(GOOD, DT, correlation_time=10.0), "`x` must have 10 independent pieces"),
        (lambda: obs.dimension_estimate(GOOD, DT, correlation_time=0.0), "`correlation_time` must be a finite number"),
        (lambda: obs.dimension_estimate(GOOD, DT, correlation_time=np.nan), "`correlation_time` must be a finite"),
        (lambda: obs.dimension_estimate(np.full((400, 2), 0.7), DT), "`x` must vary"),
        (lambda: obs.dimension_estimate(np.full((2, 40), 0.7), DT), "if this is units x time, try `x.T`"),
        (lambda: obs.participation_ratio(np.full((400, 2), 0.7), DT, unbiased=False), "in all 2 units"),
        (lambda: obs.principal_components(np.full((2, 40), 0.7)), "in all 40 units; if this is units x time"),
        (lambda: obs.autocovariance(np.ones((3, 40)), DT, max_lag=100.0), "if this is units x time, try `x.T`"),
        (lambda: obs.power_spectrum(np.ones((3, 40)), DT), "if this is units x time, try `x.T`"),
        (lambda: jax.jit(lambda x: obs.dimension_estimate(x, DT).value)(GOOD), "`correlation_time` must be given"),
        (lambda: obs.principal_components(GOOD, num_components=4), "`num_components` must be at most 3"),
        (lambda: obs.principal_components(GOOD, num_components=0), "`num_components` must be a whole number >= 1"),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(ValueError) as error:
        call()
    assert message in str(error.value)


def test_constant_units_of_a_population_are_named():
    """They are silent units, in the estimate as in a population with as many: PR of all is that of the others."""
    x = np.random.default_rng(0).standard_normal((4000, 8))
    few = obs.dimension_estimate(x, DT, population_size=80, correlation_time=DT).value
    x = np.concatenate([x, np.full((4000, 2), 0.3)], axis=1)
    with pytest.warns(RuntimeWarning, match=r"`x` has 2 constant units \(8, 9\): they count as silent"):
        all_units = obs.dimension_estimate(x, DT, population_size=100, correlation_time=DT)
    assert abs(all_units.value - few) < 3 * all_units.error
    with pytest.warns(RuntimeWarning, match=r"`x` has 1 constant unit \(8\): it counts as a silent unit"):
        obs.dimension_estimate(x[:, :9], DT, population_size=100, correlation_time=DT)
    assert obs.participation_ratio(np.ones((4, 2)), DT, unbiased=False, centre=False) == pytest.approx(1)


def test_the_bias_of_the_ratio_is_taken_out():
    """16 blocks of 3 samples, of which the plain ratio of unbiased traces is 3 % too high on average."""
    scales = jnp.array([3.0, 1.0, 1.0, 0.5])
    expected = jnp.sum(scales**2) ** 2 / jnp.sum(scales**4)
    draw = lambda key: scales[None, None] * jax.random.normal(key, (48, 1, 4))
    found = jax.vmap(lambda key: _from_blocks(draw(key), None, 16, 3, 0, False).value)(
        jax.random.split(jax.random.key(0), 8000)
    )
    error = float(jnp.std(found)) / len(found) ** 0.5
    assert error < 2e-3
    np.testing.assert_allclose(jnp.mean(found), expected, atol=5 * error)
