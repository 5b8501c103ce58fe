r"""Averages over Gaussian variables: the one home of their quadratures.

`gaussian_quadrature` is for analytic functions, `split_quadrature` for functions with kinks. Averages over pairs of
variables take one variable at a time: of a pair with correlation c, given the first, z, the second is Gaussian again,
with mean c z and variance 1 - c^2. For step functions of two variables `pair_density_rule` integrates over the
correlation instead (Plackett 1954), which turns two dimensions into one.
"""

import math

import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr
from jaxtyping import Array, Float


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
