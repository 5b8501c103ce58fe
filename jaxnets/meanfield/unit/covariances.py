r"""Covariances of rates at many correlations of their inputs, each by the smallest quadrature that is enough.

`Transfer.covariance` averages over two inputs sqrt(C_0) (sqrt(c) z + sqrt(1 - c) u) of variance C_0 and correlation c,
which share z and have a u each. The trapezoid rule over u needs points in proportion to sqrt(C_0 (1 - c)). The average
over u, as a function of z, is the smoother the wider u. So where one average needs many points the other needs few.
"""

import functools
import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...transfer import Transfer

# Standard deviations that a quadrature spans, from end to end.
_WIDTH = 18.0
# Spacing of the points in phi's argument: with tanh's poles at pi / 2 the rule errs by e^{-pi^2 / .4} = 2e-11.
_SPACING = 0.4
# The average over u may have e^{-23} = 1e-10 of its size left at the highest frequency that the points of z resolve.
_DIGITS = 23.0
# With 49 points averages of polynomials of low degree are right to rounding.
_FEWEST = 49


def covariances(
    transfer: Transfer, variance: Float[Array, ""], correlations: Float[np.ndarray, " C"], nodes: int
) -> Float[Array, " C"]:
    """<phi phi> at each of the `correlations`, in rising or falling order, with `nodes` points where C_0 is all own."""
    alike = lambda c: int(np.log2(nodes / _points(c, nodes)[1]))
    found = []
    for _, group in itertools.groupby(correlations, alike):
        group = np.array([*group])
        shared, own = np.max([_points(c, nodes) for c in group], axis=0)
        at = lambda c, sizes=(int(shared), int(own)): _covariance(variance, transfer, c, sizes)
        found.append(jax.lax.map(at, jnp.asarray(group, variance.dtype)))
    return jnp.concatenate(found)


def _points(correlation: float, nodes: int) -> tuple[int, int]:
    """Points of z and of u for phi with its nearest poles at +-i pi/2, as tanh, and C_0 such that phi needs `nodes`.

    For smaller C_0 both are more than enough. The Fourier transform of the average over u, squared, falls as
    exp(-pi k / 2 - C_0 (1 - c) k^2 / 4): the highest k that counts sets the spacing of z.
    """
    deviation = _SPACING * nodes / _WIDTH
    shared, own = deviation * np.sqrt(correlation), deviation * np.sqrt(1 - correlation)
    k = 2 * _DIGITS / (np.pi / 2 + np.sqrt((np.pi / 2) ** 2 + _DIGITS * own**2))
    return max(_FEWEST, round(_WIDTH * shared * k / (2 * np.pi))), max(_FEWEST, round(nodes * np.sqrt(1 - correlation)))


@eqx.filter_custom_jvp
def _covariance(
    variance: Float[Array, ""], transfer: Transfer, correlation: Float[Array, ""], nodes: tuple[int, int]
) -> Float[Array, ""]:
    return transfer.covariance(variance, correlation, nodes)


@_covariance.def_jvp
def _covariance_jvp(primals, tangents):
    # The slope with the value: a reverse pass would go through the whole quadrature once more.
    variance, transfer, correlation, nodes = primals
    by_variance, *others = tangents[:3]
    at = lambda v, transfer, correlation: transfer.covariance(v, correlation, nodes)
    value, slope = jax.jvp(lambda v: at(v, transfer, correlation), (variance,), (jnp.ones_like(variance),))
    change = jnp.zeros_like(value) if by_variance is None else slope * by_variance
    if jax.tree.leaves(others):
        change += eqx.filter_jvp(functools.partial(at, variance), (transfer, correlation), tuple(others))[1]
    return value, change
