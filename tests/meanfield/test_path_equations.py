"""The equations of sampled paths, one by one: the field, the averages, the acceleration, and what is converged."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import ive

from jaxnets.couplings import IID
from jaxnets.meanfield.types.problem import Functions
from jaxnets.meanfield.unit import field, found, sampled, self_consistency
from jaxnets.meanfield.unit.energy import rises
from jaxnets.meanfield.unit.field import Averages, Grid, Problem, Unit, Unknowns
from jaxnets.meanfield.unit.paths import path_averages, white
from jaxnets.meanfield.unit.requirements import shape_of
from jaxnets.meanfield.unit.self_consistency import Solution
from jaxnets.transfer import Linear, Tanh, clipped_linear

SIGMA, INSTANTANEOUS, SLOW = 0.7, 0.15, 0.06
GRID = Grid(h=jnp.asarray(0.1), T=121, M=121, F=256)
ONE = jnp.ones(1)


def _heard(r_and_kappa):
    """Couplings with this r(S) and kappa(S)."""

    def field(t12, t21, t11, t22, fractions, physical):
        r, kappa = r_and_kappa(t21)
        return r, jnp.conj(r), kappa * t22, kappa * t11

    return SimpleNamespace(field=field)


def _problem(ensemble, transfer, sigma, grid, normal):
    functions = Functions((transfer,), (None,))
    return Problem(ensemble, ONE, functions, sigma * ONE, ONE, ONE[0], grid, normal, 41)


# Couplings through which a unit hears itself at once and later.
HEARD = _heard(lambda S: (INSTANTANEOUS + SLOW * S, 0.25 + 0 * jnp.abs(S)))


def _linear_response(tau):
    """S(tau) of linear units: S = 2 / (p + sqrt(p^2 - 4 slow)) with p = 1 - instantaneous + i w."""
    x = np.maximum(2 * SLOW**0.5 * tau, 1e-9)
    return 2 * np.exp(-(1 - INSTANTANEOUS) * tau + x) * ive(1, x) / x


def _white(paths):
    """Random numbers as `white` draws them."""
    real = np.random.default_rng(0).standard_normal((2, paths, GRID.F))
    return jnp.asarray(np.fft.rfft(real))


def test_paths_of_linear_units_are_those_of_the_gaussian(monkeypatch):
    """x = y for linear units: what is integrated differs from what is known by the error of the grid."""
    # <phi phi> of linear units; their quadrature would be compiled as long as all the rest.
    monkeypatch.setattr(field, "covariances", lambda phi, variance, roots, nodes: variance * jnp.asarray(roots))
    problem = _problem(HEARD, Linear(), SIGMA, GRID, _white(4))
    response = _linear_response(np.asarray(GRID.lags())[: GRID.M])
    unknowns = Unknowns(0.5 * jnp.exp(-GRID.lags())[None], jnp.asarray(response)[None])

    @jax.jit
    def measure(unknowns, normal):
        of_unit = jax.tree.map(lambda a: a[0], field.field_of(problem, unknowns))
        return of_unit, path_averages(Unit(Linear(), ONE[0], GRID, 41), of_unit, normal)

    of_unit, measured = measure(unknowns, problem.normal)
    assert abs(of_unit.kernel[0]) > 0.1 and abs(of_unit.kernel[1]) > 0.003
    np.testing.assert_allclose(measured.response, response, atol=2e-3)
    power = np.asarray(of_unit.driven) * np.abs(of_unit.dressing) ** 2
    c = np.fft.irfft(power, GRID.F)[: GRID.T] / 0.1
    np.testing.assert_allclose(measured.c_x, c, atol=4e-3 * c[0])
    np.testing.assert_allclose(measured.c_phi, c, atol=4e-3 * c[0])
    np.testing.assert_allclose(measured.beta, 1, rtol=1e-12)


def test_the_field_of_an_exponential_response():
    """The grid has S = b / (1 + i w) exactly, and so kappa(S), which varies for a shift, and white noise."""
    h = 0.1
    shift = _heard(lambda S: (0 * S, 1.44 / (1 - 1.44 * jnp.abs(S) ** 2)))
    problem = _problem(shift, Tanh(), SIGMA, GRID, None)
    tau, w = np.asarray(GRID.lags()), np.asarray(GRID.frequencies())
    unknowns = Unknowns(jnp.exp(-tau)[None], 0.5 * jnp.exp(-tau[None, : GRID.M]))
    of_unit = jax.tree.map(lambda a: a[0], jax.jit(lambda u: field.field_of(problem, u))(unknowns))
    S = 0.5 / (1 + 1j * w)
    # All of e^{-tau} beyond the last lag of S is e^{-8} of it.
    by_noise = 1.44 / (1 - 1.44 * abs(S) ** 2) * np.asarray(field._spectrum(jnp.exp(-tau), GRID)) / (1 + w**2)
    white = h * SIGMA**2 * (1 - np.exp(-2 * h)) / abs(1 - np.exp(-h - 1j * w * h)) ** 2
    np.testing.assert_allclose(of_unit.driven, np.maximum(by_noise, 0) + white, rtol=2e-3)
    np.testing.assert_allclose(of_unit.kernel, 0, atol=1e-12)
    np.testing.assert_allclose(of_unit.dressing, 1, atol=1e-12)


def test_acceleration_of_a_map_that_moves_away(monkeypatch):
    """u <- A u + b with eigenvalues up to 3 beside 1: as many steps as unknowns, up to rounding."""
    rng = np.random.default_rng(0)
    V = np.eye(6) + 0.3 * rng.standard_normal((6, 6))
    A = V @ np.diag([3.0, -2.5, 1.5, 0.5, 0.2, -0.1]) @ np.linalg.inv(V)
    exact = 1 + rng.random(6)
    joined = lambda u: jnp.concatenate([u.c_phi[0], u.response[0]])

    def update(problem, unknowns):
        u = exact + A @ (joined(unknowns) - exact)
        return Unknowns(u[None, :4], u[None, 4:])

    monkeypatch.setattr(self_consistency, "update", update)
    start = Unknowns(*jnp.split(jnp.asarray(exact + 0.05 * rng.standard_normal(6))[None], [4], axis=1))
    solved = jax.jit(lambda start: self_consistency._accelerated(None, start, jnp.asarray(1e-10), 12))(start)
    np.testing.assert_allclose(joined(solved.unknowns), exact, rtol=1e-7)
    assert solved.residual < 1e-7


def test_what_is_converged_on_paths(monkeypatch):
    """Self-consistency, and C^phi and S that vanish at their last lags, up to their errors."""
    grid = Grid(h=jnp.asarray(1.0), T=20, M=10, F=64)
    c, S = np.where(np.arange(20) < 16, 1.0, 0.0), np.append(np.ones(9), 0.0)
    given = {}
    monkeypatch.setattr(sampled, "follow", lambda *_: Solution(given["unknowns"], given["residual"]))
    monkeypatch.setattr(sampled, "_start", lambda *_: None)
    monkeypatch.setattr(sampled, "implicit_fixed_point", lambda update, unknowns, problem: unknowns)
    monkeypatch.setattr(sampled, "answer", lambda problem, u: Averages(u.c_phi, u.response, u.c_phi, u.c_phi, ONE))
    monkeypatch.setattr(sampled, "_errors", lambda *_: given["errors"])
    monkeypatch.setattr(sampled, "quadrature_error", lambda *_: given["quadrature"])

    @jax.jit
    @jax.vmap
    def judged(last_c, last_S, error_c, error_S, miss, quadrature):
        given["unknowns"] = Unknowns(jnp.asarray(c).at[-1].set(last_c)[None], jnp.asarray(S).at[-1].set(last_S)[None])
        given["errors"] = found.Errors(error_c * jnp.ones((1, 20)), error_c * jnp.ones((1, 20)), *[error_S[None]] * 2)
        given["residual"], given["quadrature"] = miss, quadrature
        problem = _problem(IID(1.5), Tanh(), 1.0, grid, None)
        return found.state_of_one(problem, sampled._active(problem, 1e-4, 100, ONE[0]))

    cases = np.array(
        [
            (0.004, 0.0009, 0, 0, 9e-5, 0),
            (0.006, 0.0, 0, 0, 0, 0),
            (-0.006, 0.0, 0, 0, 0, 0),
            (0.006, 0.0, 3e-4, 0, 0, 0),  # within four standard errors
            (0.0, 0.002, 0, 0, 0, 0),
            (0.0, -0.002, 0, 3e-4, 0, 0),
            (0.0, 0.0, 0, 0, 2e-4, 0),
            (0.0, 0.0, 0, 0, 0, 2e-4),
        ]
    )
    state = judged(*cases.T)
    np.testing.assert_array_equal(state.converged, [True, False, False, True, False, True, False, False])
    np.testing.assert_array_equal(state.residual, np.maximum(*cases[:, 4:].T))
    # The rate of an exponential with the same integral of C^2.
    np.testing.assert_allclose(state.decay_rate[1], 1 / (2 * (16 + 0.006**2)))


def test_errors_are_the_scatter_of_groups(monkeypatch):
    """Each group of paths has a solution of its own, here the mean of its random numbers."""
    rng = np.random.default_rng(0)
    grid, normal = Grid(h=jnp.asarray(0.5), T=5, M=4, F=16), rng.standard_normal((2, 24, 9))
    means = normal.reshape(2, 8, 3, 9).mean((0, 2, 3))
    shape = np.array([1.0, 0.5, 0.2, 0.1])
    wide = jnp.asarray(np.append(shape, 0.0))[None]

    def answered(problem, size):
        return Averages(size * wide, size * wide[:, :4], 2 * size * wide, size * wide, size)

    monkeypatch.setattr(sampled, "solve", lambda problem, *_: Solution(jnp.mean(problem.normal), jnp.zeros(())))
    monkeypatch.setattr(sampled, "answer", answered)
    problem = _problem(IID(1.5), Tanh(), 1.0, grid, jnp.asarray(normal))
    errors = jax.jit(lambda: sampled._errors(problem, None))()
    error = means.std(ddof=1) / np.sqrt(8)
    np.testing.assert_allclose(errors.c_phi, error * wide, atol=1e-15)
    np.testing.assert_allclose(errors.c_x, 2 * error * wide, atol=1e-15)
    np.testing.assert_allclose(errors.last_response, 0.1 * error)
    np.testing.assert_allclose(errors.response, error * 0.5 * (0.5 + 0.5 + 0.2 + 0.1))  # the trapezoid rule


def test_grids_of_lags():
    """Both ends are lags, whatever the rounding of their ratio; the period is a power of two of steps."""
    for dt, period, max_lag, memory, expected in (
        (0.1, 400.0, 60.0, 40.0, (601, 401, 4096)),
        (0.1, 120.0, 0.3 * 100, 10.05, (301, 102, 2048)),
        (0.3, 76.8, 0.9, 0.9, None),
        (0.25, 64.0, 16.0, 2.5, (65, 11, 256)),
    ):
        if expected is None:
            with pytest.raises(ValueError, match="`memory` must be at least 10 `dt`"):
                sampled._grid(period, max_lag, memory, dt, jnp.ones(()))
        else:
            of = sampled._grid(period, max_lag, memory, dt, jnp.ones(()))
            assert (of.T, of.M, of.F) == expected and of.h == dt


def test_white_noise_has_a_mean_power_of_exactly_one():
    drawn = white(jax.random.key(0), 3, GRID)
    paths = np.fft.irfft(np.asarray(drawn), GRID.F)
    np.testing.assert_allclose(np.fft.rfft(paths), drawn, atol=1e-12)  # real at both ends
    np.testing.assert_allclose(np.mean(np.abs(drawn) ** 2, 1), GRID.F)


# --- the energy, and the shape of phi ---------------------------------------------------------------------------


@pytest.mark.parametrize("top", [-0.3, 0.4])
def test_a_dip_between_three_points_is_seen(top):
    """A parabola that is positive at all points, and negative between two of them or nowhere."""
    for least in (-1e-3, 1e-3):
        up, dips = rises((np.arange(-3.0, 4.0) - top) ** 2 + least)
        assert not np.any(up) and np.sum(dips) == (least < 0)


def test_kinks_of_phi():
    np.testing.assert_allclose(shape_of(clipped_linear(-1.0, 1.0), jnp.float64).breaks, [-1, 1], rtol=1e-9)
    assert shape_of(Tanh(), jnp.float64).breaks is None
