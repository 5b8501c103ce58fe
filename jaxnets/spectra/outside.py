r"""Outside the support of the spectrum of J G (N -> infinity): the holomorphic equations.

There the Hermitised Green's function is diagonal and t(z) = <G / (z - G r(t))> is holomorphic. With zeta = 1/t as
coordinate everything but one scalar root is explicit:

$$ \zeta \mapsto z: \quad \zeta\, \langle G / (z - G\, r(1/\zeta)) \rangle_G = 1 \qquad
   (G = 1:\; z = \zeta + r(1/\zeta)), \qquad m(\zeta) = \kappa(1/\zeta)\, \langle G^2 / |z - G r|^2 \rangle_G $$

A point z lies outside the support if and only if it is the image of a zeta with m < 1: such a zeta solves the
regularised equations to first order with the right signs, and these have one solution. Hence every closed curve
m = 1 maps to an edge or to a void of the support, and none is spurious. Source: theory of Hermitised Dyson equations
(Feinberg & Zee 1997; Alt, Erdos & Kruger 2018).
"""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Int

from .._laws import Discrete
from .._numerics import as_complex, as_program, bisect_knowing, iterate
from ..couplings import Ensemble
from . import tolerances


class Image(eqx.Module):
    """The image z of one point zeta = 1/t, and m and r there."""

    z: Complex[Array, ""]
    m: Float[Array, ""]
    r: Complex[Array, ""]


def image(ensemble: Ensemble, gains: Discrete, zeta: Complex[Array, ""]) -> Image:
    """z, m and r at zeta."""
    r, kappa = ensemble.r_and_kappa(1 / zeta)
    z = _preimage(gains, zeta, r)
    return Image(z, kappa * _square_resolvent(gains, z, r), r)


def halved(
    ensemble: Ensemble,
    gains: Discrete,
    start: Complex[Array, " n"],
    end: Complex[Array, " n"],
    num_steps: int | Int[Array, ""],
) -> tuple[Complex[Array, " n"], Complex[Array, " n"], Image]:
    """Lines of the zeta plane from points with m >= 1 to others, halved; their ends, and images of the outer."""

    def look(zeta, law):
        ensemble, gains = law
        at = jax.vmap(lambda zeta: image(ensemble, gains, zeta))(zeta)
        return ~(at.m < 1), at

    return bisect_knowing(look, start, end, Image(end, end.real, end), (ensemble, gains), num_steps)


def halved_from_host(
    ensemble: Ensemble,
    gains: Discrete,
    start: Complex[np.ndarray, " n"],
    end: Complex[np.ndarray, " n"],
    num_steps: int = 0,
) -> tuple[Complex[np.ndarray, " n"], Complex[np.ndarray, " n"], Image]:
    """`halved` for any number of concrete lines, by one compiled program for few at a time.

    Without steps this gives the images of any concrete points, the ends.
    """
    dtype = np.result_type(gains.weights.dtype, np.complex64)
    # Full rows of the last line: other points could need more steps than all that are asked for.
    index = np.minimum(np.arange(-(-end.size // tolerances.ROW) * tolerances.ROW), end.size - 1)
    rows = index.reshape(-1, tolerances.ROW)
    leaves, structure = jax.tree.flatten((ensemble, gains))
    is_array = [isinstance(leaf, jax.Array | np.ndarray) for leaf in leaves]
    arrays = [leaf if known else None for leaf, known in zip(leaves, is_array, strict=True)]
    others = tuple(None if known else leaf for leaf, known in zip(leaves, is_array, strict=True))
    start, end = (line.astype(dtype) for line in (start, end))
    found = [_halved(structure, others, arrays, start[row], end[row], np.asarray(num_steps)) for row in rows]
    return jax.tree.map(lambda *parts: np.concatenate(parts)[: end.size], *found)


@functools.partial(as_program, jit=jax.jit, static_argnums=(0, 1))  # `filter_jit` would take longer than the program
def _halved(structure, others, arrays, start, end, num_steps):
    leaves = [array if other is None else other for array, other in zip(arrays, others, strict=True)]
    ensemble, gains = jax.tree.unflatten(structure, leaves)
    return halved(ensemble, gains, start, end, num_steps)


def images(ensemble: Ensemble, gains: Discrete, zeta: Complex[np.ndarray, " n"]) -> Image:
    """z, m and r at any number of concrete points, as NumPy arrays."""
    return halved_from_host(ensemble, gains, zeta, zeta)[2]


def _square_resolvent(gains, z, r):
    """<G^2 / |z - G r|^2>."""
    return gains.mean(gains.values**2 / jnp.abs(z - as_complex(gains.values) * r) ** 2)


def _preimage(gains: Discrete, zeta, r, near=None) -> Complex[Array, ""]:
    """z with <G / (z - G r)> = 1 / zeta, NaN where it is not found: sought from `near`, where that is finite.

    Gains that vary by decades can give one zeta several z, as images of different sheets. No reverse mode.
    """
    g = as_complex(gains.values)
    if g.shape[0] == 1:
        return g[0] * (zeta + r)

    def newton(z, _):
        change = _newton_step(gains, zeta, r, z)
        return z * jnp.exp(change), jnp.abs(change)

    # On the physical side of the cut of z / r along the gains: beyond the largest of them, or before 0.
    mean, largest = gains.moment(1), jnp.max(jnp.where(gains.weights > 0, gains.values, -jnp.inf))
    offset = jnp.where((r / zeta).real > 0, jnp.maximum(largest, mean), mean)
    start = zeta * as_complex(mean) + r * as_complex(offset)
    if near is not None:
        start = jnp.where(jnp.isfinite(near), near, start)
    z, miss = iterate(newton, start, None, tolerances.IMAGE_STEP, tolerances.IMAGE_STEPS)
    return jnp.where(miss <= tolerances.IMAGE_STEP, z, jnp.nan)


def _newton_step(gains, zeta, r, z):
    """Newton's step in log z for log(<z / (z - G r)> / <G / (z - G r)>) = log(zeta + r).

    This is zeta <G / (z - G r)> = 1, written so that it is linear in log z for one gain, and nearly so for many: gains
    that vary by orders of magnitude spread the images z of a small region of zeta by as much.
    """
    g = as_complex(gains.values)
    inverse = 1 / (z - g * r)
    h, t, b = z * gains.mean(inverse), gains.mean(g * inverse), gains.mean(g * inverse**2)
    change = jnp.log((zeta + r) * t / h) * h * t / (z * b)
    return change / jnp.maximum(1, jnp.abs(change) / tolerances.LONGEST_STEP).astype(change.dtype)


class Slope(eqx.Module):
    """m at zeta, its gradient dm/dx + i dm/dy along zeta = x + i y, dz/dzeta, and zeta <G / (z - G r)> - 1."""

    m: Float[Array, ""]
    gradient: Complex[Array, ""]
    dz: Complex[Array, ""]
    error: Complex[Array, ""]


def slope(ensemble: Ensemble, gains: Discrete, zeta: Complex[Array, ""], z: Complex[Array, ""]) -> Slope:
    """How m and z change with zeta, where zeta <G / (z - G r)> = 1 ties z to zeta."""
    return image_and_slope(ensemble, gains, zeta, z)[1]


def image_and_slope(
    ensemble: Ensemble,
    gains: Discrete,
    zeta: Complex[Array, ""],
    z: Complex[Array, ""] | None = None,
    near: Complex[Array, ""] | None = None,
    start: Complex[Array, ""] | None = None,
) -> tuple[Complex[Array, ""], Slope]:
    """z and the `slope` there; z is given, or follows by one Newton step from `near`, or is sought (from `start`).

    One evaluation of the ensemble serves both.
    """
    one = jnp.ones_like(zeta)

    def blocks(zeta):
        return ensemble.r_and_kappa(1 / zeta)

    def along(direction):
        return jax.jvp(blocks, (zeta,), (direction,))

    # Mapped, as every copy of the blocks takes long to compile.
    (r, kappa), (dr, (kappa_x, kappa_y)) = jax.vmap(along, out_axes=(None, 0))(jnp.stack([one, 1j * one]))
    dr = dr[0]
    if z is None:
        z = _preimage(gains, zeta, r, start) if near is None else _followed(gains, zeta, r, near)
    g = as_complex(gains.values)
    inverse = 1 / (z - g * r)
    a, b, c = (gains.mean(f) for f in (g * inverse, g * inverse**2, (g * inverse) ** 2))
    dz = (a + zeta * c * dr) / (zeta * b)
    power = gains.values**2 * jnp.abs(inverse) ** 2
    q = gains.mean(power)
    dq = -2 * gains.mean(as_complex(power) * inverse * (dz - g * dr))  # dq/dx = Re, dq/dy = -Im
    x, y = kappa_x * q + kappa * dq.real, kappa_y * q - kappa * dq.imag
    return z, Slope(kappa * q, jax.lax.complex(x, y), dz, zeta * a - 1)


def image_near(
    ensemble: Ensemble, gains: Discrete, zeta: Complex[Array, ""], z: Complex[Array, ""]
) -> tuple[Complex[Array, ""], Float[Array, ""]]:
    """z and m at zeta, from a z close by; differentiable, to first order, where that z is the image."""
    r, kappa = ensemble.r_and_kappa(1 / zeta)
    z = _followed(gains, zeta, r, z)
    return z, kappa * _square_resolvent(gains, z, r)


def _followed(gains: Discrete, zeta, r, z) -> Complex[Array, ""]:
    """One Newton step from z for zeta <G / (z - G r)> = 1."""
    g = as_complex(gains.values)
    if g.shape[0] == 1:
        return g[0] * (zeta + r)
    inverse = 1 / (z - g * r)
    return z + (gains.mean(g * inverse) - 1 / zeta) / gains.mean(g * inverse**2)


def extent(ensemble: Ensemble, gains: Discrete) -> Float[Array, ""]:
    """A distance from the poles in the zeta plane beyond which m < 1 (exact for G = 1, where m <= (g / distance)^2)."""
    spread = jnp.sqrt(gains.moment(2)) / jnp.abs(gains.moment(1))
    widening = 1.0 if gains.values.shape[0] == 1 else 2.0
    poles = jnp.max(jnp.abs(ensemble.poles()))
    return spread * jnp.sqrt(ensemble.variance()) * widening + (spread - 1) * poles * widening


def preimage_error(ensemble: Ensemble, gains: Discrete, zeta, z) -> Complex[Array, ""]:
    """zeta <G / (z - G r)> - 1, which vanishes at the z of zeta."""
    r, _ = ensemble.r_and_kappa(1 / zeta)
    g = as_complex(gains.values)
    return zeta * gains.mean(g / (z - g * r)) - 1


def stability(ensemble: Ensemble, gains: Discrete, zeta, z) -> Float[Array, ""]:
    """m, below 1 outside the support."""
    r, kappa = ensemble.r_and_kappa(1 / zeta)
    return kappa * _square_resolvent(gains, z, r)
