r"""The dimension of activity: participation ratio of its covariance, and its principal components.

The covariance of a finite record is noisy, and its noise adds up in tr C^2: for Gaussian activity with the correlation
time T_2 = int (C(tau) / C(0))^2 dtau, a record of length T gives 1 / PR + T_2 / T in place of 1 / PR, whatever n is.
Products of quantities from independent pieces of the activity have no such bias. With the second moments
M_a = <x x^T> and the means m_a of the pieces a, and averages [ ] over all pieces that differ,

$$ \operatorname{tr} C^2 = [\operatorname{tr} M_a M_b] - 2 [m_a^T M_b m_c] + [m_a^T m_b\, m_c^T m_d], \qquad
   (\operatorname{tr} C)^2 = [\operatorname{tr} M_a \operatorname{tr} M_b] - 2 [\operatorname{tr} M_a\, m_b^T m_c]
   + [m_a^T m_b\, m_c^T m_d] $$

which do not depend on the origin of x. The pieces are blocks of the trajectories, with gaps of three correlation
times left out between those of one trajectory: for C = exp(-|tau| / T_2), blocks of length L >> T_2 keep a bias of
1 / PR of e^{-6} T_2^2 / (2 L^2 B), at B blocks. A record of length T from each of K trajectories loses a part
3 T_2 B / T to gaps and 1 / (K B) of its pairs to pairs of a piece with itself; both are equal, and their sum least,
at B = sqrt(T / (3 T_2 K)).
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .._arguments import require_whole
from .._numerics import is_concrete
from .._results import Result
from ._series import centred, in_samples, product, sampling_interval, time_series
from .covariances import correlation_time as correlation_time_of

# An error from B pieces has itself the relative error 1 / sqrt(2 (B - 1)), 24% here. Four different pieces with one
# left out ask for 5 at the least.
_FEWEST_PIECES = 10


class DimensionEstimate(Result):
    """The `value` of PR, and its standard `error`."""

    value: Float[Array, ""]
    error: Float[Array, ""]


class PrincipalComponents(Result, axes={"num": "component", "n": "unit"}):
    """The `variances` along orthonormal `directions`, falling, and the parts of the total that are `explained`."""

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
) -> Float[Array, ""]:
    r"""The dimension of activity, PR = (tr C)^2 / tr C^2 with the equal-time covariance C, from 1 to n.

    The value of `dimension_estimate`; or, if not `unbiased`, that of the sample covariance, which is too low: its
    1 / PR is too high by the correlation time over the length of the record.

    Raises:
        ValueError: as `dimension_estimate`.
    """
    if unbiased:
        return dimension_estimate(x, interval, correlation_time=correlation_time, centre=centre).value
    x = time_series("x", x)
    sampling_interval(interval, x.dtype)
    samples = centred(x, centre).reshape(-1, x.shape[-1])
    return jnp.sum(samples**2) ** 2 / _gram_squared(samples)


def dimension_estimate(
    x: Float[ArrayLike, "time *trajectories n"],
    interval: Float[ArrayLike, ""],
    *,
    correlation_time: Float[ArrayLike, ""] | None = None,
    centre: bool = True,
) -> DimensionEstimate:
    r"""The participation ratio (tr C)^2 / tr C^2 of stationary activity, and its error by the jackknife over pieces.

    Both traces are unbiased, from products over independent pieces of the trajectories of one network (see the
    module), and the jackknife takes the first bias of their ratio off too. Its error is too large, by sqrt(2) at the
    most, where C is so isotropic that PR is near n. `dt` is the time between samples; `correlation_time` is T_2 in the
    same units, and too long a one costs data only. If None it is measured by the function of that name, for which `x`
    must be known: give it under `jit` and `vmap`. `centre=False` takes the mean to be zero. The cost is that of the
    covariance matrix, or that of the products between all samples where these are fewer than 2 n.

    Raises:
        ValueError: if ``x`` is not (time, ..., n) or not finite, ``dt`` or ``correlation_time`` is not positive, or the
            record has no 10 pieces of a correlation time each, three apart.

    Source: for the jackknife, B. Efron and C. Stein, Annals of Statistics 9, 586 (1981).
    """
    x = time_series("x", x)
    if correlation_time is None:
        if not is_concrete(x, interval):
            raise ValueError("`correlation_time` must be given under `jit` and `vmap`: it sets the length of blocks")
        with jax.ensure_compile_time_eval():
            correlation_time = float(correlation_time_of(x, interval, centre=centre))
        if math.isnan(correlation_time):
            raise ValueError("`x` must vary, got the same values at all times")
    decay = in_samples("correlation_time", correlation_time, interval)
    if decay == 0:
        raise ValueError("`correlation_time` must be a finite number > 0, got 0")
    num, length, gap = _blocks(x.shape[0], x.shape[1], decay)
    return _from_blocks(x, num, length, gap, centre)


def principal_components(
    x: Float[ArrayLike, "time *trajectories n"], *, num_components: int | None = None
) -> PrincipalComponents:
    """Principal components of the samples about their mean, by a singular value decomposition.

    `directions` has one column a component, up to its sign; their number is the smaller of the number of samples and n
    if None. Variances are divided by the number of samples. Directions of equal variances are arbitrary, and their
    derivatives not defined.

    Raises:
        ValueError: if ``x`` is not (time, ..., n) or not finite, or ``num`` is not a whole number up to that.
    """
    x = time_series("x", x)
    samples = centred(x, True).reshape(-1, x.shape[-1])
    most = min(samples.shape)
    num_components = most if num_components is None else num_components
    require_whole("num", num_components)
    if num_components > most:
        raise ValueError(
            f"`num` must be at most {most}, the smaller of the number of samples and n, got {num_components}"
        )
    _, scales, directions = jnp.linalg.svd(samples, full_matrices=False)
    variances = scales**2 / samples.shape[0]
    return PrincipalComponents(
        variances[:num_components], directions[:num_components].T, variances[:num_components] / jnp.sum(variances)
    )


def _blocks(times: int, trajectories: int, decay: float) -> tuple[int, int, int]:
    """Number of blocks in a trajectory, their length and the gap between them, in samples."""
    gap = math.ceil(3 * decay)
    num = max(math.ceil(_FEWEST_PIECES / trajectories), round((times / (gap * trajectories)) ** 0.5))
    length = (times - (num - 1) * gap) // num
    if num > 1 and length < max(decay, 1):
        raise ValueError(
            f"`x` must have {_FEWEST_PIECES} independent pieces, got {times} samples of {trajectories} trajectories at "
            f"a correlation time of {decay:.3g} samples: record for longer, or {_FEWEST_PIECES} trajectories or more"
        )
    return num, length, gap


@partial(jax.jit, static_argnums=(1, 2, 3, 4))
def _from_blocks(
    x: Float[Array, "time trajectories n"], num: int, length: int, gap: int, centre: bool
) -> DimensionEstimate:
    # Also without a known mean: what follows does not depend on the origin, but its rounding errors do.
    x = jnp.swapaxes(centred(x, centre), 0, 1)
    starts = [k * (length + gap) for k in range(num)]
    pieces = jnp.concatenate([x[:, start : start + length] for start in starts])

    squared_trace, trace_of_square = _traces(pieces, centre)
    ratio = squared_trace / trace_of_square
    left_out = ratio[1:]
    B = left_out.shape[0]
    mean = jnp.mean(left_out)
    error = jnp.sqrt((B - 1) / B * jnp.sum((left_out - mean) ** 2))
    return DimensionEstimate(B * ratio[0] - (B - 1) * mean, error)


def _traces(pieces: Float[Array, "B L n"], centre: bool) -> tuple[Float[Array, " B+1"], Float[Array, " B+1"]]:
    """(tr C)^2 and tr C^2 from all pieces, and without each in turn."""
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
    """Averages over ordered tuples of different pieces: over all, and over those without each piece in turn.

    From the sums of the terms in which each piece appears: a term of `order` pieces is in as many of them.
    """
    B = shares.shape[0]
    total = jnp.sum(shares) / order
    return jnp.append(total / float(math.perm(B, order)), (total - shares) / float(math.perm(B - 1, order)))


def _moment_products(pieces: Float[Array, "B L n"]) -> Float[Array, " B"]:
    """sum_{b != a} tr M_a M_b for every piece a, by whichever of n x n and samples x samples is cheaper."""
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
    """The sum of the squares of X^T X, which is that of X X^T."""
    L, n = samples.shape
    return jnp.sum((product(samples, samples.T) if L < n else product(samples.T, samples)) ** 2)


def _mean_products(
    pieces: Float[Array, "B L n"], m: Float[Array, "B n"], others: Float[Array, "B B"]
) -> Float[Array, "B B"]:
    """V_ba = sum_{c != a, b} m_a^T M_b m_c, for a != b."""

    def row(piece_and_others):
        piece, others = piece_and_others
        along = others[None] * product(piece, m.T)
        all_others = jnp.sum(along, axis=1, keepdims=True)
        return jnp.mean(along * (all_others - along), axis=0)

    return jax.lax.map(row, (pieces, others))
