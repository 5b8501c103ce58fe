r"""Covariances of rates for Gaussian inputs to all units, of any covariance: Mehler's series.

$$ \operatorname{cov}(\phi(x_i), \phi(x_j)) = \sum_{k \ge 1} c_{ik} c_{jk} \rho_{ij}^k, \qquad
   c_{ik} = \Big\langle \phi(\bar x_i + \sqrt{D_{ii}}\, z)\, \frac{\mathrm{He}_k(z)}{\sqrt{k!}} \Big\rangle_z $$

with rho the correlations of the inputs, whose covariance is D. Most correlations in a network are small, and few terms
do. A unit's own variance is taken from phi^2.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from .._arguments import real_array, require, require_instance, require_whole
from .._numerics import as_program, gaussian_quadrature, split_quadrature
from .._results import Result
from ..transfer import Linear, PiecewiseLinear, ReLU, Transfer, as_piecewise_linear
from .statistics import LayerStatistics, statistics

_NODES = 201  # of the trapezoid rule; with 24 Hermite functions of tanh, right to 1e-10 at a standard deviation of 4
_SPLIT_NODES = 48  # of each line of a function made of lines: 24 Hermite functions over nine deviations, to 1e-9


class RateCovariance(Result, axes={"n": "unit"}):
    """The `mean` and `covariance` of rates, and the largest `error` of an entry; made by `rate_covariance`."""

    mean: Float[Array, " n"]
    covariance: Float[Array, "n n"]
    error: Float[Array, ""]


class Closure(Result, axes={"L": "layer", "n": "unit"}):
    """`means` and `covariances` of all layers, their `statistics`, and the largest `error` of an entry of each series.

    Made by `FeedForward.closure`.
    """

    means: Float[Array, "L n"]
    covariances: Float[Array, "L n n"]
    statistics: LayerStatistics
    error: Float[Array, " L"]


def rate_covariance(
    transfer: Transfer, mean: Float[ArrayLike, " n"], covariance: Float[ArrayLike, "n n"], *, terms: int = 24
) -> RateCovariance:
    r"""The mean and covariance of the rates phi(x_i) of Gaussian inputs x of this `mean` and `covariance`.

    The series of the module, of so many `terms`. The error of an entry is at most |rho|^(terms + 1) times the
    variances that are left, and the largest of these bounds is the `error`. `transfer` is analytic, or made of lines:
    a function of another kind with kinks has less exact averages.

    Raises `ValueError` for arrays that do not fit or are not finite, variances that are not positive, and `terms` that
    are not a whole number from 1 to 40. Source: Mehler 1866.
    """
    require_instance("transfer", transfer, Transfer, "a function of `jaxnets.transfer`")
    require_whole("terms", terms)
    mean, covariance = real_array("mean", mean), real_array("covariance", covariance)
    if terms > 40:
        raise ValueError(f"`terms` must be at most 40, beyond which Hermite functions lose their digits, got {terms}")
    if mean.ndim != 1 or covariance.shape != (*mean.shape, *mean.shape):
        raise ValueError(f"`mean` and `covariance` must be (n,) and (n, n), got {mean.shape} and {covariance.shape}")
    for name, value in (("mean", mean), ("covariance", covariance)):
        require(name, value, np.isfinite, "finite")
    require("covariance", covariance, lambda C: np.all(np.diag(C) > 0), "of positive variances")
    return _rate_covariance(transfer, mean.astype(covariance.dtype), covariance, terms)


@as_program
def _rate_covariance(transfer: Transfer, mean, covariance, terms: int) -> RateCovariance:
    variances = jnp.diagonal(covariance)
    spread = jnp.sqrt(variances)
    rates = jax.vmap(transfer.expected)(mean, variances)
    own = jax.vmap(transfer.expected_square)(mean, variances) - rates**2
    coefficients = _coefficients(transfer, mean, spread, terms)
    correlation = covariance / (spread[:, None] * spread[None])

    def add(carry, row):
        total, power = carry
        power = power * correlation
        return (total + power * (row[:, None] * row[None]), power), None

    start = jnp.zeros_like(correlation), jnp.ones_like(correlation)
    (total, power), _ = jax.lax.scan(add, start, coefficients)
    left = jnp.sqrt(jnp.maximum(own - jnp.sum(coefficients**2, 0), 0))
    diagonal = jnp.eye(len(mean), dtype=bool)
    missing = jnp.where(diagonal, 0, jnp.abs(power * correlation) * (left[:, None] * left[None]))
    return RateCovariance(rates, jnp.where(diagonal, own[:, None], total), jnp.max(missing))


def _coefficients(transfer: Transfer, mean, spread, terms: int) -> Float[Array, "terms n"]:
    """c_k of all units, by steps of k."""
    if isinstance(transfer, PiecewiseLinear | ReLU | Linear):
        breaks = as_piecewise_linear(transfer).breaks.astype(mean.dtype)
        rule = lambda m, s: split_quadrature((breaks - m) / s, _SPLIT_NODES)
        z, weights = jax.vmap(rule)(mean, spread)
    else:
        z, weights = (x.astype(mean.dtype)[None] for x in gaussian_quadrature(_NODES, width=9.0))
    weighted = weights * transfer(mean[:, None] + spread[:, None] * z)
    steps = jnp.sqrt(jnp.arange(1, terms + 1, dtype=mean.dtype))

    def hermite(carry, root):
        """z h_k = sqrt(k + 1) h_{k+1} + sqrt(k) h_{k-1}."""
        before, here, last = carry
        after = (z * here - last * before) / root
        return (here, after, root), jnp.sum(weighted * after, axis=1)

    zero = jnp.zeros_like(z)
    return jax.lax.scan(hermite, (zero, jnp.ones_like(z), jnp.zeros((), mean.dtype)), steps)[1]


@as_program
def propagated(transfer: Transfer, weights, biases, covariance, mean, terms: int) -> Closure:
    """The closure of all layers."""

    def layer(at, row):
        mean, covariance = at
        W, bias = row
        product = lambda a, b: jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)
        found = _rate_covariance(transfer, W @ mean + bias, product(product(W, covariance), W.T), terms)
        numbers = statistics(found.mean, found.mean, found.covariance, found.covariance)
        return (found.mean, found.covariance), (found, numbers)

    found, numbers = jax.lax.scan(layer, (mean, covariance), (weights, biases))[1]
    return Closure(found.mean, found.covariance, numbers, found.error)
