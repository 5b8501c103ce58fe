"""The boundary of the support: closed curves m(zeta) = 1, found on an adaptive grid and beside poles, and followed.

The search runs on the host, since the number of curves depends on the values. It sees components and voids wider than
about 1/2000 of the support, and no smaller ones.

contourpy and trees of SciPy are imported where they are used: they take a fifth of the time of all of JAX.
"""

import warnings
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Bool, Complex, Float
from numpy.typing import NDArray

from .._arguments import host_complex, require
from .._laws import Discrete
from .._numerics import as_program, in_batches
from ..couplings import Ensemble
from . import tolerances
from .edges import real_crossings
from .inside import inner_void
from .levels import Field, Level, Loop, Points, follow_levels, onto
from .outside import extent, image, image_and_slope


def closed_curves(ensemble: Ensemble, gains: Discrete, num: int, symmetric: bool) -> list[Points]:
    """Curves of ``num`` points in the z plane, first repeated last: edges by falling size, then voids.

    ``symmetric`` says that the spectrum is real. Warns of curves that could not be followed to their end.
    """
    if symmetric:
        return intervals(np.asarray(real_crossings(ensemble, gains, most=0)), num)
    edges, voids = [], []
    loops = _loops(ensemble, gains)
    for loop, curve in zip(loops, resampled(_field(ensemble, gains), loops, num), strict=True):
        (edges if area(loop.zeta) > 0 else voids).append(curve)  # the support lies on the left
    centre, radius = (float(x) for x in _inner_void(ensemble, gains))
    if radius > 0:
        circle = np.exp(2j * np.pi * np.arange(num) / (num - 1))
        circle[-1] = circle[0]
        voids.append(centre + radius * circle)
    least = max(map(size_of, edges + voids), default=0.0) / tolerances.RESOLUTION
    edges, voids = ([curve for curve in curves if size_of(curve) > least] for curves in (edges, voids))
    return sorted(edges, key=size_of, reverse=True) + sorted(voids, key=size_of, reverse=True)


_inner_void = as_program(inner_void)


@as_program
def _poles_and_reach(ensemble, gains):
    return ensemble.poles(), 1.1 * extent(ensemble, gains), ensemble.pole_curves()


def _host(array: ArrayLike) -> Points:
    return np.asarray(array, np.complex128)


def size_of(curve: Points) -> float:
    return np.ptp(curve.real) + np.ptp(curve.imag)


# --- search in the zeta plane ---------------------------------------------------------------------------------


@in_batches
def _level_batch(law: tuple[Ensemble, Discrete], zeta):
    """1/sqrt(m) - 1: negative where there is support, near linear in the distance from poles and far away."""
    return jax.vmap(lambda zeta: 1 / jnp.sqrt(image(*law, zeta).m) - 1)(zeta)


@in_batches
def _slope_batch(law: tuple[Ensemble, Discrete], points):
    z, at = jax.vmap(lambda zeta, start: image_and_slope(*law, zeta, start=start))(*points)
    return z, at.m, at.gradient


def _levels(ensemble, gains, zeta: Points) -> np.ndarray:
    """The level at any array of points."""
    values = _level_batch((ensemble, gains), zeta.ravel(), tolerances.CHUNK)
    return np.nan_to_num(values, nan=-1.0).reshape(zeta.shape)  # at a pole m is infinite, which may come out as NaN


def _field(ensemble, gains) -> Field:
    """The level; its state is the z of a point close by, or NaN: one zeta may have several z."""

    def at(zeta, state):
        z, m, gradient = _slope_batch((ensemble, gains), (zeta, state[:, 0]), tolerances.FRONTS)
        return Level(z, m, gradient, z[:, None])

    return at


def _loops(ensemble, gains) -> list[Loop]:
    """The closed curves m = 1 of the zeta plane, conjugate ones too."""
    at = _field(ensemble, gains)
    poles, reach, curves = (np.asarray(x) for x in _poles_and_reach(ensemble, gains))
    polygons, cell, thin = _polygons(ensemble, gains, _host(poles), float(reach))
    places = [np.linspace(0, polygon.size - 1, tolerances.SEEDS, endpoint=False).astype(int) for polygon in polygons]
    seeds = np.concatenate([thin, *(polygon[place] for polygon, place in zip(polygons, places, strict=True))])
    seeds = seeds[seeds.imag > -cell / 4]
    if seeds.size == 0:
        return []
    size = size_of(np.append(poles, np.concatenate(polygons) if polygons else poles)) + cell
    nearest = np.abs(seeds[:, None] - _host(poles)[None]).min(1)
    state = np.full((seeds.size, 1), np.nan + 0j)
    seeds, level = onto(at, seeds, state, np.minimum(cell, nearest) / 2, tolerances.CURVE_STEPS)
    return closed_loops(at, seeds, level, size, list(map(_finer, curves)))


def closed_loops(at: Field, seeds: Points, level: Level, size: float, walls: list[Points]) -> list[Loop]:
    """The curves through those seeds that lie on the level, and their conjugates; warns where one does not close."""
    good = np.abs(level.m - 1) < tolerances.ON_CURVE
    seeds, state = seeds[good], level.state[good]
    # The conjugate of each: their curves run the other way.
    seeds, state = np.concatenate([seeds, np.conj(seeds)]), np.concatenate([state, np.conj(state)])
    loops, stray = follow_levels(at, seeds, state, size, walls)
    if stray.size:
        few = np.flatnonzero(np.isin(seeds, stray))[:3]
        where = ", ".join(f"{z:.3g}" for z in at(seeds[few], state[few]).z)
        warnings.warn(
            f"the boundary was not followed to its end near z = {where}: curves there may be missing", stacklevel=5
        )
    return [_with_real_points(at, loop) for loop in loops]


def _finer(curve: Points) -> Points:
    """A closed curve of an angle, between whose points a trigonometric polynomial is exact; the first repeated last."""
    waves, num = np.fft.fft(curve), curve.size
    padded = np.zeros(tolerances.WALL * num, complex)
    padded[: num // 2], padded[-(num // 2) :] = waves[: num // 2], waves[-(num // 2) :]
    fine = np.fft.ifft(padded) * tolerances.WALL
    return np.append(fine, fine[0])


def _polygons(ensemble, gains, poles: Points, reach: float) -> tuple[list[Points], float, Points]:
    """Polygons close to m = 1 where the support is not thin, the size of cells, and points beside thin support."""
    for _ in range(6):
        left, right = poles.real.min() - reach, poles.real.max() + reach
        cell = (right - left) / tolerances.COARSE
        rows = int(np.ceil((poles.imag.max() + reach) / cell))
        # Off the symmetry axes, so that neither zeta = 0 nor a real pole is ever a point of the grid.
        x = left + cell * (np.arange(tolerances.COARSE + 1) + 0.37)
        y = cell * (np.arange(-rows, rows) + 0.5)
        level = _on_grid(ensemble, gains, x, y, np.ones((y.size, x.size), bool), np.zeros((y.size, x.size)))
        if min(level[0].min(), level[-1].min(), level[:, 0].min(), level[:, -1].min()) > 0:
            break
        reach *= tolerances.BEYOND  # the support of strongly spread gains reaches further than their moments say
    import contourpy

    lines = contourpy.contour_generator(x, y, level).lines(0.0)
    polygons = [_host(np.asarray(line) @ np.array([1, 1j])) for line in lines]
    hidden = [_beside_thin(ensemble, gains, poles, cell), _beside_small_voids(ensemble, gains, x, y, level)]
    return polygons, cell, np.concatenate(hidden)


def _beside_thin(ensemble, gains, poles, cell) -> Points:
    """Points outside the support, on two sides of each pole of the upper half plane around which it is thin."""
    poles = poles[poles.imag > -cell / 4]
    distances = cell * 4.0 ** np.arange(-10, 2)
    around = np.exp(1j * np.pi * (np.arange(8) + 0.3) / 4)
    # Elsewhere the grid sees the support around the pole.
    near = _levels(ensemble, gains, poles[:, None] + 2 * cell * around) > 0
    poles = poles[near.any(1)]
    if poles.size == 0:
        return poles
    points = poles[:, None, None] + distances[:, None] * around
    free = _levels(ensemble, gains, points) > 0
    entered = free[:, 1:] & ~free[:, :-1]  # the pole's own neighbourhood ends between the two
    first = np.where(entered.any(1), np.argmax(entered, 1) + 1, distances.size)  # by pole and direction
    found = []
    for k in np.flatnonzero(first.min(1) < distances.size):
        one = np.argmin(first[k])
        across = [(one + 3) % 8, (one + 4) % 8, (one + 5) % 8]
        other = min(across, key=lambda direction: first[k, direction])
        found += [points[k, first[k, j], j] for j in (one, other) if first[k, j] < distances.size]
    return np.array(found, np.complex128)


def _beside_small_voids(ensemble, gains, x, y, level) -> Points:
    """Points next to the edge of voids between the points of a grid, around each smallest m above 1 on it."""
    inner = level[1:-1, 1:-1]
    beside = [
        level[1 + i : level.shape[0] - 1 + i, 1 + j : level.shape[1] - 1 + j] for i in (-1, 0, 1) for j in (-1, 0, 1)
    ]
    rows, columns = np.nonzero((inner < 0) & (inner >= np.maximum.reduce(beside)) & (y[1:-1, None] > 0))
    cell, places = x[1] - x[0], x[columns + 1] + 1j * y[rows + 1]
    around = np.linspace(-1, 1, tolerances.PATCH)
    around, found = around + 1j * around[:, None], []
    for _ in range(tolerances.PATCHES):
        if places.size == 0:
            break
        points = places[:, None, None] + cell * around
        free = _levels(ensemble, gains, points)
        best = np.argmax(free.reshape(places.size, -1), 1)
        places = points.reshape(places.size, -1)[np.arange(places.size), best]
        open_ = free.max((1, 2)) > 0
        found.append(places[open_])
        places, cell = places[~open_], cell / (tolerances.PATCH // 2 - 1)
    return np.concatenate([*found, np.zeros(0, np.complex128)])


def _on_grid(ensemble, gains, x, y, wanted: np.ndarray, level: np.ndarray) -> np.ndarray:
    """``level`` with the ``wanted`` points evaluated; conjugate points have equal values."""
    half = y.size // 2
    upper = wanted[half:] | wanted[:half][::-1]
    rows, columns = np.nonzero(upper)
    new = level[half:].copy()
    new[rows, columns] = _levels(ensemble, gains, x[columns] + 1j * y[half:][rows])
    return np.concatenate([new[::-1], new])


# --- from loops to curves -------------------------------------------------------------------------------------


def area(zeta: Points) -> float:
    """Twice the area of a polygon, positive if it runs counter-clockwise."""
    return float(np.sum((np.conj(zeta) * np.roll(zeta, -1)).imag))


def _with_real_points(at, loop: Loop) -> Loop:
    """The loop with its points on the real axis, the rightmost of them first; edges and tips are there."""
    after = np.roll(loop.zeta, -1)
    before = np.flatnonzero((loop.zeta.imag > 0) != (after.imag > 0))
    if before.size == 0:
        return loop
    a, b = loop.zeta[before], after[before]
    real = _host(a.real - a.imag * (b.real - a.real) / (b.imag - a.imag))
    real, level = onto(at, real, loop.state[before], np.abs(b - a) / 2, tolerances.CURVE_STEPS)
    real = _host(real.real)
    good = np.abs(level.m - 1) < tolerances.ON_CURVE
    before, real, z = before[good], real[good], _host(level.z.real)[good]
    new = Loop(real, z, level.tangent[good], level.state[good])
    zeta, z, tangent, state = (np.insert(a, before + 1, b, 0) for a, b in zip(loop, new, strict=True))
    start = np.argmax(np.where(_host(zeta).imag == 0, _host(z).real, -np.inf))
    return Loop(*(np.roll(column, -start, 0) for column in (zeta, z, tangent, state)))


def resampled(at: Field, loops: list[Loop], num: int) -> list[Points]:
    """For each loop ``num`` points z of the exact curve, about equally spaced in z, the first repeated last."""
    if not loops:
        return []
    places = [_evenly(loop, num) for loop in loops]
    zeta = np.concatenate([_between(loop, *place) for loop, place in zip(loops, places, strict=True)])
    apart = np.concatenate(
        [np.abs(np.diff(loop.zeta, append=loop.zeta[0]))[k] for loop, (k, _) in zip(loops, places, strict=True)]
    )
    state = np.concatenate([loop.state[k] for loop, (k, _) in zip(loops, places, strict=True)])
    _, level = onto(at, zeta, state, apart / 4, tolerances.LAST_STEPS)
    curves = []
    for loop, place, z, miss in zip(
        loops, places, level.z.reshape(-1, num), np.abs(level.m - 1).reshape(-1, num), strict=True
    ):
        k, fraction = place
        straight = loop.z[k] * (1 - fraction) + np.roll(loop.z, -1)[k] * fraction
        z = np.where(miss < tolerances.ON_CURVE, z, straight)
        curves.append(np.append(z[:-1], z[0]))
    return curves


def _evenly(loop: Loop, num: int) -> tuple[NDArray, NDArray]:
    """Segments of the loop, and fractions of them, at ``num`` equal steps of the length in z; the first comes last.

    A vertex on the real axis half way round is kept: there edges are, and tips that even steps would cut off.
    """
    steps = np.abs(np.diff(loop.z, append=loop.z[0]))
    length = np.concatenate([[0], np.cumsum(steps)])
    on_axis = np.flatnonzero(loop.zeta.imag == 0)
    middle = length[on_axis[np.argmin(np.abs(length[on_axis] - length[-1] / 2))]] if on_axis.size else 0.0
    first = round((num - 1) * middle / length[-1])
    places = np.concatenate(
        [np.linspace(0, middle, first, endpoint=False), np.linspace(middle, length[-1], num - first)]
    )
    segment = np.minimum(np.searchsorted(length, places, side="right") - 1, steps.size - 1)
    return segment, (places - length[segment]) / np.where(steps[segment] > 0, steps[segment], 1)


def _between(loop: Loop, segment, fraction) -> Points:
    """Points of the loop between its vertices, by cubics of its tangents."""
    a, b = loop.zeta[segment], np.roll(loop.zeta, -1)[segment]
    chord, u = np.abs(b - a), fraction
    leave, arrive = chord * loop.tangent[segment], chord * np.roll(loop.tangent, -1)[segment]
    return a + (b - a) * u**2 * (3 - 2 * u) + leave * u * (1 - u) ** 2 - arrive * u**2 * (1 - u)


def intervals(ends: Float[np.ndarray, " k"], num: int) -> list[Points]:
    """Flat curves of ``num`` points, there and back, along intervals of the real line between rising ``ends``.

    Warns of ends that are NaN: they were not found.
    """
    if np.isnan(ends).any():
        warnings.warn("an end of the support was not found: intervals there may be missing", stacklevel=5)
    there = np.linspace(0, np.pi, num // 2, endpoint=False)
    there_and_back = (1 + np.cos(np.append(there, np.linspace(np.pi, 2 * np.pi, num - num // 2)))) / 2
    pairs = ends[: ends.size // 2 * 2].reshape(-1, 2)
    return sorted((_host(a + (b - a) * there_and_back) for a, b in pairs if b > a), key=size_of, reverse=True)


# --- eigenvalues and curves -----------------------------------------------------------------------------------


def contains(curve: Complex[np.ndarray, " m"], z: Complex[ArrayLike, "..."]) -> Bool[np.ndarray, "..."]:
    """Whether each z lies inside a closed curve (even-odd rule).

    Raises `ValueError` for points that are not numbers, and a curve that is not a finite 1-d array.
    """
    points: Points = host_complex("z", z)
    vertices = _as_curve("curve", curve)
    x, y = points.real, points.imag
    inside = np.zeros(points.shape, bool)
    for start, end in zip(vertices[:-1].tolist(), vertices[1:].tolist(), strict=True):
        spans = (start.imag > y) != (end.imag > y)
        lean = (end.real - start.real) / (end.imag - start.imag) if end.imag != start.imag else 0.0
        inside ^= spans & (x < start.real + (y - start.imag) * lean)
    return inside


def _as_curve(name: str, curve: ArrayLike) -> Points:
    vertices: Points = host_complex(name, curve)
    if vertices.ndim != 1 or not vertices.size:
        raise ValueError(f"`{name}` must be the points of a closed curve, a 1-d array, got shape {vertices.shape}")
    require(name, vertices, np.isfinite, "finite")
    return vertices


class Coverage(NamedTuple):
    """Fractions of eigenvalues beyond the edges (`outside`) and in the voids (`in_voids`) of a boundary."""

    outside: float
    in_voids: float


def coverage(
    eigenvalues: Complex[ArrayLike, "..."], curves: list[Complex[np.ndarray, " points"]], margin: float = 0.0
) -> Coverage:
    """Fractions of ``eigenvalues`` that lie outside all curves, and in voids, by more than ``margin``.

    ``margin`` is in units of half the diameter of the first curve. Curves nested an odd number of times are voids.
    Exact zeros, which a coupling matrix of low rank has in any number, are not counted (``zero_mass`` predicts them).

    Raises:
        ValueError: for ``eigenvalues`` that are not finite, no curves, or curves that are not finite 1-d arrays.
    """
    from scipy.spatial import KDTree

    z: Points = host_complex("eigenvalues", eigenvalues).ravel()
    require("eigenvalues", z, np.isfinite, "finite")
    curves = [_as_curve("curves", curve) for curve in curves]
    if not curves:
        raise ValueError("`curves` must have a closed curve, such as `law.boundary()` gives, got none")
    counted = z != 0
    radius = np.abs(curves[0][:, None] - curves[0][None, ::8]).max() / 2
    depth = sum(contains(curve, z).astype(int) for curve in curves)
    points = _host(np.concatenate(curves))
    distance, _ = KDTree(np.stack([points.real, points.imag], -1)).query(np.stack([z.real, z.imag], -1))
    beyond = counted & (distance > margin * radius) & (depth % 2 == 0)
    total = max(z.size, 1)
    return Coverage(float(np.sum(beyond & (depth == 0)) / total), float(np.sum(beyond & (depth > 0)) / total))
