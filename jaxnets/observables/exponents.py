"""How eigenvalues of a covariance fall with their rank n, as a power of n, and their values without noise."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int

from .._arguments import require, require_whole, vector
from .._results import Result
from ._series import Series, centred, product, require_varying, time_series


class RankExponent(Result):
    """The `value` of alpha, its window of ranks from `first` to `last`, and the `residual`; made by `rank_exponent`.

    `residual` is the root mean square of ln lambda_n about the line, with the weights of the fit.
    """

    value: Float[Array, ""]
    residual: Float[Array, ""]
    first: Int[Array, ""]
    last: Int[Array, ""]


def rank_exponent(eigenvalues: Float[ArrayLike, " n"], first: int, last: int) -> RankExponent:
    r"""The exponent with which the `eigenvalues` of a covariance fall with rank.

    $$ \ln \lambda_n \approx a - \alpha \ln n, \qquad n = \mathtt{first} \dots \mathtt{last} $$

    by least squares with weights 1 / n, which are uniform along the axis of ln n. Ranks count from 1, and eigenvalues
    are sorted. An exponent means little without its window: pixels of digits have 1.3 in ranks 3 to 30 and a layer that
    learned them 2.7. Eigenvalues of T samples are biased where T is of the order of the number of units: of 400 units
    with exponents .5, 1 and 2, ranks 5 to 50, T = 200 gives .39, .91 and 2.00, and T = 3200 .47, .99 and 2.00. Noise
    flattens the spectrum, so keep to ranks above it, or take those of `cross_validated_spectrum`; but not below
    noise / sqrt(T). NaN for eigenvalues in the window that are not positive.

    Raises `ValueError` unless ``eigenvalues`` is a 1-d array of finite numbers, and 1 <= `first` < `last` <= n.
    """
    values = vector("eigenvalues", eigenvalues)
    require("eigenvalues", values, np.isfinite, "finite numbers")
    require_whole("first", first)
    require_whole("last", last, least=first + 1)
    if last > values.shape[0]:
        raise ValueError(f"`last` must be at most {values.shape[0]}, the number of eigenvalues, got {last}")
    return _rank_exponent(values, first, last)


@partial(jax.jit, static_argnums=(1, 2))
def _rank_exponent(values: Float[Array, " n"], first: int, last: int) -> RankExponent:
    ranks = np.arange(first, last + 1)
    weights = 1 / ranks / np.sum(1 / ranks)
    x = np.log(ranks) - weights @ np.log(ranks)
    weights, x = (jnp.asarray(a, values.dtype) for a in (weights, x))
    falling = -jnp.sort(-values)[first - 1 : last]
    y = jnp.log(jnp.where(falling > 0, falling, jnp.nan))
    y = y - weights @ y
    slope = weights @ (x * y) / (weights @ x**2)
    residual = jnp.sqrt(weights @ (y - slope * x) ** 2)
    return RankExponent(-slope, residual, jnp.asarray(first), jnp.asarray(last))


def cross_validated_spectrum(
    x1: Float[ArrayLike, "T n"], x2: Float[ArrayLike, "T n"], *, centre: bool = True
) -> Float[Array, " k"]:
    r"""Variances along the principal directions that two recordings of the same inputs share.

    $$ \lambda_k = \frac1T \sum_t (v_k \cdot \delta x^{(1)}_t)\, (v_k \cdot \delta x^{(2)}_t) $$

    with v_k the principal directions of `x1`, by falling variance. Noise that is independent in the two repeats `x1`
    and `x2` adds nothing on average, so that values may be negative where there is nothing else. T inputs are the first
    axis, units the last; k is the smaller of T and n. `centre=False` takes the means of units to be 0.

    Raises `ValueError` unless both are (T, n) of one shape, finite, and `x1` varies. Source: Stringer et al. 2019
    (Nature 571, 361).
    """
    first, second = time_series("x1", x1), time_series("x2", x2)
    if np.ndim(x1) != 2 or np.shape(x1) != np.shape(x2):
        raise ValueError(f"`x1` and `x2` must have one shape (T, n), got {np.shape(x1)} and {np.shape(x2)}")
    require_varying("x1", first.x, centre)
    return _cross_validated(first, second, centre)


@partial(jax.jit, static_argnums=2)
def _cross_validated(first: Series, second: Series, centre: bool) -> Float[Array, " k"]:
    second = Series(*(part.astype(first.x.dtype) for part in second))
    a, b = (centred(series.x, centre)[:, 0] for series in (first, second))
    _, _, directions = jnp.linalg.svd(a, full_matrices=False)
    shared = jnp.mean(product(a, directions.T) * product(b, directions.T), axis=0)
    return first.in_unit(second.in_unit(shared, 1), 1)
