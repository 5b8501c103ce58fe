"""Laurent polynomials, and exact averages over the unit circle of their reciprocals."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Inexact

from .arrays import as_complex, square_modulus


def laurent_product(a: Inexact[Array, " m"], b: Inexact[Array, " n"]) -> Inexact[Array, " m+n-1"]:
    """Coefficients of the product of two Laurent polynomials (each listed from its lowest power)."""
    m, n = a.shape[0], b.shape[0]
    rows = jnp.pad(jnp.outer(a, b), ((0, 0), (0, m)))
    # With rows one entry shorter, row i begins i places further to the right.
    return jnp.sum(rows.ravel()[:-m].reshape(m, m + n - 1), axis=0)


def reciprocal_moments(denominator: Complex[Array, " 2*d+1"], doublings: int = 13) -> Complex[Array, " 2*d+1"]:
    r"""Averages over the unit circle of powers over a Laurent polynomial, c_k = <w^k / D(w)>, |k| <= d.

    $$ c_k = \frac{1}{2\pi} \int_0^{2\pi} \frac{e^{ik\theta}}{D(e^{i\theta})}\, d\theta,
       \qquad D(w) = \sum_{k=-d}^{d} D_k w^k $$

    Graeffe's root squaring: 1/D(w) = D(-w) / (D(w) D(-w)), whose denominator is a Laurent polynomial in w^2 of the
    same length, and only even powers survive the average. So the moments of D are a linear map of the moments of its
    square. m steps give the trapezoid rule with 2^m nodes in m (2d+1)^2 operations: exact unless D has a root within
    about 30 / 2^m of the circle (.004 by default; the laws of a load alpha need about alpha / 2).

    Shapes: D_k and c_k from k = -d to d. Validity: D has no root on the circle, and winds around 0 as often forwards
    as backwards (positive D, for one).
    """
    num = denominator.shape[0]
    d = num // 2
    pairs = [[(i, 2 * m - i) for i in range(num) if 0 <= 2 * m - i < num] for m in range(num)]

    def alternate(coefficients):  # of D(-w), up to a common sign
        return [c if (k - d) % 2 == 0 else -c for k, c in enumerate(coefficients)]

    def square(coefficients, _):
        mirrored = alternate(coefficients)
        squared: list[Any] = [sum(coefficients[i] * mirrored[j] for i, j in pairs[m]) for m in range(num)]
        scale = 1 / squared[d]
        return [scale * c for c in squared], (coefficients, scale)

    def unsquare(moments, step):
        coefficients, scale = step
        mirrored = alternate(coefficients)
        sums = [sum(moments[m] * mirrored[2 * m - k] for m in range(num) if 0 <= 2 * m - k < num) for k in range(num)]
        return [scale * c for c in sums], None

    start = [denominator[i] for i in range(num)]
    last, steps = jax.lax.scan(square, start, None, length=doublings)
    moments, _ = jax.lax.scan(unsquare, _of_one_pair(last[d - 1], last[d], last[d + 1], d), steps, reverse=True)
    return jnp.stack(moments)


def reciprocal_moments_real(denominator: Complex[Array, " d+1"], doublings: int = 13) -> Complex[Array, " d+1"]:
    r"""`reciprocal_moments` of a D that is real on the circle, from its coefficients k = 0..d, at half the price.

    Then D_{-k} = conj D_k and c_{-k} = conj c_k: only k = 0..d are given and returned.
    """
    d = denominator.shape[0] - 1

    def at(coefficients, k):
        return as_complex(coefficients[k]) if k >= 0 else jnp.conj(coefficients[-k])

    def square(coefficients, _):  # sums over i + j = 2 m, in which (i, j) and (j, i) are equal
        norm = coefficients[0] ** 2
        for i in range(1, d + 1):
            norm = norm + 2 * sign(i) * square_modulus(coefficients[i])
        squared = [norm]
        for m in range(1, d + 1):
            total = sign(m) * coefficients[m] ** 2
            for i in range(m + 1, d + 1):
                total = total + 2 * sign(i) * coefficients[i] * at(coefficients, 2 * m - i)
            squared.append(total)
        scale = 1 / norm
        return [scale.astype(c.dtype) * c for c in squared], (coefficients, scale)

    def unsquare(moments, step):
        coefficients, scale = step
        even = coefficients[0] * moments[0]
        for m in range(1, d // 2 + 1):  # and its conjugate, m < 0
            even = even + 2 * (coefficients[2 * m] * moments[m]).real
        sums = [even]
        for k in range(1, d + 1):
            pairs = [(2 * m - k, m) for m in range(-d, d + 1) if abs(2 * m - k) <= d]
            sums.append(sign(k) * sum(at(coefficients, i) * at(moments, m) for i, m in pairs))
        return [scale.astype(c.dtype) * c for c in sums], None

    def sign(k):
        return 1.0 if k % 2 == 0 else -1.0

    start = [denominator[0].real, *(denominator[k] for k in range(1, d + 1))]
    last, steps = jax.lax.scan(square, start, None, length=doublings)
    final = _of_one_pair(jnp.conj(last[1]), as_complex(last[0]), last[1], d)[d:] if d else [1 / last[0]]
    moments, _ = jax.lax.scan(unsquare, [final[0].real, *final[1:]], steps, reverse=True)
    return jnp.stack([as_complex(c) for c in moments])


def _of_one_pair(below: Array, middle: Array, above: Array, d: int) -> list[Array]:
    """Moments k = -d..d of below / w + middle + above w.

    What squaring leaves if one pair of roots lies next to the circle and all others are far from it. A real
    denominator of more such pairs may make the square of s negative: then nothing is known, and s is `middle`.
    """
    ratio = 4 * above * below / middle**2
    s = middle * jnp.sqrt(1 - jnp.where(ratio.real < 1, ratio, 0))
    inner, outer = -2 * below / (middle + s), -2 * above / (middle + s)  # the root within, and 1 / the root outside
    return [(outer ** (-k) if k < 0 else inner**k) / s for k in range(-d, d + 1)]
