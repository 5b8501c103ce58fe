r"""Stationary states with a memory kernel, or an echo, where no energy is conserved: solved on sampled paths.

One unit obeys

$$ \dot x = -x + \eta + R * \phi(x), \qquad C^\eta(w) = \kappa(S(w))\, C^\phi(w) + 2 \sigma^2, \qquad R(w) = r(S(w)), $$

with Gaussian eta, and C^phi and the response S(tau) = <d phi(t + tau) / d eta(t)> are averages over its own paths.
`field` holds the unknowns and the field they make, `paths` the averages over paths, `self_consistency` the solution.
Here its errors are estimated, and the answer is judged.
"""

import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Complex, Float, PRNGKeyArray

from ..._arguments import nonnegative, positive, require, require_key, require_whole, scalar
from ..._numerics import as_complex, frozen, implicit_fixed_point, is_concrete
from ...couplings import Ensemble
from ...transfer import Transfer
from .field import Averages, Grid, Problem, Unknowns, quadrature_error
from .onset import rest_onset
from .paths import white
from .requirements import Shape, require_no_mean, shape_of
from .response import dressed
from .self_consistency import answer, follow, solve, update
from .state import Stationary, either

# Groups of paths whose scatter gives the errors: the fewest with an error known to a quarter. Steps of the solution for
# each group, from the solution for all paths: an error need not be known to many digits.
_GROUPS, _GROUP_STEPS = 8, 12
# The state without memory from which the solution is followed, found to few digits.
_START_TOLERANCE, _START_STEPS = 1e-3, 20
# C^phi in the last fifth of the lags, and S at its last lag, relative to lag 0, must be below these, or within this
# many standard errors of 0. The C^phi beyond changes C(0) to second order.
_LAST_LAGS, _LAST_C, _LAST_S, _ERRORS = 5, 5e-3, 1e-3, 4


def stationary_by_paths(
    ensemble: Ensemble,
    transfer: Transfer,
    noise: Float[ArrayLike, ""] = 0.0,
    *,
    key: PRNGKeyArray | None,
    num_paths: int = 256,
    period: float = 400.0,
    max_lag: float = 60.0,
    memory: float = 40.0,
    dt: float = 0.1,
    nodes: int = 801,
    tolerance: float = 1e-4,
    max_steps: int = 100,
) -> Stationary:
    r"""The state of dx/dt = -x + J phi(x) + sqrt(2) sigma xi(t) for N -> infinity, J of any ensemble.

    $$ \dot x = -x + \eta + R * \phi(x), \qquad C^\eta(w) = \kappa(S(w))\, C^\phi(w) + 2 \sigma^2, \qquad
       R(w) = r(S(w)), \qquad S = \langle \delta \phi / \delta \eta \rangle $$

    Solved on `num_paths` sampled paths of length `period`, whose random numbers `key` draws, with lags of spacing `dt`
    up to `max_lag`, and up to `memory` for R and S. Where R = 0 no paths are needed, and no `key`, and the result has
    no sampling error. `c_x_error`, `c_phi_error` and `response_error` are standard errors, from the scatter of the
    solutions of eight groups of paths; they fall like 1 / sqrt(num_paths period). The error of the grid is of order
    dt^2, below 1e-3 by default. `noise` and `nodes` are as in `stationary`.

    The state is the one reached while the memory grows from none, and an additional noise falls to 0. Below the onset
    of chaos and without noise it is x = 0. `residual` is the relative error of self-consistency, or of Gaussian
    averages. `converged` asks for `tolerance` within `max_steps` steps, and for C^phi and S that vanish, up to their
    errors, at the last lags: if not, give a larger `max_lag`, or `memory`.

    Valid for odd phi, and states that do not freeze (C decays). Derivatives, by the implicit function theorem, are at
    fixed random numbers; with paths use forward mode, since reverse mode stores all paths. About 30 s on two cores,
    with paths.

    Raises:
        ValueError: for an ensemble with a finite-rank part, or with a memory kernel and no `key`; a `key` that is no
            random key; phi that is not odd, or has no slope at 0; negative noise, num_paths < 16 or not a multiple of
            8, nodes < 41, a time or tolerance <= 0, and unless 10 dt <= memory <= max_lag <= period / 4.

    Source: Sompolinsky & Zippelius 1982 (symmetric couplings); Stern, Sompolinsky & Abbott 2014 (sampled paths);
    Martí, Brunel & Ostojic 2018 (partial symmetry).
    """
    require_no_mean(ensemble)
    dtype = ensemble.variance().dtype
    shape = shape_of(transfer, dtype)
    sigma = scalar("noise", noise).astype(dtype)
    if key is not None:
        require_key("key", key)
    require("noise", sigma, nonnegative, "a finite number >= 0")
    require("tolerance", tolerance, positive, "a finite number > 0")
    require_whole("nodes", nodes, least=41)
    grid = _grid(period, max_lag, memory, dt, sigma)
    normal = _random_numbers(ensemble, key, num_paths, grid)
    problem = Problem(ensemble, transfer, sigma, jnp.ones_like(sigma), grid, normal, nodes)
    return _solved(problem, tolerance, max_steps, shape)


def _grid(period: float, max_lag: float, memory: float, dt: float, like: Float[Array, ""]) -> Grid:
    times = {"period": period, "max_lag": max_lag, "memory": memory, "dt": dt}
    for name, value in times.items():
        require(name, value, positive, "a finite number > 0")
    if not 10 * dt <= memory <= max_lag <= period / 4:
        raise ValueError(
            f"`memory` must be at least 10 `dt` and at most `max_lag`, and that at most `period` / 4, got {times}"
        )
    return Grid(
        h=jnp.asarray(dt, like.dtype),
        # Rounding must not add a lag.
        T=math.ceil(max_lag / dt - 1e-9) + 1,
        K=math.ceil(memory / dt - 1e-9) + 1,
        F=2 ** math.ceil(math.log2(period / dt)),
    )


def _random_numbers(
    ensemble: Ensemble, key: PRNGKeyArray | None, num_paths: int, grid: Grid
) -> Complex[Array, "2 paths F/2+1"] | None:
    """Random numbers of the paths, exactly white within each group; None without memory kernel."""
    require_whole("num_paths", num_paths, least=2 * _GROUPS)
    if num_paths % _GROUPS:
        raise ValueError(f"`num_paths` must be a multiple of {_GROUPS}, got {num_paths}")
    if not ensemble.has_memory():
        return None
    if key is None:
        raise ValueError(
            "`key` must be a key, which draws the paths that an ensemble with a memory kernel needs, got None: give "
            "`key=jax.random.key(0)`"
        )
    draw = lambda key: white(key, num_paths // _GROUPS, grid)
    return jnp.concatenate(jax.vmap(draw)(jax.random.split(key, _GROUPS)), axis=1)


def _solved(problem: Problem, tolerance: float, max_steps: int, shape: Shape) -> Stationary:
    """The active state, or the state of rest where there is neither noise nor chaos."""
    onset = rest_onset(problem.ensemble, problem.transfer)
    quiet = (problem.sigma == 0) & ~(onset.value < 1)
    rest = _at_rest(problem, onset.converged & shape.odd)
    if is_concrete(quiet) and quiet:
        return rest
    # At rest a state with noise is computed, and not used, so that no derivative divides by 0.
    eased = jnp.where(quiet, shape.scale, problem.sigma)
    active = _active(eqx.tree_at(lambda p: p.sigma, problem, eased), tolerance, max_steps, shape.scale)
    return either(quiet, rest, eqx.tree_at(lambda s: s.converged, active, active.converged & shape.odd))


def _active(problem: Problem, tolerance: float, max_steps: int, scale: Float[Array, ""]) -> Stationary:
    """The state with C^x(0) > 0."""
    fixed, scale = frozen((problem, scale))
    found = follow(fixed, _start(fixed, scale), tolerance, max_steps, scale)
    unknowns = implicit_fixed_point(lambda u, problem: update(problem, u), found.unknowns, problem)
    averages = answer(problem, unknowns)
    errors = _errors(fixed, found.unknowns)

    c, S = (jax.lax.stop_gradient(u) for u in unknowns)
    last = slice(-max(problem.grid.T // _LAST_LAGS, 1), None)
    ended = jnp.all(jnp.abs(averages.c_phi[last]) <= _LAST_C * c[0] + _ERRORS * errors.c_phi[last])
    ended &= jnp.abs(S[-1]) <= _LAST_S * jnp.abs(S[0]) + _ERRORS * errors.last_response
    residual = jnp.maximum(found.residual, quadrature_error(fixed, jax.lax.stop_gradient(averages.c_x[0])))
    return _state(problem, unknowns, averages, errors, residual, ended & (residual <= tolerance))


def _start(problem: Problem, scale: Float[Array, ""]) -> Unknowns:
    """The state without memory, with an additional noise of the scale of phi."""
    grid = problem.grid
    decay = jnp.exp(-grid.lags())
    size = problem.transfer(scale)
    guess = Unknowns(size**2 * grid.taper() * decay / 2, size / scale * decay[: grid.K] / 2)
    eased = eqx.tree_at(
        lambda p: (p.sigma, p.memory, p.normal), problem, (problem.sigma + scale, jnp.zeros_like(grid.h), None)
    )
    return solve(eased, guess, _START_TOLERANCE, _START_STEPS).unknowns


class _Errors(NamedTuple):
    """Standard errors of averages; `response` is of S at frequency 0."""

    c_phi: Float[Array, " T"]
    c_x: Float[Array, " T"]
    response: Float[Array, ""]
    last_response: Float[Array, ""]


def _no_errors(grid: Grid) -> _Errors:
    none = jnp.zeros(grid.T, grid.h.dtype)
    return _Errors(none, none, none[0], none[0])


def _errors(problem: Problem, unknowns: Unknowns) -> _Errors:
    """Standard errors from the scatter of the solutions of groups of paths."""
    if problem.normal is None:
        return _no_errors(problem.grid)

    @jax.vmap
    def group(normal):
        of_group = eqx.tree_at(lambda p: p.normal, problem, normal)
        averages = answer(of_group, solve(of_group, unknowns, 0.0, _GROUP_STEPS).unknowns)
        S = averages.response
        return _Errors(averages.c_phi, averages.c_x, problem.grid.h * (jnp.sum(S) - S[0] / 2), S[-1])

    groups = group(jnp.stack(jnp.split(problem.normal, _GROUPS, axis=1)))
    return jax.tree.map(lambda a: jnp.std(a, 0, ddof=1) / math.sqrt(_GROUPS), groups)


def _at_rest(problem: Problem, converged: Bool[Array, ""]) -> Stationary:
    """The state x = 0, whose S = phi' / (1 + i w - phi' r(S)) is found at each frequency."""
    grid, ensemble = problem.grid, problem.ensemble
    slope = problem.transfer.slope(jnp.zeros((), grid.h.dtype))
    w = grid.frequencies()
    leak = jax.lax.complex(jnp.ones_like(w), w)
    instantaneous = slope * ensemble.r_and_kappa(jnp.zeros((), leak.dtype))[0].real
    S = jax.vmap(lambda s: dressed(ensemble, s))(as_complex(slope) / leak)
    # S with r(0) in place of r(S) is an exponential in time, which jumps at 0. Only the smooth rest is transformed.
    rest = S.value - as_complex(slope) / (leak - as_complex(instantaneous))
    tau = grid.lags()
    response = slope * jnp.exp(-(1 - instantaneous) * tau[: grid.K]) + jnp.fft.irfft(rest, grid.F)[: grid.K] / grid.h
    silence = jnp.zeros_like(tau)
    averages = Averages(silence, response, silence, jnp.full_like(tau, slope**2), slope)
    found = converged & jnp.all(S.converged)
    return _state(problem, Unknowns(silence, response), averages, _no_errors(grid), jnp.max(S.residual), found)


def _state(
    problem: Problem,
    unknowns: Unknowns,
    averages: Averages,
    errors: _Errors,
    residual: Float[Array, ""],
    converged: Bool[Array, ""],
) -> Stationary:
    c_x, grid = averages.c_x, problem.grid
    power = grid.h * jnp.sum(c_x**2)
    quiet = power == 0
    return Stationary(
        lags=grid.lags(),
        c_x=c_x,
        c_phi=unknowns.c_phi,
        c_slope=averages.c_slope,
        c_slope_kink=jnp.full_like(c_x[0], jnp.nan),  # only `largest_lyapunov` reads it, which needs the energy
        beta=averages.beta,
        # The rate of an exponential with the same integral of C^2.
        decay_rate=jnp.where(quiet, 1, c_x[0] ** 2 / jnp.where(quiet, 1, 2 * power)),
        noise=problem.sigma,
        ensemble=problem.ensemble,
        units=None,
        impulse=unknowns.response,
        c_x_error=errors.c_x,
        c_phi_error=errors.c_phi,
        response_error=errors.response,
        alternatives=jnp.full((), -1),
        residual=jax.lax.stop_gradient(residual),
        converged=converged,
    )
