r"""All fixed points and 2-cycles of a low-rank network of piecewise-linear units in discrete time.

$$ z_{t+1} = a\, z_t + n\, \phi(m z_t + W_u v - h) $$

A fixed point is one of kappa = N^T phi(m kappa + W_u v - h) with N^T = n / (1 - a), all of which
`jaxnets.multistability.piecewise_fixed_points` finds. There a multiplier is 1 + (1 - a) lambda, with lambda an
eigenvalue of the flow. A 2-cycle has its points in two of the regions where phi is linear, z -> F z + c, and solves

$$ z_1 = (1 - F_2 F_1)^{-1} (F_2 c_1 + c_2), \qquad z_2 = F_1 z_1 + c_1 . $$

For a phi without jumps there is none if the largest slope times the largest singular value of m n is below 1 + a: in
x = m z both points of a cycle obey (1 + a)(x_1 - x_2) = -m n (phi(x_1) - phi(x_2)).
"""

import jax
import numpy as np
from jaxtyping import ArrayLike, Bool, Complex, Float

from .._arguments import host_array, require_instance
from .._numerics import is_concrete, merge
from .._results import Result
from ..eigen import host_eigenvalues
from ..multistability import piecewise_fixed_points, regions
from ..transfer import as_piecewise_linear
from .models import StochasticLowRank

# Pairs of regions are searched up to so many regions, for a minute or so.
_MOST_REGIONS = 10_000
_TOLERANCE = 1e-9


class LowRankFixedPoints(Result, axes={"k": "fixed_point", "c": "cycle", "R": "mode", "N": "unit"}):
    """All fixed points and 2-cycles of a model without noise, made by `fixed_points`.

    `points` are z and `currents` x. `multipliers` are the eigenvalues of the map there, by falling modulus. The point
    is `stable` if all are below 1 in modulus. At a `boundary` some unit is at a break point of phi: multipliers are
    then those of one side, and `stable` is False. `cycles` are the pairs of points of 2-cycles, with
    `cycle_multipliers` of two steps, and `cycle_stable` as above. `cycles_complete` is False if there were too many
    regions to search for them. `num_regions` were visited. In `num_singular` of them the equations have no unique
    solution: a continuum of fixed points, if any, is not listed.
    """

    points: Float[np.ndarray, "k R"]
    currents: Float[np.ndarray, "k N"]
    multipliers: Complex[np.ndarray, "k R"]
    stable: Bool[np.ndarray, " k"]
    boundary: Bool[np.ndarray, " k"]
    cycles: Float[np.ndarray, "c 2 R"]
    cycle_multipliers: Complex[np.ndarray, "c R"]
    cycle_stable: Bool[np.ndarray, " c"]
    cycles_complete: bool
    num_regions: int
    num_singular: int


def fixed_points(model: StochasticLowRank, input: Float[ArrayLike, " I"] | None = None) -> LowRankFixedPoints:
    r"""All fixed points and 2-cycles of z -> a z + n phi(m z + W_u u - h) for units made of lines.

    `input` is a constant u, none if None. Every region where phi is linear is visited, sum_r C(H, r) of them for H
    break points in all. Pairs of regions are searched for 2-cycles, unless a bound on slopes rules them out. A network
    of smooth units is no union of lines: take `jn.dynamics.fixed_points(model.to_network(), x0s)`, which starts from
    given states and may miss some.

    Raises:
        ValueError: for a ``model`` that is none or traced, a transfer function that is not made of lines, and an
            ``input`` that does not fit.

    Source: Pals et al. 2024 (arXiv 2406.16749) for fixed points; 2-cycles derived here.
    """
    require_instance("model", model, StochasticLowRank, "a `StochasticLowRank`")
    if not all(is_concrete(leaf) for leaf in jax.tree.leaves(model)):
        raise ValueError("`model` must be concrete: the number of fixed points depends on it")
    lines = jax.tree.map(lambda leaf: np.asarray(leaf, float), as_piecewise_linear(model.transfer))
    m, n, a = (np.asarray(part, float) for part in (model.m, model.n, model.leak))
    current = _constant(model, input)
    offset = current - np.broadcast_to(np.asarray(model.threshold, float), (len(m),))
    found = piecewise_fixed_points(m, n.T / (1 - a), as_piecewise_linear(model.transfer), offset)
    values = 1 + (1 - a) * found.eigenvalues
    values = np.take_along_axis(values, np.argsort(-np.abs(values), axis=1, stable=True), 1)
    cycles, of_cycles, complete = _cycles(m, n, float(a), lines, offset, found.num_regions)
    return LowRankFixedPoints(
        points=found.kappa,
        currents=found.points + current,
        multipliers=values,
        stable=np.all(np.abs(values) < 1, 1) & ~found.boundary,
        boundary=found.boundary,
        cycles=cycles,
        cycle_multipliers=of_cycles,
        cycle_stable=np.all(np.abs(of_cycles) < 1, 1),
        cycles_complete=complete,
        num_regions=found.num_regions,
        num_singular=found.num_singular,
    )


def _constant(model: StochasticLowRank, input: ArrayLike | None) -> Float[np.ndarray, " N"]:
    if input is None:
        return np.zeros(model.size)
    if model.input_weights is None:
        raise ValueError("`input` must be None for a model without `input_weights`")
    weights = np.asarray(model.input_weights, float)
    return weights @ host_array("input", input, (weights.shape[1],))


def _cycles(m, n, a: float, lines, offset, num_regions: int):
    """Points of all 2-cycles, their multipliers, and whether all pairs of regions were searched or ruled out."""
    R = m.shape[1]
    none = np.zeros((0, 2, R)), np.zeros((0, R), complex)
    at_breaks = lines.slopes * np.append(lines.breaks, 0.0)[: len(lines.slopes)]
    jump = np.abs(np.diff(lines.slopes) * lines.breaks + np.diff(lines.intercepts))
    continuous = np.all(jump <= _TOLERANCE * (1 + np.max(np.abs(at_breaks), initial=0)))
    strongest = np.linalg.norm(np.linalg.qr(m)[1] @ n, 2)  # the largest singular value of m n
    if continuous and np.max(np.abs(lines.slopes)) * strongest < 1 + a:
        return *none, True
    if num_regions > _MOST_REGIONS:
        return *none, False
    F, c, pieces = _maps(m, n, a, lines, offset)
    found = [_partners(k, F, c, pieces, m, lines, offset) for k in range(len(F) - 1)]
    points = np.concatenate([np.zeros((0, 2, R)), *(points for points, _ in found)])
    products = np.concatenate([np.zeros((0, R, R)), *(products for _, products in found)])
    if len(points) == 0:
        return *none, True
    size = 1e3 * _TOLERANCE * (1 + float(np.max(np.abs(points))))
    once, _ = merge(points.reshape(-1, 2 * R), np.zeros(len(points)), size)  # several, if a unit is at a break point
    points, values = points[once], host_eigenvalues(products[once])
    return points, np.take_along_axis(values, np.argsort(-np.abs(values), axis=1, stable=True), 1), True


def _maps(m, n, a: float, lines, offset):
    """The map z -> F z + c of each region, and the pieces of phi that units are on."""
    breaks = lines.breaks
    if len(breaks) == 0:
        pieces = np.zeros((1, len(m)), int)
    else:
        sides = regions(np.repeat(m, len(breaks), axis=0), (offset[:, None] - breaks).reshape(-1))
        pieces = np.sum(sides.reshape(-1, len(m), len(breaks)), -1)
    slopes, intercepts = lines.slopes[pieces], lines.intercepts[pieces]
    R = m.shape[1]
    F = a * np.eye(R) + (slopes @ (n.T[:, :, None] * m[:, None]).reshape(len(m), -1)).reshape(-1, R, R)
    return F, (slopes * offset + intercepts) @ n.T, pieces


def _partners(k: int, F, c, pieces, m, lines, offset) -> tuple[np.ndarray, np.ndarray]:
    """2-cycles between region k and all later ones."""
    R = F.shape[1]
    products = F[k + 1 :] @ F[k]
    equations = np.eye(R) - products
    regular = np.linalg.svd(equations, compute_uv=False)[:, -1] > _TOLERANCE * (1 + np.max(np.abs(products), (1, 2)))
    equations = np.where(regular[:, None, None], equations, np.eye(R))
    first = np.linalg.solve(equations, (F[k + 1 :] @ c[k] + c[k + 1 :])[..., None])[..., 0]
    second = first @ F[k].T + c[k]
    edges = np.concatenate([[-np.inf], lines.breaks, [np.inf]])

    def inside(z, pieces):
        x = z @ m.T + offset
        near = _TOLERANCE * (1 + np.abs(x))
        return np.all((x > edges[pieces] - near) & (x <= edges[pieces + 1] + near), 1)

    # Points that fall together are a fixed point on a border of both regions.
    apart = np.max(np.abs(first - second), 1) > 1e3 * _TOLERANCE * (1 + np.max(np.abs(first), 1))
    there = np.flatnonzero(regular & apart)
    there = there[inside(first[there], pieces[k][None])]
    there = there[inside(second[there], pieces[k + 1 :][there])]
    return np.stack([first[there], second[there]], 1), products[there]
