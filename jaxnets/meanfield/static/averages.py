"""Averages over units at a fixed point: each settles at x(h) in its own field h, which is Gaussian across units."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ..._numerics import last_steps, newton_in_bracket, split_quadrature
from ...transfer import Transfer

# Standard deviations that the quadrature spans on either side of the mean: a weight of 2e-19 is beyond.
_WIDTH = 9.0
# A variance counts as 0 up to this power of the rounding unit (3e-20 in float64): a bound of the variance that root
# solvers return where the exact one is 0.
_NO_SPREAD = 1.25


class Averages(eqx.Module):
    """Averages over one field: of phi, phi^2, dphi/dh and (dphi/dh)^2."""

    rate: Float[Array, ""]
    power: Float[Array, ""]
    response: Float[Array, ""]
    square_response: Float[Array, ""]


class GaussianField(eqx.Module):
    """A Gaussian field h = mean + sqrt(variance) z by nodes z and weights; x(h) there, and x at h = mean.

    `coarser` are the weights of another rule, on nodes of its own, if one was asked for.
    """

    z: Float[Array, " k"]
    weights: Float[Array, " k"]
    coarser: Float[Array, " k"]
    x: Float[Array, " k"]
    x_of_mean: Float[Array, ""]


def settle(transfer: Transfer, h: Float[Array, "..."], r: Float[Array, ""]) -> Float[Array, "..."]:
    """The solution x of x - r phi(x) = h, differentiable; unique where phi is monotone and r phi' < 1."""

    def value_and_slope(x, args):
        h, r = args
        return x - r * transfer(x) - h, 1 - r * transfer.slope(x)

    def step(x, args):
        value, slope = value_and_slope(x, args)
        return x - value / slope, jnp.max(jnp.abs(value))

    # The solution lies between h and h + r phi(h) for r < 0, and beyond h + r phi(h) for r > 0. Where r phi(h) = 0 the
    # far end is NaN, and the search stays at its start, x = h, which is the solution.
    pull = r * transfer(h)
    far = jnp.where(r > 0, jnp.sign(pull) * jnp.inf, h + pull)
    x = newton_in_bracket(value_and_slope, h, jnp.minimum(h, far), jnp.maximum(h, far), (h, r))
    return last_steps(step, x, (h, r))[0]


def gaussian_field(
    transfer: Transfer,
    mean: Float[Array, ""],
    variance: Float[Array, ""],
    r: Float[Array, ""] | None,
    nodes: int,
    coarser: int = 0,
) -> GaussianField:
    """A quadrature of the field: two Gauss-Legendre rules that meet where x = 0.

    There phi may have a kink, and smooth functions as tanh have their nearest poles. At variance 0 the nodes are those
    of variance 1. r is None where nothing answers: then x = h.
    """
    spread = jnp.sqrt(jnp.where(has_spread(variance), variance, 1))
    at_zero = mean if r is None else r * transfer(jnp.zeros_like(mean)) + mean
    z, weights = split_quadrature(-(at_zero / spread)[None], nodes, _WIDTH)
    none = jnp.zeros_like(weights)
    if coarser:
        y, others = split_quadrature(-(at_zero / spread)[None], coarser, _WIDTH)
        none = jnp.append(none, others)
        z, weights = jnp.append(z, y), jnp.append(weights, jnp.zeros_like(others))
    h = jnp.append(mean + spread * z, mean)
    x = h if r is None else settle(transfer, h, r)
    return GaussianField(z, weights, none, x[:-1], x[-1])


def has_spread(variance: Float[Array, ""]) -> Bool[Array, ""]:
    """Whether the variance is more than a rounding error of 0."""
    return variance > float(jnp.finfo(variance.dtype).eps) ** _NO_SPREAD


def averages(
    transfer: Transfer, mean: Float[Array, ""], variance: Float[Array, ""], r: Float[Array, ""] | None, nodes: int
) -> Averages:
    """The averages by quadrature; at variance 0, and below, the Taylor series f + variance f'' / 2.

    Newton's method visits negative variances on its way to a state at rest, whose derivatives need the series as well.
    """
    field = gaussian_field(transfer, mean, variance, r, nodes)
    return averages_over(transfer, field, field.weights, variance, r)


def averages_over(
    transfer: Transfer,
    field: GaussianField,
    weights: Float[Array, " k"],
    variance: Float[Array, ""],
    r: Float[Array, ""] | None,
) -> Averages:
    """`averages` over a field with the weights of a rule."""
    r = jnp.zeros_like(variance) if r is None else r
    phi, slope = transfer(field.x), transfer.slope(field.x)
    response = slope / (1 - r * slope)
    over_spread = jnp.stack([phi, phi**2, response, response**2]) @ weights

    def bend(x):
        return jax.jvp(transfer.slope, (x,), (jnp.ones_like(x),))[1]

    x = field.x_of_mean
    phi, slope = transfer(x), transfer.slope(x)
    bent, bent_twice = jax.jvp(bend, (x,), (jnp.ones_like(x),))
    D = 1 / (1 - r * slope)  # dx/dh
    R, R_h, R_hh = slope * D, bent * D**3, bent_twice * D**4 + 3 * r * bent**2 * D**5  # dphi/dh and its derivatives
    curvature = jnp.stack([R_h, 2 * (R**2 + phi * R_h), R_hh, 2 * (R_h**2 + R * R_hh)])
    near = jnp.stack([phi, phi**2, R, R**2]) + variance / 2 * curvature
    return Averages(*jnp.where(has_spread(variance), over_spread, near))
