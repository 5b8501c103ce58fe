"""Where the phases of associative memory end: retrieval, glass and paramagnet.

Each line is one of the lines of `jaxnets.replica`, for the branch of retrieval in the load or in the temperature.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float

from .. import replica
from .._numerics import frozen
from .._numerics.branches import root_near
from .._numerics.host import loop, namespace
from .._results import Result
from ..couplings import DeepHebbian
from ..replica import Hopfield, LinePoint, Saddle, SymmetricCore, symmetric_core
from ..replica.hopfield import bulk
from ..replica.saddles import POLISH, either_way, solve
from .equilibrium import in_one_unit, problem_and_guess

# Largest overlap from which a state is one of retrieval. At a fold overlaps jump to 0, where rounding leaves 1e-9.
RETRIEVED = 1e-3
# Largest share of the temperature of the glass that a coarser rule for the law of lambda may differ by.
GLASS_ERROR, ROUNDING = 1e-8, 3000
# Steps T -> glassiness of the state at T. Each multiplies the error by some exp(-1 / 2 alpha), .04 at alpha = .15.
CLOSER = 4
# Halvings of a bracket of temperatures: they reach rounding in float64.
BISECTIONS = 60


class Transition(Result, axes={"W": "pattern"}):
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
    guess: Float[ArrayLike, " W"],
    temperature: Float[ArrayLike, ""] = 0.0,
    *,
    loads: tuple[float, float] = (1e-3, 1.0),
    num_steps: int = 200,
    nodes: int = 200,
    core_nodes: int = 512,
) -> Transition:
    r"""The load at which a state of retrieval ends: the fold of the branch that starts from `guess` at small load.

    $$ F(y, \alpha) = 0, \qquad \partial_y F\, v = 0, \qquad |v| = 1, \qquad y = (m, \chi) $$

    The load of the ensemble itself has no part in it. The branch is `replica_state` from a load of `loads[0]`, which
    has to be below the fold, to at most `loads[1]`, with the same validity. It ends where overlaps vanish or lose their
    stability. `converged` is False if it has no end between `loads`, or ends by something else than a fold.
    Differentiable in the window and the temperature.

    Raises:
        ValueError: as `replica_state`, and for loads that do not increase from above 0.

    Source: Amit, Gutfreund & Sompolinsky 1987: .138 for the Hopfield model at T = 0.
    """
    problem, y = problem_and_guess(ensemble, guess, temperature, num_steps, nodes, core_nodes)
    return _capacity(problem, y, _log_interval(problem, loads), num_steps)


@either_way
def _capacity(problem: Hopfield, y: Float[Array, " W+1"], log_loads, num_steps: int) -> Transition:
    problem, unit = in_one_unit(problem)
    end = replica.branch_end(problem, _at_log_load, y, log_loads, _retrieves, num_steps=num_steps)
    fold = replica.fold(problem, _at_log_load, end.y, end.parameter)
    # Newton's method may also find a fold of another branch, at a load that this one has passed.
    return _at_load(problem, unit, fold, end.found & (fold.parameter >= end.parameter))


def coexistence(
    ensemble: DeepHebbian | SymmetricCore,
    guess: Float[ArrayLike, " W"],
    temperature: Float[ArrayLike, ""] = 0.0,
    *,
    loads: tuple[float, float] = (1e-3, 1.0),
    num_steps: int = 200,
    nodes: int = 200,
    core_nodes: int = 512,
) -> Transition:
    r"""The load up to which retrieval has the lowest free energy, lower than the glass or the paramagnet with m = 0.

    $$ F(y, \alpha) = 0, \qquad F(y_0, \alpha) = 0, \qquad f(y) = f(y_0), \qquad y_0 = (0, \chi_0) $$

    `capacity` documents the arguments, the branch, its validity and the errors. Source: Amit, Gutfreund & Sompolinsky
    1987: .051 for the Hopfield model at T = 0.
    """
    problem, y = problem_and_guess(ensemble, guess, temperature, num_steps, nodes, core_nodes)
    return _coexistence(problem, y, _log_interval(problem, loads), num_steps)


@either_way
def _coexistence(problem: Hopfield, y: Float[Array, " W+1"], log_loads, num_steps: int) -> Transition:
    problem, unit = in_one_unit(problem)

    def glass_at(problem):
        return solve(frozen(problem), namespace(y).zeros_like(y), num_steps)

    def is_lowest(problem, state):
        glass = glass_at(problem)
        return _retrieves(problem, state) & glass.converged & (state.free_energy < glass.free_energy)

    end = replica.branch_end(problem, _at_log_load, y, log_loads, is_lowest, num_steps=num_steps)
    glass = glass_at(_at_log_load(problem, end.parameter))
    point = replica.coexistence(problem, _at_log_load, end.y, glass.y, end.parameter)
    return _at_load(problem, unit, point, end.found)


def _log_interval(problem: Hopfield, loads: tuple[float, float]) -> tuple[Float[Array, ""], Float[Array, ""]]:
    if not (len(loads) == 2 and 0 < loads[0] < loads[1]):
        raise ValueError(f"`loads` must be two numbers with 0 < loads[0] < loads[1], got {loads!r}")
    low, high = (jnp.asarray(np.log(load), problem.core.load.dtype) for load in loads)
    return low, high


def _at_log_load(problem: Hopfield, log_load: Float[Array, ""]) -> Hopfield:
    return problem.at_load(namespace(log_load).exp(log_load))


def _retrieves(problem: Hopfield, state: Saddle) -> Bool[Array, ""]:
    xp = namespace(state.y)
    return (state.stability > 0) & (xp.max(xp.abs(state.y[:-1])) > RETRIEVED)


def _at_load(problem: Hopfield, unit: Float[Array, ""], point: LinePoint, found: Bool[Array, ""]) -> Transition:
    load = namespace(point.y).exp(point.parameter)
    return _transition(unit, load, problem.temperature, point.y, point.residual, point.converged & found)


# --- lines in temperature -------------------------------------------------------------------------------------


def glass_temperature(ensemble: DeepHebbian | SymmetricCore, *, core_nodes: int = 512) -> Transition:
    r"""The temperature T below which the paramagnet freezes into a glass, for any load.

    $$ \alpha \Big\langle \frac{\lambda^2}{(T - \lambda)^2} \Big\rangle = 1, \qquad T > \max \lambda $$

    1 + sqrt(alpha) for the Hopfield model. Not converged where no temperature solves the equation: no eigenvalue is
    positive, and alpha is small. Valid where the glass grows continuously from q = 0. `symmetric_core` documents
    `core_nodes`. Raises `ValueError` for an ensemble that is not symmetric. Source: Amit, Gutfreund & Sompolinsky
    1987 for the Hopfield model; for other cores derived here.
    """
    num_condensed = ensemble.condensed.shape[0] if isinstance(ensemble, SymmetricCore) else 1
    return _glass_temperature(Hopfield(symmetric_core(ensemble, num_condensed, core_nodes=core_nodes)))


@either_way
def _glass_temperature(problem: Hopfield) -> Transition:
    problem, unit = in_one_unit(problem)
    # One equation without order parameters, m = 0 and chi = 1 / T: the lines of `replica` have no part in it.
    core, xp = problem.core, namespace(problem.core.load)
    fixed = frozen(core)
    low = xp.maximum(xp.max(fixed.eigenvalues.values), 0)
    # There alpha <lambda^2> / (T - max lambda)^2 is at most 1.
    high = low + xp.sqrt(fixed.load) * xp.max(xp.abs(fixed.eigenvalues.values))

    def halved(_, bracket):
        low, high = bracket
        middle = (low + high) / 2
        frozen_there = fixed.load * bulk(fixed.eigenvalues, 1 / middle).noise > middle**2
        return (xp.where(frozen_there, middle, low), xp.where(frozen_there, high, middle)), high - low

    _, T = loop(halved, frozen((low, high)), BISECTIONS, numpy=xp is np)
    root = root_near(_instability, xp.log(T)[None], core, POLISH)
    T = xp.exp(root.value[0])
    error = frozen(xp.abs(core.load * bulk(core.coarse, 1 / T).noise / T**2 - 1))
    right = error < GLASS_ERROR + ROUNDING * float(jnp.finfo(T.dtype).eps)
    y = xp.append(xp.zeros(core.condensed.shape[0], T.dtype), 1 / T)
    return _transition(unit, core.load, T, y, xp.maximum(root.residual, error), root.converged & right)


def _instability(log_t: Float[Array, " 1"], core: SymmetricCore) -> Float[Array, " 1"]:
    xp = namespace(log_t)
    return core.load * bulk(core.eigenvalues, xp.exp(-log_t[0])).noise[None] - xp.exp(2 * log_t)


def replicon_temperature(
    ensemble: DeepHebbian | SymmetricCore,
    guess: Float[ArrayLike, " W"],
    *,
    num_steps: int = 200,
    nodes: int = 200,
    core_nodes: int = 512,
) -> Transition:
    r"""The temperature below which a state of retrieval breaks the symmetry of replicas (de Almeida-Thouless).

    $$ F(y, T) = 0, \qquad \frac{\alpha}{T^2} \Big\langle \frac{\lambda^2}{(1 - \chi \lambda)^2} \Big\rangle
       \Big\langle \operatorname{sech}^4 \frac xT \Big\rangle = 1 $$

    The search begins with the state of `replica_state` from `guess` at T = 0, for which T is (2/3) alpha <lambda^2 / (1
    - chi lambda)^2> chi: sqrt(8 alpha / 9 pi) exp(-1 / 2 alpha) in the Hopfield model at small alpha. Valid where
    retrieval goes on to T = 0. Raises `ValueError` as `replica_state`. Source: Amit, Gutfreund & Sompolinsky
    1987.
    """
    problem, y = problem_and_guess(ensemble, guess, 0.0, num_steps, nodes, core_nodes)
    return _replicon_temperature(problem, y, num_steps)


@either_way
def _replicon_temperature(problem: Hopfield, y: Float[Array, " W+1"], num_steps: int) -> Transition:
    problem, unit = in_one_unit(problem)
    fixed = frozen(problem)

    xp = namespace(y)

    def closer(_, carry):
        y, T = carry
        here = fixed.at_temperature(T)
        y = solve(here, y, num_steps).y
        return (y, here.glassiness(y)), xp.ones(())

    y, T = loop(closer, (y, xp.zeros_like(y[0])), CLOSER, numpy=xp is np)
    state = solve(fixed.at_temperature(T), y, num_steps)
    # The logarithm, because T may be very small.
    at = lambda problem, log_t: problem.at_temperature(namespace(log_t).exp(log_t))
    point = replica.vanishing(problem, at, Hopfield.replicon, state.y, xp.log(T))
    found = point.converged & state.converged & _retrieves(fixed, state)
    return _transition(unit, problem.core.load, xp.exp(point.parameter), point.y, point.residual, found)


def _transition(unit, load, temperature, y, residual, converged) -> Transition:
    """With temperature and chi in the user's unit of couplings."""
    return Transition(load, unit * temperature, y[:-1], y[-1] / unit, residual, converged)
