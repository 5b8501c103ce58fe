r"""The area of the voids of a spectrum, the bounded holes in its support: of the law, and seen in a sample.

Both are sums over a grid of the upper half plane. A flood from the border finds the cells that belong to no void.
Unlike the curves of a boundary, both can be traced. The grid of a law lies in the plane of zeta = 1/t, where everything
is explicit: points with m(zeta) < 1 map to points outside the support, one to one and conformally, so that

$$ A = \int_{m < 1,\ \text{not connected to } \infty} \Big| \frac{dz}{d\zeta} \Big|^2 d^2\zeta + \pi \rho_0^2, $$

where rho_0 is the radius of the inner void of singular modes, which no zeta reaches.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Complex, Float

from .._arguments import complex_array, require, require_whole
from .._numerics import Root, as_program
from . import tolerances
from .inside import inner_void
from .outside import extent, image, slope
from .spectral_law import SpectralLaw, require_one_type


def void_area(law: SpectralLaw, *, cells: int = 112, tolerance: float = 1e-2) -> Root:
    """The area of the voids of a law, from `cells` cells across the plane of zeta.

    `residual` is the error estimated from a coarser grid, relative to the area, or to g^2 = N Var J_ij if this is
    larger. The result has converged if the residual is below the `tolerance` and the border of the grid lies outside
    the support. Valid for voids wider than a cell. A strip of support thinner than a cell, as a sequence of patterns
    has at loads below .03, still bounds a void, but the area beside it counts as an error. Traceable and vmappable,
    differentiable where no void opens or closes.

    Raises `ValueError` if `cells` < 32, and for a law with cell types or time constants. Source: derived here.
    """
    require_whole("cells", cells, least=32)
    require_one_type("law", law)
    fine, unclear, bounded = _law_area(law, cells)
    coarse, _, _ = _law_area(law, 3 * cells // 4)
    # The error is of second order in the size of cells, and cells of the coarse grid are 4/3 as large: the error of the
    # fine one is 9/7 of the difference.
    error = unclear + 9 / 7 * jnp.abs(fine - coarse)
    residual = jax.lax.stop_gradient(error / jnp.maximum(fine, law.ensemble.variance()))
    return Root(fine, residual, bounded & (residual <= tolerance))


def observed_void_area(
    eigenvalues: Complex[ArrayLike, " n"], *, reach: float = 2.5, cells: int = 100
) -> Float[Array, ""]:
    r"""The area of the voids that the eigenvalues of one real matrix leave.

    A disc belongs to a void if it holds no eigenvalue, has a radius above r, and cannot be moved to infinity without
    meeting an eigenvalue or shrinking below r. Here r is `reach` times the root mean square distance of an eigenvalue
    to its nearest neighbour, so a void must be wider than 2 r to be seen. Exact zeros of a matrix of low rank do not
    count as eigenvalues. For N to infinity r vanishes, and the area is that of the law; at N = 400 it is some 10 %
    larger, since the outermost eigenvalues of a sample do not touch the boundary. NaN if an eigenvalue is NaN.

    Raises:
        ValueError: if ``eigenvalues`` are not a 1-d array of two or more or are infinite, ``reach`` is not positive, or
            ``cells`` < 32.

    Source: derived here.
    """
    values = complex_array("eigenvalues", eigenvalues)
    if values.ndim != 1 or values.shape[0] < 2:
        raise ValueError(f"`eigenvalues` must be a 1-d array of two or more, got shape {values.shape}")
    require("eigenvalues", values, lambda z: ~np.isinf(z), "finite")
    require("reach", reach, lambda r: r > 0, "positive")
    require_whole("cells", cells, least=32)
    return _sample_area(values, reach, cells)


@as_program
def _law_area(law: SpectralLaw, cells: int) -> tuple[Float[Array, ""], Float[Array, ""], Bool[Array, ""]]:
    """The area, its part that lies across strips too thin for the grid, and whether the border is outside."""
    ensemble, gains = law.ensemble, law.gains
    poles, reach = ensemble.poles(), 1.1 * extent(ensemble, gains)
    left, right = jnp.min(poles.real) - reach, jnp.max(poles.real) + reach
    radius = jnp.maximum((right - left) / 2, jnp.max(poles.imag) + reach)
    # Off the symmetry axes, so that neither zeta = 0 nor a real pole is a point of the grid.
    centre = (left + right) / 2 + 0.013 * radius
    x, y, h = _half_plane(*jax.lax.stop_gradient((centre, radius)), cells)

    def at(zeta):
        point = slope(ensemble, gains, zeta, image(ensemble, gains, zeta).z)
        steepness = jnp.abs(point.gradient)
        # To m = 1. Exact beside a line of poles, where m falls as 1 / distance, and not too large around one pole.
        distance = point.m * (1 - point.m) / steepness
        # The share of a cell on the free side of a straight line at this distance.
        width = h * (jnp.abs(point.gradient.real) + jnp.abs(point.gradient.imag)) / steepness
        share = jnp.clip(0.5 + distance / width, 0, 1)
        area = share * h**2 * (point.dz.real**2 + point.dz.imag**2)
        found = jnp.isfinite(distance) & jnp.isfinite(area)
        return jnp.where(found, distance, -jnp.inf), jnp.where(found, area, 0)

    distance, area = jax.vmap(jax.vmap(at))(jax.lax.complex(*jnp.broadcast_arrays(x[None], y[:, None])))
    # Two cells on the two sides of a strip, however thin, cannot both be further than half a cell from it.
    clear = distance > h / 2
    wet = _flooded(clear)
    inside, outside = _grown(clear & ~wet), _grown(wet)
    _, rho = inner_void(ensemble, gains)
    total = 2 * jnp.sum(jnp.where(inside, area, 0)) + jnp.pi * rho**2
    unclear = 2 * jnp.sum(jnp.where(inside & outside, area, 0))
    return total, unclear, jnp.all(jnp.where(_border(clear), clear, True))


@as_program
def _sample_area(values: Complex[Array, " n"], reach: float, cells: int) -> Float[Array, ""]:
    size = jnp.abs(values)
    counted = size > tolerances.ZERO_EIGENVALUE * jnp.max(size)
    both = counted[:, None] & counted[None] & ~jnp.eye(values.size, dtype=bool)
    nearest = jnp.min(jnp.where(both, jnp.abs(values[:, None] - values[None]), jnp.inf), 1)
    counted &= jnp.isfinite(nearest)
    r = reach * jnp.sqrt(jnp.sum(jnp.where(counted, nearest**2, 0)) / jnp.sum(counted.astype(size.dtype)))
    left = jnp.min(jnp.where(counted, values.real, jnp.inf)) - 2 * r
    right = jnp.max(jnp.where(counted, values.real, -jnp.inf)) + 2 * r
    top = jnp.max(jnp.where(counted, values.imag, -jnp.inf)) + 2 * r
    x, y, h = _half_plane((left + right) / 2, jnp.maximum((right - left) / 2, top), cells)

    def square_distance(x, y):
        return jnp.min(jnp.where(counted, (values.real - x) ** 2 + (values.imag - y) ** 2, jnp.inf))

    square = jax.vmap(lambda y: jax.vmap(lambda x: square_distance(x, y))(x))(y)
    clear = square > r**2
    held = clear & ~_flooded(clear)
    # z is in a disc around some p of these if |z - p|^2 < square(p): a minimum over rows, then over columns.
    power = jnp.where(held, -square, jnp.inf)
    from_below, mirrored = (y[:, None] - y[None]) ** 2, (y[:, None] + y[None]) ** 2
    power = jnp.min(jnp.minimum(from_below, mirrored)[:, :, None] + power[None], 1)
    power = jnp.min(((x[:, None] - x[None]) ** 2)[None] + power[:, None], 2)
    return jnp.where(jnp.all(jnp.isfinite(size)), 2 * jnp.sum(jnp.where(power < 0, h**2, 0)), jnp.nan)


# --- grids of the upper half plane, rows from the real axis up


def _half_plane(centre: Float[Array, ""], radius: Float[Array, ""], cells: int):
    """Centres of the cells of [centre - radius, centre + radius] x [0, radius], and their size."""
    h = 2 * radius / cells
    steps = jnp.arange(cells, dtype=h.dtype) + 0.5
    return centre - radius + h * steps, h * steps[: cells // 2], h


def _border(grid: Bool[Array, "y x"]) -> Bool[Array, "y x"]:
    """The cells at the left, right and upper end."""
    return jnp.zeros_like(grid).at[-1].set(True).at[:, 0].set(True).at[:, -1].set(True)


def _flooded(clear: Bool[Array, "y x"]) -> Bool[Array, "y x"]:
    """The cells that steps between clear neighbours reach from the border."""

    def spread(carry):
        wet, _ = carry
        more = clear & (wet | _beside(wet))
        return more, jnp.any(more & ~wet)

    start = clear & _border(clear)
    return jax.lax.while_loop(lambda carry: carry[1], spread, (start, jnp.array(True)))[0]


def _beside(cells: Bool[Array, "y x"]) -> Bool[Array, "y x"]:
    padded = jnp.pad(cells, 1)
    return padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]


def _grown(cells: Bool[Array, "y x"]) -> Bool[Array, "y x"]:
    """With all eight neighbours."""
    wide = jnp.pad(cells, ((0, 0), (1, 1)))
    wide = wide[:, :-2] | wide[:, 1:-1] | wide[:, 2:]
    tall = jnp.pad(wide, ((1, 1), (0, 0)))
    return tall[:-2] | tall[1:-1] | tall[2:]
