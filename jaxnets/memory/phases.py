r"""Where the phases of associative memory end: retrieval, glass and paramagnet, and the profile that a pattern becomes.

A line is a root of the equations of state with one condition more. The branch is followed on a grid of loads, to which
the last two are joined by a finer one, and the root is polished from its end, so that lines have implicit gradients.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float

from .._arguments import nonnegative, require, require_instance, require_whole, scalar, vector
from .._numerics import Root, frozen, polish_root
from ..couplings import DeepHebbian
from .equilibrium import (
    ReplicaState,
    SymmetricCore,
    averages_at,
    bulk,
    free_energy_at,
    jacobian,
    mismatch,
    problem_of,
    replica_state,
    solve,
)


class Transition(eqx.Module):
    """A point of a line between phases, at `load` and `temperature`, and the order parameters m and chi there.

    Made by `capacity`, `coexistence`, `glass_temperature` and `replicon_temperature`.
    """

    load: Float[Array, ""]
    temperature: Float[Array, ""]
    m: Float[Array, " W"]
    chi: Float[Array, ""]
    residual: Float[Array, ""]
    converged: Bool[Array, ""]


# --- lines at a given temperature -----------------------------------------------------------------------------


def capacity(
    ensemble: DeepHebbian | SymmetricCore,
    start: Float[ArrayLike, " W"],
    temperature: Float[ArrayLike, ""] = 0.0,
    *,
    loads: tuple[float, float] = (1e-3, 1.0),
    relax: int = 200,
    nodes: int = 200,
    angles: int = 512,
) -> Transition:
    r"""The load at which a state of retrieval ends: the fold of the branch that starts from `start` at small load.

    $$ F(y, \alpha) = 0, \qquad \partial_y F\, v = 0, \qquad |v| = 1, \qquad y = (m, \chi) $$

    The load of the ensemble itself is not read. The branch and its validity are those of `replica_state` between
    `loads`, whose lower end has to be below the fold; it ends where overlaps vanish or lose their stability.
    `converged` is False where it has no end between `loads`, or ends by something else than a fold. Differentiable in
    the window and the temperature.

    Raises:
        ValueError: as `replica_state`, and for loads that do not increase from above 0.

    Source: Amit, Gutfreund & Sompolinsky 1987: .138 for the Hopfield model at T = 0.
    """
    problem, start, ends = _checked(ensemble, start, temperature, loads, relax, nodes, angles)
    return _capacity(problem, start, ends, relax, nodes)


@eqx.filter_jit
def _capacity(problem, start, loads, relax, nodes):
    load, y, found = _end_of_branch(problem, start, loads, relax, nodes, lambda retrieval, glass: retrieval.converged)
    size = y.shape[0]
    soft = jnp.linalg.svd(jacobian(y, frozen(problem.at_load(load)), nodes))[2][-1]

    def fold(z, problem):
        y, v, log_load = z[:size], z[size:-1], z[-1]
        here = problem.at_load(jnp.exp(log_load))
        return jnp.concatenate([mismatch(y, here, nodes), jacobian(y, here, nodes) @ v, jnp.atleast_1d(v @ v - 1)])

    root = _root(fold, jnp.concatenate([y, soft, jnp.log(load)[None]]), problem)
    ends_there = root.value[-1] >= jnp.log(load)
    return _transition(root, root.value[:size], jnp.exp(root.value[-1]), problem.temperature, found & ends_there)


def coexistence(
    ensemble: DeepHebbian | SymmetricCore,
    start: Float[ArrayLike, " W"],
    temperature: Float[ArrayLike, ""] = 0.0,
    *,
    loads: tuple[float, float] = (1e-3, 1.0),
    relax: int = 200,
    nodes: int = 200,
    angles: int = 512,
) -> Transition:
    r"""The load up to which retrieval has the lowest free energy: that of the glass, or the paramagnet, with m = 0.

    $$ F(y, \alpha) = 0, \qquad F(y_0, \alpha) = 0, \qquad f(y) = f(y_0), \qquad y_0 = (0, \chi_0) $$

    The arguments, the branch, its validity and the errors are those of `capacity`. Source: Amit, Gutfreund &
    Sompolinsky 1987: .051 for the Hopfield model at T = 0.
    """
    problem, start, ends = _checked(ensemble, start, temperature, loads, relax, nodes, angles)
    return _coexistence(problem, start, ends, relax, nodes)


@eqx.filter_jit
def _coexistence(problem, start, loads, relax, nodes):
    def lowest(retrieval, glass):
        return glass.converged & (retrieval.free_energy < glass.free_energy)

    load, y, found = _end_of_branch(problem, start, loads, relax, nodes, lowest)
    glass = solve(frozen(problem.at_load(load)), jnp.zeros_like(start), relax, nodes)
    size = y.shape[0]

    def equal(z, problem):
        y, other, log_load = z[:size], jnp.append(jnp.zeros(size - 1, z.dtype), z[size]), z[-1]
        here = problem.at_load(jnp.exp(log_load))
        gap = free_energy_at(y, here, nodes) - free_energy_at(other, here, nodes)
        return jnp.concatenate([mismatch(y, here, nodes), mismatch(other, here, nodes)[-1:], gap[None]])

    root = _root(equal, jnp.concatenate([y, glass.chi[None], jnp.log(load)[None]]), problem)
    return _transition(root, root.value[:size], jnp.exp(root.value[-1]), problem.temperature, found)


def _end_of_branch(problem, start, loads, relax, nodes, holds: Callable[[ReplicaState, ReplicaState], Bool[Array, ""]]):
    """The last load of a grid to which the branch of `start` reaches and `holds`, y there, and whether there is one."""
    problem, start = frozen((problem, start))

    def follow(load, start):
        here = problem.at_load(load)
        state = solve(here, start, relax, nodes)
        glass = solve(here, jnp.zeros_like(start), relax, nodes)
        return state, retrieves(state) & holds(state, glass)

    def refine(carry, _):
        loads, y, found = carry
        grid = jnp.geomspace(loads[0], loads[1], _GRID).astype(start.dtype)
        states, present = jax.vmap(follow, (0, None))(grid, y[:-1])
        last = jnp.maximum(jnp.argmin(present) - 1, 0)
        y = jnp.append(states.m[last], states.chi[last])
        return ((grid[last], grid[last + 1]), y, found & present[0] & ~present[-1]), None

    first = (loads, jnp.append(start, 0), jnp.asarray(True))
    ((load, _), y, found), _ = jax.lax.scan(refine, first, None, length=2)
    return load, y, found


def retrieves(state: ReplicaState) -> Bool[Array, ""]:
    return state.converged & (state.stability > 0) & (jnp.max(jnp.abs(state.m)) > 1e-3)


_GRID = 32  # loads of a grid; two of them, one within the other, leave a thousandth of the range


# --- lines in temperature -------------------------------------------------------------------------------------


def glass_temperature(ensemble: DeepHebbian | SymmetricCore, *, angles: int = 512) -> Transition:
    r"""The temperature T below which the paramagnet freezes into a glass, for any load.

    $$ \alpha \Big\langle \frac{\lambda^2}{(T - \lambda)^2} \Big\rangle = 1, \qquad T > \max \lambda $$

    1 + sqrt(alpha) for the Hopfield model. Not converged where there is none: no eigenvalue is positive, alpha is
    small. Valid where the glass grows continuously from q = 0. The `angles` are those of `symmetric_core`. Raises
    `ValueError` for an ensemble that is not symmetric. Source: Amit, Gutfreund & Sompolinsky 1987 for the Hopfield
    model; for other cores derived here.
    """
    num = ensemble.condensed.shape[0] if isinstance(ensemble, SymmetricCore) else 1
    return _glass_temperature(problem_of(ensemble, num, 0.0, angles))


@eqx.filter_jit
def _glass_temperature(problem):
    def instability(log_t, problem):
        return problem.core.load * bulk(problem.core, jnp.exp(-log_t[0])).noise[None] - jnp.exp(2 * log_t)

    core = frozen(problem.core)
    low = jnp.maximum(jnp.max(core.eigenvalues), 0)
    # There alpha <lambda^2> / (T - max lambda)^2 is at most 1.
    high = low + jnp.sqrt(core.load) * jnp.max(jnp.abs(core.eigenvalues))

    def halve(_, bracket):
        low, high = bracket
        middle = (low + high) / 2
        frozen_in = core.load * bulk(core, 1 / middle).noise > middle**2
        return jnp.where(frozen_in, middle, low), jnp.where(frozen_in, high, middle)

    _, T = jax.lax.fori_loop(0, 60, halve, (low, high))
    root = polish_root(instability, jnp.log(T)[None], problem)
    T, W = jnp.exp(root.value[0]), core.condensed.shape[0]
    coarse = bulk(core, 1 / T, core.coarse_weights).noise
    error = jax.lax.stop_gradient(jnp.abs(core.load * coarse / T**2 - 1))
    return Transition(
        load=problem.core.load,
        temperature=T,
        m=jnp.zeros(W, T.dtype),
        chi=1 / T,
        residual=jnp.maximum(root.residual, error),
        converged=root.converged & (error < 1e-8 + 3000 * float(jnp.finfo(T.dtype).eps)),
    )


def replicon_temperature(
    ensemble: DeepHebbian | SymmetricCore,
    start: Float[ArrayLike, " W"],
    *,
    relax: int = 200,
    nodes: int = 200,
    angles: int = 512,
) -> Transition:
    r"""The temperature below which a state of retrieval breaks the symmetry of replicas (de Almeida-Thouless).

    $$ F(y, T) = 0, \qquad \frac{\alpha}{T^2} \Big\langle \frac{\lambda^2}{(1 - \chi \lambda)^2} \Big\rangle
       \Big\langle \operatorname{sech}^4 \frac xT \Big\rangle = 1 $$

    The state is that of `replica_state` from `start` at T = 0, of which T is 2/3 alpha <lambda^2/(1 - chi lambda)^2>
    chi at first: sqrt(8 alpha / 9 pi) exp(-1 / 2 alpha) in the Hopfield model at small alpha. Valid where it goes on
    to T = 0. Raises `ValueError` as `replica_state`. Source: Amit, Gutfreund & Sompolinsky 1987.
    """
    start = vector("start", start)
    problem = problem_of(ensemble, start.shape[0], 0.0, angles)
    require_whole("relax", relax, least=0)
    require_whole("nodes", nodes, least=20)
    return _replicon_temperature(problem, start.astype(problem.core.load.dtype), relax, nodes)


@eqx.filter_jit
def _replicon_temperature(problem, start, relax, nodes):
    def marginal(y, here):
        return here.core.load * bulk(here.core, y[-1]).noise * averages_at(here, y[:-1], y[-1], nodes).fourth

    def equations(z, problem):
        y, here = z[:-1], problem.at_temperature(jnp.exp(z[-1]))
        # Divided by T, which may be very small.
        return jnp.append(mismatch(y, here, nodes), marginal(y, here) / here.temperature - 1)

    def closer(_, carry):
        m, T = carry
        here = frozen(problem).at_temperature(T)
        state = solve(here, m, relax, nodes)
        return state.m, marginal(jnp.append(state.m, state.chi), here)

    m, T = jax.lax.fori_loop(0, 4, closer, (start, jnp.zeros_like(start[0])))
    state = solve(frozen(problem).at_temperature(T), m, relax, nodes)
    root = _root(equations, jnp.concatenate([state.m, state.chi[None], jnp.log(T)[None]]), problem)
    return _transition(root, root.value[:-1], problem.core.load, jnp.exp(root.value[-1]), retrieves(state))


# --- correlated attractors ------------------------------------------------------------------------------------


def correlation_profile(
    ensemble: DeepHebbian,
    reach: int,
    temperature: Float[ArrayLike, ""] = 0.0,
    *,
    relax: int = 200,
    nodes: int = 400,
    angles: int = 512,
) -> ReplicaState:
    """The state to which a pure pattern converts: overlaps with it (entry `reach`) and `reach` neighbours each side.

    `replica_state` from m = 1 for the pattern and 0 for the others, with the validity and the errors that it has. A
    pattern is kept as it is at small load and temperature where 2 sum_r |gamma_r| < c. Check that the outer overlaps
    are small. Source: Griniasty, Tsodyks & Amit 1993; Jiang et al. 2021 (arXiv 2103.14317).
    """
    require_instance("ensemble", ensemble, DeepHebbian, "a `DeepHebbian`")
    require_whole("reach", reach, least=0)
    start = jnp.zeros(2 * reach + 1, ensemble.load.dtype).at[reach].set(1)
    return replica_state(ensemble, start, temperature, relax=relax, nodes=nodes, angles=angles)


def zero_load_overlaps(
    condensed: Float[ArrayLike, "W W"],
    start: Float[ArrayLike, " W"],
    temperature: Float[ArrayLike, ""] = 0.0,
    *,
    relax: int = 100,
) -> Root:
    r"""Overlaps of W binary patterns stored alone, as the load tends to 0: exact, by all 2^(W-1) patterns of a unit.

    $$ m_\mu = \langle \xi^\mu \tanh(h / T) \rangle, \qquad h = \sum_\mu \xi^\mu (K m)_\mu $$

    with sgn h at T = 0, sgn 0 = 0, found by `relax` steps m -> (m + <xi tanh>) / 2 from `start`. `condensed` is K. At
    T = 0 it is valid as the limit of small loads only where no field vanishes. W = 16 takes 32768 patterns, each more
    doubles them. The value has the fields of a root: `value`, `residual`, `converged`; for T > 0 it is differentiable.

    Raises:
        ValueError: if the core is not symmetric or does not fit the start, and for a temperature < 0.

    Source: Jiang et al. 2021 (arXiv 2103.14317).
    """
    core = SymmetricCore(0.0, condensed, jnp.zeros(1))
    start, temperature = vector("start", start), scalar("temperature", temperature)
    require("temperature", temperature, nonnegative, "a finite number >= 0")
    require_whole("relax", relax)
    W = start.shape[0]
    if core.condensed.shape[0] != W:
        raise ValueError(f"`start` must have one overlap for each of {core.condensed.shape[0]} patterns, got {W}")
    dtype = core.condensed.dtype
    # The first is +1: the other half has the opposite sign and the same average.
    signs = 1 - 2 * (np.arange(2 ** (W - 1))[:, None] >> np.arange(W)[None] & 1)[:, ::-1]
    return _zero_load(jnp.asarray(signs, dtype), core.condensed, start.astype(dtype), temperature.astype(dtype), relax)


@eqx.filter_jit
def _zero_load(signs, K, start, temperature, relax):
    def equations(m, args):
        K, T = args
        h = signs @ (K @ m)
        spin = jnp.where(T == 0, jnp.sign(h), jnp.tanh(h / jnp.where(T == 0, 1, T)))
        return spin @ signs / signs.shape[0] - m

    fixed = frozen((K, temperature))
    m = jax.lax.fori_loop(0, relax, lambda _, m: m + equations(m, fixed) / 2, jax.lax.stop_gradient(start))
    return polish_root(equations, m, (K, temperature))


# --- what they share ------------------------------------------------------------------------------------------


def _checked(ensemble, start, temperature, loads, relax, nodes, angles):
    start = vector("start", start)
    require("start", start, np.isfinite, "finite numbers")
    problem = problem_of(ensemble, start.shape[0], temperature, angles)
    if not (len(loads) == 2 and 0 < loads[0] < loads[1]):
        raise ValueError(f"`loads` must be two numbers with 0 < loads[0] < loads[1], got {loads!r}")
    require_whole("relax", relax, least=0)
    require_whole("nodes", nodes, least=20)
    dtype = problem.core.load.dtype
    return problem, start.astype(dtype), tuple(jnp.asarray(load, dtype) for load in loads)


def _root(equations, guess, problem) -> Root:
    return polish_root(equations, guess, problem, num_steps=10)


def _transition(root: Root, y, load, temperature, found) -> Transition:
    return Transition(load, temperature, y[:-1], y[-1], root.residual, root.converged & found)
