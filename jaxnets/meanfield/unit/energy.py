r"""The energy of the autocovariance of one unit without memory kernel, and the variances at which it is conserved.

Then x is Gaussian, and its autocovariance C(tau) moves like a particle,

$$ C'' = k\, C - g^2\, C^\phi(C), \qquad \tfrac12 C'^2 - \tfrac{k}{2} C^2 + g^2 \big[\langle \Phi\Phi \rangle_C
   - \langle\Phi\rangle^2\big] = 0, \qquad C'(0^+) = -\sigma^2, $$

C^phi(C) = <phi(x) phi(y)> at variance C_0 and covariance C, Phi' = phi. The energy is 0 because C decays to 0. At
C = C_0 it is one equation for C_0, and the only one: iterations on a periodic window find other orbits.

The equation may have several roots. A root at which the energy rises with C_0 is a stable state; between two of them
lies a root at which it falls, a state that separates them. Without noise x = 0 is a state too. `orbit` has the rest of
a state, once C_0 is known. Row gains average over gains; another ensemble without memory kernel needs nothing but its
`Site`.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from ..._laws import Discrete
from ..._numerics import as_program, frozen, gaussian_quadrature, is_concrete, polish_root, split_quadrature
from ...couplings import Site
from ...transfer import Transfer

# Standard deviations that quadratures span on either side: with nine the fourth moment is right to rounding, and near
# onset C_0 follows from it.
_WIDTH = 9.0
# C_0 is sought in units of the square of the scale of phi: from sigma^2, or from e^-28, up to a factor e^28 beyond
# sigma^2 or 1. tanh at g = 1000 has C_0 = 1e6. In single precision the lower end is e^-14: the energy there is a
# difference of numbers of order one.
_LOG_RANGE, _LOG_RANGE_SINGLE = 28.0, 14.0
# Parts of this range, and of the part that holds the root, and so on. Two roots closer than a part are seen by the
# parabola through three energies. The last part is 3e-5 of ln C_0; Newton steps follow, which square the error. So the
# search takes a quarter of the nodes.
_PARTS, _ROUNDS, _COARSER, _FEWEST = 128, 3, 4, 41
# Between two kinks: points of Phi, as many as `Transfer.antiderivative` takes, and the fewest nodes, of which averages
# take a half and a quarter.
_PIECE, _FEWEST_BY_PIECES = 64, 200
# From the host: points of the first round, points of one program, and later rounds, whose last part is 3e-7. There the
# energy is linear to rounding.
_WIDE, _FEW, _SECTIONS = 65, 13, 6


class Problem(eqx.Module):
    """The arguments of the energy, checked, in one precision; without row gains one gain of 1."""

    site: Site
    transfer: Transfer
    breaks: Float[Array, " d"] | None  # where phi has kinks
    gains: Discrete
    sigma: Float[Array, ""]
    max_lag: Float[Array, ""] | None
    nodes: int = eqx.field(static=True)
    num_lags: int = eqx.field(static=True)


def coarse_nodes(nodes: int) -> int:
    """The nodes of a search."""
    return max(nodes // _COARSER, _FEWEST)


# --- averages over x --------------------------------------------------------------------------------------------


def averages(problem: Problem, variance: Float[Array, ""], nodes: int) -> Float[Array, "2 K 3"]:
    """For each gain, with phi(gamma u): <slope>, 2 Var Phi / C_0^2 and <phi^2> / C_0; all 1 for phi(u) = u.

    By two rules, of twice the `nodes` and of `nodes`.
    """
    transfer = problem.transfer

    def of(gain):
        deviation = gain * jnp.sqrt(variance)
        z, weights = _rules(problem.breaks, deviation, nodes)
        x = deviation * z
        # Over C_0 before they are squared: C_0^2 leaves the range of single precision first.
        Phi = _antiderivative(transfer, problem.breaks, x) / (gain * variance)
        spread = jnp.sum(weights * (Phi[None] - (weights @ Phi)[:, None]) ** 2, axis=1)
        return jnp.stack([gain * (weights @ transfer.slope(x)), 2 * spread, weights @ transfer(x) ** 2 / variance], 1)

    return jnp.swapaxes(jax.vmap(of)(problem.gains.values), 0, 1)


def _antiderivative(transfer: Transfer, breaks: Float[Array, " d"] | None, x: Float[Array, " k"]) -> Float[Array, " k"]:
    """Phi(x) = Phi(|x|), by its own rule from kink to kink."""
    if breaks is None or type(transfer).antiderivative is not Transfer.antiderivative:
        return transfer.antiderivative(x)
    zero, ends = jnp.zeros(1, x.dtype), jnp.maximum(breaks, 0)
    low = jnp.minimum(jnp.abs(x)[:, None], jnp.concatenate([zero, ends])[None])
    high = jnp.minimum(jnp.abs(x)[:, None], jnp.concatenate([ends, zero + jnp.inf])[None])
    points, weights = (jnp.asarray(a, x.dtype) for a in np.polynomial.legendre.leggauss(_PIECE))
    inside = (low + high)[..., None] / 2 + (high - low)[..., None] / 2 * points[None, None]
    return jnp.sum((high - low) / 2 * (transfer(inside) @ weights), axis=1)


def _rules(
    breaks: Float[Array, " d"] | None, deviation: Float[Array, ""], nodes: int
) -> tuple[Float[Array, " k"], Float[Array, "2 k"]]:
    """Points of a standard normal variable, and the weights there of a rule and of a coarser one."""
    if breaks is None:
        # Every second point of the one is the other.
        z, fine = gaussian_quadrature(2 * nodes - 1, width=_WIDTH)
        _, coarse = gaussian_quadrature(nodes, width=_WIDTH)
        weights = jnp.stack([fine, jnp.zeros_like(fine).at[::2].set(coarse)])
        return z.astype(deviation.dtype), weights.astype(deviation.dtype)
    at = breaks.astype(deviation.dtype) / deviation
    nodes = max(nodes, _FEWEST_BY_PIECES)
    (z, fine), (y, coarse) = (split_quadrature(at, nodes // parts, _WIDTH) for parts in (2, 4))
    weights = jnp.stack([jnp.append(fine, jnp.zeros_like(coarse)), jnp.append(jnp.zeros_like(fine), coarse)])
    return jnp.append(z, y), weights / jnp.sum(weights, axis=1, keepdims=True)


def energy(
    problem: Problem, sigma: Float[Array, ""], log_variance: Float[Array, ""], found: Float[Array, "2 K 3"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The energy at lag 0, over C_0^2 / 2, with its sign turned: with some noise `sigma`, and without noise."""
    variance = jnp.exp(log_variance)
    beta, spread, _ = problem.gains.mean(found[0])
    quiet = problem.site.decay(beta) - problem.site.strength * spread
    return quiet - (sigma**2 / variance) ** 2, quiet


def _energy(problem, sigma, log_variance, nodes):
    return energy(problem, sigma, log_variance, averages(problem, jnp.exp(log_variance), nodes))


def equation(u: Float[Array, " 1"], problem: Problem) -> Float[Array, " 1"]:
    """The equation of ln C_0."""
    return _energy(problem, problem.sigma, u[0], problem.nodes)[0][None]


# --- the variance -----------------------------------------------------------------------------------------------


class Variance(NamedTuple):
    """A root of the energy, and the averages there.

    `growth` is (s phi'(0))^2 with s the right edge of J: rest is stable if it is at most 1. `count` is the number of
    roots at which the energy rises, of the noise that the problem has.
    """

    log: Float[Array | np.ndarray, " 1"]
    residual: Float[Array | np.ndarray, ""]
    converged: Bool[Array | np.ndarray, ""]
    averages: Float[Any, "2 K 3"]
    growth: Float[Array | np.ndarray, ""]
    count: Int[Array | np.ndarray, ""]


def limits(problem: Problem, scale: Float[Array, ""]) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The range of ln C_0; ``scale`` is the scale of phi."""
    on: Any = np if is_concrete(problem.sigma, scale) else jnp
    scale, sigma = on.asarray(scale), on.asarray(problem.sigma)
    middle = 2 * on.log(scale)
    noise = on.where(sigma > 0, 2 * on.log(on.where(sigma > 0, sigma, 1)), -on.inf)
    down = _LOG_RANGE if middle.dtype == jnp.float64 else _LOG_RANGE_SINGLE
    return on.maximum(noise, middle - down), on.maximum(noise, middle) + _LOG_RANGE


def rises(e: Float[Array, " n"]) -> tuple[Bool[Array, " n-1"], Bool[Array, " n-2"]]:
    """Between which two neighbours the energy rises through 0, and about which point it dips below 0 unseen."""
    left, middle, right = e[:-2], e[1:-1], e[2:]
    bend = left - 2 * middle + right
    lowest = (middle > 0) & (middle <= left) & (middle <= right)
    dips = lowest & (8 * middle * bend < (right - left) ** 2)
    return (e[:-1] < 0) & (e[1:] >= 0), dips


def growth_of(problem: Problem) -> Float[Array, ""]:
    """(s phi'(0))^2, s the right edge of J."""
    slope = problem.transfer.slope(jnp.zeros_like(problem.sigma))
    return problem.site.total * problem.gains.moment(2) * slope**2


def least_variance(problem: Problem, scale: Float[Array, ""], at_rest: bool | None = None) -> Variance:
    """The smallest stable C_0 > 0; differentiable.

    At rest (without noise below onset, or as `at_rest` asks) it has a noise of the scale of phi.
    """
    growth = growth_of(problem)
    quiet = (problem.sigma == 0) & (growth <= 1) if at_rest is None else jnp.asarray(at_rest)
    eased = with_noise(problem, quiet, scale)
    coarse = coarse_nodes(problem.nodes)

    def narrow(ends, _):
        u = ends[0] + (ends[1] - ends[0]) * jnp.linspace(0, 1, _PARTS + 1, dtype=ends[0].dtype)
        e, without = jax.vmap(lambda u: _energy(fixed, sigma, u, coarse))(u)
        up, dips = rises(jnp.where(fixed.sigma == 0, without, e))
        first = jnp.argmax(rises(e)[0])
        return (u[first], u[first + 1]), jnp.sum(up) + jnp.sum(dips)

    fixed, sigma = frozen((problem, eased.sigma))
    (low, high), counts = jax.lax.scan(narrow, limits(fixed, frozen(scale)), None, length=_ROUNDS)
    root = polish_root(equation, ((low + high) / 2)[None], eased)
    found = averages(problem, jnp.exp(root.value[0]), problem.nodes)
    return Variance(root.value, root.residual, root.converged, found, growth, counts[0])


def with_noise(problem: Problem, quiet: Bool[Array, ""], scale: Float[Array, ""]) -> Problem:
    """The problem to solve: at rest it has noise, so that no derivative divides by 0."""
    return eqx.tree_at(lambda p: p.sigma, problem, jnp.where(quiet, scale, problem.sigma))


# --- the variance of one concrete problem: the same search, from the host ----------------------------------------


class Table(NamedTuple):
    """Energies and averages at several ln C_0."""

    u: np.ndarray
    energy: np.ndarray
    averages: np.ndarray
    growth: np.ndarray


@as_program
def _row(problem: Problem, u: Float[Array, " n"]) -> tuple[Float[Array, "..."], ...]:
    def at(u):
        found = averages(problem, jnp.exp(u), problem.nodes)
        return energy(problem, problem.sigma, u, found)[0], found

    return *jax.vmap(at)(u), growth_of(problem)


def table(problem: Problem, low: Float[ArrayLike, ""], high: Float[ArrayLike, ""], num: int = _WIDE) -> Table:
    """At `num` ln C_0 in equal distances; one small program takes few of them at a time."""
    u = np.linspace(low, high, num)
    rows = np.resize(u, (-(-num // _FEW), _FEW))
    parts = [_row(problem, jnp.asarray(row, problem.sigma.dtype)) for row in rows]
    e, found = (np.concatenate([np.asarray(part[k]) for part in parts])[:num] for k in range(2))
    return Table(u, e, found, np.asarray(parts[0][2]))


def roots(problem: Problem, at: Table, rounds: int = 2) -> list[tuple[float, float, bool]]:
    """Intervals of ln C_0 with one root of the energy each, and whether it rises there, in rising order.

    Next to an extremum that may reach 0 between two points, more points are taken.
    """
    e = at.energy
    found = [
        (float(at.u[i]), float(at.u[i + 1]), bool(e[i] < 0))
        for i in np.flatnonzero((e[:-1] < 0) != (e[1:] < 0))
        if np.isfinite(e[i] + e[i + 1])
    ]
    bend = np.abs(e[:-2] - 2 * e[1:-1] + e[2:])
    distance = np.abs(e)
    lowest = (distance[1:-1] <= distance[:-2]) & (distance[1:-1] <= distance[2:]) & (distance[1:-1] < bend)
    alike = ((e[:-2] < 0) == (e[1:-1] < 0)) & ((e[1:-1] < 0) == (e[2:] < 0))
    for i in np.flatnonzero(lowest & alike) + 1:
        if rounds:
            found += roots(problem, table(problem, at.u[i - 1], at.u[i + 1]), rounds - 1)
    return sorted(found)


def least_of(
    problem: Problem, at: Table, found: list[tuple[float, float, bool]], growth: np.ndarray, count: int
) -> Variance:
    """The smallest root at which the energy rises; one that has not converged if there is none."""
    low, high = next(((low, high) for low, high, rising in found if rising), (at.u[0], at.u[1]))
    return variance_within(problem, low, high, growth, count)


def variance_within(problem: Problem, low: float, high: float, growth: np.ndarray, count: int) -> Variance:
    """The root between two ln C_0 at which the energy has different signs."""
    rising = None
    for _ in range(_SECTIONS):
        at = table(problem, low, high, _FEW)
        rising = at.energy[-1] >= 0 if rising is None else rising
        beyond = (at.energy >= 0) == rising
        first = int(np.argmax(beyond))
        low, high = at.u[max(first - 1, 0)], at.u[max(first, 1)]
        ends = at.energy[max(first - 1, 0)], at.energy[max(first, 1)]
    # Linear between the last two.
    u = low - ends[0] * (high - low) / (ends[1] - ends[0]) if ends[1] != ends[0] else low
    at = table(problem, u, u, _FEW)
    miss, tolerance = np.abs(at.energy[0]), max(1e-8, 3000 * float(np.finfo(at.energy.dtype).eps))
    log = np.asarray([u], problem.sigma.dtype)
    return Variance(log, miss, miss <= tolerance, at.averages[0], growth, np.asarray(count))
