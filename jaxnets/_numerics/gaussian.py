r"""Averages over Gaussian variables: the one home of their quadratures.

`gaussian_quadrature` is for analytic functions, `split_quadrature` for functions with kinks, and `graded_quadrature`
for analytic functions that nearly have a step or a kink at a known place. Averages over pairs of variables take one
variable at a time: of a pair with correlation c, given the first, z, the second is Gaussian again, with mean c z and
variance 1 - c^2. For step functions of two variables `pair_density_rule` integrates over the correlation instead
(Plackett 1954), which turns two dimensions into one.

`tail` is the upper tail of one variable, with logarithm and slopes that lose no digits, however far out.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr
from jaxtyping import Array, Float
from scipy.special import erfcx

from .arrays import frozen
from .host import namespace

# Mills' ratio times 1 + u is nearly a polynomial in t = (u - 4) / (u + 4): this degree leaves 5e-15 for all u >= 0.
_MIDDLE, _DEGREE = 4.0, 20
# Beyond it, the asymptotic series of G / H - x to five terms is right to 1e-13, and the difference has lost as much.
_FAR = 50.0


def gaussian_quadrature(nodes: int = 201, width: float = 8.0) -> tuple[Float[Array, " nodes"], Float[Array, " nodes"]]:
    """Points z and weights of the trapezoid rule for averages over a standard normal variable.

    Let a be the distance of the nearest pole of a function from the real axis. The error falls as exp(-2 pi a / h),
    with h = 2 width / nodes. As tanh(sigma z) has a = pi / (2 sigma), its mean slope at sigma = 5 is right to 1e-7.
    Gauss-Hermite rules fail there, because their points lie too far apart.
    """
    # By NumPy: constants of a program, which would else hold the operations that make them.
    z = np.linspace(-width, width, nodes)
    weights = np.exp(-(z**2) / 2)
    return jnp.asarray(z), jnp.asarray(weights / np.sum(weights))


def graded_quadrature(
    centre: Float[Any, "..."], scale: Float[Any, "..."], nodes: int, width: float = 8.5
) -> tuple[Float[Any, "... nodes"], Float[Any, "... nodes"]]:
    """Points and weights for functions of a standard normal variable that change on a `scale` <= 1 near `centre`.

    A trapezoid rule in v with z = centre + scale sinh v, whose error falls exponentially with the number of nodes: 161
    leave 1e-12 at any centre and scales down to .001. Far out, where a step weighs little, the scale is larger than
    asked, since nodes would else lack around z = 0. The place of the nodes has no gradient, because integrals do not
    depend on it. Arrays of NumPy are answered by such.
    """
    xp = namespace(centre)
    centre, scale = (centre, scale) if xp is np else frozen((centre, scale))
    centre = xp.minimum(xp.maximum(centre, -width), width)
    scale = xp.exp(xp.log(scale) * (1 - (centre / width) ** 2))
    # In logarithms and exponentials, since the compiler makes some hundred operations of each inverse function.
    below, above = (width + centre) / scale, (width - centre) / scale
    low, high = -xp.log(below + xp.sqrt(below**2 + 1)), xp.log(above + xp.sqrt(above**2 + 1))
    parts = np.linspace(0, 1, nodes).astype(centre.dtype)
    v = low[..., None] + (high - low)[..., None] * parts.reshape((1,) * centre.ndim + (nodes,))
    up = xp.exp(v)
    down = 1 / up
    z = centre[..., None] + scale[..., None] * (up - down) / 2
    weights = xp.exp(-(z**2) / 2) * (up + down)
    return z, weights / xp.sum(weights, -1, keepdims=True)


def split_quadrature(
    breaks: Float[Array, " d"], nodes: int, width: float = 9.0
) -> tuple[Float[Array, " k"], Float[Array, " k"]]:
    """Points and weights for functions of a standard normal variable that are smooth between rising ``breaks``.

    A Gauss-Legendre rule of so many ``nodes`` for each of the d + 1 pieces. The rule is not normalised: the distance of
    the sum of its weights from 1 is its error for the constant function.
    """
    points, weights = (jnp.asarray(a, breaks.dtype) for a in np.polynomial.legendre.leggauss(nodes))
    ends = jnp.full(1, width, breaks.dtype)
    edges = jnp.concatenate([-ends, jnp.clip(breaks, -width, width), ends])
    low, lengths = edges[:-1, None], jnp.diff(edges)[:, None]
    z = low + lengths * ((points + 1) / 2)[None]
    density = jnp.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    return z.ravel(), (lengths * (weights / 2)[None] * density).ravel()


def normal_density(z: Float[Array, "..."]) -> Float[Array, "..."]:
    """The density of a standard normal variable."""
    return jnp.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)


class Tail(NamedTuple):
    """Of the upper tail H and density G of a standard normal variable: ln H, R = G / H, and R - x."""

    log: Any
    ratio: Any
    excess: Any


def tail(x: Float[Any, "..."]) -> Tail:
    """The upper tail at x, with no loss of digits far out; in NumPy for its own arrays."""
    return _tail_of(np, x) if namespace(x) is np else Tail(*_tail(x))


def _mills(xp, u):
    """H(u) / G(u) for u >= 0."""
    if xp is np:
        return (math.sqrt(math.pi / 2) * erfcx(u / math.sqrt(2))).astype(u.dtype)
    t = (u - _MIDDLE) / (u + _MIDDLE)
    value = jnp.full_like(t, _MILLS[-1])
    for coefficient in _MILLS[-2::-1]:
        value = value * t + float(coefficient)
    return value / (1 + u)


def _mills_series() -> Float[np.ndarray, " k"]:
    def scaled(t):
        u = _MIDDLE * (1 + t) / (1 - t)
        return _mills(np, u) * (1 + u)

    series = np.polynomial.chebyshev.chebinterpolate(scaled, _DEGREE)
    return np.polynomial.chebyshev.cheb2poly(series)


_MILLS = _mills_series()


def _tail_of(xp, x):
    u = xp.abs(x)
    mills = _mills(xp, u)
    density = xp.exp(-(u**2) / 2) / math.sqrt(2 * math.pi)
    small, above = density * mills, x > 0  # H(u) <= 1/2
    base = xp.where(above, mills, 1 - small)
    log, rounded = xp.log(base), xp.where(above, 1, 1 - base)
    # ln(1 - H) for what rounding leaves of H, and in proportion for H: Kahan's log1p, which is short to compile.
    below = xp.where(rounded > 0, log * (small / xp.where(rounded > 0, rounded, 1)), -small)
    log = xp.where(above, log - u**2 / 2 - math.log(2 * math.pi) / 2, below)
    ratio = xp.where(above, 1, density) / base
    v = 1 / xp.maximum(x, _FAR) ** 2
    series = (1 - v * (2 - v * (10 - v * (74 - v * 706)))) / xp.maximum(x, _FAR)
    return Tail(log, ratio, xp.where(x > _FAR, series, ratio - x))


@jax.custom_jvp
def _tail(x):
    return tuple(_tail_of(jnp, x))


@_tail.defjvp
def _tail_jvp(primals, tangents):
    """ln H' = -R, R' = R (R - x): no digits are lost, and nothing is evaluated again."""
    log, ratio, excess = _tail(*primals)
    (change,) = tangents
    bend = ratio * excess
    return (log, ratio, excess), (-ratio * change, bend * change, (bend - 1) * change)


def interval_moments(edges: Float[Array, " d+1"]) -> tuple[Float[Array, " d"], Float[Array, " d"], Float[Array, " d"]]:
    """<1>, <z> and <z^2> of a standard normal z over each interval between rising, finite ``edges``."""
    density = normal_density(edges)
    chance = jnp.diff(ndtr(edges))
    return chance, -jnp.diff(density), chance - jnp.diff(edges * density)


def pair_density_rule(
    correlation: Float[Array, ""], nodes: int = 96
) -> tuple[Float[Array, " nodes"], Float[Array, " nodes"], Float[Array, " nodes"]]:
    r"""A rule for integrals over correlations r from 0 to c, in the angle arcsin r: sines, cosines and weights.

    $$ \int_0^c f(r)\, dr \approx \sum_k w_k \cos\theta_k\, f(\sin\theta_k) $$

    The density of a pair of standard normal variables is singular at |r| = 1, and cos(theta) times it is not:
    `pair_exponential`. Next to |c| = 1 that function of theta has a layer at the end, as wide as the distance of the
    two breaks. So the points crowd there, by the fourth power: 96 of them leave less than 1e-8 at any distance.
    """
    points, weights = (jnp.asarray(a, correlation.dtype) for a in np.polynomial.legendre.leggauss(nodes))
    end = jnp.arcsin(jnp.clip(correlation, -1, 1))
    left = (1 - points) / 2
    angles = end * (1 - left**4)
    # The distance of theta from +-pi/2 without cancellation.
    cosine = jnp.sin(math.pi / 2 - jnp.abs(end) + jnp.abs(end) * left**4)
    return jnp.sin(angles), cosine, end * weights * 2 * left**3


def pair_exponential(
    h: Float[Array, "..."], k: Float[Array, "..."], sine: Float[Array, "..."], cosine: Float[Array, "..."]
) -> Float[Array, "..."]:
    """cos(theta) times the density, at (h, k), of a standard normal pair of correlation sin(theta)."""
    # Squares completed so that nothing large cancels next to correlations of +-1.
    sign = jnp.where(sine < 0, -1.0, 1.0).astype(sine.dtype)
    far = (h - sign * k) ** 2 / (2 * cosine**2)
    return jnp.exp(-far - sign * h * k / (1 + jnp.abs(sine))) / (2 * math.pi)
