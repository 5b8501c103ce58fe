r"""The binary perceptron for N -> infinity: how many weights solve random patterns, how stable that is, how isolated.

$$ s \in \{-1, 1\}^N, \qquad u_\mu = \frac{1}{\sqrt N} \sum_i \xi^\mu_i s_i > \kappa, \quad \mu = 1 \dots \alpha N,
   \qquad \frac1N \ln(\text{number of solutions}) \to \text{entropy} $$

Patterns are random, with entries of variance 1. The symmetric perceptron asks for |u| < kappa instead; there all
numbers are closed forms. The equations and their solution are in `jaxnets.replica`, this module gives the order
parameters their names. `amp`, `belief_propagation` and `solutions` are the same quantities for given patterns.

Source: Krauth & Mezard 1989; Huang & Kabashima 2014 (arXiv 1408.1784); Huang 2021 (arXiv 2111.13302); Aubin, Perkins &
Zdeborova 2019 for the symmetric perceptron.
"""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float

from .._arguments import positive, require, require_whole, scalar
from .._numerics import (
    Root,
    as_program,
    bisect,
    frozen,
    normal_density,
    pair_density_rule,
    pair_exponential,
    polish_root,
    tail,
)
from .._numerics.host import namespace
from .._results import Result, one_line
from ..replica import BinaryWeights, NearbyWeights, branch_end, vanishing
from ..replica.saddles import Saddle, either_way, solve

# Sweeps of messages before Newton's method, and of the solutions at a distance. alpha = .05 to 1.2 at kappa = 0, and
# distances down to .001, converge with half of them.
SWEEPS, NEARBY_SWEEPS = 60, 40
# Loads over the largest load that first moments allow: alpha_s lies above .4 of it for every kappa, alpha_AT above .2.
LEAST_PART = 0.05
# int_0^infinity -ln H(-v) dv, of the entropy at small distances.
ISOLATION = 0.4775354204
# Distances among which the first guess of the last one is looked up, by its logarithm.
GUESSES = np.linspace(-25, math.log(0.25), 400)


class PerceptronState(Result):
    """Typical solutions of a perceptron, made by `BinaryPerceptron.saddle`.

    `overlap` q of two solutions and `conjugate`, the variance of the field of a weight. `entropy` per weight;
    negative where no solutions exist. `stability` is Lambda: solutions (and messages) are stable below 1.
    `contraction` is the factor by which errors of messages shrink in a sweep, the larger of sqrt(Lambda) and the slope
    of the map of q. `margin_density` is the density of u at the margin.
    """

    overlap: Float[Array, ""]
    conjugate: Float[Array, ""]
    entropy: Float[Array, ""]
    stability: Float[Array, ""]
    contraction: Float[Array, ""]
    margin_density: Float[Array, ""]
    residual: Float[Array, ""]
    converged: Bool[Array, ""]


class Neighbours(Result):
    """Solutions at a distance from a typical one, made by `BinaryPerceptron.distance_entropy`.

    `entropy` of these solutions per weight; `with_others` and `among` are their overlaps with other typical solutions
    and with each other. `stability` is Lambda of these solutions, stable below 1.
    """

    entropy: Float[Array, ""]
    with_others: Float[Array, ""]
    among: Float[Array, ""]
    stability: Float[Array, ""]
    residual: Float[Array, ""]
    converged: Bool[Array, ""]


class BinaryPerceptron(eqx.Module):
    r"""A perceptron of binary weights at the load `alpha` = P / N with the margin `kappa`.

    $$ q = \langle \tanh^2 \sqrt{\hat q} z \rangle, \qquad
       \hat q = \frac{\alpha}{1 - q} \langle R(X)^2 \rangle, \qquad X = \frac{\kappa - \sqrt q z}{\sqrt{1 - q}} $$

    `symmetric` asks for |u| < kappa. There q = 0, and for alpha below `stability_limit` the number Z of solutions
    fluctuates little: ln(Z / <Z>) has the mean -v/2 and the variance v = -ln(1 - Lambda) / 2.

    All methods can be mapped and differentiated by both parameters, and say whether they have `converged`. Valid for
    N -> infinity. At kappa = 0 the capacity is that of a proof under a numerical condition; at other kappa it is the
    criterion of Krauth and Mezard, that solutions end where the entropy of this state does. Beyond the capacity states
    go on with a negative entropy. Raises `ValueError` for alpha <= 0, a kappa that is not finite, and kappa <= 0 if
    symmetric. Source: Krauth & Mezard 1989; Huang 2021 (arXiv 2111.13302).
    """

    __repr__ = one_line

    alpha: Float[Array, ""]
    kappa: Float[Array, ""]
    symmetric: bool = eqx.field(static=True)

    def __init__(self, alpha: Float[ArrayLike, ""], kappa: Float[ArrayLike, ""] = 0.0, symmetric: bool = False):
        problem = BinaryWeights(alpha, kappa)
        self.alpha, self.kappa, self.symmetric = problem.alpha, problem.kappa, symmetric

    def __check_init__(self):
        if self.symmetric:
            require("kappa", self.kappa, positive, "a finite number > 0 if `symmetric`")

    def saddle(self) -> PerceptronState:
        """Typical solutions: their overlap, entropy and stability."""
        return _symmetric_state(self) if self.symmetric else _state(self._problem())

    def entropy(self) -> Root:
        """(1/N) ln(number of solutions), of typical patterns; see `saddle`."""
        state = self.saddle()
        return Root(state.entropy, state.residual, state.converged)

    def stability(self) -> Root:
        """Lambda, which stable solutions and converging messages have below 1; see `saddle`."""
        state = self.saddle()
        return Root(state.stability, state.residual, state.converged)

    def capacity(self) -> Root:
        """The load alpha_s at which the entropy vanishes, at this kappa."""
        return _symmetric_limits(self)[0] if self.symmetric else _capacity(self._problem())

    def stability_limit(self) -> Root:
        """The load alpha_AT at which Lambda = 1 (de Almeida & Thouless), at this kappa; not asked of beyond alpha_s."""
        return _symmetric_limits(self)[1] if self.symmetric else _stability_limit(self._problem())

    def state_evolution(self, sweeps: int) -> Float[Array, " sweeps"]:
        """The overlap q = <m^2> after each of so many sweeps of `amp` that start from m = 0.

        Symmetric perceptrons stay at m = 0. Raises `ValueError` for sweeps < 1.
        """
        require_whole("sweeps", sweeps)
        if self.symmetric:
            return jnp.zeros(sweeps, self.alpha.dtype)
        return _evolution(self._problem(), sweeps)

    def distance_entropy(self, distance: Float[ArrayLike, ""]) -> Neighbours:
        r"""The entropy of solutions that differ in a part `distance` d of their weights from a typical solution.

        $$ s(d) \to H_2(d) - 2 \alpha \rho \sqrt d \int_0^\infty -\ln H(-v)\, dv, \quad d \to 0, \qquad
           H_2(d) = -d \ln d - (1 - d) \ln (1 - d) $$

        rho is the density of u at the margin. sqrt(d) beats d ln d, so that s < 0 below `isolation_distance`: each
        typical solution is isolated. The largest s is the entropy of all, at the typical distance (1 - q) / 2. For the
        symmetric perceptron s is that of the mean number of neighbours, an upper bound, and `among` is NaN. Raises
        `ValueError` unless 0 < d < 1. Source: Huang & Kabashima 2014 (arXiv 1408.1784).
        """
        distance = scalar("distance", distance).astype(self.alpha.dtype)
        require("distance", distance, lambda d: (d > 0) & (d < 1), "a number between 0 and 1")
        return _symmetric_nearby(self, distance) if self.symmetric else _nearby(self._problem(), distance)

    def isolation_distance(self) -> Root:
        """The least distance d at which solutions lie around a typical one: the first zero of `distance_entropy`.

        Not converged beyond the capacity, where no solutions exist.
        """
        return _symmetric_isolation(self) if self.symmetric else _isolation(self._problem())

    def _problem(self) -> BinaryWeights:
        return BinaryWeights(self.alpha, self.kappa)


# --- the state and its ends


def _solved(problem: BinaryWeights) -> Saddle:
    return solve(problem, namespace(problem.alpha).zeros(1, problem.alpha.dtype), SWEEPS)


@either_way
def _state(problem: BinaryWeights) -> PerceptronState:
    found = _solved(problem)
    xp, instability = namespace(problem.alpha), 1 - found.replicon
    of, slope = problem.patterns(found.y), problem.slope(found.y)
    return PerceptronState(
        overlap=found.y[0],
        conjugate=problem.alpha * of.square,
        entropy=-found.free_energy,
        stability=instability,
        contraction=xp.maximum(xp.sqrt(xp.maximum(instability, 0)), slope),
        margin_density=of.slope,
        residual=found.residual,
        converged=found.converged,
    )


@either_way
def _evolution(problem: BinaryWeights, sweeps: int) -> Float[Any, " sweeps"]:
    xp, y = namespace(problem.alpha), namespace(problem.alpha).zeros(1, problem.alpha.dtype)
    if xp is jnp:
        step = lambda y, _: (problem.evolved(y), problem.evolved(y)[0])
        return jax.lax.scan(step, y, None, length=sweeps)[1]
    found = []
    for _ in range(sweeps):
        y = problem.evolved(y)
        found.append(y[0])
    return np.stack(found)


@either_way
def _capacity(problem: BinaryWeights) -> Root:
    xp = namespace(problem.alpha)
    interval = tuple(xp.log(xp.asarray(part, problem.alpha.dtype)) for part in (LEAST_PART, 1.0))
    has_solutions = lambda _, found: found.free_energy < 0
    return _load_where(problem, interval, has_solutions, lambda problem, y: problem.free_energy(y))


@either_way
def _stability_limit(problem: BinaryWeights) -> Root:
    xp, kappa = namespace(problem.alpha), problem.kappa
    # Lambda = 1 for q = 0, which is an upper bound in the limit kappa -> -infinity.
    at_margin = tail(kappa)
    most = 1 / (at_margin.ratio * at_margin.excess) ** 2 / problem.annealed()
    interval = xp.log(xp.asarray(LEAST_PART, kappa.dtype)), xp.log(most)
    return _load_where(problem, interval, lambda _, found: found.replicon > 0, lambda problem, y: problem.replicon(y))


def _load_where(problem, interval, holds, scalar) -> Root:
    """The load at the end of a branch at which `scalar` vanishes."""
    xp = namespace(problem.alpha)
    at = type(problem).at_log_part
    end = branch_end(problem, at, xp.zeros(1, problem.alpha.dtype), interval, holds, num_steps=SWEEPS)
    point = vanishing(problem, at, scalar, end.y, end.parameter)
    return Root(xp.exp(point.parameter) * problem.annealed(), point.residual, point.converged & end.found)


# --- solutions at a distance


@either_way
def _nearby(problem: BinaryWeights, distance: Float[Array, ""]) -> Neighbours:
    typical = _solved(problem)
    nearby = NearbyWeights(problem, typical.y[0], distance)
    found = solve(nearby, nearby.guess(), NEARBY_SWEEPS)
    return Neighbours(
        entropy=-found.free_energy,
        with_others=typical.y[0] - found.y[0],
        among=nearby.among(found.y),
        stability=1 - found.replicon,
        residual=namespace(distance).maximum(found.residual, typical.residual),
        converged=found.converged & typical.converged,
    )


@either_way
def _isolation(problem: BinaryWeights) -> Root:
    typical = _solved(problem)
    xp, q = namespace(problem.alpha), typical.y[0]
    guess = _small_distance(problem, problem.patterns(typical.y).slope, (1 - q) / 2)
    nearby = NearbyWeights(problem, q, xp.exp(guess))
    start = solve(nearby, nearby.guess(), NEARBY_SWEEPS)
    # Relative to the distance, since both are small.
    entropy = lambda here, y: here.free_energy(y) / here.distance
    point = vanishing(nearby, NearbyWeights.at_log_distance, entropy, start.y, guess)
    distance = xp.exp(point.parameter)
    alive = (typical.free_energy < 0) & (distance < (1 - q) / 2)
    return Root(distance, point.residual, point.converged & typical.converged & alive)


def _small_distance(problem: BinaryWeights, density, typical) -> Float[Array, ""]:
    """ln d where the entropy at small distances vanishes, and nearer than the `typical` distance."""
    xp = namespace(problem.alpha)
    d = np.exp(GUESSES)
    room = (-d * np.log(d) - (1 - d) * np.log1p(-d)) / np.sqrt(d)
    first = xp.argmax(xp.asarray(room, problem.alpha.dtype) > 2 * problem.alpha * density * ISOLATION)
    found = xp.where(first > 0, xp.asarray(GUESSES, problem.alpha.dtype)[first], xp.log(typical))
    return xp.minimum(found, xp.log(typical / 2))


# --- the symmetric perceptron


@as_program
def _symmetric_state(perceptron: BinaryPerceptron) -> PerceptronState:
    alpha, kappa = perceptron.alpha, perceptron.kappa
    chance, shrinking = _within(kappa)
    instability, zero = alpha * shrinking**2, jnp.zeros_like(alpha)
    return PerceptronState(
        overlap=zero,
        conjugate=zero,
        entropy=math.log(2) + alpha * jnp.log(chance),
        stability=instability,
        contraction=jnp.maximum(jnp.sqrt(instability), instability),
        margin_density=normal_density(kappa) / chance,
        residual=zero,
        converged=jnp.asarray(True),
    )


def _within(kappa: Float[Array, ""]) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """P(|z| < kappa), and 1 - <z^2> given that."""
    chance = jax.scipy.special.erf(kappa / math.sqrt(2))
    return chance, 2 * kappa * normal_density(kappa) / chance


@as_program
def _symmetric_limits(perceptron: BinaryPerceptron) -> tuple[Root, Root]:
    chance, shrinking = _within(perceptron.kappa)
    exact = lambda value: Root(value, jnp.zeros_like(value), jnp.isfinite(value))
    return exact(-math.log(2) / jnp.log(chance)), exact(1 / shrinking**2)


@as_program
def _symmetric_nearby(perceptron: BinaryPerceptron, distance: Float[Array, ""]) -> Neighbours:
    zero = jnp.zeros_like(distance)
    return Neighbours(
        entropy=_symmetric_entropy(distance, perceptron),
        with_others=zero,
        among=zero + jnp.nan,
        stability=zero + jnp.nan,
        residual=zero,
        converged=jnp.asarray(True),
    )


def _symmetric_entropy(distance: Float[Array, ""], perceptron: BinaryPerceptron) -> Float[Array, ""]:
    """H_2(d) + alpha ln of the chance that a solution with a part d of its weights turned still solves a pattern."""
    kappa, (chance, _) = perceptron.kappa, _within(perceptron.kappa)
    # By the distance from perfect correlation, whose chance is known, where d < 1/2.
    sine, cosine, weights = pair_density_rule(1 - 2 * distance)
    both = sum(sign * pair_exponential(kappa, sign * kappa, sine, cosine) for sign in (1, -1))
    mixing = -distance * jnp.log(distance) - (1 - distance) * jnp.log1p(-distance)
    return mixing + perceptron.alpha * jnp.log(chance + 2 * weights @ both / chance)


@as_program
def _symmetric_isolation(perceptron: BinaryPerceptron) -> Root:
    is_below = lambda x, perceptron: _symmetric_entropy(jnp.exp(x), perceptron) < 0
    ends = [jnp.asarray(end, perceptron.alpha.dtype) for end in (GUESSES[0], math.log(0.5))]
    low, high = bisect(is_below, ends[0], ends[1], perceptron)
    equation = lambda x, perceptron: jnp.exp(-x) * _symmetric_entropy(jnp.exp(x[0]), perceptron)
    root = polish_root(equation, (low + high)[None] / 2, perceptron)
    alive = _symmetric_entropy(jnp.asarray(0.5, perceptron.alpha.dtype), frozen(perceptron)) > 0
    return Root(jnp.exp(root.value[0]), root.residual, root.converged & alive)
