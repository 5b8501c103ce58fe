r"""How well a network retrieves a stored sequence, measured from its overlaps with the patterns.

$$ m^\mu(t) = \frac1n \sum_i \xi_i^\mu\, \phi(x_i(t)) $$

A sequence is retrieved by a packet of overlap that travels along it and spreads. Neighbouring patterns are then present
together, unequally, so that the largest overlap skips some of them. The order is read from first peaks instead, for
which each pattern has a time of its own.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int, PRNGKeyArray

from .._arguments import positive, real_array, require, require_whole, scalar, whole_array
from .._numerics import as_program, is_concrete
from .._results import Result
from ..dynamics import RateNetwork, heun, simulate
from ..dynamics.schemes import Scheme
from ..observables.online import Overlaps
from .patterns import stored

# Overlap from which a pattern counts as present. It is no multiple of the chance level 1 / sqrt(n), because the height
# of a packet, some patterns after the cue, depends on the load and not on n.
PRESENT = 0.1
# Share of the steps from a pattern to the next that must be in order in a retrieved sequence. Where several patterns
# peak within a time constant, a few exchange their order because patterns differ.
IN_ORDER = 0.9


class Retrieval(Result, axes={"P": "pattern"}):
    """One retrieval of a sequence of P patterns, in the unit of the times given.

    - `peak_times`: when each pattern is visited: its first peak (higher than the time before, not lower than the time
      after) of at least the threshold and half its highest overlap. NaN if never. The first time recorded can be a
      peak of the cue alone, and the last time cannot be one, because the next overlap is not known.
    - `peaks`: the overlaps at these times.
    - `visited`: indices of the patterns in the order of their visits, then -1.
    - `fidelity`: share of the steps mu -> mu + 1 along the sequence, from the cue on, whose patterns are both visited,
      the second one later.
    - `reach`: number of patterns from the cue on, itself counted, that are visited without a step out of order.
    - `success`: whether all patterns of the sequence are visited, with a fidelity of at least 0.9 (`IN_ORDER`).
    - `speed`: patterns per unit time, the slope of the straight line through position along the sequence against
      `peak_times`; a cycle of P patterns takes P / speed. NaN with fewer than two visits.
    - `period`: the measured time around the ring. For each pattern it is the time from the peak to the highest overlap
      within half a cycle of one cycle later, and the period is the median. NaN without success, on a chain, and where
      the record ends before.
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
    cue: Int[ArrayLike, "*trials"] = 0,
    length: int | None = None,
    threshold: Float[ArrayLike, ""] = PRESENT,
    ring: bool = True,
    num_patterns: Int[ArrayLike, ""] | None = None,
) -> Retrieval:
    """Which patterns were visited, when, in which order and how fast: see `Retrieval`.

    `cue` is the pattern at which the network starts, one for all trials or one each. The sequence goes on from it
    around the ring, or to the last pattern of a chain. `length` is the number of patterns, the first included, that
    fidelity, reach, success, speed and peak overlap are about, at most and by default all of them. A long sequence is
    never retrieved to its end at a finite load, where noise grows while the packet spreads: only measures at a fixed
    `length` do not depend on n. The times resolve visits of neighbouring patterns if they are closer than 1 / speed.
    The sequence has the first `num_patterns` patterns, which may be traced, and by default all P; the others are
    silent.

    Raises:
        ValueError: if ``overlaps`` is not (time, ..., P) with two times and patterns at least, ``times`` is not (time,)
            and rising, ``cue`` is no pattern or not of the shape of the trials, ``length`` not from 2 to P,
            ``num_patterns`` not from 2 to P, or ``threshold`` not positive.
    """
    overlaps, times = real_array("overlaps", overlaps), real_array("times", times)
    if overlaps.ndim < 2 or overlaps.shape[0] < 2 or overlaps.shape[-1] < 2:
        raise ValueError(f"`overlaps` must have shape (time, ..., P) with time, P >= 2, got {overlaps.shape}")
    if times.shape != overlaps.shape[:1]:
        raise ValueError(f"`times` must have shape {overlaps.shape[:1]}, got {times.shape}")
    require("times", times, lambda t: np.diff(t) > 0, "rising")
    P, trials = overlaps.shape[-1], overlaps.shape[1:-1]
    num_patterns = whole_array("num_patterns", P if num_patterns is None else num_patterns)
    if num_patterns.ndim:
        raise ValueError(f"`num_patterns` must be one number, got shape {num_patterns.shape}")
    require("num_patterns", num_patterns, lambda num: (num >= 2) & (num <= P), f"a whole number from 2 to {P}")
    cue = _patterns("cue", cue, P)
    if cue.shape not in ((), trials):
        raise ValueError(f"`cue` must be a number or have the shape of the trials, {trials}, got {cue.shape}")
    length = P if length is None else length
    require_whole("length", length, 2)
    if length > P:
        raise ValueError(f"`length` must be at most the number of patterns, {P}, got {length}")
    threshold = scalar("threshold", threshold)
    require("threshold", threshold, positive, "a finite number > 0")

    dtype, cue = overlaps.dtype, jnp.broadcast_to(cue.astype(int), trials)
    return _of_trials(overlaps, times.astype(dtype), cue, num_patterns, length, threshold.astype(dtype), ring)


@as_program
def _of_trials(overlaps, times, cue, num_patterns, length, threshold, ring) -> Retrieval:
    def of_trial(overlaps, cue):
        return _retrieval(overlaps, times, cue, num_patterns, length, threshold, ring)

    for _ in range(cue.ndim):
        of_trial = jax.vmap(of_trial, in_axes=(1, 0))
    return of_trial(overlaps, cue)


def _retrieval(m: Float[Array, "time P"], times, cue, num_patterns, length, threshold, ring) -> Retrieval:
    """The retrieval in one trial, along positions: pattern cue + k has position k, silent patterns keep their index."""
    P, dtype = m.shape[1], m.dtype
    position = jnp.arange(P)
    silent = position >= num_patterns
    pattern_at = jnp.where(silent, position, (position + cue) % num_patterns)
    position_of = jnp.where(silent, position, (position - cue) % num_patterns)
    counted = position < jnp.minimum(length, num_patterns if ring else num_patterns - cue)
    m = m[:, pattern_at]

    # The cue is a visit of its own pattern, but not of patterns that resemble it.
    rises = jnp.concatenate([(position == 0)[None], m[1:] > m[:-1]])
    falls = jnp.concatenate([m[1:] <= m[:-1], jnp.zeros((1, P), bool)])
    high = m >= jnp.maximum(threshold, jnp.max(m, 0) / 2)[None]
    peak = rises & falls & high & jnp.all(jnp.isfinite(m))
    seen, first = jnp.any(peak, 0), jnp.argmax(peak, 0)
    peak_times = jnp.where(seen, times[first], jnp.nan)
    peaks = jnp.where(seen, m[first, position], jnp.nan)

    in_order = peak_times[1:] > peak_times[:-1]  # False where one is NaN
    steps = jnp.sum(counted) - 1
    fidelity = (jnp.sum(in_order & counted[1:]) / jnp.maximum(steps, 1)).astype(dtype)
    reach = jnp.where(seen[0], 1 + jnp.sum(jnp.cumprod(in_order & counted[1:])), 0)
    success = jnp.all(seen | ~counted) & (fidelity >= IN_ORDER)

    used = seen & counted
    speed = _slope(jnp.where(used, peak_times, 0), position.astype(dtype), used.astype(dtype))
    order = jnp.argsort(peak_times)  # stable, and NaN last
    cycle = num_patterns.astype(dtype) / speed
    return Retrieval(
        peak_times=peak_times[position_of],
        peaks=peaks[position_of],
        visited=jnp.where(position < jnp.sum(seen), pattern_at[order], -1),
        fidelity=fidelity,
        reach=reach,
        success=success,
        speed=speed,
        period=jnp.where(success, _period(m, times, peak_times, cycle), jnp.nan) if ring else jnp.nan * speed,
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
    patterns: Float[ArrayLike, "P n"],
    *,
    duration: float,
    cue: Int[ArrayLike, "*trials"] = 0,
    length: int | None = None,
    threshold: Float[ArrayLike, ""] = PRESENT,
    ring: bool = True,
    dt: float = 0.05,
    save_every: int = 2,
    scheme: Scheme = heun,
    key: PRNGKeyArray | None = None,
    progress: bool = True,
) -> Retrieval:
    """Starts the network at the stored pattern `cue`, x(0) = xi^cue, lets it run and measures the retrieval.

    Many cues (...,) are trials of one network, simulated together, each with its own noise. Overlaps are recorded
    every `save_every` steps; no trajectory is kept. Map over networks and their patterns with `vmap`. `retrieval` and
    `simulate` document the other arguments.

    Raises:
        ValueError: if ``patterns`` is not (P, n) for n units, ``cue`` is no pattern, and as `simulate` and
            `retrieval` do.
    """
    patterns, cue = _stored_in(net, patterns, cue)
    require("threshold", scalar("threshold", threshold), positive, "a finite number > 0")
    run = simulate(
        net,
        patterns[cue],
        duration=duration,
        dt=dt,
        save_every=save_every,
        scheme=scheme,
        key=key,
        record=Overlaps(patterns),
        progress=progress,
    )
    return retrieval(run.records, run.times, cue=cue, length=length, threshold=threshold, ring=ring)


class Probability(Result):
    """The `value` of a probability estimated from trials, and its standard `error`."""

    value: Float[Array, "..."]
    error: Float[Array, "..."]


def success_probability(success: Bool[ArrayLike, "trials ..."]) -> Probability:
    r"""The share k / T of the T trials, on the first axis, that succeeded, and its standard error.

    $$ \sqrt{p (1 - p) / (T + 2)}, \qquad p = (k + 1) / (T + 2) $$

    which unlike the naive one is not zero when all trials agree.

    Raises:
        ValueError: if ``success`` has no trial, or is not made of truth values.
    """
    success = real_array("success", success)
    require("success", success, lambda s: (s == 0) | (s == 1), "true or false")
    if success.ndim == 0 or success.shape[0] == 0:
        raise ValueError(f"`success` must have shape (trials, ...) with trials >= 1, got {success.shape}")
    trials, count = success.shape[0], jnp.sum(success, 0).astype(jnp.result_type(float))
    p = (count + 1) / (trials + 2)
    return Probability(count / trials, jnp.sqrt(p * (1 - p) / (trials + 2)))


def _stored_in(net: RateNetwork, patterns: ArrayLike, cue: ArrayLike) -> tuple[Array, Array]:
    """Patterns of the network in its precision, and indices of some of them."""
    patterns = stored("patterns", patterns)
    if len(net.J.shape) != 2:
        raise ValueError(f"`net` must be one network, got a batch {net.J.shape[:-2]}: map with `jax.vmap`")
    if patterns.shape[1] != net.size:
        raise ValueError(f"`patterns` must have shape (P, {net.size}), got {patterns.shape}")
    return patterns.astype(net.dtype), _patterns("cue", cue, patterns.shape[0])


def _patterns(name: str, index: ArrayLike, num: int) -> Int[Array, "..."]:
    index = whole_array(name, index, "indices of patterns")
    if is_concrete(index) and not np.all((np.asarray(index) >= 0) & (np.asarray(index) < num)):
        raise ValueError(f"`{name}` must be indices of patterns, from 0 to {num - 1}, got {np.asarray(index)}")
    return index
