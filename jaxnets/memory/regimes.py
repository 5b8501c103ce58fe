r"""What a network does after a cue: its regime, and the lines of theory between regimes.

One network is observed in three stretches. The first begins at the cue and shows whether the sequence is retrieved. The
second is as long and shows the state in which the network settles. The third follows the tangent flow, which alone
tells chaos from a long cycle. `jaxnets.computations.regime` is the same at a point of a sweep, for maps of regimes.
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int, PRNGKeyArray

from .._arguments import positive, real_array, require, require_instance, scalar, vector, whole_array
from .._numerics import Root, as_program, is_concrete
from .._results import Result
from ..couplings import DeepHebbian, Ensemble
from ..dynamics import RateNetwork, Run, lyapunov_spectrum, rk4, simulate
from ..observables.online import Means, Overlaps
from ..spectra import critical_value, law
from ..transfer import Transfer
from .sequences import PRESENT, Retrieval, retrieval

# Mean square of x below which the network is silent.
SILENT = 1e-3
# Rate of change of the overlaps, per unit time and relative to their size, from which they oscillate. The carrier of a
# packet that moves one pattern per time constant turns at about 1. Networks at rest, or in drift between attractors,
# are below .05.
MOVING = 0.1
# Effective number of patterns present below which one holds.
SINGLE = 2.0
# Standard errors by which the largest Lyapunov exponent exceeds zero in chaos: one cycle in 740 passes for chaos.
ERRORS = 3.0
# Time between records of the overlaps, in time constants: ten for each pattern of a packet that moves one per time
# constant.
RECORDED = 0.1
# Share of the third stretch in which the tangent turns into its most unstable direction.
ALIGNING = 1 / 8


class Regime(IntEnum):
    """What a network does after a cue: see `classify`."""

    QUIESCENT = 0
    SEQUENCE = 1
    CHAOS = 2
    OSCILLATION = 3
    FROZEN = 4
    MIXTURE = 5


class Observation(Result):
    """One network after a cue, or a batch of them.

    - `regime`: a `Regime`.
    - `success`, `fidelity`, `reach`, `speed`, `period`, `peak_overlap`: of the retrieval, as in `Retrieval`.
    - `mean`, `variance`: of x over units and time in the steady state.
    - `pace`: rate of change of the overlaps there, and `present`, the effective number of patterns: see `classify`.
    - `exponent`, `exponent_error`: the largest Lyapunov exponent and its standard error.
    - `edge`: the right edge of J diag(phi'(x)) for Gaussian x of that mean and variance (`self_organised_edge`).
    """

    regime: Int[Array, "*batch"]
    success: Bool[Array, "*batch"]
    fidelity: Float[Array, "*batch"]
    reach: Int[Array, "*batch"]
    speed: Float[Array, "*batch"]
    period: Float[Array, "*batch"]
    peak_overlap: Float[Array, "*batch"]
    mean: Float[Array, "*batch"]
    variance: Float[Array, "*batch"]
    pace: Float[Array, "*batch"]
    present: Float[Array, "*batch"]
    exponent: Float[Array, "*batch"]
    exponent_error: Float[Array, "*batch"]
    edge: Float[Array, "*batch"]


def pace(overlaps: Float[Array, "time P"], interval: Float[ArrayLike, ""]) -> Float[Array, ""]:
    r"""How fast overlaps recorded every `interval` change, relative to their size; 0 if all vanish.

    $$ \sqrt{\langle \sum_\mu \dot m_\mu^2 \rangle / \langle \sum_\mu m_\mu^2 \rangle} $$
    """
    change = jnp.mean(jnp.sum(jnp.diff(overlaps, axis=0) ** 2, 1)) / jnp.asarray(interval, overlaps.dtype) ** 2
    return jnp.sqrt(_ratio(change, jnp.mean(jnp.sum(overlaps**2, 1))))


def patterns_present(overlaps: Float[Array, "time P"]) -> Float[Array, ""]:
    r"""Effective number of patterns with an overlap, from 1 for a single one to P for equal ones; 0 if all vanish.

    $$ \Big( \sum_\mu \langle m_\mu^2 \rangle \Big)^2 \Big/ \sum_\mu \langle m_\mu^2 \rangle^2 $$
    """
    power = jnp.mean(overlaps**2, 0)
    return _ratio(jnp.sum(power) ** 2, jnp.sum(power**2))


def _ratio(a: Float[Array, ""], b: Float[Array, ""]) -> Float[Array, ""]:
    return jnp.where(b == 0, 0, a / jnp.where(b == 0, 1, b))


def classify(
    success: Bool[ArrayLike, "..."],
    activity: Float[ArrayLike, "..."],
    pace: Float[ArrayLike, "..."],
    present: Float[ArrayLike, "..."],
    exponent: Float[ArrayLike, "..."],
    exponent_error: Float[ArrayLike, "..."],
) -> Int[Array, "..."]:
    """The first `Regime` of this list that holds, -1 where a number that decides is NaN.

    - QUIESCENT: the mean square `activity` of x in the steady state is below .001 (`SILENT`);
    - SEQUENCE: the sequence was retrieved from the cue (`Retrieval.success`), whatever came later;
    - CHAOS: the largest Lyapunov `exponent` of the flow is more than 3 (`ERRORS`) of its `exponent_error` above 0;
    - OSCILLATION: the overlaps of the steady state change at a `pace` above .1 (`MOVING`);
    - FROZEN: an effective number `present` of patterns below 2 (`SINGLE`) has all the overlap: one pattern holds;
    - MIXTURE: several patterns at once, at rest or in slow drift.

    The exponent of a cycle is 0 up to its error in a network of finite size, so that about one cycle in a thousand
    passes for chaos. Weak chaos passes for a cycle unless the exponent is followed for long enough.

    Raises:
        ValueError: for arguments that are not real numbers of one shape; each may be one number.
    """
    names = ("success", "activity", "pace", "present", "exponent", "exponent_error")
    values = (success, activity, pace, present, exponent, exponent_error)
    arrays = [real_array(name, value) for name, value in zip(names, values, strict=True)]
    shape = max((array.shape for array in arrays), key=len)
    dtype = np.result_type(*(array.dtype for array in arrays))
    for name, array in zip(names, arrays, strict=True):
        if array.shape not in ((), shape):
            raise ValueError(f"`{name}` must be a number or have shape {shape}, got {array.shape}")
    success, activity, pace, present, exponent, exponent_error = (
        jnp.broadcast_to(array, shape).astype(dtype) for array in arrays
    )
    states = [
        (activity < SILENT, Regime.QUIESCENT),
        (success > 0, Regime.SEQUENCE),
        (exponent > ERRORS * exponent_error, Regime.CHAOS),
        (pace > MOVING, Regime.OSCILLATION),
        (present < SINGLE, Regime.FROZEN),
    ]
    decided = jnp.select([holds for holds, _ in states], [int(regime) for _, regime in states], int(Regime.MIXTURE))
    unknown = jnp.isnan(activity) | jnp.isnan(pace) | jnp.isnan(exponent) | jnp.isnan(exponent_error)
    return jnp.where(unknown, -1, decided)


def majority(regimes: Int[ArrayLike, "*batch trials"]) -> Int[Array, "*batch"]:
    """The most frequent of the `regimes` of trials, on the last axis: the first of equals, and -1 if none is known.

    Raises `ValueError` for regimes that are not whole numbers, or have no axis.
    """
    regimes = whole_array("regimes", regimes)
    if regimes.ndim == 0:
        raise ValueError("`regimes` must have shape (..., trials), got one number")
    counts = jnp.stack([jnp.sum(regimes == int(regime), -1) for regime in Regime], -1)
    return jnp.where(jnp.any(counts > 0, -1), jnp.argmax(counts, -1), -1)


def observe(
    ensemble: DeepHebbian,
    transfer: Transfer,
    n: int,
    *,
    key: PRNGKeyArray,
    duration: float = 200.0,
    exponent_duration: float = 400.0,
    length: int | None = None,
    threshold: Float[ArrayLike, ""] = PRESENT,
    dt: float = 0.05,
    dtype: Any = None,
    max_modes: int | None = None,
    progress: bool = True,
) -> Observation:
    """Samples a network of n units, starts it at its first pattern and tells what it does.

    The retrieval is measured for `duration` from the cue, the steady state for as long again, and the Lyapunov exponent
    for `exponent_duration` after that, of which the first eighth aligns the tangent. All are integrated by `rk4` in
    steps of at most `dt`. `duration` should span some cycles. `length` is the number of patterns that make a
    retrieval, by default all. At a finite load no network retrieves all patterns when n is large, and only a fixed
    number (such as 20) has a limit. Overlaps are recorded every tenth of a time constant; no trajectory is kept.

    Map over keys, loads and strengths with `vmap`. A traced load needs `max_modes`, a bound on the number of patterns.

    Raises:
        ValueError: if ``ensemble`` is not a `DeepHebbian` of at least 2 patterns, and as `simulate`,
            `lyapunov_spectrum` and `retrieval` do.
    """
    require_instance("ensemble", ensemble, DeepHebbian, "a `DeepHebbian` ensemble")
    require("threshold", scalar("threshold", threshold), positive, "a finite number > 0")
    J = ensemble.sample(n, key=key, dtype=dtype, max_modes=max_modes)
    net, patterns = RateNetwork(J, transfer), J.left.T
    load = ensemble.load
    num_patterns = round(float(load) * n) if is_concrete(load) else jnp.round(load * n).astype(int)
    length = len(patterns) if length is None else min(length, len(patterns))
    common: dict[str, Any] = {
        "duration": duration,
        "dt": dt,
        "save_every": max(1, round(RECORDED / dt)),
        "scheme": rk4,
        "progress": progress,
    }
    cued = simulate(net, patterns[0], record=Overlaps(patterns), **common)
    measured = {"num_patterns": num_patterns, "length": length, "threshold": threshold, "ring": ensemble.ring}
    found = retrieval(cued.records, cued.times, **measured)
    steady = simulate(net, cued.final, record={"overlaps": Overlaps(patterns), "units": Means()}, **common)
    spectrum = lyapunov_spectrum(
        net,
        steady.final,
        num_exponents=1,
        duration=exponent_duration,
        discard=ALIGNING * exponent_duration,
        dt=dt,
        key=key,
        progress=progress,
    )
    return _observation(ensemble, transfer, found, steady, spectrum.exponents[0], spectrum.error[0])


def _observation(
    ensemble: DeepHebbian,
    transfer: Transfer,
    found: Retrieval,
    steady: Run,
    exponent: Float[Array, ""],
    exponent_error: Float[Array, ""],
) -> Observation:
    """What follows from a retrieval, a steady state and the exponent there."""
    units, overlaps = steady.records["units"].states, steady.records["overlaps"]
    mean = jnp.mean(units.mean)
    variance = jnp.mean(units.variance) + jnp.var(units.mean)
    moving, present = pace(overlaps, steady.interval), patterns_present(overlaps)
    return Observation(
        regime=classify(found.success, variance + mean**2, moving, present, exponent, exponent_error),
        success=found.success,
        fidelity=found.fidelity,
        reach=found.reach,
        speed=found.speed,
        period=found.period,
        peak_overlap=found.peak_overlap,
        mean=mean,
        variance=variance,
        pace=moving,
        present=present,
        exponent=exponent,
        exponent_error=exponent_error,
        edge=self_organised_edge(ensemble, transfer, mean=mean, variance=variance),
    )


# --- lines of theory


def instability(
    load: Float[ArrayLike, ""],
    window: Float[ArrayLike, " d"] | Sequence[float] = (1.0,),
    auto: Float[ArrayLike, ""] = 0.0,
    *,
    transfer: Transfer,
    guess: Float[ArrayLike, ""] | None = None,
) -> Root:
    r"""The hetero strength gamma, gamma_r = gamma x window_r, at which the silent state x = 0 becomes unstable.

    $$ \phi'(0) \max \operatorname{Re} \operatorname{spec} J = 1 $$

    The Newton search begins at `guess`, by default the gamma of few patterns divided by sqrt(1 + load). Valid where the
    silent state is stable without the sequence: the search does not converge where auto alone is unstable. Map over
    loads with `vmap`. Differentiable.

    Raises:
        ValueError: if ``load`` is not positive, ``window`` empty, or phi'(0) not positive.

    Source: Jiang et al. 2022 (arXiv 2208.11411).
    """
    load, window, auto = scalar("load", load), vector("window", window), scalar("auto", auto)
    dtype = np.result_type(load.dtype, window.dtype, auto.dtype)
    load, window, auto = (x if x.dtype == dtype else x.astype(dtype) for x in (load, window, auto))
    require_instance("transfer", transfer, Transfer, "a transfer function such as `Tanh()`")
    slope = transfer.slope(jnp.zeros((), load.dtype))
    require("transfer", slope, positive, "of positive slope at 0")
    if guess is None:
        # The spectrum of few patterns is the curve auto + gamma sum_r window_r exp(-i r theta).
        theta = np.linspace(0, np.pi, 181)
        reach = jnp.max(jnp.asarray(np.cos(np.outer(theta, np.arange(1, len(window) + 1))), window.dtype) @ window)
        guess = jnp.maximum(1 / slope - auto, 0.1) / reach / jnp.sqrt(1 + load)
    return _instability(load, window, auto, scalar("guess", guess).astype(dtype), 1 / slope)


@as_program
def _instability(load, window, auto, guess, edge) -> Root:
    return critical_value(lambda gamma: DeepHebbian(load, auto, gamma * window), guess, edge=edge)


def self_organised_edge(
    ensemble: Ensemble,
    transfer: Transfer,
    *,
    mean: Float[ArrayLike, ""] = 0.0,
    variance: Float[ArrayLike, ""],
) -> Float[Array, ""]:
    r"""The right edge of J diag(phi'(x)) in a state with Gaussian x of measured `mean` and `variance`.

    For one shift alone it is gamma sqrt(alpha <phi'^2> + <phi'>^2). Above 1, perturbations independent of the state
    grow; networks that retrieve settle near 1. In the precision of the ensemble; NaN where the law finds no solution,
    which in single precision is often so. Raises `ValueError` for an ensemble without a bulk, as `spectra.law` does.

    Source: Jiang et al. 2022 (arXiv 2208.11411).
    """
    dtype = ensemble.variance().dtype
    mean, variance = scalar("mean", mean).astype(dtype), scalar("variance", variance).astype(dtype)
    # The gains of a silent network are the slopes at its mean.
    variance = jnp.maximum(variance, jnp.finfo(dtype).tiny)
    edge = law(ensemble, transfer, mean=mean, variance=variance).rightmost()
    return jnp.where(edge.converged, edge.z.real, jnp.nan)


def packet_speed(ensemble: DeepHebbian) -> Float[Array, ""]:
    r"""Patterns per unit time at which a packet of overlap moves along the sequence, for few patterns in many units.

    $$ \dot u = -u + K m, \quad m = \beta u, \quad \beta \lambda(0) = 1: \qquad
       v = i \beta \lambda'(0) = \frac{\sum_r r\, \gamma_r}{c + \sum_r \gamma_r} $$

    x = sum_mu xi^mu u^mu of many patterns is Gaussian, beta is its mean slope <phi'>, and the packet spreads until its
    long waves neither grow nor decay: their group velocity is v, for every phi. So it holds for packets of many
    patterns, some time after the cue, in a network that is unstable at rest (phi'(0) lambda(0) > 1), and at small
    loads. 0 for symmetric couplings. NaN where Re lambda is largest at another angle than 0, so that overlaps
    oscillate. Differentiable.

    Raises:
        ValueError: if ``ensemble`` is no `DeepHebbian`.

    Source: derived here. For equal gamma and c = 0, Jiang et al. 2022 (arXiv 2208.11411) have the same 2 / (d + 1) time
    constants a pattern.
    """
    require_instance("ensemble", ensemble, DeepHebbian, "a `DeepHebbian` ensemble")
    steps = np.arange(1, len(ensemble.hetero) + 1)
    forward = jnp.asarray(steps, ensemble.hetero.dtype) @ ensemble.hetero
    if ensemble.symmetric:
        forward = jnp.zeros_like(forward)
    growth = ensemble.poles().real  # of waves exp(-i mu theta), with theta = 0 among them
    at_zero = ensemble.auto + (2 if ensemble.symmetric else 1) * jnp.sum(ensemble.hetero)
    longest_grow = (at_zero > 0) & (at_zero >= jnp.max(growth) * (1 - 1e-9))
    return jnp.where(longest_grow, forward / jnp.where(longest_grow, at_zero, 1), jnp.nan)
