"""Transfer functions phi: rate as a function of input, and its averages under Gaussian input.

A transfer function is callable, knows its slope and its antiderivative, and two averages: the law of its slope, and
the covariance of the rates of two correlated inputs. To add one, write a final subclass of `Transfer`; override
nothing: what has a closed form is written out, the rest is left to `smooth_slope_law`, `smooth_covariance` and
`smooth_antiderivative`.
"""

import abc
import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erf, ndtr
from jaxtyping import Array, Float

from ._numerics import gaussian_quadrature


class Transfer(eqx.Module):
    """A function phi: R -> R applied to each unit."""

    @abc.abstractmethod
    def __call__(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """phi(x)."""

    @abc.abstractmethod
    def slope(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """phi'(x)."""

    @abc.abstractmethod
    def slope_law(
        self, mean: Float[Array, ""], variance: Float[Array, ""]
    ) -> tuple[Float[Array, " k"], Float[Array, " k"]]:
        """Values and weights of phi'(x) for x of Gaussian law N(mean, variance).

        Exact where phi' takes few values, else a quadrature.
        """

    @abc.abstractmethod
    def antiderivative(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """Phi(x), the integral of phi from 0 to x."""

    @abc.abstractmethod
    def covariance(
        self, variance: Float[Array, ""], correlation: Float[Array, ""], nodes: tuple[int, int] = (201, 201)
    ) -> Float[Array, ""]:
        """<phi(x) phi(y)> for centred Gaussian x, y of one variance; 0 <= correlation <= 1.

        Exact where there is a closed form, else a quadrature with so many `nodes` for what x and y share, and for what
        each has alone.
        """


def smooth_slope_law(
    transfer: Transfer, mean: Float[Array, ""], variance: Float[Array, ""]
) -> tuple[Float[Array, " k"], Float[Array, " k"]]:
    """Quadrature of phi'(mean + sqrt(variance) z), for analytic phi."""
    z, weights = gaussian_quadrature()
    return transfer.slope(mean + jnp.sqrt(variance) * z.astype(variance.dtype)), weights.astype(variance.dtype)


def smooth_antiderivative(transfer: Transfer, x: Float[Array, "..."], num: int = 64) -> Float[Array, "..."]:
    """The integral of phi from 0 to x by a Gauss-Legendre rule of `num` nodes, for phi that is smooth between them."""
    nodes, weights = np.polynomial.legendre.leggauss(num)
    points, weights = (jnp.asarray(a, x.dtype) for a in ((nodes + 1) / 2, weights / 2))
    return x * jnp.tensordot(transfer(x[..., None] * points.reshape((1,) * x.ndim + (num,))), weights, 1)


def smooth_covariance(
    transfer: Transfer, variance: Float[Array, ""], correlation: Float[Array, ""], nodes: tuple[int, int] = (201, 201)
) -> Float[Array, ""]:
    r"""Quadrature of the covariance of rates, for analytic phi: what two units share, and what each has alone.

    $$ \langle \phi\phi \rangle = \Big\langle \big\langle \phi(\sqrt{C_0} (\sqrt{c}\, z + \sqrt{1 - c}\, u))
       \big\rangle_u^2 \Big\rangle_z $$

    with C_0 the `variance` and c >= 0 the `correlation`; `nodes` are those of z and of u.
    """
    (z, share), (u, weights) = ([a.astype(variance.dtype) for a in gaussian_quadrature(n, width=9.0)] for n in nodes)
    shared, own = jnp.sqrt(variance * correlation), jnp.sqrt(variance * (1 - correlation))
    given_shared = transfer(shared * z[:, None] + own * u[None]) @ weights
    return share @ given_shared**2


class Tanh(Transfer):
    """phi(x) = tanh x."""

    def __call__(self, x):
        return jnp.tanh(x)

    def slope(self, x):
        return 1 / jnp.cosh(x) ** 2

    def slope_law(self, mean, variance):
        return smooth_slope_law(self, mean, variance)

    def antiderivative(self, x):
        """log cosh x, to full relative precision at both ends."""
        near = jnp.clip(x, -1, 1)
        far = jnp.abs(x) + jnp.log1p(jnp.exp(-2 * jnp.abs(x))) - math.log(2)
        return jnp.where(jnp.abs(x) < 1, jnp.log1p(2 * jnp.sinh(near / 2) ** 2), far)

    def covariance(self, variance, correlation, nodes=(201, 201)):
        return smooth_covariance(self, variance, correlation, nodes)


class Erf(Transfer):
    """phi(x) = erf(sqrt(pi) x / 2), of slope 1 at 0."""

    def __call__(self, x):
        return erf(math.sqrt(math.pi) / 2 * x)

    def slope(self, x):
        return jnp.exp(-math.pi / 4 * x**2)

    def slope_law(self, mean, variance):
        return smooth_slope_law(self, mean, variance)

    def antiderivative(self, x):
        return x * self(x) + 2 / math.pi * jnp.expm1(-math.pi / 4 * x**2)

    def covariance(self, variance, correlation, nodes=(201, 201)):
        """(2/pi) arcsin(C / (C_0 + 2/pi)) (Williams 1998)."""
        return 2 / math.pi * jnp.arcsin(variance * correlation / (variance + 2 / math.pi))


class Linear(Transfer):
    """phi(x) = x."""

    def __call__(self, x):
        return x

    def slope(self, x):
        return jnp.ones_like(x)

    def slope_law(self, mean, variance):
        return jnp.ones(1, variance.dtype), jnp.ones(1, variance.dtype)

    def antiderivative(self, x):
        return x**2 / 2

    def covariance(self, variance, correlation, nodes=(201, 201)):
        return variance * correlation


class ReLU(Transfer):
    """phi(x) = max(x, 0); its slope at 0 is taken to be 0."""

    def __call__(self, x):
        return jnp.maximum(x, 0)

    def slope(self, x):
        return (x > 0).astype(x.dtype)

    def slope_law(self, mean, variance):
        active = ndtr(mean / jnp.sqrt(variance))
        return jnp.array([0.0, 1.0], variance.dtype), jnp.stack([1 - active, active])

    def antiderivative(self, x):
        return jnp.maximum(x, 0) ** 2 / 2

    def covariance(self, variance, correlation, nodes=(201, 201)):
        """C_0 (sin a + (pi - a) cos a) / (2 pi), a = arccos of the correlation (Cho & Saul 2009)."""
        angle = jnp.arccos(correlation)
        return variance / (2 * math.pi) * (jnp.sin(angle) + (math.pi - angle) * correlation)
