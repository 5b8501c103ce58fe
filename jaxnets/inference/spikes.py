"""Spike times to counts in bins, and series of inputs onto the same bins."""

from collections.abc import Sequence

import numpy as np
import scipy.ndimage
from jaxtyping import ArrayLike, Float

from .._arguments import host_array, positive, require

_WHOLE = 1e-6  # of a bin: 10 s are 500 bins of 20 ms, and a spike at 0.3 s begins one, whatever the rounding


def bin_spikes(
    spikes: Sequence[Float[ArrayLike, " _"]],
    bin_width: float,
    *,
    start: float | None = None,
    stop: float | None = None,
    smoothing: float | None = None,
) -> Float[np.ndarray, "T M"]:
    r"""Counts of spikes of each unit in bins of time, whole numbers for a Poisson law.

    $$ y_{ti} = \#\{k : \; t_0 + t\, \Delta \le s_{ik} < t_0 + (t + 1)\, \Delta\} $$

    `spikes` are times, one array a unit, in the unit of time of `bin_width`. Bins go from `start` to `stop`, from the
    first to the last spike of all units if None; a last bin that is not whole is left out. `smoothing` is the standard
    deviation of a Gaussian kernel in time, along which counts are spread: rates in counts per bin, to look at or for a
    `Gaussian` law. Counts as they are keep the noise of bins independent, as a fit takes it to be.

    Raises:
        ValueError: for no units or no spikes at all, times that are not finite, a width that is not positive, and a
            range that has no whole bin.
    """
    if isinstance(spikes, np.ndarray) and spikes.dtype != object or not len(spikes):
        raise ValueError("`spikes` must be a list with an array of times for each unit")
    times = [host_array(f"spikes[{k}]", part, (None,)) for k, part in enumerate(spikes)]
    for k, part in enumerate(times):
        require(f"spikes[{k}]", part, np.isfinite, "finite times")
    require("bin_width", np.asarray(bin_width), positive, "a finite number > 0")
    if smoothing is not None:
        require("smoothing", np.asarray(smoothing), positive, "a finite number > 0, or None")
    if not any(len(part) for part in times):
        raise ValueError("`spikes` must have a spike, got none of any unit")
    first = min(part.min() for part in times if len(part)) if start is None else float(start)
    # The last spike is within the last bin.
    last = max(part.max() for part in times if len(part)) + bin_width if stop is None else float(stop)
    num = int(np.floor((last - first) / bin_width + _WHOLE))
    if num < 1:
        raise ValueError(f"`stop` must be a bin of {bin_width:g} after `start` or more, got {first:g} to {last:g}")
    counts = np.zeros((num, len(times)))
    for unit, part in enumerate(times):
        places = np.floor((part - first) / bin_width + _WHOLE)
        places = places[(places >= 0) & (places < num)].astype(int)
        counts[:, unit] = np.bincount(places, minlength=num)
    return counts if smoothing is None else smoothed(counts, smoothing / bin_width)


def smoothed(y: Float[np.ndarray, "T M"], width: float) -> Float[np.ndarray, "T M"]:
    """Counts spread by a Gaussian kernel of `width` steps, which is cut at ends and gaps, and keeps its sum."""
    spread = lambda a: scipy.ndimage.gaussian_filter1d(a, width, axis=0, mode="constant")
    seen = np.isfinite(y)
    weight = spread(seen.astype(float))
    return np.where(seen, spread(np.where(seen, y, 0.0)) / np.where(weight > 0, weight, 1), np.nan)


def onto_bins(
    times: Float[np.ndarray, " S"], values: Float[np.ndarray, "S I"], start: float, bin_width: float, num: int
) -> Float[np.ndarray, "T I"]:
    """Means of a series over the samples of each bin, or a line between samples for bins without one.

    Raises `ValueError` for a series that is not finite, or does not reach over the bins, up to one bin at each end.
    """
    if len(times) != len(values) or len(times) < 2 or np.any(np.diff(times) <= 0):
        raise ValueError("inputs must have two increasing times or more, one for each sample")
    if not np.all(np.isfinite(values)):
        raise ValueError("inputs must be finite: what drives a network has no gaps")
    end, near = start + num * bin_width, bin_width + float(np.median(np.diff(times)))
    if times[0] > start + near or times[-1] < end - near:
        reach = f"{times[0]:g} to {times[-1]:g}"
        raise ValueError(f"inputs must reach over all bins, from {start:g} to {end:g}, got times from {reach}")
    centres = start + (np.arange(num) + 0.5) * bin_width
    result = np.stack([np.interp(centres, times, column) for column in values.T], 1)
    places = np.floor((times - start) / bin_width + _WHOLE)
    inside = (places >= 0) & (places < num)
    places = places[inside].astype(int)
    samples = np.bincount(places, minlength=num)
    for k, column in enumerate(values.T):
        total = np.bincount(places, column[inside], minlength=num)
        result[:, k] = np.where(samples > 0, total / np.maximum(samples, 1), result[:, k])
    return result
