r"""How well a network retrieves a stored sequence, measured from its overlaps with the patterns.

$$ m^\mu(t) = \frac1n \sum_i \xi_i^\mu\, \phi(x_i(t)) $$

A sequence is retrieved by a packet of overlap that travels along it and spreads: neighbouring patterns are present
together, unequally, so that the pattern on top skips some of them. Each pattern has a time of its own, that of its
first peak, and the order is read from these times.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int, PRNGKeyArray

from .._arguments import positive, real_array, require, require_whole, scalar
from .._numerics import is_concrete
from ..dynamics import RateNetwork, heun, simulate
from ..dynamics.schemes import Scheme
from ..observables.online import Overlaps
from .patterns import stored

# Overlap from which a pattern counts as present. A constant, not a multiple of the chance level 1 / sqrt(n): the height
# of the packet some patterns on depends on the load and not on n.
PRESENT = 0.1
# Share of the steps from a pattern to the next that must be in order in a retrieved sequence: where several patterns
# peak within a time constant, differences between patterns exchange a few.
IN_ORDER = 0.9


class Retrieval(eqx.Module):
    """One retrieval of a sequence of P patterns, in the unit of the times given.

    - `peak_times`: when each pattern is visited: its first peak (higher than the time before, not lower than the time
      after) of at least the threshold and half its highest overlap. NaN if never. The first time recorded can be a
      peak of the start pattern alone, and the last is none, because what follows is not known.
    - `peaks`: the overlaps at these times.
    - `visited`: indices of the patterns in the order of their visits, then -1.
    - `fidelity`: share of the steps mu -> mu + 1 along the sequence, from the start, of which both patterns are visited
      and the second later.
    - `reach`: number of patterns from the start on, itself counted, that are visited without a step out of order.
    - `success`: whether all patterns of the sequence are visited, with a fidelity of at least 0.9 (`IN_ORDER`).
    - `speed`: patterns per unit time, the slope of the straight line through position along the sequence against
      `peak_times`; a cycle of P patterns takes P / speed. NaN with fewer than two visits.
    - `period`: median over patterns of the time between `peak_times` and the highest overlap within half a cycle of one
      cycle later: the measured time around the ring. NaN without success, on a chain, and where the record ends
      before.
    - `peak_overlap`: mean of `peaks` over the patterns visited, NaN if none.

    Where an overlap is not finite, nothing is visited.
    """

    peak_times: Float[Array, "*batch P"]
    peaks: Float[Array, "*batch P"]
    visited: Int[Array, "*batch P"]
    fidelity: Float[Array, "*batch"]
    reach: Int[Array, "*batch"]
    success: Bool[Array, "*batch"]
    speed: Float[Array, "*batch"]
    period: Float[Array, "*batch"]
    peak_overlap: Float[Array, "*batch"]


def on_top(overlaps: Float[ArrayLike, "*batch P"], threshold: Float[ArrayLike, ""] = PRESENT) -> Int[Array, "*batch"]:
    """Index of the pattern of largest overlap, -1 where that is below the threshold or NaN.

    Raises `ValueError` if `overlaps` has no pattern, or the threshold is not one number.
    """
    overlaps = real_array("overlaps", overlaps)
    if overlaps.ndim == 0 or overlaps.shape[-1] == 0:
        raise ValueError(f"`overlaps` must have shape (..., P) with P >= 1, got {overlaps.shape}")
    threshold = scalar("threshold", threshold).astype(overlaps.dtype)
    # Not "below": NaN compares as False.
    return jnp.where(jnp.max(overlaps, -1) >= threshold, jnp.argmax(overlaps, -1), -1)


def retrieval(
    overlaps: Float[ArrayLike, "time *trials P"],
    times: Float[ArrayLike, " time"],
    *,
    start: Int[ArrayLike, "*trials"] = 0,
    length: int | None = None,
    threshold: Float[ArrayLike, ""] = PRESENT,
    ring: bool = True,
) -> Retrieval:
    """Which patterns were visited, when, in which order and how fast: see `Retrieval`.

    `start` is the pattern of the cue, one for all trials or one each. The sequence goes on from it around the ring, or
    to the last pattern of a chain; `length` is the number of patterns, the first included, that fidelity, reach,
    success, speed and peak overlap are about, at most and by default all of these. A long sequence is never retrieved
    to its end at a finite load, where noise grows while the packet spreads: a fixed `length` then gives what does not
    depend on n. The times resolve visits of neighbouring patterns if they are closer than 1 / speed.

    Raises:
        ValueError: if ``overlaps`` is not (time, ..., P) with two times and patterns at least, ``times`` is not (time,)
            and rising, ``start`` is no pattern or not of the shape of the trials, ``length`` not from 2 to P, or
            ``threshold`` not positive.
    """
    overlaps, times = real_array("overlaps", overlaps), real_array("times", times)
    if overlaps.ndim < 2 or overlaps.shape[0] < 2 or overlaps.shape[-1] < 2:
        raise ValueError(f"`overlaps` must have shape (time, ..., P) with time, P >= 2, got {overlaps.shape}")
    if times.shape != overlaps.shape[:1]:
        raise ValueError(f"`times` must have shape {overlaps.shape[:1]}, got {times.shape}")
    require("times", times, lambda t: np.diff(t) > 0, "rising")
    num, trials = overlaps.shape[-1], overlaps.shape[1:-1]
    start = _patterns("start", start, num)
    if start.shape not in ((), trials):
        raise ValueError(f"`start` must be a number or have the shape of the trials, {trials}, got {start.shape}")
    length = num if length is None else length
    require_whole("length", length, 2)
    if length > num:
        raise ValueError(f"`length` must be at most the number of patterns, {num}, got {length}")
    threshold = scalar("threshold", threshold)
    require("threshold", threshold, positive, "a finite number > 0")

    dtype = overlaps.dtype
    start = jnp.broadcast_to(start, trials)
    return _of_trials(overlaps, times.astype(dtype), start, length, threshold.astype(dtype), ring)


@eqx.filter_jit
def _of_trials(overlaps, times, start, length, threshold, ring) -> Retrieval:
    def of_trial(overlaps, start):
        return _retrieval(overlaps, times, start, length, threshold, ring)

    for _ in range(start.ndim):
        of_trial = jax.vmap(of_trial, in_axes=(1, 0))
    return of_trial(overlaps, start)


def _retrieval(m: Float[Array, "time P"], times, start, length, threshold, ring) -> Retrieval:
    """Of one trial. Position k along the sequence is pattern start + k."""
    num, dtype = m.shape[1], m.dtype
    position = jnp.arange(num)
    counted = position < (length if ring else jnp.minimum(length, num - start))
    m = jnp.roll(m, -start, axis=1)

    # The cue is a visit of its own pattern, but not of those that resemble it.
    rises = jnp.concatenate([(position == 0)[None], m[1:] > m[:-1]])
    falls = jnp.concatenate([m[1:] <= m[:-1], jnp.zeros((1, num), bool)])
    high = m >= jnp.maximum(threshold, jnp.max(m, 0) / 2)[None]
    peak = rises & falls & high & jnp.all(jnp.isfinite(m))
    seen, first = jnp.any(peak, 0), jnp.argmax(peak, 0)
    peak_times = jnp.where(seen, times[first], jnp.nan)
    peaks = jnp.where(seen, m[first, position], jnp.nan)

    in_order = peak_times[1:] > peak_times[:-1]  # not where one is NaN
    steps = jnp.sum(counted) - 1
    fidelity = (jnp.sum(in_order & counted[1:]) / jnp.maximum(steps, 1)).astype(dtype)
    reach = jnp.where(seen[0], 1 + jnp.sum(jnp.cumprod(in_order & counted[1:])), 0)
    success = jnp.all(seen | ~counted) & (fidelity >= IN_ORDER)

    used = seen & counted
    speed = _slope(jnp.where(used, peak_times, 0), position.astype(dtype), used.astype(dtype))
    order = jnp.argsort(peak_times)  # stable, and NaN last
    back = lambda values: jnp.roll(values, start)
    return Retrieval(
        peak_times=back(peak_times),
        peaks=back(peaks),
        visited=jnp.where(position < jnp.sum(seen), (order + start) % num, -1),
        fidelity=fidelity,
        reach=reach,
        success=success,
        speed=speed,
        period=jnp.where(success, _period(m, times, peak_times, num / speed), jnp.nan) if ring else jnp.nan * speed,
        peak_overlap=jnp.sum(jnp.where(used, peaks, 0)) / jnp.sum(used).astype(dtype),
    )


def _slope(x: Float[Array, " k"], y: Float[Array, " k"], weights: Float[Array, " k"]) -> Float[Array, ""]:
    """Of the least-squares line through y against x; NaN for a single x."""
    weights = weights / jnp.sum(weights)
    x, y = x - weights @ x, y - weights @ y
    spread = weights @ x**2
    return jnp.where(spread > 0, weights @ (x * y) / spread, jnp.nan)


def _period(m, times, peak_times, cycle) -> Float[Array, ""]:
    soonest, latest = peak_times + cycle / 2, peak_times + 3 * cycle / 2
    near = (times[:, None] >= soonest[None]) & (times[:, None] <= latest[None])
    again = times[jnp.argmax(jnp.where(near, m, -jnp.inf), 0)]
    return jnp.nanmedian(jnp.where(latest <= times[-1], again - peak_times, jnp.nan))


def retrieve(
    net: RateNetwork,
    patterns: Float[ArrayLike, "n P"],
    *,
    duration: float,
    start: Int[ArrayLike, "*trials"] = 0,
    length: int | None = None,
    threshold: Float[ArrayLike, ""] = PRESENT,
    ring: bool = True,
    dt: float = 0.05,
    save_every: int = 2,
    scheme: Scheme = heun,
    key: PRNGKeyArray | None = None,
    progress: bool = True,
) -> Retrieval:
    """Starts the network at the stored pattern `start`, x(0) = xi^start, lets it run and measures the retrieval.

    Many starts (...,) are trials of one network, simulated together, each with its own noise. No trajectory is kept
    but overlaps every `save_every` steps. `vmap` over networks and their patterns for more; see `retrieval` for the
    rest of the arguments and `simulate` for those of the integration.

    Raises:
        ValueError: if ``patterns`` is not (n, P) for n units, ``start`` is no pattern, and as `simulate` and
            `retrieval` do.
    """
    patterns, start = _stored_in(net, patterns, start)
    run = simulate(
        net,
        patterns.T[start],
        duration=duration,
        dt=dt,
        save_every=save_every,
        scheme=scheme,
        key=key,
        record=Overlaps(patterns),
        progress=progress,
    )
    return retrieval(run.records, run.times, start=start, length=length, threshold=threshold, ring=ring)


class Probability(eqx.Module):
    """The `value` of a probability estimated from trials, and its standard `error`."""

    value: Float[Array, "..."]
    error: Float[Array, "..."]


def success_probability(success: Bool[ArrayLike, "trials ..."]) -> Probability:
    r"""The share k / T of the T trials, on the first axis, that succeeded, and its standard error.

    $$ \sqrt{p (1 - p) / (T + 2)}, \qquad p = (k + 1) / (T + 2) $$

    which unlike the naive one is not zero when all trials agree.

    Raises:
        ValueError: if ``success`` has no trial.
    """
    success = jnp.asarray(success)
    if success.ndim == 0 or success.shape[0] == 0:
        raise ValueError(f"`success` must have shape (trials, ...) with trials >= 1, got {success.shape}")
    trials, count = success.shape[0], jnp.sum(success, 0).astype(jnp.result_type(float))
    p = (count + 1) / (trials + 2)
    return Probability(count / trials, jnp.sqrt(p * (1 - p) / (trials + 2)))


def _stored_in(net: RateNetwork, patterns: ArrayLike, start: ArrayLike) -> tuple[Array, Array]:
    """Patterns of the network in its precision, and indices of some of them."""
    patterns = stored("patterns", patterns)
    if len(net.J.shape) != 2:
        raise ValueError(f"`net` must be one network, got a batch {net.J.shape[:-2]}: map with `jax.vmap`")
    if patterns.shape[0] != net.size:
        raise ValueError(f"`patterns` must have shape ({net.size}, P), got {patterns.shape}")
    return patterns.astype(net.dtype), _patterns("start", start, patterns.shape[1])


def _patterns(name: str, index: ArrayLike, num: int) -> Int[Array, "..."]:
    index = jnp.asarray(index)
    if not jnp.issubdtype(index.dtype, jnp.integer):
        raise ValueError(f"`{name}` must be indices of patterns, got dtype {index.dtype}")
    if is_concrete(index) and not np.all((np.asarray(index) >= 0) & (np.asarray(index) < num)):
        raise ValueError(f"`{name}` must be indices of patterns, from 0 to {num - 1}, got {np.asarray(index)}")
    return index
