"""How signals propagate along depth: their size, their correlation, and the edge of chaos between order and chaos."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float

from .._arguments import nonnegative, require, require_instance, scalar
from .._numerics import Root, as_program, bisect, iterate, last_steps
from .._results import Result
from ..transfer import PiecewiseLinear, Transfer
from .statistics import unit_averages, unit_weights

_NODES = 201
_STEPS = 80  # of Newton's method; at a double root, as at the edge of chaos without biases, each halves the distance
_FOUND, _ACCEPTED = 8, 1e5  # roundings, where the search stops, and above which it has failed
_SILENT = 1e-12  # of the variance, below which signals have died out
# The largest variance of inputs at the edge of chaos, over 30 + 4 bias^2, with which tanh has it up to a bias of 6.
_WIDEST = 1.0


class Propagation(Result):
    """Fixed points of two signals along depth, and how many layers they take; made by `Layers.propagation`.

    `size` is the variance q of inputs to units, `correlation` that of two signals, the smallest fixed point. `chi` is
    the slope of the correlation at 1, infinite for functions with jumps, and `slope` the one at the fixed point.
    Distances from the fixed points fall by 1 / e in `size_depth` and `correlation_depth` layers, which is -1 / ln of
    their slopes, infinite at the edge of chaos.
    """

    size: Float[Array, ""]
    correlation: Float[Array, ""]
    chi: Float[Array, ""]
    slope: Float[Array, ""]
    size_depth: Float[Array, ""]
    correlation_depth: Float[Array, ""]
    residual: Float[Array, ""]
    converged: Bool[Array, ""]


@as_program
def propagation(transfer: Transfer, g: Float[Array, ""], bias: Float[Array, ""]) -> Propagation:
    eps = float(jnp.finfo(g.dtype).eps)
    law = transfer, g, bias
    # From above: the image of a bounded function is below, and Newton's method falls to the largest root.
    start = jax.lax.stop_gradient(g**2 + bias**2)
    size, _ = iterate(_size_step, start, jax.lax.stop_gradient(law), _FOUND * eps, _STEPS)
    size, miss = last_steps(_size_step, size, law, num_steps=1, unroll=True)
    silent = ~(size > _SILENT * start)
    some = jnp.where(silent, jnp.ones_like(size), size)
    _, size_slope = _next_size(jnp.where(silent, _SILENT * start, size), transfer, g, bias)

    pair = (*law, some)
    # The map has a Taylor series with terms >= 0 and is convex, so that the search from 0 rises to the smallest root.
    correlation, _ = iterate(_pair_step, jnp.zeros_like(size), jax.lax.stop_gradient(pair), _FOUND * eps, _STEPS)
    correlation, pair_miss = last_steps(_pair_step, correlation, pair, num_steps=1, unroll=True)
    correlation = jnp.where(silent, 1, jnp.clip(correlation, 0, 1))
    chi = g**2 * _square_slope(transfer, jnp.where(silent, _SILENT * start, size))
    slope = jnp.where(silent | (correlation >= 1), chi, _next_correlation(correlation, *pair)[1])

    residual = jnp.maximum(miss, jnp.where(silent, 0, pair_miss))
    found = (size >= -_ACCEPTED * eps * start) & (residual <= _ACCEPTED * eps)
    depth = lambda slope: jnp.abs(1 / jnp.log(jnp.minimum(jnp.abs(slope), 1)))
    known = lambda x: jnp.where(found, x, jnp.nan)
    return Propagation(
        known(jnp.where(silent, 0, size)),
        known(correlation),
        known(chi),
        known(slope),
        known(depth(size_slope)),
        known(depth(slope)),
        jax.lax.stop_gradient(residual),
        found,
    )


def _next_size(q, transfer, g, bias):
    """g^2 <phi^2> + bias^2, and its slope by q."""
    of = lambda q: g**2 * transfer.expected_square(jnp.zeros_like(q), q, _NODES) + bias**2
    return jax.jvp(of, (q,), (jnp.ones_like(q),))


def _size_step(q, law):
    """Newton's step towards q = q', whose miss is relative to the start of the search."""
    transfer, g, bias = law
    least = _SILENT**2 * (g**2 + bias**2)
    image, slope = _next_size(jnp.maximum(q, least), transfer, g, bias)
    miss = jnp.abs(q - image) / jnp.maximum(g**2 + bias**2, jnp.finfo(q.dtype).tiny)
    return q - (q - image) / (1 - slope), miss


def _next_correlation(c, transfer, g, bias, q):
    """c' and its slope by c (Price 1958)."""
    F, _, B = unit_averages(transfer, jnp.maximum(c, 0) * q, (1 - jnp.minimum(c, 1)) * q, _NODES)
    weights = unit_weights(_NODES, q.dtype)
    return (g**2 * (weights @ F**2) + bias**2) / q, g**2 * (weights @ B**2)


def _pair_step(c, pair):
    image, slope = _next_correlation(c, *pair)
    step = (image - c) / (1 - slope)
    # Beyond the minimum of c' - c there is no root below 1 but 1 itself.
    return jnp.where((slope < 1) & (c + step < 1), c + step, 1), jnp.abs(image - c)


def _square_slope(transfer, q):
    """<phi'^2>, infinite with jumps."""
    value = transfer.slope_law(jnp.zeros_like(q), q).moment(2)
    if not isinstance(transfer, PiecewiseLinear):
        return value
    return jnp.where(jnp.any(jumps(transfer) != 0), jnp.inf, value)


def jumps(transfer: PiecewiseLinear) -> Float[Array, " d"]:
    """The jumps at the breaks, 0 at kinks."""
    return jnp.diff(transfer.slopes) * transfer.breaks + jnp.diff(transfer.intercepts)


def edge_of_chaos(transfer: Transfer, bias: Float[ArrayLike, ""] = 0.0) -> Root:
    r"""The strength g of weights at which signals neither come together nor part along depth.

    $$ g^2 \langle \phi'^2 \rangle_q = 1, \qquad q = g^2 \langle \phi^2 \rangle_q + b^2 $$

    with b the standard deviation `bias` of biases. There `Layers.propagation` has chi = 1, and signals pass through any
    number of layers. It is 1 for tanh without biases. Differentiable and vmappable. Valid for bounded functions without
    jumps, where q - <phi^2> / <phi'^2> rises with q; not converged where there is no such q up to 30 + 4 b^2, as for
    `ReLU`, whose signals grow without end but at g = sqrt(2) and b = 0. Residuals are relative to q.

    Raises `ValueError` unless `transfer` is a transfer function and `bias` a number >= 0. Source: Poole et al. 2016
    (arXiv 1606.05340); Schoenholz et al. 2017 (arXiv 1611.01232).
    """
    require_instance("transfer", transfer, Transfer, "a function of `jaxnets.transfer`")
    bias = scalar("bias", bias)
    require("bias", bias, nonnegative, "a finite number >= 0")
    return _edge_of_chaos(transfer, bias)


@as_program
def _edge_of_chaos(transfer: Transfer, bias: Float[Array, ""]) -> Root:
    least = bias**2
    ends = least, _WIDEST * (30 + 4 * least)
    q = sum(bisect(_is_below_edge, *ends, (transfer, bias))) / 2
    q, miss = last_steps(_edge_step, q, (transfer, bias), num_steps=1, unroll=True)
    # Without biases, functions through 0 have the edge where signals vanish.
    zero = jnp.zeros_like(bias)
    silent = (bias == 0) & (transfer(zero) == 0)
    g2 = 1 / jnp.where(silent, transfer.slope(zero) ** 2, _square_slope(transfer, jnp.where(silent, 1, q)))
    miss = jnp.where(silent, 0, miss)
    converged = silent & (transfer.slope(zero) != 0) | ~silent & (q < 0.999 * ends[1]) & (miss < 1e-8) & (g2 > 0)
    return Root(jnp.where(converged, jnp.sqrt(g2), jnp.nan), jax.lax.stop_gradient(miss), converged)


def _above_edge(q, law):
    """q - bias^2 - <phi^2> / <phi'^2>, positive above the edge."""
    transfer, bias = law
    return q - bias**2 - transfer.expected_square(jnp.zeros_like(q), q, _NODES) / _square_slope(transfer, q)


def _is_below_edge(q, law):
    return _above_edge(q, law) < 0


def _edge_step(q, law):
    value, slope = jax.jvp(lambda q: _above_edge(q, law), (q,), (jnp.ones_like(q),))
    return q - value / slope, jnp.abs(value / q)
