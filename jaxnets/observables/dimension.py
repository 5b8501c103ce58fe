r"""The dimension of activity: participation ratio of its covariance, and its principal components.

The covariance of a finite record is noisy, and the noise adds up in tr C^2: for Gaussian activity with the correlation
time T_2 = int (C(tau) / C(0))^2 dtau, a record of length T gives 1 / PR + T_2 / T in place of 1 / PR, whatever n is.
Products over independent pieces of the activity have no such bias. With the second moments M_a = <x x^T> and the means
m_a of the pieces a, and averages [ ] over all choices of different pieces,

$$ \operatorname{tr} C^2 = [\operatorname{tr} M_a M_b] - 2 [m_a^T M_b m_c] + [m_a^T m_b\, m_c^T m_d], \qquad
   (\operatorname{tr} C)^2 = [\operatorname{tr} M_a \operatorname{tr} M_b] - 2 [\operatorname{tr} M_a\, m_b^T m_c]
   + [m_a^T m_b\, m_c^T m_d] $$

Both are independent of the origin of x. Where n units are a random part of N, averages over the diagonal and over the
rest of C have no bias, and give both traces of the whole population,

$$ \operatorname{tr} C_N^2 = \frac{N}{n} \sum_i C_{ii}^2 + \frac{N (N - 1)}{n (n - 1)} \sum_{i \ne j} C_{ij}^2,
   \qquad (\operatorname{tr} C_N)^2 = \frac{N}{n} \sum_i C_{ii}^2
   + \frac{N (N - 1)}{n (n - 1)} \sum_{i \ne j} C_{ii} C_{jj} . $$

The pieces are blocks of the trajectories. Between two blocks of one trajectory, a gap of three correlation times is
left out: for C = exp(-|tau| / T_2), B blocks of length L >> T_2 then bias 1 / PR by e^{-6} T_2^2 / (2 L^2 B). Of a
record of length T from each of K trajectories, gaps take a part 3 T_2 B / T, and pairs of a piece with itself take 1 /
(K B) of all pairs. The sum of both is least at B = sqrt(T / (3 T_2 K)), which is the number of blocks.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from .._arguments import require_whole
from .._numerics import is_concrete
from .._results import Result
from ._series import (
    Series,
    centred,
    in_samples,
    product,
    require_varying,
    sampling_interval,
    time_series,
    transposed_hint,
)
from .covariances import correlation_time as correlation_time_of

# The error that comes from B pieces has itself the relative error 1 / sqrt(2 (B - 1)), 24% here. The averages over four
# different pieces, with one left out, need five at least.
_FEWEST_PIECES = 10

# Correlation times between two blocks of one trajectory: see the bias at the head of the module.
_GAP = 3


class DimensionEstimate(Result):
    """The participation ratio of activity: its `value`, and the standard `error` of the value.

    NaN for activity that is the same at all times.
    """

    value: Float[Array, ""]
    error: Float[Array, ""]


class PrincipalComponents(Result, axes={"num": "component", "n": "unit"}):
    """Orthonormal `directions`, one a column, with falling `variances`, and the `explained` part of all variance."""

    variances: Float[Array, " num"]
    directions: Float[Array, "n num"]
    explained: Float[Array, " num"]


def participation_ratio(
    x: Float[ArrayLike, "time *trajectories n"],
    interval: Float[ArrayLike, ""],
    *,
    unbiased: bool = True,
    correlation_time: Float[ArrayLike, ""] | None = None,
    centre: bool = True,
    population_size: int | None = None,
) -> Float[Array, ""]:
    r"""The participation ratio of activity, from 1 to n.

    $$ \mathrm{PR} = \frac{(\operatorname{tr} C)^2}{\operatorname{tr} C^2}, \qquad
       C_{ij} = \langle \delta x_i(t)\, \delta x_j(t) \rangle $$

    This is the value of `dimension_estimate`. If not `unbiased`, the covariance of the samples is taken as it is, and
    the ratio is too low: 1 / PR is too high by the correlation time over the length of the record. It is also the ratio
    of these n units; with `population_size` it belongs to all units, of which these are a random part.

    Raises:
        ValueError: as `dimension_estimate`, for constant activity, and for a ``population_size`` without ``unbiased``.
    """
    if unbiased:
        options = {"correlation_time": correlation_time, "centre": centre, "population_size": population_size}
        return dimension_estimate(x, interval, **options).value
    if population_size is not None:
        raise ValueError(
            "`population_size` must be None with `unbiased=False`: noise of the record would count as pairs"
        )
    x = time_series("x", x).x
    sampling_interval(interval, x.dtype)
    require_varying("x", x, centre)
    return _plain(x, centre)


@partial(jax.jit, static_argnums=1)
def _plain(x: Float[Array, "time trajectories n"], centre: bool) -> Float[Array, ""]:
    samples = centred(x, centre).reshape(-1, x.shape[-1])
    return jnp.sum(samples**2) ** 2 / _gram_squared(samples)


def dimension_estimate(
    x: Float[ArrayLike, "time *trajectories n"],
    interval: Float[ArrayLike, ""],
    *,
    correlation_time: Float[ArrayLike, ""] | None = None,
    centre: bool = True,
    population_size: int | None = None,
) -> DimensionEstimate:
    r"""The participation ratio of stationary activity, and its error by the jackknife over pieces of the record.

    $$ \mathrm{PR} = \frac{(\operatorname{tr} C)^2}{\operatorname{tr} C^2} $$

    Products over independent pieces of the trajectories of one network make both traces unbiased (see the module), and
    the jackknife removes the first bias of their ratio. Valid for stationary activity; where C is so isotropic that PR
    is near n, the error is too large, by sqrt(2) at most.

    `interval` is the time between samples, and `correlation_time` is T_2 in the same unit. Too long a correlation time
    costs data only. If it is None, the function `correlation_time` measures it, for which `x` must be known; so it must
    be given under `jit` and `vmap`. `centre=False` takes the mean to be zero. The estimate costs as much as the
    covariance matrix, or the products between all samples if these are fewer than 2 n.

    With `population_size` N the n units are a random part of N, and the result is the ratio of all N: averages over
    pairs of units replace sums (see the module), a jackknife over units removes the first bias of their ratio, and its
    scatter adds to the error. Where PR is far above n, n units say little, and the error says so; there it is too
    large, by sqrt(2) at most. Units that do not vary count as silent ones of the population, and a warning names them.

    Raises:
        ValueError: if ``x`` is not (time, ..., n) or not finite, ``interval`` or ``correlation_time`` is not positive,
            the record has no 10 pieces of a correlation time each, three apart, or ``population_size`` is not a whole
            number >= n with n >= 3.

    Source: for the jackknife, B. Efron and C. Stein, Annals of Statistics 9, 586 (1981).
    """
    x = time_series("x", x).x
    if population_size is not None:
        require_whole("population_size", population_size, least=x.shape[2])
        if x.shape[2] < 3:
            raise ValueError(f"`x` must have 3 units or more to speak for {population_size}, got {x.shape[2]}")
        require_varying("x", x, centre, all_units=True)
    if correlation_time is None:
        if not is_concrete(x, interval):
            raise ValueError("`correlation_time` must be given under `jit` and `vmap`: it sets the length of blocks")
        with jax.ensure_compile_time_eval():
            correlation_time = float(correlation_time_of(x, interval, centre=centre))
        if math.isnan(correlation_time):
            hint = transposed_hint("x", x)
            raise ValueError(f"`x` must vary, got the same values at all times, to rounding{hint}")
    decay = in_samples("correlation_time", correlation_time, interval)
    if decay == 0:
        raise ValueError("`correlation_time` must be a finite number > 0, got 0")
    num, length, gap = _blocks(x.shape[0], x.shape[1], decay, transposed_hint("x", x))
    population = None if population_size is None else jnp.asarray(np.asarray(population_size, x.dtype))
    return _from_blocks(x, population, num, length, gap, centre)


def principal_components(
    x: Float[ArrayLike, "time *trajectories n"], *, num_components: int | None = None
) -> PrincipalComponents:
    r"""The principal components of the samples about their mean, by a singular value decomposition.

    $$ C = \sum_k \lambda_k v_k v_k^T, \qquad \lambda_1 \ge \lambda_2 \ge \dots $$

    If `num_components` is None, all are kept: as many as the smaller of n and the number of samples. Variances are
    divided by the number of samples. The sign of a direction is arbitrary. Directions of equal variances are arbitrary
    too, and their derivatives are not defined.

    Raises:
        ValueError: if ``x`` is not (time, ..., n), not finite or constant, or ``num_components`` is not a whole number
            from 1 to the number of all components.
    """
    series = time_series("x", x)
    times, trajectories, n = series.x.shape
    most = min(times * trajectories, n)
    num_components = most if num_components is None else num_components
    require_whole("num_components", num_components)
    if num_components > most:
        raise ValueError(
            f"`num_components` must be at most {most}, the smaller of the number of samples and n, got {num_components}"
        )
    require_varying("x", series.x)
    return _principal_components(series, num_components)


@partial(jax.jit, static_argnums=1)
def _principal_components(series: Series, num_components: int) -> PrincipalComponents:
    samples = centred(series.x, True).reshape(-1, series.x.shape[-1])
    _, scales, directions = jnp.linalg.svd(samples, full_matrices=False)
    variances = scales**2 / samples.shape[0]
    return PrincipalComponents(
        series.in_unit(variances[:num_components]),
        directions[:num_components].T,
        variances[:num_components] / jnp.sum(variances),
    )


def _blocks(times: int, trajectories: int, decay: float, hint: str = "") -> tuple[int, int, int]:
    """Number of blocks in a trajectory, their length and the gap between them, in samples."""
    gap = math.ceil(_GAP * decay)
    num = max(math.ceil(_FEWEST_PIECES / trajectories), round((times / (gap * trajectories)) ** 0.5))
    length = (times - (num - 1) * gap) // num
    if num > 1 and length < max(decay, 1):
        raise ValueError(
            f"`x` must have {_FEWEST_PIECES} independent pieces, got {times} samples of {trajectories} trajectories at "
            f"a correlation time of {decay:.3g} samples: record for longer, or {_FEWEST_PIECES} trajectories or more"
            f"{hint}"
        )
    return num, length, gap


@partial(jax.jit, static_argnums=(2, 3, 4, 5))
def _from_blocks(
    x: Float[Array, "time trajectories n"],
    population: Float[Array, ""] | None,
    num: int,
    length: int,
    gap: int,
    centre: bool,
) -> DimensionEstimate:
    # Neither trace depends on the origin of x, but their rounding errors do: so the mean is removed here too.
    x = jnp.swapaxes(centred(x, centre), 0, 1)
    starts = [k * (length + gap) for k in range(num)]
    pieces = jnp.concatenate([x[:, start : start + length] for start in starts])

    squared_trace, trace_of_square = _traces(pieces, centre)
    if population is None:
        return DimensionEstimate(*_jackknife(squared_trace / trace_of_square))
    n = x.shape[2]
    value, error = _jackknife(
        _of_population(squared_trace, trace_of_square, _unit_squares(pieces, centre), n, population)
    )
    of_units = _left_out_units(pieces, population)
    corrected, scatter = _jackknife(of_units)
    missing = 1 - n / population
    return DimensionEstimate(
        value + missing * (corrected - of_units[0]), jnp.sqrt(error**2 + jnp.maximum(missing, 0) * scatter**2)
    )


def _jackknife(ratio: Float[Array, " B+1"]) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The ratio from everything, without its first bias, and its error, from ratios with one part left out."""
    left_out = ratio[1:]
    B = left_out.shape[0]
    mean = jnp.mean(left_out)
    return B * ratio[0] - (B - 1) * mean, jnp.sqrt((B - 1) / B * jnp.sum((left_out - mean) ** 2))


def _of_population(squared_trace, trace_of_square, squares, n, population) -> Float[Array, "..."]:
    """PR of all units from the traces of n of them; `squares` are the sums of C_ii^2."""
    alone, pairs = population / n, population * (population - 1) / (n * (n - 1))
    return (alone * squares + pairs * (squared_trace - squares)) / (
        alone * squares + pairs * (trace_of_square - squares)
    )


def _unit_squares(pieces: Float[Array, "B L n"], centre: bool) -> Float[Array, " B+1"]:
    """Estimates of sum_i C_ii^2 from all pieces, and from all but each one in turn, from products of different ones."""
    s, m = jnp.mean(pieces**2, axis=1), jnp.mean(pieces, axis=1)
    total = lambda x: jnp.concatenate([jnp.sum(x, axis=0)[None], jnp.sum(x, axis=0)[None] - x])
    B = pieces.shape[0]
    count = jnp.concatenate([jnp.full(1, B, s.dtype), jnp.full(B, B - 1, s.dtype)])[:, None]
    S = total(s)
    squares = (S**2 - total(s**2)) / (count * (count - 1))
    if centre:
        # Sums over different pieces, by sums of powers.
        p1, p2, p3, p4 = (total(m**k) for k in range(1, 5))
        three = (p1**2 - p2) * S - 2 * p1 * total(m * s) + 2 * total(m**2 * s)
        four = p1**4 - 6 * p1**2 * p2 + 3 * p2**2 + 8 * p1 * p3 - 6 * p4
        triples = count * (count - 1) * (count - 2)
        squares = squares - 2 * three / triples + four / (triples * (count - 3))
    return jnp.sum(squares, axis=1)


def _left_out_units(pieces: Float[Array, "B L n"], population: Float[Array, ""]) -> Float[Array, " n+1"]:
    """PR of all units, and without each one in turn, from second moments: their means are removed beforehand."""
    B, L, n = pieces.shape

    def add(total, piece):
        moments = product(piece.T, piece) / L
        return total + moments, (jnp.sum(moments**2, axis=1), jnp.diagonal(moments) ** 2)

    total, (rows, own) = jax.lax.scan(add, jnp.zeros((n, n), pieces.dtype), pieces)
    pairs = B * (B - 1)
    rows = (jnp.sum(total**2, axis=1) - jnp.sum(rows, axis=0)) / pairs  # sum_j C_ij^2
    squares = (jnp.diagonal(total) ** 2 - jnp.sum(own, axis=0)) / pairs  # C_ii^2
    t = jnp.diagonal(total) / B
    without = lambda all_, one: jnp.concatenate([all_[None], all_ - one])
    squared_trace = without(jnp.sum(t), t) ** 2
    trace_of_square = without(jnp.sum(rows), 2 * rows - squares)
    number = jnp.concatenate([jnp.full(1, n, t.dtype), jnp.full(n, n - 1, t.dtype)])
    return _of_population(squared_trace, trace_of_square, without(jnp.sum(squares), squares), number, population)


def _traces(pieces: Float[Array, "B L n"], centre: bool) -> tuple[Float[Array, " B+1"], Float[Array, " B+1"]]:
    """Estimates of (tr C)^2 and of tr C^2 from all pieces, and from all but each one in turn."""
    t = jnp.mean(jnp.sum(pieces**2, axis=2), axis=1)
    total = jnp.sum(t)
    squared_trace = _averages(2 * t * (total - t), 2)
    trace_of_square = _averages(2 * _moment_products(pieces), 2)
    if not centre:
        return squared_trace, trace_of_square

    m = jnp.mean(pieces, axis=1)
    others = 1 - jnp.eye(len(m), dtype=m.dtype)
    g = others * product(m, m.T)
    rows = jnp.sum(g, axis=1)
    ends = jnp.sum(rows)
    V = _mean_products(pieces, m, others)
    along = 2 * product(g, jnp.stack([rows, t], axis=1))

    tmm = _averages(t * (ends - 2 * rows) + 2 * rows * (total - t) - along[:, 1], 3)
    mMm = _averages(jnp.sum(V, axis=1) + 2 * jnp.sum(V, axis=0), 3)
    mmmm = _averages(4 * (rows * (ends - 2 * rows) - along[:, 0] + 2 * jnp.sum(g**2, axis=1)), 4)
    return squared_trace - 2 * tmm + mmmm, trace_of_square - 2 * mMm + mmmm


def _averages(shares: Float[Array, " B"], order: int) -> Float[Array, " B+1"]:
    """Averages over ordered tuples of `order` different pieces: over all, and over those without each piece in turn.

    ``shares`` are the sums of the terms in which each piece appears. A term of `order` pieces is in as many shares.
    """
    B = shares.shape[0]
    total = jnp.sum(shares) / order
    return jnp.append(total / float(math.perm(B, order)), (total - shares) / float(math.perm(B - 1, order)))


def _moment_products(pieces: Float[Array, "B L n"]) -> Float[Array, " B"]:
    """The sums over b != a of tr M_a M_b for every piece a, by n x n products or by products between samples."""
    B, L, n = pieces.shape
    samples = pieces.reshape(B * L, n)
    if B * L < 2 * n:

        def with_others(piece):
            squares = jnp.sum(product(piece, samples.T) ** 2, axis=0)
            return jnp.sum(squares) - _gram_squared(piece)
    else:
        everything = product(samples.T, samples)

        def with_others(piece):
            return jnp.sum(product(piece, everything) * piece) - _gram_squared(piece)

    return jax.lax.map(with_others, pieces) / L**2


def _gram_squared(samples: Float[Array, "L n"]) -> Float[Array, ""]:
    """The sum of the squares of X^T X, or of X X^T, which is the same and may be smaller."""
    L, n = samples.shape
    return jnp.sum((product(samples, samples.T) if L < n else product(samples.T, samples)) ** 2)


def _mean_products(
    pieces: Float[Array, "B L n"], m: Float[Array, "B n"], others: Float[Array, "B B"]
) -> Float[Array, "B B"]:
    """The sums V_ba over c != a, b of m_a^T M_b m_c, for a != b."""

    def row(piece_and_others):
        piece, others = piece_and_others
        along = others[None] * product(piece, m.T)
        all_others = jnp.sum(along, axis=1, keepdims=True)
        return jnp.mean(along * (all_others - along), axis=0)

    return jax.lax.map(row, (pieces, others))
