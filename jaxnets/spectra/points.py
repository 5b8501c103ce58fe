"""Points in the plane that are distributed as a spectral law: a spectrum without its fluctuations."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from .._arguments import require_whole
from .._numerics import as_complex
from . import tolerances
from .outside import extent, image
from .spectral_law import SpectralLaw

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
        ValueError: if ``n`` is not a whole number >= 1.
    """
    require_whole("n", n)
    left, right = law.left_edge(), law.right_edge()
    zeros = jnp.round(n * law.zero_mass()).astype(int)
    index = jnp.arange(n)
    if law.is_symmetric():
        x, cell = _centres(left, right, tolerances.CELLS**2)
        mass = _mass(law.density(as_complex(x)))
        at = (index.astype(x.dtype) + 0.5) / jnp.maximum(n - zeros, 1).astype(x.dtype)
        points = _quantile(jnp.clip(at, 0, 1), mass, left, cell)
        return as_complex(jnp.where(index < n - zeros, points, 0))

    rest = n - zeros
    pair = (index // 2).astype(left.dtype)
    u = jnp.clip((2 * pair + 1) / jnp.maximum(rest, 1).astype(left.dtype), 0, 1)
    v = (_GOLDEN * pair + 0.5) % 1

    top = _height(law, left, right)
    mass, (x_cell, y_cell) = _cells(law, left, right, top)
    columns = jnp.sum(mass, 1)
    x = _quantile(u, columns, left, x_cell)
    column = jnp.clip(((x - left) / x_cell).astype(int), 0, tolerances.CELLS - 1)
    y = jax.vmap(lambda at, mass: _quantile(at, mass, jnp.zeros_like(top), y_cell))(v, mass[column])
    y = jnp.where((index == rest - 1) & (index % 2 == 0), 0, jnp.where(index % 2 == 0, y, -y))
    return jnp.where(index < rest, jax.lax.complex(x, y), 0)


def _height(law, left, right):
    """The largest imaginary part of the support, with a cell above it."""
    radius = extent(law.ensemble, law.gains) + jnp.max(jnp.abs(law.ensemble.poles()))
    angle = jnp.linspace(0, jnp.pi, 33).astype(left.dtype)
    zeta = jax.lax.complex(radius * jnp.cos(angle), radius * jnp.sin(angle))
    around = jax.vmap(lambda zeta: image(law.ensemble, law.gains, zeta).z)(zeta)  # a curve around the support
    bound = jnp.nanmax(jnp.abs(around))
    mass, (_, cell) = _cells(law, left, right, bound)
    occupied = jnp.any(mass > 0, 0)
    return cell * (2 + jnp.max(jnp.where(occupied, jnp.arange(tolerances.CELLS), 0))).astype(cell.dtype)


def _cells(law, left, right, top):
    """Mass of each cell of a grid over the upper half of the support, and the sides of a cell."""
    cells = tolerances.CELLS
    (x, x_cell), (y, y_cell) = _centres(left, right, cells), _centres(jnp.zeros_like(top), top, cells)
    x, y = jnp.broadcast_to(x[:, None], (cells, cells)), jnp.broadcast_to(y[None], (cells, cells))
    z = jax.lax.complex(x, y)
    return _mass(law.density(z)), (x_cell, y_cell)


def _centres(start, stop, num) -> tuple[Float[Array, " num"], Float[Array, ""]]:
    cell = (stop - start) / num
    return start + cell * (jnp.arange(num).astype(cell.dtype) + 0.5), cell


def _mass(density):
    return jnp.where(density > 0, density, 0)  # 0 too where it was not found


def _quantile(at, mass, start, cell):
    """Points at which the cumulated mass of cells in a row reaches the fractions `at` of its sum."""
    cumulated = jnp.concatenate([jnp.zeros(1, mass.dtype), jnp.cumsum(mass)])
    edges = start + cell * jnp.arange(mass.shape[0] + 1).astype(cell.dtype)
    return jnp.interp(at * cumulated[-1], cumulated, edges)
