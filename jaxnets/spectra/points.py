"""Points in the plane that are distributed as a spectral law: a spectrum without its fluctuations."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from .._arguments import require_whole
from .._numerics import as_program, is_concrete
from .._numerics.host import from_host, namespace, on_host, plane
from . import tolerances
from .outside import extent, image, images
from .spectral_law import SpectralLaw, require_one_type

_GOLDEN = 0.6180339887498949  # its multiples modulo 1 fill an interval evenly, and never repeat


def quantiles(law: SpectralLaw, n: int) -> Complex[Array, " n"]:
    r"""n points distributed as the law: conjugate pairs, real points and zeros, in this order.

    $$ F(x_k) = u_k, \quad F(y_k \,|\, x_k) = v_k, \qquad u_k = (k + 1/2) / m, \quad v_k = \{k \varphi\} $$

    F(x) is the distribution of Re z, and F(y | x) the distribution of |Im z| at given Re z. The m points (u, v) of a
    lattice fill the square evenly, so that no two points come as close as eigenvalues of a sample may. For a symmetric
    ensemble the points are the n quantiles of its real spectrum. Round(n zero_mass) points are 0; of an odd rest, one
    is real. The density is summed over a grid of 64 x 64 cells, which limits the resolution. Outliers are left out.
    Works under `jit` and `vmap`.

    Use them as guesses of eigenvalues (`jaxnets.eigen.batched_eigenvalues`), or where N numbers stand for a spectrum.

    Raises:
        ValueError: if ``n`` is not a whole number >= 1, and for a law with cell types or time constants.
    """
    require_whole("n", n)
    require_one_type("law", law)
    left, right, zero_mass = law.left_edge(), law.right_edge(), law.zero_mass()
    if not is_concrete(law):
        return _quantiles(law, n, left, right, zero_mass)
    return from_host(_quantiles(law, n, *on_host((left, right, zero_mass))).astype(_complex_type(law)))


def _quantiles(law, n, left, right, zero_mass):
    """In NumPy where the edges are NumPy numbers."""
    xp, dtype = namespace(left), left.dtype
    zeros = xp.round(n * zero_mass).astype(int)
    index = xp.arange(n)
    if law.is_symmetric():
        x, cell = _centres(left, right, tolerances.CELLS**2)
        mass = _mass(law, x, 0 * x)
        at = (index.astype(dtype) + 0.5) / xp.maximum(n - zeros, 1).astype(dtype)
        points = _quantile(xp.clip(at, 0, 1), mass, left, cell)
        points = xp.where(index < n - zeros, points, 0)
        return plane(points, 0 * points)

    rest = n - zeros
    pair = (index // 2).astype(dtype)
    u = xp.clip((2 * pair + 1) / xp.maximum(rest, 1).astype(dtype), 0, 1)
    v = (_GOLDEN * pair + 0.5) % 1

    top = _height(law, left, right)
    mass, (x_cell, y_cell) = _cells(law, left, right, top)
    x = _quantile(u, xp.sum(mass, 1), left, x_cell)
    column = xp.clip(((x - left) / x_cell).astype(int), 0, tolerances.CELLS - 1)
    along = lambda at, mass: _quantile(at, mass, xp.zeros_like(top), y_cell)
    if xp is np:
        y = np.array([along(at, mass) for at, mass in zip(v, mass[column], strict=True)])
    else:
        y = jax.vmap(along)(v, mass[column])
    y = xp.where((index == rest - 1) & (index % 2 == 0), 0, xp.where(index % 2 == 0, y, -y))
    return plane(xp.where(index < rest, x, 0), xp.where(index < rest, y, 0))


def _complex_type(law):
    return np.result_type(law.gains.weights.dtype, np.complex64)


def _height(law, left, right):
    """The largest imaginary part of the support, with a cell above it."""
    xp = namespace(left)
    radius = _radius(law)
    angle = xp.linspace(0, np.pi, 33).astype(left.dtype)
    if xp is np:
        radius = np.asarray(radius)
        around = images(law.ensemble, law.gains, plane(radius * np.cos(angle), radius * np.sin(angle))).z
    else:  # a curve around the support
        zeta = plane(radius * jnp.cos(angle), radius * jnp.sin(angle))
        around = jax.vmap(lambda zeta: image(law.ensemble, law.gains, zeta).z)(zeta)
    mass, (_, cell) = _cells(law, left, right, xp.nanmax(abs(around)))
    occupied = xp.any(mass > 0, 0)
    return cell * (2 + xp.max(xp.where(occupied, xp.arange(tolerances.CELLS), 0))).astype(cell.dtype)


@as_program
def _radius(law: SpectralLaw) -> Float[Array, ""]:
    return extent(law.ensemble, law.gains) + jnp.max(jnp.abs(law.ensemble.poles()))


def _cells(law, left, right, top):
    """Mass of each cell of a grid over the upper half of the support, and the sides of a cell."""
    xp, cells = namespace(left), tolerances.CELLS
    (x, x_cell), (y, y_cell) = _centres(left, right, cells), _centres(xp.zeros_like(top), top, cells)
    x, y = xp.broadcast_to(x[:, None], (cells, cells)), xp.broadcast_to(y[None], (cells, cells))
    return _mass(law, x, y), (x_cell, y_cell)


def _centres(start, stop, num) -> tuple[Float[Array, " num"], Float[Array, ""]]:
    xp, cell = namespace(start), (stop - start) / num
    return start + cell * (xp.arange(num).astype(cell.dtype) + 0.5), cell


def _mass(law, x, y):
    xp, density = namespace(x), law.density(plane(x, y))
    density = on_host(density) if xp is np else density
    return xp.where(density > 0, density, 0)  # 0 too where it was not found


def _quantile(at, mass, start, cell):
    """Points at which the cumulated mass of cells in a row reaches the fractions `at` of its sum."""
    xp = namespace(mass)
    cumulated = xp.concatenate([xp.zeros(1, mass.dtype), xp.cumsum(mass)])
    edges = start + cell * xp.arange(mass.shape[0] + 1).astype(cell.dtype)
    return xp.interp(at * cumulated[-1], cumulated, edges)
