"""Fixed points and 2-cycles against Newton's method from many starts, and against orbits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.inference import StochasticLowRank, fixed_points
from jaxnets.transfer import PiecewiseLinear, ReLU, clipped_linear


def model(seed, transfer, strength, leak=0.1, N=7, R=2):
    rng = np.random.default_rng(seed)
    m, n = rng.standard_normal((N, R)), strength * rng.standard_normal((R, N)) / np.sqrt(N)
    weights = rng.standard_normal((N, 1))
    return StochasticLowRank(m, n, leak, 0.1, transfer, threshold=rng.standard_normal(N), input_weights=weights)


def by_newton(step, period, starts):
    """Points of that period, from many starts."""

    def many(z):
        for _ in range(period):
            z = step(z)
        return z

    def improve(z, _):
        slope = jax.jacfwd(many)(z) - jnp.eye(len(z))
        return z - jnp.linalg.solve(slope, many(z) - z), None

    ends = jax.jit(jax.vmap(lambda z: jax.lax.scan(improve, z, length=20)[0]))(starts)
    away = np.max(np.abs(jax.vmap(many)(ends) - ends), 1)
    apart = np.max(np.abs(jax.vmap(step)(ends) - ends), 1)
    ends = np.asarray(ends)[(away < 1e-9) & ((period == 1) | (apart > 1e-6))]
    return np.unique(np.round(ends, 6), axis=0)


@pytest.mark.parametrize(
    ("seed", "transfer", "strength"),
    [(0, clipped_linear(), 6.0), (1, ReLU(), 1.5), (10, clipped_linear(-1.0, 1.0), -4.0)],
)
def test_all_that_newton_finds(seed, transfer, strength):
    one = model(seed, transfer, strength)
    u = np.array([0.4])
    found = fixed_points(one, u)
    starts = 8 * jax.random.normal(jax.random.key(seed), (300, 2))
    step = lambda z: one.step(z, u)
    points = by_newton(step, 1, starts)
    assert all(np.min(np.abs(found.points - p).max(1)) < 1e-5 for p in points)
    pairs = by_newton(step, 2, starts)
    assert all(np.min(np.abs(found.cycles - p).max(-1)) < 1e-5 for p in pairs)
    assert len(found.points) and found.cycles_complete
    for z, values in zip(found.points, found.multipliers, strict=True):
        np.testing.assert_allclose(step(z), z, atol=1e-8)
        slopes = np.linalg.eigvals(np.asarray(jax.jacfwd(step)(jnp.asarray(z))))
        np.testing.assert_allclose(np.sort(np.abs(slopes)), np.sort(np.abs(values)), atol=1e-8)
    for (first, second), values in zip(found.cycles, found.cycle_multipliers, strict=True):
        np.testing.assert_allclose(step(first), second, atol=1e-8)
        np.testing.assert_allclose(step(second), first, atol=1e-8)
        slopes = np.linalg.eigvals(np.asarray(jax.jacfwd(lambda z: step(step(z)))(jnp.asarray(first))))
        np.testing.assert_allclose(np.sort(np.abs(slopes)), np.sort(np.abs(values)), atol=1e-8)


def test_there_are_cycles_to_be_found():
    found = fixed_points(model(10, clipped_linear(-1.0, 1.0), -4.0), np.array([0.4]))
    assert len(found.cycles) > 1 and found.cycle_stable.any() and not found.cycle_stable.all()


def test_a_small_slope_has_no_cycles_and_needs_no_pairs():
    weak = fixed_points(model(10, clipped_linear(-1.0, 1.0), -0.1), np.array([0.4]))
    assert len(weak.cycles) == 0 and weak.cycles_complete and len(weak.points) == 1 and weak.stable.all()


def test_units_that_jump():
    found = fixed_points(model(5, PiecewiseLinear([0.0], [0.0, 0.0], [0.0, 1.0]), 3.0))
    step = model(5, PiecewiseLinear([0.0], [0.0, 0.0], [0.0, 1.0]), 3.0).step
    for z in found.points:
        np.testing.assert_allclose(step(jnp.asarray(z)), z, atol=1e-9)


def test_what_is_refused():
    with pytest.raises(ValueError, match="`transfer` must be made of lines"):
        fixed_points(model(0, None, 1.0))
    with pytest.raises(ValueError, match=r"`input` must have shape \(1,\)"):
        fixed_points(model(0, ReLU(), 1.0), [1.0, 2.0])
    with pytest.raises(ValueError, match="`model` must be a `StochasticLowRank`"):
        fixed_points(3)
    with pytest.raises(ValueError, match="`model` must be concrete"):
        jax.jit(fixed_points)(model(0, ReLU(), 1.0))
