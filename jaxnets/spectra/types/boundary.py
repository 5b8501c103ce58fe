"""The boundary of the support for units with types or time constants: closed curves m = 1, followed in the z plane."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ..._numerics import as_program, bisect, in_batches
from ..._numerics.host import on_host
from ...couplings import Ensemble
from .. import tolerances
from ..boundary import area, closed_loops, intervals, resampled, size_of
from ..levels import Field, Level, Loop, Points, onto
from . import inside, line
from .edges import Box, crossing, frame, looks_from_host, reach_from_host
from .outside import look
from .pivots import Pivots, inner_void
from .units import Units


def closed_curves(ensemble: Ensemble, units: Units, num: int, symmetric: bool) -> list[Points]:
    """Curves of ``num`` points, first repeated last: edges by falling size, then voids.

    ``symmetric`` says that the spectrum is real. Warns of curves that could not be followed to their end.
    """
    if symmetric:
        return intervals(real_crossings(ensemble, units, symmetric), num)
    at, edges, voids = _field(ensemble, units), [], []
    loops = _loops(ensemble, units, at)
    for loop, curve in zip(loops, resampled(at, loops, num), strict=True):
        (edges if area(loop.zeta) > 0 else voids).append(curve)  # the support lies on the left
    centre, radius = _void(ensemble, units)
    if radius > 0:
        circle = np.exp(2j * np.pi * np.arange(num) / (num - 1))
        circle[-1] = circle[0]
        voids.append(centre + radius * circle)
    return sorted(edges, key=size_of, reverse=True) + sorted(voids, key=size_of, reverse=True)


def responses(ensemble: Ensemble, units: Units) -> list[np.ndarray]:
    """t along each closed curve of the boundary, with the support on the left."""
    at, found = _field(ensemble, units), []
    for loop in _loops(ensemble, units, at):
        # Points between those that were followed: from one to the next the curve turns by half a radian at most.
        share = np.arange(tolerances.WALL)[:, None] / tolerances.WALL
        between = lambda x, share=share: (x * (1 - share) + np.roll(x, -1) * share).T.ravel()
        z, t = between(loop.z), np.stack([between(column) for column in loop.state.T], 1)
        apart = np.repeat(np.abs(np.roll(loop.z, -1) - loop.z), tolerances.WALL)
        found.append(onto(at, z, t, apart / 4, tolerances.LAST_STEPS)[1].state)
    return found


def _void(ensemble, units) -> tuple[float, float]:
    """Centre and radius of the disc that singular modes keep free, or radius 0."""
    if not eqx.filter_eval_shape(Pivots.of, ensemble).laws:
        return 0.0, 0.0
    centre, radius = _inner_void(ensemble, units)
    return float(centre), float(radius)


_inner_void = as_program(inner_void)


def _loops(ensemble, units, at: Field) -> list[Loop]:
    found = [_seeds(ensemble, units, *box) for box in _boxes(ensemble, units)]
    seeds, state = (np.concatenate(column) for column in zip(*((z, t) for z, t, _ in found), strict=True))
    if seeds.size == 0:
        return []
    cells = np.concatenate([np.full(z.size, cell) for z, _, cell in found])
    size = size_of(seeds) + cells.max()
    with np.errstate(invalid="ignore"):  # of points that do not lie on the curve
        seeds, level = onto(at, seeds, state, cells, tolerances.CURVE_STEPS)
    return closed_loops(at, seeds, level, size, [])


def _field(ensemble, units) -> Field:
    """The level at z, where t is the state."""

    def at(z, t):
        m, gradient, t, miss = _look_batch((ensemble, units), (z, t), tolerances.FRONTS)
        return Level(z, np.where(miss < tolerances.T_MISS, m, np.nan), gradient, t)

    return at


@in_batches
def _look_batch(law: tuple[Ensemble, Units], rows):
    at = jax.vmap(lambda z, t: look(*law, z, t, tolerances.T_STEPS))(*rows)
    return at.m, at.gradient, at.t, at.miss


def frame_of(ensemble: Ensemble, units: Units) -> Box:
    """The bounds of the support of a concrete law."""
    looks = functools.partial(looks_from_host, (ensemble, units), np.ones((), units.weights.dtype))
    return frame(looks, reach_from_host(ensemble, units), on_host(units))


def _boxes(ensemble, units) -> list[tuple[float, float, float]]:
    """Centres, half widths and cells of grids, one for each order of magnitude of the time constants."""
    left, right, top = (float(x) for x in frame_of(ensemble, units))
    tau, decay = np.unique(np.asarray(units.tau)), float(units.decay)
    reach = top * tau.min()
    few = tau[np.unique(np.round(np.linspace(0, tau.size - 1, tolerances.GRIDS)).astype(int))]
    boxes = [(-decay / t, reach / t, 2 * reach / t / tolerances.COARSE) for t in few]
    whole = max(right - left, 2 * top)
    # With one time constant its box holds the whole support.
    return boxes if tau.size == 1 else [((left + right) / 2, whole / 2, whole / tolerances.COARSE), *boxes]


def _seeds(ensemble, units, centre: float, half: float, cell: float) -> tuple[Points, np.ndarray, float]:
    """Points outside the support next to its boundary, t there, and the size of cells, from a grid."""
    import contourpy

    x = centre - half + cell * (np.arange(tolerances.COARSE + 1) + 0.37)
    y = cell * (np.arange(tolerances.COARSE // 2) + 0.5)
    z = x + 1j * y[:, None]
    _, point = inside.densities(ensemble, units, z.ravel())
    outside = (point.converged & ~point.inside).reshape(z.shape)
    level = _signed(point).reshape(z.shape)
    lines = contourpy.contour_generator(x, np.append(-y[::-1], y), np.concatenate([level[::-1], level])).lines(0.0)
    t, free, found = np.asarray(point.t)[outside.ravel()], z[outside], []
    for polygon in lines:
        points: Points = np.asarray(polygon) @ np.array([1, 1j])
        points = points[np.linspace(0, points.size - 1, tolerances.SEEDS, endpoint=False).astype(int)]
        points = points[points.imag > -cell / 4]
        found += [int(np.argmin(np.abs(free - p))) for p in points]
    chosen = np.unique(np.array(found, int))
    hidden, hidden_t = _hidden(ensemble, units, x, y, level)
    z, t = np.append(free[chosen], hidden), np.concatenate([t[chosen], hidden_t])
    # The disc that singular modes keep free is known: there t = 0.
    seeds = np.any(t != 0, axis=1)
    return z[seeds], t[seeds], cell


# --- islands and voids between the points of a grid -------------------------------------------------------------


def _signed(point: inside.TypedPoint) -> Float[np.ndarray, " n"]:
    """The level: positive outside the support, and inside where nothing was found."""
    positive = np.where(point.inside, point.level, np.maximum(point.level, tolerances.LEAST_LEVEL))
    return np.where(point.converged, positive, -1)


def _hidden(ensemble, units, x, y, level) -> tuple[Points, np.ndarray]:
    """Points outside the support and t there: beside islands around a least level, and in voids around a largest one.

    x and y > 0 are those of the grid.
    """
    found_z, found_t, half = [np.zeros(0, complex)], [np.zeros((0, units.fractions.shape[0]), complex)], y.size
    around = np.linspace(-1, 1, tolerances.PATCH)
    around = (around + 1j * around[:, None]).ravel()
    for sign in (1, -1):
        whole = sign * np.concatenate([level[::-1], level])
        inner = whole[1:-1, 1:-1]
        rows, columns = whole.shape[0] - 1, whole.shape[1] - 1
        beside = [whole[1 + i : rows + i, 1 + j : columns + j] for i in (-1, 0, 1) for j in (-1, 0, 1)]
        row, column = np.nonzero((inner > 0) & (inner <= np.minimum.reduce(beside)))
        row, column = row[row + 1 >= half], column[row + 1 >= half]
        most_likely = np.argsort(inner[row, column])[: tolerances.HIDDEN]
        cell, places = x[1] - x[0], (x[column + 1] + 1j * y[row + 1 - half])[most_likely]
        for _ in range(tolerances.PATCHES):
            if places.size == 0:
                break
            points = places[:, None] + cell * around
            _, point = inside.densities(ensemble, units, points.ravel())
            now = (sign * _signed(point)).reshape(points.shape)
            best = np.argmin(now, axis=1)
            each = np.arange(places.size)
            places, other = points[each, best], now[each, best] < 0
            # An open point of a void, or the open one that is closest to a point of an island.
            away = np.where(now > 0, np.abs(points - places[:, None]), np.inf)
            chosen = np.where(sign > 0, np.argmin(away, axis=1), best)
            t = np.asarray(point.t).reshape(*points.shape, -1)
            found_z.append(points[each, chosen][other])
            found_t.append(t[each, chosen][other])
            places, cell = places[~other], cell / (tolerances.PATCH // 2 - 1)
    return np.concatenate(found_z), np.concatenate(found_t)


# --- on the line ----------------------------------------------------------------------------------------------


@in_batches
def _line_batch(law: tuple[Ensemble, Units], x):
    value, found = jax.vmap(lambda x: line.line_density(*law, x))(x)
    return ~found | (value > tolerances.THINNEST)


@as_program
def _ends(ensemble, units, dense, free):
    """Halves the intervals from a dense point to one outside the support."""

    def is_dense(x, args):
        ensemble, units = args
        value, found = jax.vmap(lambda x: line.line_density(ensemble, units, x))(x)
        return ~found | (value > tolerances.THINNEST)

    return bisect(is_dense, dense, free, (ensemble, units), tolerances.TIP_HALVINGS)[0]


def real_crossings(ensemble: Ensemble, units: Units, symmetric: bool) -> Float[np.ndarray, " k"]:
    """Where the boundary of a concrete law crosses the real axis, in rising order."""
    if symmetric:
        return np.sort(_ends_of_intervals(ensemble, units).ravel())
    box = frame_of(ensemble, units)
    at = lambda x: inside.densities(ensemble, units, x + 0j)[1]
    x = np.linspace(box.left, box.right, tolerances.AXIS_POINTS)
    point = at(x)
    x, dense = x[point.converged], point.inside[point.converged]
    turns = np.flatnonzero(dense[1:] != dense[:-1])
    low, high, left_dense = x[turns], x[turns + 1], dense[turns]
    for _ in range(tolerances.AXIS_HALVINGS if turns.size else 0):
        middle = (low + high) / 2
        like_left = at(middle).inside == left_dense
        low, high = np.where(like_left, middle, low), np.where(like_left, high, middle)
    outer = np.where(left_dense, high, low)
    centre, radius = _void(ensemble, units)
    of_void = lambda x: abs(x - centre) < radius
    exact = [
        centre + np.copysign(radius, x - centre) if of_void(x) else crossing(ensemble, units, x, t)
        for x, t in zip(outer, at(outer).t, strict=True)
    ]
    moved = np.abs(np.array(exact) - outer) <= tolerances.LINE_END * (x[-1] - x[0])
    return np.where(moved, exact, np.nan)


def _ends_of_intervals(ensemble, units) -> Float[np.ndarray, "k 2"]:
    left, right, _ = (float(x) for x in frame_of(ensemble, units))
    x = np.linspace(left, right, tolerances.AXIS_POINTS)
    dense = _line_batch((ensemble, units), x, tolerances.BATCH)
    turns = np.flatnonzero(dense[1:] != dense[:-1])
    inner, outer = np.where(dense[turns], turns, turns + 1), np.where(dense[turns], turns + 1, turns)
    return np.asarray(_ends(ensemble, units, jnp.asarray(x[inner]), jnp.asarray(x[outer]))).reshape(-1, 2)
