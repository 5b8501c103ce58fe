"""The boundary of the support: closed curves m(zeta) = 1, found on an adaptive grid and refined to the equations.

The search runs on the host, since the number of curves depends on the values. It sees components and voids wider than
about 1/2000 of the support, and no smaller ones.

contourpy and trees of SciPy are imported where they are used: they take a fifth of the time of all of JAX.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Bool, Complex
from numpy.typing import NDArray

from .._laws import Discrete
from .._numerics import as_complex, bisect
from ..couplings import Ensemble
from . import tolerances
from .inside import inner_void, line_density
from .outside import extent, image, preimage_step, slope, stability

Points = NDArray[np.complex128]  # of a plane; a closed curve repeats its first point at the end


def closed_curves(ensemble: Ensemble, gains: Discrete, num: int, symmetric: bool) -> list[Points]:
    """Curves of ``num`` points in the z plane, first repeated last: edges by falling size, then voids.

    ``symmetric`` says that the spectrum is real.
    """
    edges, voids = [], []
    for curve, is_edge in _refined(ensemble, gains, *_loops(ensemble, gains), num):
        (edges if is_edge else voids).append(curve)
    centre, radius = (float(x) for x in inner_void(ensemble, gains))
    if radius > 0:
        circle = np.exp(2j * np.pi * np.arange(num) / (num - 1))
        circle[-1] = circle[0]
        voids.append(centre + radius * circle)
    least = max(map(_size, edges + voids), default=0.0) / tolerances.RESOLUTION
    edges, voids = ([curve for curve in curves if _size(curve) > least] for curves in (edges, voids))
    if symmetric:
        edges = _with_tips(ensemble, gains, edges)
    return sorted(edges, key=_size, reverse=True) + sorted(voids, key=_size, reverse=True)


def _host(array: ArrayLike) -> Points:
    return np.asarray(array, np.complex128)


def _size(curve: Points) -> float:
    return np.ptp(curve.real) + np.ptp(curve.imag)


# --- search in the zeta plane ---------------------------------------------------------------------------------


def _level(ensemble: Ensemble, gains: Discrete, zeta: jax.Array) -> jax.Array:
    """1/sqrt(m) - 1: negative where there is support, near linear in the distance from poles and far away."""
    return 1 / jnp.sqrt(image(ensemble, gains, zeta).m) - 1


_level_chunk = eqx.filter_jit(jax.vmap(_level, in_axes=(None, None, 0)))


def _levels(ensemble, gains, zeta: Points) -> np.ndarray:
    """The level at any array of points."""
    flat = zeta.ravel()
    chunks = np.concatenate([flat, np.ones(-flat.size % tolerances.CHUNK)]).reshape(-1, tolerances.CHUNK)
    values = np.concatenate([np.asarray(_level_chunk(ensemble, gains, jnp.asarray(chunk))) for chunk in chunks])
    # At a pole m is infinite, which arithmetic may call NaN.
    return np.nan_to_num(values[: flat.size], nan=-1.0).reshape(zeta.shape)


def _loops(ensemble, gains) -> tuple[list[Points], float]:
    """Closed polygons in the zeta plane on which m = 1, to the precision of the grid, and the size of its cells."""
    poles = _host(ensemble.poles())
    reach = 1.1 * float(extent(ensemble, gains))
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
    widths = _widths(ensemble, gains, poles, cell)
    # A width that no grid here resolves must not call for the finest one.
    finest = max(widths[widths > cell / tolerances.FINEST].min(initial=2 * cell) / 2, cell / tolerances.FINEST)
    while cell > 1.01 * finest:
        x, y, level = _refined_grid(ensemble, gains, x, y, level, poles, poles[widths < 3 * cell])
        cell = x[1] - x[0]
    import contourpy

    lines = contourpy.contour_generator(x, y, level).lines(0.0)
    loops = [_host(np.asarray(line) @ np.array([1, 1j])) for line in lines]
    return [loop for loop in loops if _size(loop) > 4 * cell], cell


def _on_grid(ensemble, gains, x, y, wanted: np.ndarray, level: np.ndarray) -> np.ndarray:
    """``level`` with the ``wanted`` points evaluated; conjugate points have equal values."""
    half = y.size // 2
    upper = wanted[half:] | wanted[:half][::-1]
    rows, columns = np.nonzero(upper)
    new = level[half:].copy()
    new[rows, columns] = _levels(ensemble, gains, x[columns] + 1j * y[half:][rows])
    return np.concatenate([new[::-1], new])


def _refined_grid(ensemble, gains, x, y, level, poles, thin_poles):
    """The grid with smaller cells, evaluated where that can change the curves, else interpolated."""
    from scipy.ndimage import binary_dilation
    from scipy.spatial import KDTree

    corners = [level[:-1, :-1], level[1:, :-1], level[:-1, 1:], level[1:, 1:]]
    low, high = np.minimum.reduce(corners), np.maximum.reduce(corners)
    variation = high - low
    crossed = (low < 0) & (high > 0)
    # Corners with one sign may still hide a small void or component, at poles and wherever the level varies by as much
    # as its distance from 0. Crossed cells are refined only where the support is thin: Newton's method moves their
    # curves later.
    hiding = ~crossed & (low < variation) & (high > -variation)
    cell = x[1] - x[0]
    centres = (x[:-1] + cell / 2)[None] + 1j * (y[:-1] + cell / 2)[:, None]
    thin = np.zeros_like(crossed)
    if thin_poles.size:
        tree = KDTree(np.stack([thin_poles.real, np.abs(thin_poles.imag)], -1))
        where = np.nonzero(crossed)
        points = np.stack([centres[where].real, np.abs(centres[where].imag)], -1)
        thin[where] = tree.query(points)[0] < (x[-1] - x[0]) / 16
    column, row = ((poles.real - x[0]) // cell).astype(int), ((poles.imag - y[0]) // cell).astype(int)
    hiding[row, column] = hiding[-1 - row, column] = True
    fine = np.kron(binary_dilation(hiding | thin, np.ones((3, 3))), np.ones((tolerances.REFINE,) * 2, bool))
    points = np.zeros((fine.shape[0] + 1, fine.shape[1] + 1), bool)
    for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
        points[i : i + fine.shape[0], j : j + fine.shape[1]] |= fine
    x_fine, y_fine = np.linspace(x[0], x[-1], points.shape[1]), np.linspace(y[0], y[-1], points.shape[0])
    return x_fine, y_fine, _on_grid(ensemble, gains, x_fine, y_fine, points, _interpolated(_interpolated(level).T).T)


def _interpolated(level: np.ndarray) -> np.ndarray:
    """Linear interpolation along the first axis, to the points of the refined grid."""
    fraction = np.arange(tolerances.REFINE)[None, :, None] / tolerances.REFINE
    within = level[:-1, None] * (1 - fraction) + level[1:, None] * fraction
    return np.concatenate([within.reshape(-1, level.shape[1]), level[-1:]])


def _widths(ensemble, gains, poles, cell) -> np.ndarray:
    """For each pole the distance to a point with m < 1, from 4 cells down to 1/64 of one (0 where it is less)."""
    distances = cell * 2.0 ** np.arange(-6, 3)
    around = np.exp(1j * np.pi * (np.arange(8) + 0.3) / 4)
    level = _levels(ensemble, gains, poles[:, None, None] + distances[:, None] * around)
    free = np.any(level > 0, axis=2)
    width = np.where(free, distances, np.inf).min(axis=1)
    return np.where(free[:, 0], 0, width)


# --- from polygons to curves ----------------------------------------------------------------------------------


@eqx.filter_jit
def _project_chunk(ensemble, gains, zeta, cell):
    def newton(carry, _):
        zeta, z = carry
        at = slope(ensemble, gains, zeta, z)
        # In the level 1/sqrt(m) - 1, and never further than half a cell: where the support is thin, the other side
        # is near.
        distance = 2 * at.m * (jnp.sqrt(at.m) - 1) / jnp.abs(at.gradient)
        step = as_complex(jnp.clip(distance, -cell / 2, cell / 2) / -jnp.abs(at.gradient)) * at.gradient
        zeta = zeta + step
        z = z + step * at.dz
        return (zeta, z + preimage_step(ensemble, gains, zeta, z)), at.gradient

    def one(zeta):
        start = zeta, image(ensemble, gains, zeta).z
        (zeta, z), gradients = jax.lax.scan(newton, start, None, length=tolerances.CURVE_STEPS)
        return zeta, z, gradients[-1], jnp.abs(stability(ensemble, gains, zeta, z) - 1)

    return jax.vmap(one)(zeta)


def _project(ensemble, gains, zeta, cell):
    """Points moved along the gradient of m onto m = 1, their images z, the gradient there and |m - 1|."""
    chunks = np.concatenate([zeta, np.full(-zeta.size % tolerances.CHUNK, zeta[0])]).reshape(-1, tolerances.CHUNK)
    parts = [_project_chunk(ensemble, gains, jnp.asarray(chunk), cell) for chunk in chunks]
    return [np.concatenate([np.asarray(part) for part in column])[: zeta.size] for column in zip(*parts, strict=True)]


def _refined(ensemble, gains, loops, cell, num) -> list[tuple[Points, bool]]:
    """For each loop ``num`` points of the exact curve, about equally spaced in z, and whether it is an edge."""
    if not loops:
        return []
    loops = [_from_real_axis(loop) for loop in loops]
    evenly = np.concatenate([_resampled(loop, loop, num) for loop in loops])
    projected = [a.reshape(-1, num) for a in _project(ensemble, gains, evenly, cell)]
    curves = [
        (zeta[exact], z[exact])
        for zeta, z, _, miss in zip(*projected, strict=True)
        # With widely spread gains Newton's method for z can fail near zeta = 0: too often, and this is no curve.
        if np.mean(exact := miss < tolerances.ON_CURVE) > 0.5
    ]
    if not curves:
        return []
    evenly = np.concatenate([_resampled(*curve, num) for curve in curves])
    refined = []
    for zeta, z, gradient, miss in zip(
        *(a.reshape(-1, num) for a in _project(ensemble, gains, evenly, cell)), strict=True
    ):
        exact = miss < tolerances.ON_CURVE
        is_edge = _is_edge(zeta[exact], gradient[exact])
        if not exact.all():
            z = _resampled(z[exact], z[exact], num)
        refined.append((np.append(z[:-1], z[0]), is_edge))
    return refined


@eqx.filter_jit
def _ends(ensemble, gains, dense, outside, thinnest):
    """Halves the intervals from a dense point to one outside the support, to where the density ends."""
    densities = jax.vmap(jax.vmap(lambda x: line_density(ensemble, gains, x)))

    def is_dense(x, _):
        density, converged = densities(x)
        return ~converged | (density > thinnest)  # off the support it converges

    return bisect(is_dense, dense, outside, None, tolerances.TIP_HALVINGS)


def _with_tips(ensemble, gains, curves: list[Points]) -> list[Points]:
    """Curves along intervals of the real line, stretched to where its density ends.

    Towards z = 0, if modes become ever weaker, the curves of the zeta plane are wedges whose tips no grid resolves.
    """
    if not curves:
        return []
    curves = sorted(curves, key=lambda curve: curve.real.min())
    found = np.array([[curve.real.min(), curve.real.max()] for curve in curves])
    size = np.ptp(found)
    between = (found[:-1, 1] + found[1:, 0]) / 2
    free = np.concatenate([[found[0, 0] - size], between, [found[-1, 1] + size]])
    outside = np.stack([free[:-1], free[1:]], axis=1)
    ends, _ = _ends(ensemble, gains, *map(jnp.asarray, (found, outside, tolerances.THINNEST / size)))
    ends = np.where(np.abs(ends - found) > size / tolerances.RESOLUTION, ends, found)  # else the curves are as good
    pairs = zip(curves, found, ends, strict=True)
    return [_host(np.interp(curve.real, before, after)) for curve, before, after in pairs]


def _is_edge(zeta, gradient) -> bool:
    """Whether m, which exceeds 1 on the support, falls towards the outside of the closed curve."""
    tangent = np.roll(zeta, -1) - np.roll(zeta, 1)
    area = np.sum((np.conj(zeta) * np.roll(zeta, -1)).imag)  # positive if counter-clockwise
    return bool(np.sign(area) * np.sum((np.conj(-1j * tangent) * gradient / np.abs(gradient)).real) < 0)


def _from_real_axis(loop: Points) -> Points:
    """The closed polygon with its points on the real axis as vertices, starting at the rightmost if there is any."""
    before = np.nonzero(np.diff(loop.imag > 0))[0]
    if before.size == 0:
        return loop
    a, b = loop[before], loop[before + 1]
    real = _host(a.real - a.imag * (b.real - a.real) / (b.imag - a.imag))
    loop = np.insert(loop[:-1], before + 1, real)
    start = np.argmax(np.where(loop.imag == 0, loop.real, -np.inf))
    return np.concatenate([loop[start:], loop[: start + 1]])


def _resampled(points: Points, measure: Points, num: int) -> Points:
    """``num`` points of the closed polygon ``points``, at equal steps of the length of ``measure``.

    A vertex on the real axis half way round is kept: there edges are, and tips that even steps would cut off.
    """
    length = np.concatenate([[0], np.cumsum(np.abs(np.diff(measure)))])
    on_axis = np.nonzero(np.abs(points.imag) < 1e-9 * _size(points))[0]
    middle = length[on_axis[np.argmin(np.abs(length[on_axis] - length[-1] / 2))]] if on_axis.size else 0.0
    first = round((num - 1) * middle / length[-1])
    at = np.concatenate([np.linspace(0, middle, first, endpoint=False), np.linspace(middle, length[-1], num - first)])
    return np.interp(at, length, points.real) + 1j * np.interp(at, length, points.imag)


# --- eigenvalues and curves -----------------------------------------------------------------------------------


def contains(curve: Complex[np.ndarray, " m"], z: Complex[ArrayLike, "..."]) -> Bool[np.ndarray, "..."]:
    """Whether each z lies inside a closed curve (even-odd rule)."""
    points, vertices = _host(z), _host(curve)
    x, y = points.real, points.imag
    inside = np.zeros(points.shape, bool)
    for start, end in zip(vertices[:-1].tolist(), vertices[1:].tolist(), strict=True):
        spans = (start.imag > y) != (end.imag > y)
        lean = (end.real - start.real) / (end.imag - start.imag) if end.imag != start.imag else 0.0
        inside ^= spans & (x < start.real + (y - start.imag) * lean)
    return inside


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
    """
    from scipy.spatial import KDTree

    z = _host(eigenvalues).ravel()
    counted = z != 0
    radius = np.abs(curves[0][:, None] - curves[0][None, ::8]).max() / 2
    depth = sum(contains(curve, z).astype(int) for curve in curves)
    points = _host(np.concatenate(curves))
    distance, _ = KDTree(np.stack([points.real, points.imag], -1)).query(np.stack([z.real, z.imag], -1))
    beyond = counted & (distance > margin * radius) & (depth % 2 == 0)
    total = max(z.size, 1)
    return Coverage(float(np.sum(beyond & (depth == 0)) / total), float(np.sum(beyond & (depth > 0)) / total))
