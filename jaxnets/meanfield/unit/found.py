"""What is found on sampled paths, as the state of one unit or of units with types."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ..._numerics import as_complex, iterate
from ...spectra.types.outside import r_and_kappa
from ..types.means import num_growing
from ..types.problem import Problem as TypedProblem
from ..types.state import Phase, TypedStationary
from .field import Averages, Grid, Problem, Unknowns
from .state import Stationary

# Steps of the responses at rest, which are a contraction there; they end at a few roundings, and are converged at the
# largest change, or that many roundings.
_STEPS, _SETTLED, _TOLERANCE, _ROUNDINGS = 2000, 4.0, 1e-8, 100.0


class Errors(NamedTuple):
    """Standard errors of averages; `response` is of S at frequency 0."""

    c_phi: Float[Array, "K T"]
    c_x: Float[Array, "K T"]
    response: Float[Array, " K"]
    last_response: Float[Array, " K"]


class Found(NamedTuple):
    """A solution, with the averages over units in its field, and the noise of its units."""

    unknowns: Unknowns
    averages: Averages
    errors: Errors
    sigma: Float[Array, " K"]
    residual: Float[Array, ""]
    converged: Bool[Array, ""]


def no_errors(problem: Problem) -> Errors:
    """The errors where nothing is sampled."""
    none = jnp.zeros((problem.tau.shape[0], problem.grid.T), problem.tau.dtype)
    return Errors(none, none, none[:, 0], none[:, 0])


def at_rest(problem: Problem, converged: Bool[Array, ""]) -> Found:
    """The state x = 0, whose S_a = phi' / (1 + i w tau_a - phi' r_a(S)) is found at each frequency."""
    grid, tau = problem.grid, problem.tau[:, None]
    slope = problem.functions.of_types(lambda phi, _, a: phi.slope(jnp.zeros_like(a)), problem.tau)
    w = grid.frequencies()[None]
    leak = jax.lax.complex(jnp.ones_like(tau * w), tau * w)
    r = lambda S: r_and_kappa(problem.ensemble, problem.fractions, S)[0]

    def step(S, args):
        leak, slope = args
        new = as_complex(slope)[:, None] / (leak - as_complex(slope)[:, None] * jax.vmap(r, 1, 1)(S))
        # The mean of two steps does not turn back and forth.
        return (S + new) / 2, jnp.max(jnp.abs(new - S)) / jnp.where(size > 0, size, 1)

    S = as_complex(slope)[:, None] / leak
    size, eps = jnp.max(jnp.abs(S)), float(jnp.finfo(slope.dtype).eps)
    S, residual = iterate(step, S, (leak, slope), _SETTLED * eps, _STEPS)
    instantaneous = slope[:, None] * r(as_complex(jnp.zeros_like(slope))).real[:, None]
    # S with r(0) in place of r(S) is an exponential in time, which jumps at 0. Only the smooth rest is transformed.
    rest = S - as_complex(slope)[:, None] / (leak - as_complex(instantaneous))
    lags = grid.lags()[None]
    jump = slope[:, None] / tau * jnp.exp(-(1 - instantaneous) / tau * lags[:, : grid.M])
    response = jump + jnp.fft.irfft(rest, grid.F)[:, : grid.M] / grid.h
    silence = jnp.zeros((slope.shape[0], grid.T), slope.dtype)
    averages = Averages(silence, response, silence, silence + slope[:, None] ** 2, slope)
    unknowns = Unknowns(silence, response)
    converged &= residual <= max(_TOLERANCE, _ROUNDINGS * eps)
    return Found(unknowns, averages, no_errors(problem), problem.sigma, residual, converged)


def state_of_one(problem: Problem, found: Found) -> Stationary:
    """The state of units of one type."""
    first = lambda of: jax.tree.map(lambda a: a[0], of)
    unknowns, averages, errors = first(found.unknowns), first(found.averages), first(found.errors)
    return Stationary(
        lags=problem.grid.lags(),
        c_x=averages.c_x,
        c_phi=unknowns.c_phi,
        c_slope=averages.c_slope,
        c_slope_kink=jnp.full_like(averages.c_x[0], jnp.nan),  # only `largest_lyapunov` reads it, by the energy
        beta=averages.beta,
        decay_rate=_decay_rate(problem.grid, averages.c_x),
        noise=found.sigma[0],
        ensemble=problem.ensemble,
        units=None,
        impulse=unknowns.response,
        c_x_error=errors.c_x,
        c_phi_error=errors.c_phi,
        response_error=errors.response,
        alternatives=jnp.full((), -1),
        residual=jax.lax.stop_gradient(found.residual),
        converged=found.converged,
    )


def typed_state(problem: Problem, units: TypedProblem, found: Found) -> TypedStationary:
    """The state of units with types."""
    averages, none = found.averages, jnp.zeros_like(problem.tau)
    silent = jnp.all(averages.c_x == 0)
    noisy = jnp.any(units.noise > 0)
    growing = num_growing(units, _response(problem.grid, found.unknowns.response))
    moves = jnp.where(noisy, Phase.DRIVEN, Phase.CHAOTIC)
    phase = jnp.where(growing > 0, _leaves(growing), jnp.where(silent, Phase.SILENT, moves))
    return TypedStationary(
        lags=problem.grid.lags(),
        mean=none,
        rate=none,
        c_x=averages.c_x,
        c_phi=found.unknowns.c_phi,
        c_slope=averages.c_slope,
        beta=averages.beta,
        static_x=none,
        static_phi=none,
        decay_rate=jnp.min(jax.vmap(lambda c: _decay_rate(problem.grid, c))(averages.c_x)),
        mean_modes=as_complex(jnp.full_like(none, jnp.nan)),
        phase=jnp.where(found.converged, phase, Phase.NOT_FOUND).astype(int),
        fractions=units.fractions,
        W=units.W,
        tau=units.tau,
        noise=units.noise,
        functions=units.functions,
        ensemble=problem.ensemble,
        impulse=found.unknowns.response,
        c_x_error=found.errors.c_x,
        c_phi_error=found.errors.c_phi,
        response_error=found.errors.response,
        residual=jax.lax.stop_gradient(found.residual),
        converged=found.converged & (growing == 0),
    )


def _leaves(growing: Int[Array, ""]) -> Int[Array, ""]:
    """An even number of growing modes is one pair, or several, that rotates."""
    return jnp.where(growing % 2 == 0, Phase.OSCILLATING, Phase.DRIFTING)


def _response(grid: Grid, impulse: Float[Array, "K M"]):
    """S(w) at the frequencies of the grid, by the trapezoid rule."""
    return as_complex(grid.h) * (jnp.fft.rfft(impulse, grid.F) - as_complex(impulse[:, :1] / 2))


def _decay_rate(grid: Grid, c_x: Float[Array, " T"]) -> Float[Array, ""]:
    """The rate of an exponential with the same integral of C^2; 1 for silence."""
    power = grid.h * jnp.sum(c_x**2)
    quiet = power == 0
    return jnp.where(quiet, 1, c_x[0] ** 2 / jnp.where(quiet, 1, 2 * power))
