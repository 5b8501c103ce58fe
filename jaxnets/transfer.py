"""Transfer functions phi: rate as a function of input, and the law of their slope under Gaussian input.

A transfer function is callable and knows its slope. To add one, write a final subclass of `Transfer`; override
nothing: a function whose slope takes few values states their law itself, the others leave it to `smooth_slope_law`.
"""

import abc
import math

import equinox as eqx
import jax.numpy as jnp
from jax.scipy.special import erf
from jax.scipy.stats import norm
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
        """Values and weights of phi'(x) for Gaussian x: exact where phi' takes few values, else a quadrature."""


def smooth_slope_law(
    transfer: Transfer, mean: Float[Array, ""], variance: Float[Array, ""]
) -> tuple[Float[Array, " k"], Float[Array, " k"]]:
    """Quadrature of phi'(mean + sqrt(variance) z), for analytic phi."""
    z, weights = gaussian_quadrature()
    return transfer.slope(mean + jnp.sqrt(variance) * z.astype(variance.dtype)), weights.astype(variance.dtype)


class Tanh(Transfer):
    """phi(x) = tanh x."""

    def __call__(self, x):
        return jnp.tanh(x)

    def slope(self, x):
        return 1 / jnp.cosh(x) ** 2

    def slope_law(self, mean, variance):
        return smooth_slope_law(self, mean, variance)


class Erf(Transfer):
    """phi(x) = erf(sqrt(pi) x / 2), of slope 1 at 0."""

    def __call__(self, x):
        return erf(math.sqrt(math.pi) / 2 * x)

    def slope(self, x):
        return jnp.exp(-math.pi / 4 * x**2)

    def slope_law(self, mean, variance):
        return smooth_slope_law(self, mean, variance)


class Linear(Transfer):
    """phi(x) = x."""

    def __call__(self, x):
        return x

    def slope(self, x):
        return jnp.ones_like(x)

    def slope_law(self, mean, variance):
        return jnp.ones(1, variance.dtype), jnp.ones(1, variance.dtype)


class ReLU(Transfer):
    """phi(x) = max(x, 0); its slope at 0 is taken to be 0."""

    def __call__(self, x):
        return jnp.maximum(x, 0)

    def slope(self, x):
        return (x > 0).astype(x.dtype)

    def slope_law(self, mean, variance):
        active = norm.cdf(mean / jnp.sqrt(variance))
        return jnp.array([0.0, 1.0], variance.dtype), jnp.stack([1 - active, active])
