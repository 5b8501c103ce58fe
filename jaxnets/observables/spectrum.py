"""The power spectrum of a population and its peaks."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from .._arguments import require_whole
from .._results import Result
from ._series import Series, in_samples, sampling_interval, time_series, transposed_hint


class Peaks(Result, axes={"num": "peak"}):
    """The maxima of a power spectrum, strongest first: `frequencies` in cycles per unit time, and the `power` there."""

    frequencies: Float[Array, " num"]
    power: Float[Array, " num"]


def power_spectrum(
    x: Float[ArrayLike, "time *trajectories n"],
    interval: Float[ArrayLike, ""],
    *,
    segment: Float[ArrayLike, ""] | None = None,
) -> tuple[Float[Array, " frequencies"], Float[Array, " frequencies"]]:
    r"""Frequencies in cycles per unit time, and the power there averaged over units and trajectories.

    $$ \int_0^\infty P(f)\, df = \frac{1}{n} \sum_i \langle \delta x_i^2 \rangle $$

    Welch's method averages the squared transforms of segments, which overlap by half, lose their mean and are tapered
    by a Hann window. `segment` is their length in time, a quarter of the record if None; the resolution is about
    2 / `segment`. `interval` is the time between samples.

    Raises:
        ValueError: if ``x`` is not (time, ..., n) or not finite, ``interval`` is not positive, ``segment`` is longer
            than the record or shorter than 4 samples.

    Source: P. D. Welch, IEEE Trans. Audio Electroacoust. 15, 70 (1967).
    """
    return _power_spectrum(*_segments(x, interval, segment))


def _segments(x: ArrayLike, interval: ArrayLike, segment: ArrayLike | None) -> tuple[Series, Float[Array, ""], int]:
    """The checked series, its interval, and the samples in a segment."""
    series = time_series("x", x)
    times = series.x.shape[0]
    size = times // 4 if segment is None else round(in_samples("segment", segment, interval))
    if not 4 <= size <= times:
        hint = transposed_hint("x", series.x)
        raise ValueError(f"`segment` must have from 4 samples to the {times} of the record, got {size}{hint}")
    return series, sampling_interval(interval, series.x.dtype), size


@partial(jax.jit, static_argnums=2)
def _power_spectrum(series: Series, interval: Float[Array, ""], size: int):
    frequencies = jnp.arange(size // 2 + 1, dtype=interval.dtype) / (size * interval)
    return frequencies, series.in_unit(interval * _welch(series.x, size))


def _welch(x: Float[Array, "time trajectories n"], size: int) -> Float[Array, " frequencies"]:
    """The power for samples a unit of time apart."""
    # The periodic window, in which zero stands once.
    window = jnp.asarray(np.sin(np.pi * np.arange(size) / size) ** 2, x.dtype)

    def squared_transform(start):
        part = jax.lax.dynamic_slice_in_dim(x, start, size)
        tapered = window[:, None, None] * (part - jnp.mean(part, axis=0, keepdims=True))
        z = jnp.fft.rfft(tapered, axis=0)
        return jnp.mean(z.real**2 + z.imag**2, axis=(1, 2))

    starts = jnp.arange(0, x.shape[0] - size + 1, size - size // 2)
    power = jnp.mean(jax.lax.map(squared_transform, starts), axis=0)
    # Negative frequencies count with the positive ones. Zero has no partner, nor has the last one of an even size.
    partners = np.full(power.shape, 2.0)
    partners[0] = 1.0
    if size % 2 == 0:
        partners[-1] = 1.0
    return jnp.asarray(partners, x.dtype) * power / jnp.sum(window**2)


def dominant_frequencies(
    x: Float[ArrayLike, "time *trajectories n"],
    interval: Float[ArrayLike, ""],
    *,
    num_peaks: int = 1,
    segment: Float[ArrayLike, ""] | None = None,
) -> Peaks:
    """The `num_peaks` strongest peaks of the power spectrum, found between its bins.

    A peak is the top of the parabola through the logarithms of a local maximum and its two neighbours. The frequency of
    a pure oscillation is found to 2% of 1 / `segment`, and its power to 8%, if it makes several cycles in a segment.
    NaN stands for peaks that are missing. See `power_spectrum` for the other arguments and errors.

    Raises:
        ValueError: if ``num_peaks`` is not a whole number from 1 to the number of inner frequencies.
    """
    require_whole("num_peaks", num_peaks)
    series, interval, size = _segments(x, interval, segment)
    inner = size // 2 - 1
    if num_peaks > inner:
        raise ValueError(f"`num_peaks` must be at most {inner}, the inner frequencies, got {num_peaks}")
    return _peaks(series, interval, size, num_peaks)


@partial(jax.jit, static_argnums=(2, 3))
def _peaks(series: Series, interval: Float[Array, ""], size: int, num_peaks: int) -> Peaks:
    # In samples and in the unit of x, in which the smallest number is far below any peak.
    power = _welch(series.x, size)
    below, here, above = power[:-2], power[1:-1], power[2:]
    heights, peaks = jax.lax.top_k(jnp.where((here > below) & (here >= above), here, -jnp.inf), num_peaks)
    nothing = jnp.finfo(power.dtype).tiny
    found = heights > nothing

    a, b, c = (jnp.log(jnp.maximum(p[peaks], nothing)) for p in (below, here, above))
    curvature = jnp.where(found, a - 2 * b + c, -1.0)
    shift = (a - c) / (2 * curvature)
    top = jnp.exp(b - (a - c) ** 2 / (8 * curvature))
    positions = (1 + peaks.astype(power.dtype) + shift) / (size * interval)
    top = series.in_unit(interval * top)
    return Peaks(jnp.where(found, positions, jnp.nan), jnp.where(found, top, jnp.nan))
