"""The boundary of the support for units with types or time constants: closed curves m = 1, followed in the z plane."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..._numerics import bisect, in_batches
from ..._numerics.host import on_host
from ...couplings import Ensemble
from .. import tolerances
from ..boundary import area, closed_loops, resampled, size_of
from ..levels import Field, Level, Loop, Points, onto
from . import inside, line
from .edges import Box, frame, looks_from_host, reach_from_host
from .outside import look
from .units import Units


def closed_curves(ensemble: Ensemble, units: Units, num: int, symmetric: bool) -> list[Points]:
    """Curves of ``num`` points, first repeated last: edges by falling size, then voids.

    ``symmetric`` says that the spectrum is real. Warns of curves that could not be followed to their end.
    """
    if symmetric:
        return _intervals(ensemble, units, num)
    at, edges, voids = _field(ensemble, units), [], []
    loops = _loops(ensemble, units, at)
    for loop, curve in zip(loops, resampled(at, loops, num), strict=True):
        (edges if area(loop.zeta) > 0 else voids).append(curve)  # the support lies on the left
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
    level = np.where(outside, np.maximum(point.level.reshape(z.shape), 1e-6), -1)
    level = np.where((point.converged & point.inside).reshape(z.shape), point.level.reshape(z.shape), level)
    lines = contourpy.contour_generator(x, np.append(-y[::-1], y), np.concatenate([level[::-1], level])).lines(0.0)
    t, free, found = np.asarray(point.t)[outside.ravel()], z[outside], []
    for polygon in lines:
        points: Points = np.asarray(polygon) @ np.array([1, 1j])
        points = points[np.linspace(0, points.size - 1, tolerances.SEEDS, endpoint=False).astype(int)]
        points = points[points.imag > -cell / 4]
        found += [int(np.argmin(np.abs(free - p))) for p in points]
    chosen = np.unique(np.array(found, int))
    return free[chosen], t[chosen], cell


# --- on the line ----------------------------------------------------------------------------------------------


@in_batches
def _line_batch(law: tuple[Ensemble, Units], x):
    value, found = jax.vmap(lambda x: line.line_density(*law, x))(x)
    return ~found | (value > tolerances.THINNEST)


@eqx.filter_jit
def _ends(ensemble, units, dense, free):
    """Halves the intervals from a dense point to one outside the support."""

    def is_dense(x, args):
        ensemble, units = args
        value, found = jax.vmap(lambda x: line.line_density(ensemble, units, x))(x)
        return ~found | (value > tolerances.THINNEST)

    return bisect(is_dense, dense, free, (ensemble, units), tolerances.TIP_HALVINGS)[0]


def _intervals(ensemble, units, num: int) -> list[Points]:
    left, right, _ = (float(x) for x in frame_of(ensemble, units))
    x = np.linspace(left, right, tolerances.AXIS_POINTS)
    dense = _line_batch((ensemble, units), x, tolerances.BATCH)
    turns = np.flatnonzero(dense[1:] != dense[:-1])
    inner, outer = np.where(dense[turns], turns, turns + 1), np.where(dense[turns], turns + 1, turns)
    ends = np.asarray(_ends(ensemble, units, jnp.asarray(x[inner]), jnp.asarray(x[outer])))
    there_and_back = (1 - np.cos(2 * np.pi * np.arange(num) / (num - 1))) / 2
    curves = [a + (b - a) * there_and_back + 0j for b, a in ends.reshape(-1, 2)]
    return sorted(curves, key=size_of, reverse=True)
