"""What is averaged over the units of a layer, and the averages over Gaussian inputs that theory takes for it."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._numerics import gaussian_quadrature
from .._results import Result
from ..transfer import Transfer


class LayerStatistics(Result, axes={"L": "layer"}):
    r"""Averages over the units of each layer, of means m_i and covariances C_ij over inputs; made by `recursion`.

    $$ Q = \langle m_i^2 \rangle, \quad K_1 = \langle C_{ii} \rangle, \quad K_2 = \langle C_{ii}^2 \rangle, \quad
       S = \frac1N \sum_{i \ne j} C_{ij}^2, \qquad
       \frac{\mathrm{PR}}{N} = \frac{(\operatorname{tr} C)^2}{N \operatorname{tr} C^2} = \frac{K_1^2}{K_2 + S} $$

    `mean_square` is Q, `variance` K_1, `variance_square` K_2, `off_diagonal` S, and `dimension` PR / N.
    """

    mean_square: Float[Array, " L"]
    variance: Float[Array, " L"]
    variance_square: Float[Array, " L"]
    off_diagonal: Float[Array, " L"]
    dimension: Float[Array, " L"]


def statistics(m1, m2, C1, C2) -> LayerStatistics:
    """Of one layer, from two estimates of its means and covariances."""
    n = len(m1)
    own1, own2 = jnp.diagonal(C1), jnp.diagonal(C2)
    squares, variances = jnp.sum(C1 * C2) / n, jnp.mean(own1 * own2)
    traces = jnp.mean(own1) * jnp.mean(own2)
    return LayerStatistics(
        jnp.mean(m1 * m2), jnp.mean(own1 + own2) / 2, variances, squares - variances, traces / squares
    )


def unit_weights(nodes: int, dtype) -> Float[Array, " nodes"]:
    """Weights of the units at which `unit_averages` are."""
    return gaussian_quadrature(nodes, width=9.0)[1].astype(dtype)


def unit_averages(transfer: Transfer, spread: Float[Array, ""], own: Float[Array, ""], nodes: int):
    """<phi>, <phi^2> - <phi>^2 and <phi'> at inputs of variance `own`, for units with means of the variance `spread`.

    The slope is the derivative of the first by the mean, so that it counts jumps.
    """
    u = gaussian_quadrature(nodes, width=9.0)[0].astype(own.dtype)
    # Its derivative at 0 is right for means that stay 0, those of odd functions without biases.
    some = spread > 0
    means = jnp.where(some, jnp.sqrt(jnp.where(some, spread, 1)), 0) * u

    def unit(mean):
        F, B = jax.jvp(lambda mean: transfer.expected(mean, own, nodes), (mean,), (jnp.ones_like(mean),))
        return F, transfer.expected_square(mean, own, nodes) - F**2, B

    return jax.vmap(unit)(means)
