r"""Gaussian averages of the rates of one type: <phi>, <phi^2>, and C^phi as a function of the correlation of inputs.

$$ C^\phi(\rho) = \langle \phi^2 \rangle - (1 - \rho)\, G(\theta), \qquad \cos\theta = \rho, \qquad
   \frac{dC^\phi}{d\rho} = G + \tan\frac\theta2 \frac{dG}{d\theta} $$

In the angle theta C^phi is smooth up to rho = 1 also where phi has kinks (of ReLU: sin theta + (pi - theta) cos theta).
So a Chebyshev series of G in theta serves every phi without jumps.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..._numerics import as_program, chebyshev, gaussian_quadrature, split_quadrature
from ..._numerics.host import namespace, on_host
from ...transfer import Transfer
from ..unit.covariances import covariances
from .problem import Functions, Problem

# Terms of G: tanh at C_0 = 71 (g = 10) leaves 1e-8 in the last.
TERMS = 40
# Parts of the nodes between two kinks.
_PER_PIECE = 4
_WIDTH = 9.0
# Below this 1 - rho the angle is 0, so that derivatives of the square root stay finite.
_SAME = 1e-30


class Rates(NamedTuple):
    """Averages of K types: <phi>, <phi^2>, the series of G, and derivatives of all by (variance, mean) of the input."""

    rate: Float[Array, " K"]
    power: Float[Array, " K"]
    series: Float[Array, "K k"]
    slopes: Float[Array, "K k+2 2"]

    @property
    def beta(self) -> Float[Array, " K"]:
        """<phi'>, the derivative of <phi> by the mean."""
        return self.slopes[:, 0, 1]


class Product(NamedTuple):
    """C^phi at lags, and its derivatives at fixed lags: by C(tau), by C(0) and by the mean."""

    value: Float[Array, "K T"]
    by_lag: Float[Array, "K T"]
    by_variance: Float[Array, "K T"]
    by_mean: Float[Array, "K T"]


def rates(problem: Problem, variance: Float[Array, " K"], mean: Float[Array, " K"], nodes: int) -> Rates:
    """The averages at variances C(0) and means of the inputs, with `nodes` points; on the host if these are there."""
    laws = namespace(mean).stack([variance, mean], axis=1)
    if namespace(mean) is np:
        return on_host(_alone(problem.functions, laws, nodes))
    return _rates(problem.functions, laws, nodes)


def _rates(functions: Functions, laws: Float[Array, "K 2"], nodes: int) -> Rates:
    def of(transfer, breaks, law):
        value = lambda law: (facts(transfer, breaks, law[0], law[1], nodes),) * 2
        slopes, found = jax.jacfwd(value, has_aux=True)(law)
        return found, slopes

    found, slopes = functions.of_types(of, laws)
    return Rates(found[:, 0], found[:, 1], found[:, 2:], slopes)


_alone = as_program(_rates)


def rates_alone(problem: Problem, variance: Float[Array, " K"], mean: Float[Array, " K"], nodes: int) -> Rates:
    """As `rates`, without the derivatives."""
    of = lambda transfer, breaks, law: facts(transfer, breaks, law[0], law[1], nodes)
    found = problem.functions.of_types(of, jnp.stack([variance, mean], axis=1))
    return Rates(found[:, 0], found[:, 1], found[:, 2:], jnp.zeros((*found.shape, 2), found.dtype))


def facts(
    transfer: Transfer,
    breaks: Float[Array, " d"] | None,
    variance: Float[Array, ""],
    mean: Float[Array, ""],
    nodes: int,
) -> Float[Array, " k+2"]:
    """<phi>, <phi^2> and the series of G."""
    z, weights = rule(breaks, variance, mean, nodes)
    phi = transfer(mean + jnp.sqrt(variance) * z)
    rate, power = weights @ phi, weights @ phi**2
    grid = chebyshev.grid(TERMS)
    correlations = np.cos(np.pi / 2 * grid.nodes)
    C = covariances(transfer, variance, correlations, nodes, breaks, mean)
    G = (power - C) / jnp.asarray(2 * np.sin(np.pi / 4 * grid.nodes) ** 2, power.dtype)
    return jnp.concatenate([jnp.stack([rate, power]), jnp.asarray(grid.series, power.dtype) @ G])


def rule(breaks: Float[Array, " d"] | None, variance: Float[Array, ""], mean: Float[Array, ""], nodes: int):
    """Points of a standard normal variable and weights, for functions of x = mean + sd z that bend at the breaks."""
    if breaks is None:
        z, weights = gaussian_quadrature(nodes, width=_WIDTH)
        return z.astype(variance.dtype), weights.astype(variance.dtype)
    return split_quadrature((breaks.astype(variance.dtype) - mean) / jnp.sqrt(variance), nodes // _PER_PIECE, _WIDTH)


def product(of: Rates, c: Float[Array, "K T"], variance: Float[Array, " K"]) -> Product:
    """C^phi where the inputs have covariances c."""
    xp = namespace(c)
    apart, half, basis = _basis(c / variance[:, None])
    grid = chebyshev.grid(TERMS)
    slope = xp.asarray(np.pad(grid.slope, ((0, 1), (0, 0))) @ np.linalg.inv(grid.series), c.dtype)
    on = lambda series: xp.einsum("kn,nkt->kt", series, basis)
    G, G_t = on(of.series), on(of.series @ slope.T)
    by_rho = G + xp.tan(half) * (2 / np.pi) * G_t
    moved = [of.slopes[:, 1, d][:, None] - apart * on(of.slopes[:, 2:, d]) for d in range(2)]
    return Product(
        value=of.power[:, None] - apart * G,
        by_lag=by_rho / variance[:, None],
        by_variance=moved[0] - by_rho * (1 - apart) / variance[:, None],
        by_mean=moved[1],
    )


def fluctuations(series: Float[Array, "K q k"], rho: Float[Array, "K T"]) -> Float[Array, "K q T"]:
    """C^phi at correlations of inputs, less its value without correlation, by the series of q units of each type."""
    apart, _, basis = _basis(rho)
    # Every polynomial is 1 at rho = 0.
    return jnp.sum(series, axis=-1)[..., None] - apart[:, None] * jnp.einsum("kqn,nkt->kqt", series, basis)


def _basis(rho: Float[Array, "K T"]) -> tuple[Float[Array, "K T"], Float[Array, "K T"], Float[Array, "k K T"]]:
    """1 - rho, half of the angle, and the polynomials of the series of G."""
    xp = namespace(rho)
    apart = 1 - xp.clip(rho, 0, 1)
    differ = apart > _SAME
    half = xp.arcsin(xp.sqrt(xp.where(differ, apart, 1) / 2)) * differ.astype(rho.dtype)
    return apart, half, chebyshev.basis(TERMS, xp.clip(4 / np.pi * half, 0, 1))


def series_tail(of: Rates) -> Float[Array, ""]:
    """The last coefficients of (1 - rho) G, over the largest of G: the error of C^phi by its series.

    Next to rho = 1 the errors of quadratures are divided by 1 - rho in G, and C^phi has them without it.
    """
    xp, grid = namespace(of.series), chebyshev.grid(TERMS)
    apart = grid.series @ (2 * np.sin(np.pi / 4 * grid.nodes[:, None]) ** 2 * np.linalg.inv(grid.series))
    of_covariance = abs(of.series @ xp.asarray(apart.T, of.series.dtype))
    largest = xp.maximum(abs(of.series).max(1), xp.finfo(of.series.dtype).tiny)
    return (of_covariance[:, -2:].max(1) / largest).max()


def power_error(problem: Problem, of: Rates, variance: Float[Array, " K"], mean: Float[Array, " K"], nodes: int):
    """By how much half of the points change <phi^2>, relative to it."""
    laws = namespace(mean).stack([variance, mean], axis=1)
    if namespace(mean) is np:
        return abs(np.asarray(_powers_alone(problem.functions, laws, nodes // 2 + 1)) / of.power - 1).max()
    return jnp.max(jnp.abs(_powers(problem.functions, laws, nodes // 2 + 1) / of.power - 1))


def _powers(functions: Functions, laws: Float[Array, "K 2"], nodes: int) -> Float[Array, " K"]:
    def of(transfer, breaks, law):
        z, weights = rule(breaks, law[0], law[1], nodes)
        return weights @ transfer(law[1] + jnp.sqrt(law[0]) * z) ** 2

    return functions.of_types(of, laws)


_powers_alone = as_program(_powers)
