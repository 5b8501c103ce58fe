"""Averages over the Gaussian field of a fixed point, of the unit that settles in it."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ...transfer import Transfer


class Averages(eqx.Module):
    """Averages over one field: of phi, phi^2, dphi/dh and (dphi/dh)^2."""

    rate: Float[Array, ""]
    power: Float[Array, ""]
    response: Float[Array, ""]
    square_response: Float[Array, ""]


def settle(transfer: Transfer, h: Float[Array, "..."], r: Float[Array, ""]) -> Float[Array, "..."]:
    """x with x - r phi(x) = h, by Newton steps inside a bracket; right where r phi' < 1, phi monotone.

    The last three steps are those of `polish_root`: they make the result differentiable.
    """

    def step(x, h, r):
        return x - (x - r * transfer(x) - h) / (1 - r * transfer.slope(x))

    def search(h, r):
        pull = r * transfer(h)
        # For r > 0 the answer lies beyond h + pull, for r < 0 before it.
        far = jnp.where(r > 0, jnp.sign(pull) * jnp.inf, h + pull)
        bracket = jnp.minimum(h, far), jnp.maximum(h, far)

        def narrow(_, carry):
            x, low, high = carry
            above = x - r * transfer(x) > h
            low, high = jnp.where(above, low, x), jnp.where(above, x, high)
            new = step(x, h, r)
            inside = (new > low) & (new < high)
            middle = jnp.where(jnp.isfinite(low + high), (low + high) / 2, x)
            return jnp.where(inside, new, middle), low, high

        return jax.lax.fori_loop(0, 40, narrow, (h, *bracket))[0]

    x = jax.lax.stop_gradient(search(*jax.lax.stop_gradient((h, r))))
    return jax.lax.scan(lambda x, _: (step(x, h, r), None), x, None, length=3)[0]


_WIDTH = 9.0  # of the quadrature, in standard deviations


class Law(eqx.Module):
    """A standard Gaussian by its nodes z and weights, with x at h = mean + sqrt(variance) z; and x at h = mean."""

    z: Float[Array, " k"]
    weights: Float[Array, " k"]
    x: Float[Array, " k"]
    x_of_mean: Float[Array, ""]


def law_of_x(
    transfer: Transfer, mean: Float[Array, ""], variance: Float[Array, ""], r: Float[Array, ""], nodes: int
) -> Law:
    """Two Gauss-Legendre rules that meet where x = 0: there phi may have a kink, and near it has its poles.

    At variance 0 the nodes stand for variance 1.
    """
    points, weights = (jnp.asarray(a, mean.dtype) for a in np.polynomial.legendre.leggauss(nodes))
    points, weights = (points + 1) / 2, weights / 2
    spread = jnp.sqrt(jnp.where(has_spread(variance), variance, 1))
    kink = jnp.clip((-r * transfer(jnp.zeros_like(mean)) - mean) / spread, -_WIDTH, _WIDTH)
    z = jnp.concatenate([-_WIDTH + (kink + _WIDTH) * points, kink + (_WIDTH - kink) * points])
    weights = (
        jnp.concatenate([(kink + _WIDTH) * weights, (_WIDTH - kink) * weights])
        * jnp.exp(-(z**2) / 2)
        / math.sqrt(2 * math.pi)
    )
    x = settle(transfer, jnp.append(mean + spread * z, mean), r)
    return Law(z, weights, x[:-1], x[-1])


def has_spread(variance: Float[Array, ""]) -> Bool[Array, ""]:
    """Whether the variance is more than rounding of 0 (to which root solvers come)."""
    return variance > float(jnp.finfo(variance.dtype).eps) ** 1.25


def averages(
    transfer: Transfer, mean: Float[Array, ""], variance: Float[Array, ""], r: Float[Array, ""], nodes: int
) -> Averages:
    """At variance 0 (and below, where Newton's method may look) the Taylor series f + variance f'' / 2."""
    law = law_of_x(transfer, mean, variance, r, nodes)
    phi, slope = transfer(law.x), transfer.slope(law.x)
    response = slope / (1 - r * slope)
    over_spread = jnp.stack([phi, phi**2, response, response**2]) @ law.weights

    def bend(x):
        return jax.jvp(transfer.slope, (x,), (jnp.ones_like(x),))[1]

    x = law.x_of_mean
    phi, slope = transfer(x), transfer.slope(x)
    bent, bent_twice = jax.jvp(bend, (x,), (jnp.ones_like(x),))
    D = 1 / (1 - r * slope)  # dx/dh
    R, R_h, R_hh = slope * D, bent * D**3, bent_twice * D**4 + 3 * r * bent**2 * D**5  # dphi/dh and its derivatives
    curvature = jnp.stack([R_h, 2 * (R**2 + phi * R_h), R_hh, 2 * (R_h**2 + R * R_hh)])
    near = jnp.stack([phi, phi**2, R, R**2]) + variance / 2 * curvature
    return Averages(*jnp.where(has_spread(variance), over_spread, near))
