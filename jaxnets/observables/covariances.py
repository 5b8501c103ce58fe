"""Covariances in time: of single units averaged over the population, between units, and at equal times.

Fast Fourier transforms compute the sums over pairs of times; padding with zeros keeps the ends of a record apart.

`centre` removes the mean of each unit over the same record, which lowers every lag by about 2 C0 T_c / T, with
T_c = int_0^inf C(tau) / C0 dtau and T the length of all trajectories together. `centre=False` has no such bias, where
the mean is known to vanish: for odd transfer functions without input.
"""

from functools import partial
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Complex, Float, Int
from scipy.fft import next_fast_len

from .._results import Result
from ._series import (
    ROUNDINGS,
    Series,
    centred,
    in_samples,
    product,
    sampling_interval,
    time_series,
    transposed_hint,
)


class LaggedCovariance(Result):
    """The `values` of C(tau) at `lags`, and their standard `error` between trajectories; NaN for one trajectory."""

    lags: Float[Array, " lags"]
    values: Float[Array, " lags"]
    error: Float[Array, " lags"]


def autocovariance(
    x: Float[ArrayLike, "time *trajectories n"],
    interval: Float[ArrayLike, ""],
    *,
    max_lag: Float[ArrayLike, ""] | None = None,
    centre: bool = True,
) -> LaggedCovariance:
    r"""The covariance of a unit with itself a lag later, averaged over units and trajectories.

    $$ C(\tau) = \frac{1}{n} \sum_i \langle \delta x_i(t)\, \delta x_i(t + \tau) \rangle, \qquad
       \delta x_i = x_i - \langle x_i \rangle $$

    `interval` is the time between samples (`Run.interval`). Lags run from 0 to `max_lag`, in the same unit and to the
    nearest sample; None takes all. Each lag is divided by its number of pairs of times, so that the last lags rest on
    few. The error comes from the scatter between trajectories. The scatter between units says little, because units of
    one network fluctuate together: the variance of their average falls as 1 / PR, not as 1 / n.

    Raises:
        ValueError: if ``x`` is not (time, ..., n) or not finite, ``interval`` is not positive, or ``max_lag`` is not
            shorter than the record.
    """
    series = time_series("x", x)
    num = _num_lags(max_lag, interval, series.x)
    return _autocovariance(series, sampling_interval(interval, series.x.dtype), num, centre)


@partial(jax.jit, static_argnums=(2, 3))
def _autocovariance(series: Series, interval: Float[Array, ""], num: int, centre: bool) -> LaggedCovariance:
    c = _averaged(series.x, num, centre, 2)
    trajectories = c.shape[1]
    error = jnp.std(c, axis=1, ddof=1) / trajectories**0.5 if trajectories > 1 else jnp.full(num, jnp.nan, c.dtype)
    values, error = series.in_unit(jnp.mean(c, axis=1)), series.in_unit(error)
    return LaggedCovariance(_lags(interval, jnp.arange(num)), values, error)


def unit_autocovariances(
    x: Float[ArrayLike, "time *trajectories n"],
    interval: Float[ArrayLike, ""],
    *,
    max_lag: Float[ArrayLike, ""] | None = None,
    centre: bool = True,
) -> tuple[Float[Array, " lags"], Float[Array, "lags n"]]:
    r"""The lags, and the autocovariance of every unit averaged over trajectories.

    $$ C_i(\tau) = \langle \delta x_i(t)\, \delta x_i(t + \tau) \rangle $$

    See `autocovariance` for its arguments and errors.
    """
    series = time_series("x", x)
    num = _num_lags(max_lag, interval, series.x)
    return _unit_autocovariances(series, sampling_interval(interval, series.x.dtype), num, centre)


@partial(jax.jit, static_argnums=(2, 3))
def _unit_autocovariances(series: Series, interval: Float[Array, ""], num: int, centre: bool):
    return _lags(interval, jnp.arange(num)), series.in_unit(_averaged(series.x, num, centre, 1))


def cross_covariance(
    x: Float[ArrayLike, "time *trajectories n"],
    y: Float[ArrayLike, "time *trajectories m"],
    interval: Float[ArrayLike, ""],
    *,
    max_lag: Float[ArrayLike, ""],
    centre: bool = True,
) -> tuple[Float[Array, " lags"], Float[Array, "n m lags"]]:
    r"""The lags, of both signs, and the covariances between each unit of `x` and each unit of `y`.

    $$ C_{ij}(\tau) = \langle \delta x_i(t)\, \delta y_j(t + \tau) \rangle $$

    A peak at positive lags says that x_i leads. Each lag from -`max_lag` to `max_lag` is divided by its number of
    pairs of times, and trajectories are averaged over. `interval` is the time between samples. `y` is taken in the
    precision of `x`. n m records are held in memory: choose few units.

    Raises:
        ValueError: if ``x`` and ``y`` do not have the same times and trajectories, or as `autocovariance`.
    """
    first, second, leading = time_series("x", x), time_series("y", y), (np.shape(x)[:-1], np.shape(y)[:-1])
    if leading[0] != leading[1]:
        raise ValueError(f"`x` and `y` must have the same times and trajectories, got {leading[0]} and {leading[1]}")
    num = _num_lags(max_lag, interval, first.x)
    return _cross_covariance(first, second, sampling_interval(interval, first.x.dtype), num, centre)


@partial(jax.jit, static_argnums=(3, 4))
def _cross_covariance(first: Series, second: Series, interval: Float[Array, ""], num: int, centre: bool):
    second = Series(*(part.astype(first.x.dtype) for part in second))
    values = _crossed(first.x, second.x, num, centre)
    return _lags(interval, jnp.arange(1 - num, num)), first.in_unit(second.in_unit(values, 1), 1)


def covariance(x: Float[ArrayLike, "time *trajectories n"], *, centre: bool = True) -> Float[Array, "n n"]:
    r"""The covariance at equal times between all units.

    $$ C_{ij} = \langle \delta x_i(t)\, \delta x_j(t) \rangle, \qquad \delta x_i = x_i - \langle x_i \rangle $$

    Sums over samples are divided by their number. `centre=False` takes the mean to be zero.

    Raises:
        ValueError: if ``x`` is not (time, ..., n) or not finite.
    """
    return _covariance(time_series("x", x), centre)


@partial(jax.jit, static_argnums=1)
def _covariance(series: Series, centre: bool) -> Float[Array, "n n"]:
    samples = centred(series.x, centre).reshape(-1, series.x.shape[-1])
    return series.in_unit(product(samples.T, samples) / samples.shape[0])


def correlation_time(
    x: Float[ArrayLike, "time *trajectories n"], interval: Float[ArrayLike, ""], *, centre: bool = True
) -> Float[Array, ""]:
    r"""The time after which activity counts as one more independent sample.

    $$ T_2 = \int_{-\infty}^{\infty} \left( \frac{C(\tau)}{C(0)} \right)^2 d\tau $$

    This is the decay time of C = exp(-|tau| / T_2), and half the decay time of an oscillation. It sets the bias of
    equal-time covariances: for Gaussian activity, tr C^2 from a record of length T is too large by (tr C)^2 T_2 / T.
    `interval` is the time between samples. Lags up to half of the record are used. The estimate is rough unless the
    record is many times longer than T_2: later lags are missing, and the noise of all lags adds about T_2 / (2 PR).
    NaN if the activity varies by rounding only.

    Raises:
        ValueError: as `autocovariance`.
    """
    x = time_series("x", x).x
    return _correlation_time(x, sampling_interval(interval, x.dtype), centre)


@partial(jax.jit, static_argnums=2)
def _correlation_time(x: Float[Array, "time trajectories n"], interval: Float[Array, ""], centre: bool):
    c = jnp.mean(_averaged(x, x.shape[0] // 2 + 1, centre, 2), axis=1)
    varies = c[0] > (ROUNDINGS * jnp.finfo(x.dtype).eps) ** 2 * jnp.mean(x**2)
    return interval * jnp.where(varies, 2 * jnp.sum((c / c[0]) ** 2) - 1, jnp.nan)


def _num_lags(max_lag: ArrayLike | None, interval: ArrayLike, x: Float[Array, "time trajectories n"]) -> int:
    times = x.shape[0]
    if max_lag is None:
        return times
    last = round(in_samples("max_lag", max_lag, interval))
    if last >= times:
        hint = transposed_hint("x", x)
        raise ValueError(f"`max_lag` must be shorter than the record, {times} samples, got {last} samples{hint}")
    return last + 1


def _lags(interval: Float[Array, ""], steps: Int[Array, " lags"]) -> Float[Array, " lags"]:
    return interval * steps.astype(interval.dtype)


def _averaged(x: Float[Array, "time trajectories n"], num: int, centre: bool, axis: int) -> Float[Array, "lags rest"]:
    """Autocovariances at the lags below `num`, averaged over one axis before the transform back, which is cheaper."""
    times = x.shape[0]
    z = _transform(centred(x, centre), num)
    power = jnp.mean(z.real**2 + z.imag**2, axis=axis)
    sums = jnp.fft.irfft(power, _padded(times, num), axis=0)[:num]
    return sums / (times - jnp.arange(num, dtype=x.dtype))[:, None]


def _crossed(
    x: Float[Array, "time trajectories n"], y: Float[Array, "time trajectories m"], num: int, centre: bool
) -> Float[Array, "n m lags"]:
    """Covariances at the lags from 1 - `num` to `num` - 1, averaged over trajectories."""
    times, trajectories, _ = x.shape
    X, Y = (_transform(centred(z, centre), num) for z in (x, y))
    spectrum = jnp.einsum("fki,fkj->ijf", jnp.conj(X), Y, precision=jax.lax.Precision.HIGHEST) / trajectories
    length = _padded(times, num)
    sums = jnp.fft.irfft(spectrum, length, axis=-1)
    sums = jnp.concatenate([sums[..., length - num + 1 :], sums[..., :num]], axis=-1)
    return sums / (times - jnp.abs(jnp.arange(1 - num, num))).astype(x.dtype)[None, None]


def _transform(x: Float[Array, " time *rest"], num: int) -> Complex[Array, " frequency *rest"]:
    return jnp.fft.rfft(x, _padded(x.shape[0], num), axis=0)


def _padded(times: int, num: int) -> int:
    """A length with quick transforms, long enough that lags below `num` do not wrap around."""
    return cast(int, next_fast_len(times + num - 1, real=True))
