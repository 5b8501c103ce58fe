r"""Covariances of rates at many correlations of their inputs, each by the smallest quadrature that is enough.

`Transfer.covariance` averages over two inputs sqrt(C_0) (sqrt(c) z + sqrt(1 - c) u) of variance C_0 and correlation c,
which share z and have a u each. The trapezoid rule over u needs points in proportion to sqrt(C_0 (1 - c)). The average
over u, as a function of z, is the smoother the wider u. So where one average needs many points the other needs few.
"""

import functools
import itertools
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..._numerics import split_quadrature
from ...transfer import Transfer

# Standard deviations that a quadrature spans, from end to end.
_WIDTH = 18.0
# Spacing of the points in phi's argument: with tanh's poles at pi / 2 the rule errs by e^{-pi^2 / .4} = 2e-11.
_SPACING = 0.4
# The average over u may have e^{-23} = 1e-10 of its size left at the highest frequency that the points of z resolve.
_DIGITS = 23.0
# With 49 points averages of polynomials of low degree are right to rounding.
_FEWEST = 49
# Points of z and of u in a tile: of 801 nodes one tenth are points of incomplete tiles, and a tile fits in the cache.
_TILE = (49, 100)
# Parts of the nodes between two kinks, of u and of z: 50 and 100 by default, and no fewer. clip(x, -1, 1) has its C^phi
# to 1e-8 then.
_PER_OWN, _PER_SHARED, _FEWEST_BY_PIECES = 16, 8, 800

# Variance and mean of the inputs; None where they are centred, for which some phi have closed forms.
_Law = tuple[Float[Array, ""], Float[Array, ""] | None]


def covariances(
    transfer: Transfer,
    variance: Float[Array, ""],
    correlations: Float[np.ndarray, " C"],
    nodes: int,
    breaks: Float[Array, " d"] | None = None,
    mean: Float[Array, ""] | None = None,
) -> Float[Array, " C"]:
    """<phi phi> at each of the `correlations`, in rising or falling order, with `nodes` points where C_0 is all own.

    `breaks` are the kinks of phi, None if it is smooth. Inputs are centred if `mean` is None.
    """
    return _covariances((variance, mean), transfer, breaks, tuple(map(float, correlations)), nodes)


@eqx.filter_custom_jvp
def _covariances(
    law: _Law,
    transfer: Transfer,
    breaks: Float[Array, " d"] | None,
    correlations: tuple[float, ...],
    nodes: int,
) -> Float[Array, " C"]:
    return _values(law, transfer, breaks, correlations, nodes)


@_covariances.def_jvp
def _covariances_jvp(primals, tangents):
    # The slopes with the value: a reverse pass would go through the whole quadrature once more.
    (variance, mean), transfer, *rest = primals
    by_law, by_transfer = tangents[:2]
    if mean is None:
        at = lambda v: _values((v, None), transfer, *rest)
        value, slope = jax.jvp(at, (variance,), (jnp.ones_like(variance),))
        slopes = slope[:, None]
    else:
        at = lambda law: (_values((law[0], law[1]), transfer, *rest),) * 2
        slopes, value = jax.jacfwd(at, has_aux=True)(jnp.stack([variance, mean]))
    change = jnp.zeros_like(value)
    for k, tangent in enumerate(by_law):
        change = change if tangent is None else change + slopes[:, k] * tangent
    if jax.tree.leaves(by_transfer):
        at = lambda transfer: _values((variance, mean), transfer, *rest)
        moved = eqx.filter_jvp(at, (transfer,), (by_transfer,))[1]
        change = change if moved is None else change + moved
    return value, change


def _values(
    law: _Law,
    transfer: Transfer,
    breaks: Float[Array, " d"] | None,
    correlations: tuple[float, ...],
    nodes: int,
) -> Float[Array, " C"]:
    variance, mean = law
    if mean is not None and type(transfer).expected_product is not Transfer.expected_product:
        pair = lambda c: variance * jnp.stack([jnp.ones_like(c), c, c, jnp.ones_like(c)]).reshape(2, 2)
        at = lambda c: transfer.expected_product(jnp.stack([mean, mean]), pair(c))
        return jax.lax.map(at, jnp.asarray(correlations, variance.dtype))
    if mean is None and type(transfer).covariance is not Transfer.covariance:
        return _by_its_own_rule(variance, transfer, correlations, nodes)
    mean = jnp.zeros_like(variance) if mean is None else mean
    if breaks is None:
        return _by_tiles(variance, mean, transfer, _plan(correlations, nodes))
    at = lambda c: _between_kinks(variance, mean, transfer, c, breaks, nodes)
    return jax.lax.map(at, jnp.asarray(correlations, variance.dtype))


def _by_its_own_rule(
    variance: Float[Array, ""], transfer: Transfer, correlations: tuple[float, ...], nodes: int
) -> Float[Array, " C"]:
    alike = lambda c: int(np.log2(nodes / _points(c, nodes)[1]))
    found = []
    for _, group in itertools.groupby(correlations, alike):
        group = np.array([*group])
        shared, own = np.max([_points(c, nodes) for c in group], axis=0)
        at = lambda c, sizes=(int(shared), int(own)): transfer.covariance(variance, c, sizes)
        found.append(jax.lax.map(at, jnp.asarray(group, variance.dtype)))
    return jnp.concatenate(found)


# --- smooth functions -----------------------------------------------------------------------------------------


class _Plan(NamedTuple):
    """All points of all correlations, in tiles of one size, so that one small program takes them one by one.

    A tile has points `z` and `u` with `weights` of u, in standard deviations of x. Tiles of one `block` have the same
    points of z, whose <phi>_u is a sum over tiles. A block has `weights_of_z`, and belongs to a `correlation`.
    """

    z: Float[np.ndarray, "tiles m"]
    u: Float[np.ndarray, "tiles n"]
    weights: Float[np.ndarray, "tiles n"]
    block: np.ndarray
    weights_of_z: Float[np.ndarray, "blocks m"]
    correlation: np.ndarray


@functools.cache
def _plan(correlations: tuple[float, ...], nodes: int) -> _Plan:
    tiles, blocks = [], []
    for index, c in enumerate(correlations):
        (z, weights_of_z), (u, weights) = (_rule(n, size) for n, size in zip(_points(c, nodes), _TILE, strict=True))
        for some_z, some_weights_of_z in zip(z, weights_of_z, strict=True):
            for some_u, some_weights in zip(u, weights, strict=True):
                tiles.append((np.sqrt(c) * some_z, np.sqrt(1 - c) * some_u, some_weights, len(blocks)))
            blocks.append((some_weights_of_z, index))
    return _Plan(*map(np.array, zip(*tiles, strict=True)), *map(np.array, zip(*blocks, strict=True)))


def _rule(num: int, size: int) -> tuple[Float[np.ndarray, "tiles size"], Float[np.ndarray, "tiles size"]]:
    """Points and weights of the trapezoid rule, in rows; points that are left over have no weight."""
    z = np.linspace(-_WIDTH / 2, _WIDTH / 2, num)
    weights = np.exp(-(z**2) / 2)
    rest = (0, -num % size)
    return np.pad(z, rest).reshape(-1, size), np.pad(weights / np.sum(weights), rest).reshape(-1, size)


def _by_tiles(
    variance: Float[Array, ""], mean: Float[Array, ""], transfer: Transfer, plan: _Plan
) -> Float[Array, " C"]:
    def tile(_, at):
        z, u, weights = at
        return None, transfer(mean + jnp.sqrt(variance) * (z[:, None] + u[None])) @ weights

    tiles, weights_of_z = jax.tree.map(
        lambda a: jnp.asarray(a, variance.dtype), ((plan.z, plan.u, plan.weights), plan.weights_of_z)
    )
    sums = jax.lax.scan(tile, None, tiles)[1]
    given = _sum_by(sums, plan.block)
    return _sum_by(jnp.sum(weights_of_z * given**2, axis=1), plan.correlation)


def _sum_by(values: Float[Array, "n ..."], owner: np.ndarray) -> Float[Array, "k ..."]:
    return jax.ops.segment_sum(values, jnp.asarray(owner), int(owner[-1]) + 1, indices_are_sorted=True)


# --- functions with kinks --------------------------------------------------------------------------------------


def _between_kinks(
    variance: Float[Array, ""],
    mean: Float[Array, ""],
    transfer: Transfer,
    correlation: Float[Array, ""],
    breaks: Float[Array, " d"],
    nodes: int,
) -> Float[Array, ""]:
    """<phi phi> by Gauss-Legendre rules between kinks: of u given z, and of z, where <phi>_u bends next to kinks."""
    nodes = max(nodes, _FEWEST_BY_PIECES)
    at, shared, own = (breaks - mean) / jnp.sqrt(variance), jnp.sqrt(correlation), jnp.sqrt(1 - correlation)

    def given(z):
        u, weights = split_quadrature((at - shared * z) / own, nodes // _PER_OWN, _WIDTH / 2)
        return weights @ transfer(mean + jnp.sqrt(variance) * (shared * z + own * u))

    z, weights = split_quadrature(at / shared, nodes // _PER_SHARED, _WIDTH / 2)
    return weights @ jax.vmap(given)(z) ** 2


def _points(correlation: float, nodes: int) -> tuple[int, int]:
    """Points of z and of u for phi with its nearest poles at +-i pi/2, as tanh, and C_0 such that phi needs `nodes`.

    For smaller C_0 both are more than enough. The Fourier transform of the average over u, squared, falls as
    exp(-pi k / 2 - C_0 (1 - c) k^2 / 4): the highest k that counts sets the spacing of z.
    """
    deviation = _SPACING * nodes / _WIDTH
    shared, own = deviation * np.sqrt(correlation), deviation * np.sqrt(1 - correlation)
    k = 2 * _DIGITS / (np.pi / 2 + np.sqrt((np.pi / 2) ** 2 + _DIGITS * own**2))
    return max(_FEWEST, round(_WIDTH * shared * k / (2 * np.pi))), max(_FEWEST, round(nodes * np.sqrt(1 - correlation)))
