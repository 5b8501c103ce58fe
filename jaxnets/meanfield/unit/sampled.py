r"""Stationary states with a memory kernel, or an echo, where no energy is conserved: solved on sampled paths.

A unit of type a obeys

$$ \tau_a \dot x = -x + \eta + R_a * \phi_a(x), \qquad
   C^\eta_a(w) = \sum_b \kappa_{ab}(S(w))\, C^\phi_b(w) + 2 \sigma_a^2, \qquad R_a(w) = r_a(S(w)), $$

with Gaussian eta, and C^phi_a and the response S_a(tau) = <d phi(t + tau) / d eta(t)> are averages over its own paths.
Most ensembles have one type. `field` holds the unknowns and the field they make, `paths` the averages over paths,
`self_consistency` the solution. Here its errors are estimated, and the answer is judged; `found` makes it a state.
"""

import math
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Complex, Float, PRNGKeyArray

from ..._arguments import positive, require, require_instance, require_key, require_whole, scalar
from ..._numerics import frozen, implicit_fixed_point, is_concrete
from ...couplings import Ensemble
from ...spectra import law
from ...transfer import Transfer
from ..types.problem import known_memory, problem_of
from .field import Grid, Problem, Unit, Unknowns, quadrature_error
from .found import Errors, Found, at_rest, no_errors, state_of_one, typed_state
from .onset import rest_onset
from .paths import white
from .requirements import require_no_mean, shape_of
from .self_consistency import answer, follow, solve, update

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
    transfer: Transfer | Sequence[Transfer],
    noise: Float[ArrayLike, "*K"] = 0.0,
    *,
    tau: Float[ArrayLike, "*K"] | None = None,
    key: PRNGKeyArray | None,
    num_paths: int = 256,
    period: float = 400.0,
    max_lag: float = 60.0,
    memory: float = 40.0,
    dt: float = 0.1,
    nodes: int = 801,
    tolerance: float = 1e-4,
    max_steps: int = 100,
) -> Any:
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

    With cell types, time constants `tau`, or one `transfer` for each type the result is a `TypedStationary`, and
    `noise` and `tau` are a number or one for each type. Type a then has a kernel and a noise spectrum of its own,

    $$ \tau_a \dot x = -x + \eta + R_a * \phi_a(x), \qquad
       C^\eta_a(w) = \sum_b \kappa_{ab}(S(w))\, C^\phi_b(w) + 2 \sigma_a^2, \qquad R_a(w) = r_a(S(w)). $$

    Means of types leave it as it is, since phi is odd, unless they grow: the growing modes of the means are counted
    around the zeros of det(1 - M diag(f_b S_b(w))), and where there is one `phase` says so and `converged` is False.

    Valid for odd phi, and states that do not freeze (C decays). Derivatives, by the implicit function theorem, are at
    fixed random numbers; with paths use forward mode, since reverse mode stores all paths. About 30 s on two cores,
    with paths.

    Raises:
        ValueError: for an ensemble with a finite-rank part, or with a memory kernel and no `key`; a `key` that is no
            random key; phi that is not odd, or has no slope at 0; negative noise, num_paths < 16 or not a multiple of
            8, nodes < 41, a time or tolerance <= 0, and unless 10 dt <= memory <= max_lag <= period / 4. With types
            for numbers of another shape and modes that are not uniform.

    Source: Sompolinsky & Zippelius 1982 (symmetric couplings); Stern, Sompolinsky & Abbott 2014 (sampled paths);
    Martí, Brunel & Ostojic 2018 (partial symmetry); for types derived here.
    """
    require_instance("ensemble", ensemble, Ensemble, "an ensemble of `jaxnets.couplings`")
    typed = ensemble.type_fractions().shape[0] > 1 or isinstance(transfer, Sequence) or tau is not None
    if not typed:
        require_no_mean(ensemble)
        noise = scalar("noise", noise)
    if key is not None:
        require_key("key", key)
    # Of an ensemble of one type only its parts know that a traced overlap is taken to be 0.
    heard = known_memory(ensemble) is not False if typed else ensemble.has_memory()
    units = problem_of(ensemble, transfer, noise, tau, None, memory=True)
    shapes = [shape_of(phi, units.tau.dtype) for phi in units.functions.transfers]
    odd = jnp.all(jnp.stack([shape.odd for shape in shapes]))
    scale = jnp.max(jnp.stack([shape.scale for shape in shapes]))
    tolerance = _positive("tolerance", tolerance)
    require_whole("max_steps", max_steps)
    require_whole("nodes", nodes, least=41)
    grid = _grid(period, max_lag, memory, dt, units.tau[0])
    normal = _random_numbers(heard, key, num_paths, grid)
    one = jnp.ones_like(units.tau[0])
    problem = Problem(ensemble, units.fractions, units.functions, units.noise, units.tau, one, grid, normal, nodes)
    solution = _solved(problem, tolerance, max_steps, scale, typed)
    solution = solution._replace(converged=solution.converged & odd)
    return typed_state(problem, units, solution) if typed else state_of_one(problem, solution)


def _grid(period: float, max_lag: float, memory: float, dt: float, like: Float[Array, ""]) -> Grid:
    given = {"period": period, "max_lag": max_lag, "memory": memory, "dt": dt}
    times = {name: _positive(name, value) for name, value in given.items()}
    period, max_lag, memory, dt = times.values()
    if not 10 * dt <= memory <= max_lag <= period / 4:
        raise ValueError(
            f"`memory` must be at least 10 `dt` and at most `max_lag`, and that at most `period` / 4, got {times}"
        )
    return Grid(
        h=jnp.asarray(dt, like.dtype),
        # Rounding must not add a lag.
        T=math.ceil(max_lag / dt - 1e-9) + 1,
        M=math.ceil(memory / dt - 1e-9) + 1,
        F=2 ** math.ceil(math.log2(period / dt)),
    )


def _positive(name: str, value: Any) -> float:
    value = np.asarray(scalar(name, value))
    require(name, value, positive, "a finite number > 0")
    return float(value)


def _random_numbers(
    heard: bool, key: PRNGKeyArray | None, num_paths: int, grid: Grid
) -> Complex[Array, "2 paths F/2+1"] | None:
    """Random numbers of the paths, exactly white within each group; None without memory kernel."""
    require_whole("num_paths", num_paths, least=2 * _GROUPS)
    if num_paths % _GROUPS:
        raise ValueError(f"`num_paths` must be a multiple of {_GROUPS}, got {num_paths}")
    if not heard:
        return None
    if key is None:
        raise ValueError(
            "`key` must be a key, which draws the paths that an ensemble with a memory kernel needs, got None: give "
            "`key=jax.random.key(0)`"
        )
    draw = lambda key: white(key, num_paths // _GROUPS, grid)
    return jnp.concatenate(jax.vmap(draw)(jax.random.split(key, _GROUPS)), axis=1)


def _solved(problem: Problem, tolerance: float, max_steps: int, scale: Float[Array, ""], typed: bool) -> Found:
    """The active state, or the state of rest where there is neither noise nor chaos."""
    stable, known = _rest(problem, typed)
    quiet = jnp.all(problem.sigma == 0) & stable
    rest = at_rest(problem, known)
    if is_concrete(quiet) and quiet:
        return rest
    # At rest a state with noise is computed, and not used, so that no derivative divides by 0.
    eased = jnp.where(quiet, scale, problem.sigma)
    active = _active(eqx.tree_at(lambda p: p.sigma, problem, eased), tolerance, max_steps, scale)
    return jax.tree.map(lambda a, b: jnp.where(quiet, a, b), rest, active)


def _rest(problem: Problem, typed: bool) -> tuple[Bool[Array, ""], Bool[Array, ""]]:
    """Whether x = 0 is stable without noise, by the right edge of its spectrum, and whether that is known."""
    if not typed:
        onset = rest_onset(problem.ensemble, problem.functions.transfers[0])
        return ~(onset.value < 1), onset.converged
    slopes = problem.functions.of_types(lambda phi, _, a: phi.slope(jnp.zeros_like(a)), problem.tau)
    gains = [slope[None] for slope in slopes] if len(slopes) > 1 else slopes
    edge = law(problem.ensemble, gains, tau=problem.tau).rightmost()
    return edge.z.real < 0, edge.converged


def _active(problem: Problem, tolerance: float, max_steps: int, scale: Float[Array, ""]) -> Found:
    """The state with C^x(0) > 0."""
    fixed, scale = frozen((problem, scale))
    found = follow(fixed, _start(fixed, scale), tolerance, max_steps, scale)
    unknowns = implicit_fixed_point(lambda u, problem: update(problem, u), found.unknowns, problem)
    averages = answer(problem, unknowns)
    errors = _errors(fixed, found.unknowns)

    c, S = (jax.lax.stop_gradient(u) for u in unknowns)
    last = slice(-max(problem.grid.T // _LAST_LAGS, 1), None)
    ended = jnp.abs(averages.c_phi[:, last]) <= _LAST_C * c[:, :1] + _ERRORS * errors.c_phi[:, last]
    S_ended = jnp.abs(S[:, -1]) <= _LAST_S * jnp.abs(S[:, 0]) + _ERRORS * errors.last_response

    def of_type(transfer, _, tau, variance):
        return quadrature_error(Unit(transfer, tau, problem.grid, problem.nodes), variance)

    variance = jax.lax.stop_gradient(averages.c_x[:, 0])
    quadrature = fixed.functions.of_types(of_type, fixed.tau, variance)
    residual = jnp.maximum(found.residual, jnp.max(quadrature))
    converged = jnp.all(ended) & jnp.all(S_ended) & (residual <= tolerance)
    return Found(unknowns, averages, errors, problem.sigma, residual, converged)


def _start(problem: Problem, scale: Float[Array, ""]) -> Unknowns:
    """The state without memory, with an additional noise of the scale of phi."""
    grid = problem.grid
    tau = problem.tau[:, None]
    decay = jnp.exp(-grid.lags()[None] / tau)
    size = problem.functions.of_types(lambda phi, _, at: phi(at), scale * jnp.ones_like(problem.tau))[:, None]
    guess = Unknowns(size**2 * grid.taper()[None] * decay / 2, size / scale / tau * decay[:, : grid.M] / 2)
    eased = eqx.tree_at(
        lambda p: (p.sigma, p.memory, p.normal),
        problem,
        (problem.sigma + scale, jnp.zeros_like(grid.h), None),
        is_leaf=lambda x: x is None,
    )
    return solve(eased, guess, _START_TOLERANCE, _START_STEPS).unknowns


def _errors(problem: Problem, unknowns: Unknowns) -> Errors:
    """Standard errors from the scatter of the solutions of groups of paths."""
    if problem.normal is None:
        return no_errors(problem)

    @jax.vmap
    def group(normal):
        of_group = eqx.tree_at(lambda p: p.normal, problem, normal)
        averages = answer(of_group, solve(of_group, unknowns, 0.0, _GROUP_STEPS).unknowns)
        S = averages.response
        return Errors(averages.c_phi, averages.c_x, problem.grid.h * (jnp.sum(S, -1) - S[:, 0] / 2), S[:, -1])

    groups = group(jnp.stack(jnp.split(problem.normal, _GROUPS, axis=1)))
    return jax.tree.map(lambda a: jnp.std(a, 0, ddof=1) / math.sqrt(_GROUPS), groups)
