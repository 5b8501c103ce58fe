"""Where the iteration starts: pairs of points near the roots, with the right number of them in each circle around 0.

To add another source of guesses, return `Guesses`: conjugate pairs next to each other from the first on, real numbers
after them, isolated eigenvalues last. `with_moduli` repairs a wrong scale, and `apart` repeated points.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex

from .._numerics import as_complex
from .recurrence import Matrix, evaluated, prepared

# Constants of the guesses. They were set on the 60 hard matrices of README.md (N = 100); networks hardly need them.
_ANGLES = 6  # points of a circle, upper half; counts are needed to a few per cent alone
_FINE = 18  # circles from the Frobenius norm down, each 2^-1/2 of the one before: there most roots lie
_COARSE = 14  # circles below them, down to rounding
_WRONG = 3, 0.05  # guesses stay if no circle misses more roots than this number and this part of all
_FEW = 0.05  # a count in logarithms for circles that hold no root
_CLOSE = 1e-6  # relative distance of guesses that are moved apart
_AWAY = 0.05  # relative distance by which they are moved
_GOLDEN = 0.6180339887498949  # its multiples modulo 1 fill an interval evenly, and never repeat


class Guesses(eqx.Module):
    """Conjugate pairs next to each other and real numbers; `exact` ones are isolated eigenvalues."""

    z: Complex[Array, " n"]
    exact: Bool[Array, " n"]


def disc(matrix: Matrix) -> Guesses:
    """Points spread evenly over the unit disc."""
    n = matrix.below.shape[0]
    pair = (jnp.arange(n) // 2).astype(matrix.below.dtype)
    distance = jnp.sqrt((2 * pair + 1) / n)
    angle = jnp.pi * (0.02 + 0.96 * (_GOLDEN * pair % 1))
    points = jax.lax.complex(distance * jnp.cos(angle), distance * jnp.sin(angle))
    points = jnp.where(jnp.arange(n) % 2 == 0, points, jnp.conj(points))
    return _with_isolated(points, matrix)


def with_moduli(guesses: Guesses, matrix: Matrix) -> Guesses:
    r"""Guesses moved along their rays, so that circles around 0 hold as many guesses as roots.

    $$ n(r) = \frac{1}{2 \pi i} \oint_{|z| = r} \frac{p'(z)}{p(z)}\, dz $$

    from a few points of each circle. Without this, guesses far outside of a cluster of m roots approach it by a part
    2 / m a sweep, which is too slow where eigenvalues spread over many orders of magnitude. Guesses that are nearly
    right stay.
    """
    z = guesses.z
    dtype, angles = z.real.dtype, _ANGLES
    # From the Frobenius norm, in which most lie closely below 1, down to rounding.
    n = z.shape[0]
    fine = 2 * n**0.5 * 2.0 ** (-np.arange(_FINE) / 2)
    smallest = float(jnp.finfo(dtype).eps) / 4
    radii = jnp.asarray(np.concatenate([fine, np.geomspace(fine[-1], smallest, _COARSE + 2)[1:-1]]), dtype)
    circle = jnp.asarray(np.exp(1j * np.pi * (np.arange(angles) + 0.5) / angles), z.dtype)
    points = (as_complex(radii)[:, None] * circle[None]).reshape(-1)
    rate = evaluated(prepared(matrix), jnp.stack([points, jnp.conj(points)], 1)).rate[:, 0]
    total = jnp.sum(~guesses.exact).astype(dtype)
    inside = (points * rate).real.reshape(radii.shape[0], angles)
    inside = jnp.mean(jnp.where(jnp.isfinite(inside), inside, total / 2), 1)
    # The count falls with r. Points next to a root are off by any number, so its largest decreasing minorant and its
    # smallest decreasing majorant are averaged.
    inside = jnp.clip(inside, 0, total)
    inside = (jax.lax.cummin(inside) + jax.lax.cummax(inside, reverse=True)) / 2
    size = jnp.abs(z)
    guessed = jnp.sum(~guesses.exact[None] & (size[None] < radii[:, None]), 1).astype(dtype)

    def interpolated(x, xs, ys):  # in logarithms, in which an even density is a straight line
        return jnp.exp2(jnp.interp(jnp.log2(x), jnp.log2(xs), jnp.log2(ys)))

    rank = interpolated(jnp.maximum(size, smallest), radii[::-1], jnp.maximum(guessed, _FEW)[::-1])
    increasing = jnp.maximum(inside, _FEW)[::-1] * (1 + 1e-6 * jnp.arange(radii.shape[0]).astype(dtype))
    moved = z * as_complex(interpolated(rank, increasing, radii[::-1]) / jnp.maximum(size, smallest))
    wrong = jnp.max(jnp.abs(inside - guessed)) > _WRONG[0] + _WRONG[1] * total
    return Guesses(jnp.where(wrong & ~guesses.exact, moved, z), guesses.exact)


def given(guesses: Complex[Array, " n"], matrix: Matrix) -> Guesses:
    """Points of the upper half plane, each followed by its conjugate, then real parts of the rest."""
    n = guesses.shape[0]
    kind = jnp.where(guesses.imag > 0, 0, jnp.where(guesses.imag == 0, 1, 2))
    guesses = guesses[jnp.argsort(kind)]
    upper = jnp.minimum(jnp.sum(kind == 0), n // 2)
    place = jnp.arange(n)
    pair = guesses[place // 2]
    pair = jnp.where(place % 2 == 0, pair, jnp.conj(pair))
    points = jnp.where(place < 2 * upper, pair, as_complex(guesses[place - upper].real))
    return apart(with_moduli(_with_isolated(points, matrix), matrix))


def _with_isolated(points: Complex[Array, " n"], matrix: Matrix) -> Guesses:
    """Isolated eigenvalues in the place of the last points; conjugates are next to each other from the first on."""
    n = points.shape[0]
    place, count = jnp.arange(n), jnp.sum(matrix.isolated)
    eigenvalues = jnp.diagonal(matrix.upper)[jnp.argsort(matrix.isolated)]
    alone = (place == n - count - 1) & (place % 2 == 0)
    points = jnp.where(alone, as_complex(points.real), points)
    exact = place >= n - count
    return Guesses(jnp.where(exact, as_complex(eigenvalues), points), exact)


def apart(guesses: Guesses) -> Guesses:
    """Guesses that coincide with earlier ones moved away from them: coinciding points never part in the iteration."""
    z = guesses.z
    size = jnp.maximum(jnp.abs(z), jnp.finfo(z.dtype).eps)
    index = jnp.arange(z.shape[0])
    close = (jnp.abs(z[:, None] - z[None]) < _CLOSE * size[:, None]) & (index[None] < index[:, None])
    close = jnp.any(close & ~guesses.exact[None], 1) & ~guesses.exact
    pair = jnp.where(z.imag < 0, index, index + 1).astype(size.dtype)
    away = _AWAY * size * (_GOLDEN * pair % 1 - 0.5)
    return Guesses(z + as_complex(jnp.where(close, away, 0)), guesses.exact)
