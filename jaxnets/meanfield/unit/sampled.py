"""Stationary states of ensembles whose memory kernel, or echo, leaves no energy to conserve."""

import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import optimistix as optx
from jaxtyping import Array, ArrayLike, Bool, Float, PRNGKeyArray

from ..._arguments import nonnegative, positive, require, require_whole, scalar
from ..._numerics import as_complex, frozen, is_concrete
from ...couplings import Ensemble
from ...transfer import Transfer
from ..site import has_memory, require_no_mean
from . import paths
from .onset import chaos_onset
from .paths import Averages, Grid, Problem, Unknowns
from .response import dressed
from .state import Stationary, is_odd

BATCHES = 8  # groups of paths, whose scatter gives the errors


def stationary_by_paths(
    ensemble: Ensemble,
    transfer: Transfer,
    noise: Float[ArrayLike, ""] = 0.0,
    *,
    key: PRNGKeyArray,
    num_paths: int = 256,
    period: float = 400.0,
    duration: float = 60.0,
    memory: float = 40.0,
    step: float = 0.1,
    nodes: int = 801,
    tolerance: float = 1e-4,
    max_steps: int = 100,
) -> Stationary:
    r"""The stationary state of dx/dt = -x + J phi(x) + sqrt(2) sigma xi(t) for N -> infinity, J of any ensemble.

    $$ \dot x = -x + \eta + R * \phi(x), \qquad C^\eta(w) = \kappa(S(w))\, C^\phi(w) + 2 \sigma^2, \qquad
       R(w) = r(S(w)), \qquad S = \langle \delta \phi / \delta \eta \rangle $$

    Solved on `num_paths` sampled paths of length `period` (`key` draws their random numbers), with lags of spacing
    `step` up to `duration`, and up to `memory` for R and S; see `paths`. Where R = 0 no paths are needed, and the
    result has no sampling error. `c_x_error`, `c_phi_error` and `response_error` are standard errors, from the scatter
    of the solutions of eight groups of paths; they fall like 1 / sqrt(num_paths period). The error of the grid is of
    order step^2, below 1e-3 by default.

    `nodes` is the number of points of Gaussian averages, as in `stationary`; it must grow like the strength.

    The state is the one that is reached when the memory grows from none, and an additional noise falls from 1 to 0.
    Below the onset of chaos and without noise it is x = 0. `residual` is the relative miss of self-consistency, or of
    Gaussian averages; `converged` asks for `tolerance`, and that C^phi and S have come to 0, up to their errors, at the
    last lags, within `max_steps` steps: if not, give a longer `duration`, or `memory`. States that freeze (C does not
    decay) never converge.

    Valid for odd phi. Derivatives, by the implicit function theorem, are those at fixed random numbers; with paths
    forward mode is meant, reverse mode stores all paths. About 30 s on two cores, with paths.

    Raises:
        ValueError: for an ensemble with a finite-rank part, phi that is not odd, negative noise, fewer paths than 16 or
            not a multiple of 8, nodes < 41, times or a tolerance that are not positive, memory < 10 step, and
            memory > duration or 4 duration > period.

    Source: Sompolinsky & Zippelius 1982 (symmetric couplings); Stern, Sompolinsky & Abbott 2014 (sampled paths);
    Martí, Brunel & Ostojic 2018 (partial symmetry).
    """
    require_no_mean(ensemble)
    dtype = ensemble.variance().dtype
    odd = is_odd(transfer, dtype)
    sigma = scalar("noise", noise).astype(dtype)
    require("noise", sigma, nonnegative, "a finite number >= 0")
    require_whole("num_paths", num_paths, least=2 * BATCHES)
    if num_paths % BATCHES:
        raise ValueError(f"`num_paths` must be a multiple of {BATCHES}, got {num_paths}")
    require_whole("nodes", nodes, least=41)
    times = {"period": period, "duration": duration, "memory": memory, "step": step, "tolerance": tolerance}
    for name, value in times.items():
        require(name, value, positive, "a finite number > 0")
    if not 10 * step <= memory <= duration <= period / 4:
        raise ValueError(
            f"`memory` must be at least 10 `step`s and at most `duration`, and that at most `period` / 4, got {times}"
        )
    grid = Grid(
        h=jnp.asarray(step, dtype),
        T=math.ceil(duration / step - 1e-9) + 1,
        K=math.ceil(memory / step - 1e-9) + 1,
        F=2 ** math.ceil(math.log2(period / step)),
    )
    normal = None
    if has_memory(ensemble):
        draw = lambda key: paths.white(key, num_paths // BATCHES, grid)
        normal = jnp.concatenate(jax.vmap(draw)(jax.random.split(key, BATCHES)), axis=1)
    onset = chaos_onset(ensemble, transfer)
    quiet = (sigma == 0) & ~(onset.value < 1)
    rest = _at_rest(ensemble, transfer, sigma, grid, onset.converged & odd)
    if is_concrete(quiet) and quiet:
        return rest
    # Where C = 0 the state of unit noise is computed in its place, so that no derivative divides by 0.
    one = jnp.ones_like(sigma)
    problem = Problem(ensemble, transfer, jnp.where(quiet, one, sigma), one, grid, normal, nodes)
    active = _active(problem, tolerance, max_steps)
    active = eqx.tree_at(lambda s: s.converged, active, active.converged & odd)
    return jax.tree.map(lambda rest, active: jnp.where(quiet, rest, active), rest, active)


def _active(problem: Problem, tolerance: float, max_steps: int) -> Stationary:
    """The state with C^x(0) > 0."""
    grid = problem.grid
    fixed = frozen(problem)
    found = paths.follow(fixed, _start(fixed), tolerance, max_steps)
    unknowns = _implicit(problem, found.unknowns)
    averages = paths.answer(problem, unknowns)
    errors = _errors(fixed, found.unknowns)

    # What the last lags still hold, which changes C(0) to second order, must be small or sampling error.
    c, S = (jax.lax.stop_gradient(u) for u in unknowns)
    last = slice(-max(grid.T // 5, 1), None)
    ended = jnp.all(jnp.abs(averages.c_phi[last]) <= 5e-3 * c[0] + 4 * errors.c_phi[last])
    ended &= jnp.abs(S[-1]) <= 1e-3 * jnp.abs(S[0]) + 4 * errors.last_response
    residual = jnp.maximum(found.residual, paths.quadrature_error(fixed, jax.lax.stop_gradient(averages.c_x[0])))
    return _state(problem.sigma, grid, unknowns, averages, errors, residual, ended & (residual <= tolerance))


def _start(problem: Problem) -> Unknowns:
    """The state without memory, with an additional noise of 1."""
    grid = problem.grid
    decay = jnp.exp(-grid.lags())
    guess = Unknowns(grid.taper() * decay / 2, decay[: grid.K] / 2)
    eased = eqx.tree_at(
        lambda p: (p.sigma, p.memory, p.normal), problem, (problem.sigma + 1, jnp.zeros_like(grid.h), None)
    )
    return paths.solve(eased, guess, 1e-3, 20).unknowns


def _implicit(problem: Problem, unknowns: Unknowns) -> Unknowns:
    """The same unknowns, with the derivatives of the implicit function: one step of u <- G(u), not differentiated."""
    adjoint = optx.ImplicitAdjoint(lx.GMRES(rtol=1e-6, atol=1e-9, restart=30, max_steps=10))
    solution = optx.fixed_point(
        lambda u, problem: tuple(paths.update(problem, Unknowns(*u))),
        optx.FixedPointIteration(rtol=1.0, atol=1.0),
        tuple(unknowns),
        problem,
        max_steps=2,
        adjoint=adjoint,
        throw=False,
    )
    return Unknowns(*solution.value)


class Errors(NamedTuple):
    """Standard errors."""

    c_phi: Float[Array, " T"]
    c_x: Float[Array, " T"]
    response: Float[Array, ""]  # of its integral
    last_response: Float[Array, ""]


def _no_errors(grid: Grid) -> Errors:
    none = jnp.zeros(grid.T, grid.h.dtype)
    return Errors(none, none, none[0], none[0])


def _errors(problem: Problem, unknowns: Unknowns) -> Errors:
    """From the scatter of the solutions of groups of paths."""
    if problem.normal is None:
        return _no_errors(problem.grid)

    @jax.vmap
    def group(normal):
        of_group = eqx.tree_at(lambda p: p.normal, problem, normal)
        found = paths.solve(of_group, unknowns, 0.0, 12).unknowns  # near by, and a part of an error will do
        averages = paths.answer(of_group, found)
        S = averages.response
        return Errors(averages.c_phi, averages.c_x, problem.grid.h * (jnp.sum(S) - S[0] / 2), S[-1])

    groups = group(jnp.stack(jnp.split(problem.normal, BATCHES, axis=1)))
    return jax.tree.map(lambda a: jnp.std(a, 0, ddof=1) / math.sqrt(BATCHES), groups)


def _at_rest(
    ensemble: Ensemble, transfer: Transfer, sigma: Float[Array, ""], grid: Grid, converged: Bool[Array, ""]
) -> Stationary:
    """x = 0. S = phi' / (1 + i w - phi' r(S)) is transformed as what it is with r(0), and the smooth rest."""
    slope = transfer.slope(jnp.zeros((), grid.h.dtype))
    w = grid.frequencies()
    leak = jax.lax.complex(jnp.ones_like(w), w)
    instantaneous = slope * ensemble.r_and_kappa(jnp.zeros((), leak.dtype))[0].real
    S = jax.vmap(lambda s: dressed(ensemble, s))(as_complex(slope) / leak)
    rest = S.value - as_complex(slope) / (leak - as_complex(instantaneous))
    tau = grid.lags()
    response = slope * jnp.exp(-(1 - instantaneous) * tau[: grid.K]) + jnp.fft.irfft(rest, grid.F)[: grid.K] / grid.h
    silence = jnp.zeros_like(tau)
    averages = Averages(silence, response, silence, jnp.full_like(tau, slope**2), slope)
    found = converged & jnp.all(S.converged)
    residual = jnp.max(S.residual)
    return _state(sigma, grid, Unknowns(silence, response), averages, _no_errors(grid), residual, found)


def _state(
    sigma: Float[Array, ""],
    grid: Grid,
    unknowns: Unknowns,
    averages: Averages,
    errors: Errors,
    residual: Float[Array, ""],
    converged: Bool[Array, ""],
) -> Stationary:
    c_x = averages.c_x
    power = grid.h * jnp.sum(c_x**2)
    quiet = power == 0
    return Stationary(
        lags=grid.lags(),
        c_x=c_x,
        c_phi=unknowns.c_phi,
        c_slope=averages.c_slope,
        c_slope_kink=jnp.full_like(c_x[0], jnp.nan),
        beta=averages.beta,
        # That of the exponential with the same correlation time.
        decay_rate=jnp.where(quiet, 1, c_x[0] ** 2 / jnp.where(quiet, 1, 2 * power)),
        noise=sigma,
        site=None,
        units=None,
        impulse=unknowns.response,
        c_x_error=errors.c_x,
        c_phi_error=errors.c_phi,
        response_error=errors.response,
        residual=jax.lax.stop_gradient(residual),
        converged=converged,
    )
