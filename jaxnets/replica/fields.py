r"""Averages over the field of a unit that meets patterns and noise, x = sum_mu xi_mu a_mu + Delta z.

The condensed patterns give xi, and all others together give Gaussian noise z. Sums over the signs of W patterns double
with each of them. Here averages are integrals of the characteristic function of x instead, which is a product over
patterns, so that the effort grows linearly with W. `FieldAverages` lists the averages.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float

from .._numerics import frozen
from .._numerics.host import namespace

# Where the trapezoid rule repeats the law of x: sum |a| plus so many Delta and T further out. Repetitions are then
# below exp(-9^2 / 2) = 3e-18 and 4 exp(-2 x 19) = 1e-16.
TAIL, THERMAL_TAIL = 9, 19
# y / sinh y is 3e-16 here, and 0 beyond.
FAR = 40.0
# Series take the place of quotients that lose digits: below .001 for y / sinh y (the first term left out is 2e-21), and
# below .1 for the kernel of the entropy (2e-15, where the quotients have lost 2e-14).
NEAR, NEAR_ENTROPY = 1e-3, 0.1


# Named tuples, because a module takes as long to make as the averages take to compute on the host.
class Field(NamedTuple):
    """The law of x, by its characteristic function F(k) at the nodes of a trapezoid rule."""

    k: Float[Array, " nodes"]  # the nodes
    law: Float[Array, " nodes"]  # F(k) times the weights of the nodes
    tangent: Float[Array, "W nodes"]  # -(dF / da_mu) / (k F)
    left_out: Float[Array, ""]  # how far the integrands have decayed at the last node
    a: Float[Array, " W"]
    temperature: Float[Array, ""]
    binary: bool


def field_law(
    a: Float[Array, " W"], variance: Float[Array, ""], temperature: Float[Array, ""], nodes: int, binary: bool
) -> Field:
    r"""F(k) = exp(-k^2 Delta^2 / 2) prod_nu cos(k a_nu) for binary patterns; exp(-k^2 a_nu^2 / 2) for Gaussian ones.

    A trapezoid rule in k repeats the law of x with the period 2 pi / step. The step puts repetitions beyond its tails.
    """
    # The step is a choice of nodes: the integrals do not depend on it, and have no gradient through it.
    xp = namespace(a)
    size, spread, T = xp.abs(a), xp.sqrt(xp.maximum(variance, 0)), temperature
    size, spread, T = (size, spread, T) if xp is np else frozen((size, spread, T))
    if not binary:
        size, spread = xp.zeros_like(size), xp.sqrt(spread**2 + size @ size)
    step = 2 * np.pi / (xp.sum(size) + TAIL * spread + THERMAL_TAIL * T)
    k = step * xp.arange(nodes, dtype=a.dtype)
    # A trapezoid rule, with half of a weight at the end k = 0.
    weights = step * xp.asarray(np.where(np.arange(nodes) == 0, 0.5, 1), a.dtype)
    left_out = xp.exp(-((spread * k[-1]) ** 2) / 2 - np.pi / 2 * T * k[-1])
    envelope = weights * xp.exp(-(k**2) * variance / 2)
    if binary:
        cosine, sine = _harmonics(step * a, nodes)
        return Field(k, envelope * xp.prod(cosine, 0), sine / cosine, left_out, a, temperature, binary)
    law = envelope * xp.exp(-(k**2) * (a @ a) / 2)
    return Field(k, law, xp.outer(a, k), left_out, a, temperature, binary)


def _harmonics(angle: Float[Array, " W"], num: int) -> tuple[Float[Array, "W num"], Float[Array, "W num"]]:
    """cos(j angle) and sin(j angle) for j < num.

    The addition theorem makes them of 2 sqrt(num) sines and cosines, which are the dearest part of all averages.
    """
    xp, stride = namespace(angle), int(np.ceil(np.sqrt(num)))
    small, large = (xp.outer(angle, xp.arange(stride, dtype=angle.dtype) * by) for by in (1, stride))
    c, s, C, S = xp.cos(small)[:, None], xp.sin(small)[:, None], xp.cos(large)[..., None], xp.sin(large)[..., None]
    cosine, sine = (x.reshape(angle.shape[0], -1)[:, :num] for x in (C * c - S * s, S * c + C * s))
    # The tangent divides by the cosine, and averages multiply by it again: it may be tiny but not 0.
    return xp.where(cosine == 0, 1e-30, cosine).astype(angle.dtype), sine


class FieldAverages(NamedTuple):
    """What the equations of state need of x."""

    overlaps: Float[Array, " W"]  # <xi_mu tanh(x / T)>
    response: Float[Array, ""]  # <sech^2(x / T)> / T
    fourth: Float[Array, ""]  # <sech^4(x / T)> / T


def field_averages(field: Field) -> FieldAverages:
    r"""Averages over x as integrals over k.

    $$ \Big\langle \tanh\frac{x}{T} \Big\rangle_z = \frac2\pi \int_0^\infty \frac{dk}{k}\, \frac{y}{\sinh y}
       \sin(k h)\, e^{-k^2 \Delta^2 / 2}, \qquad y = \frac{\pi k T}{2}, \quad x = h + \Delta z $$

    The integrand of sech^2 / T, the derivative of tanh, has no 1 / k and a cosine. For sech^4 / T the factor
    (4 + k^2 T^2) / 6 comes in addition, and for the entropy the kernel is pi T / 2 (cosh y / sinh^2 y - 1 / (y sinh
    y)). All integrands are even and analytic, so that the trapezoid rule converges exponentially.
    """
    k, T = field.k, field.temperature
    y = np.pi / 2 * T * k
    kernel = 2 / np.pi * field.law * _y_over_sinh(y)
    return FieldAverages(
        # The node k = 0 has the limit of tan(k a) / k, which is a.
        overlaps=field.tangent[:, 1:] @ (kernel[1:] / k[1:]) + kernel[0] * field.a,
        response=kernel.sum(),
        fourth=kernel @ (4 + (k * T) ** 2) / 6,
    )


def field_entropy(field: Field) -> Float[Array, ""]:
    """The entropy of a spin, <ln 2cosh(x / T) - (x / T) tanh(x / T)>, by the same rule: see `field_averages`."""
    y = np.pi / 2 * field.temperature * field.k
    return field.temperature * np.pi / 2 * (field.law @ _entropy_kernel(y))


class FieldSlopes(NamedTuple):
    """Derivatives of `overlaps` and `response` by a and by the variance Delta^2.

    The derivative of `response` by a is twice `overlaps_variance`.
    """

    overlaps_a: Float[Array, "W W"]
    overlaps_variance: Float[Array, " W"]
    response_variance: Float[Array, ""]


def field_slopes(field: Field) -> FieldSlopes:
    """Derivatives in closed form: for many patterns far quicker than forward differentiation of `field_averages`."""
    k = field.k
    kernel = 2 / np.pi * field.law * _y_over_sinh(np.pi / 2 * field.temperature * k)
    through = field.tangent * kernel[None]
    overlaps_a = -through @ field.tangent.T
    response = kernel.sum()
    eye = namespace(k).eye(overlaps_a.shape[0], dtype=overlaps_a.dtype)
    if field.binary:  # xi_mu^2 = 1 has no slope of its own
        overlaps_a = overlaps_a * (1 - eye)
    return FieldSlopes(
        overlaps_a=overlaps_a + response * eye,
        overlaps_variance=-through @ k / 2,
        response_variance=response_slope(field),
    )


def response_slope(field: Field) -> Float[Array, ""]:
    """The derivative of `response` by the variance."""
    kernel = 2 / np.pi * field.law * _y_over_sinh(np.pi / 2 * field.temperature * field.k)
    return -kernel @ field.k**2 / 2


def _y_over_sinh(y: Float[Array, " k"]) -> Float[Array, " k"]:
    xp = namespace(y)
    inside = (y > NEAR) & (y < FAR)
    safe = xp.where(inside, y, 1)
    return xp.where(inside, safe / xp.sinh(safe), xp.where(y < FAR, 1 - y**2 / 6 + 7 * y**4 / 360, 0))


def _entropy_kernel(y: Float[Array, " k"]) -> Float[Array, " k"]:
    """cosh y / sinh^2 y - 1 / (y sinh y), the Fourier transform of the entropy of a spin."""
    xp = namespace(y)
    inside = (y > NEAR_ENTROPY) & (y < FAR)
    safe = xp.where(inside, y, 1)
    sinh = xp.sinh(safe)
    w = xp.where(y < FAR, y, 0) ** 2
    series = 1 / 3 - w * (7 / 90 - w * (31 / 2520 - w * (127 / 75600 - w * 73 / 342144)))
    return xp.where(inside, xp.cosh(safe) / sinh**2 - 1 / (safe * sinh), xp.where(y < FAR, series, 0))
