r"""From a recording of part of a network to its strength, its effective rank and its time constant.

Single units tell two numbers, g and tau: their mean autocovariance is C(t) = C^phi(t / tau; g). Pairs of units tell the
effective rank PR^D of modes without overlaps. With M of N units recorded, all pairs alike, and C_ij at equal times,

$$ F = (N - 1)\, \frac{\langle C_{ij}^2 \rangle_{i \ne j}}{\langle C_{ii} \rangle^2}
     = \frac{N - 1}{M - 1} \Big( \frac{M}{\mathrm{PR}_M} - \frac{\langle C_{ii}^2 \rangle}{\langle C_{ii} \rangle^2}
       \Big) = A(g) + \frac{B(g)}{\mathrm{PR}^D}, $$

PR_M is the unbiased participation ratio of the recorded units; for a whole network F = N / PR - 1. Measurement noise
that is white in time and independent between units adds to C(0) and to <C_ii> alone: the fit leaves C(0) out, and
corrects <C_ii>.

A and B follow from sums over pairs at two frequencies. The same holds for the changes of rates over some lag d, whose
spectra have the weight 2 - 2 cos(w d). These changes do not contain the slow modes, which make F differ so much from
network to network. The rest of this difference has opposite signs in the two sums, so the effective rank is taken from
their mean.
"""

import functools
import warnings
from collections.abc import Mapping
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from .._arguments import positive, real_array, require, require_instance, require_whole, scalar
from .._numerics import as_program, binary_scale, chebyshev, cubic_interpolation
from .._results import Result, one_line
from ..couplings import IID, RandomModes
from ..meanfield import Stationary, stationary
from ..observables import autocovariance, correlation_time, dimension_estimate
from ..population import four_point_sum
from ..transfer import Tanh, Transfer
from .engine import Fit, NotIdentifiable, least_squares, with_covariance
from .parameters import Interval, Positive, Transform

# The range of g that is searched, from just above the onset of chaos to where nearly all rates of tanh are saturated,
# and the nodes of Gaussian averages there.
_SMALLEST, _LARGEST, _NODES = 1.1, 10.0, 401
# Lags of a fit, up to where C has fallen to about 60%: longer ones differ more from network to network. Blocks in time
# from which errors come, whose own relative error is then 1 / sqrt(2 * 19) = 16%.
_LAGS, _BLOCKS = 8, 20
# Scatter between networks, times the root of their dimension, as a part of C(0) - C(t) and of F: set on 50 networks of
# 2000 units (3 < g < 6, .1 < PR^D < 3), so that one standard error covers 68%. Weights take a dimension of 45.
_SCATTER_OF_UNITS, _SCATTER, _USUAL_DIMENSION = 0.27, 0.37, 45
# The theory of units: Chebyshev points of log g, and C^phi at so many lags up to that one, in units of tau.
_ORDER, _NUM_LAGS, _MAX_LAG = 32, 1601, 80.0
# The theory of pairs: so many frequencies, up to the highest one in units of 1 / tau.
_FREQUENCIES, _HIGHEST, _DECAY_TIMES = 600, 8.0, 16
# Effective rank for infinity.
_INFINITE = 1e12


class RecordingFit(Result, axes={"K": "lags", "L": "curve_lags"}):
    """The network behind a recording, made by `fit_recording`; `<name>_error` is the standard error of `<name>`.

    `g` is the strength of the couplings, and `time_constant` is tau in the unit of `interval`. `dimension` is the PR of
    all N units without measurement noise, or the PR of the recorded units if N is not known. `noise` is the part of the
    measurement in the total variance. `measured` is C at `lags`; at lag 0 it contains the noise. `curve` is C of the
    fit at `curve_lags`, which lie closer together.

    `inverse_rank` is 1 / PR^D: 0 for independent weights, with a symmetric error. `effective_rank` is its inverse, and
    inf if `inverse_rank` is not positive. Both are NaN if the size of the population is not known; `fewest_modes` and
    `fewest_units` then bound N PR^D and N from below. `notes` name the numbers that the data cannot tell.
    """

    g: Float[Array, ""]
    g_error: Float[Array, ""]
    time_constant: Float[Array, ""]  # in the unit of the interval
    time_constant_error: Float[Array, ""]
    inverse_rank: Float[Array, ""]
    inverse_rank_error: Float[Array, ""]
    effective_rank: Float[Array, ""]
    effective_rank_error: Float[Array, ""]
    dimension: Float[Array, ""]
    dimension_error: Float[Array, ""]
    fewest_modes: Float[Array, ""]
    fewest_units: Float[Array, ""]
    noise: Float[Array, ""]
    noise_error: Float[Array, ""]
    lags: Float[Array, " K"]
    measured: Float[Array, " K"]
    measured_error: Float[Array, " K"]
    curve_lags: Float[Array, " L"]
    curve: Float[Array, " L"]
    converged: Bool[Array, ""]
    notes: tuple[str, ...] = eqx.field(static=True)


def fit_recording(
    rates: Float[ArrayLike, "time n"],
    interval: Float[ArrayLike, ""],
    *,
    transfer: Transfer | None = None,
    population_size: int | None = None,
    z_scored: bool = False,
    centre: bool = True,
) -> RecordingFit:
    r"""The strength g, the effective rank PR^D and the time constant tau of the network behind a recording.

    $$ C(t) = C^\phi(t / \tau; g), \qquad F = A(g) + B(g) / \mathrm{PR}^D $$

    `rates` are phi(x) of n units, sampled every `interval`, of a network tau dx/dt = -x + J phi(x); phi is `transfer`,
    tanh if None. Valid above the onset of chaos, with independent weights or random modes without overlaps. White
    measurement noise is found and taken off. `z_scored` is for rates in units of their standard deviations, or in any
    units: the rates of each unit are divided by their standard deviation, and only the shape of C is used.
    `population_size` is N, of which the n units are a random part; without it PR^D is bounded (see `RecordingFit`).
    `centre=False` takes the mean rates to be 0, which spares short records some error.

    C is fitted at 8 lags, where it falls to about 60%. Its errors come from blocks in time and, since units are a
    sample, from the scatter between units. The errors of F come from the jackknife over blocks. The scatter between
    networks is added to both. It is the scatter of an average over as many independent variables as the activity has
    dimensions, and its size was measured in networks of 2000 units. All is computed in the precision of the rates and
    of JAX; in float32, results differ by some 1e-4 of their errors.

    Raises:
        ValueError: for rates that are no (time, n) array, have NaN gaps or constant units, are too few or too short, or
            so small or large that squares are lost; a population smaller than n, and an object that is no transfer
            function.

    Source: Clark et al. 2024 (arXiv 2409.01969) for A and B.
    """
    seen = _looked_at(rates, interval, transfer, population_size, z_scored, centre)
    single = _with_scatter(seen.single, seen.covariance)
    rank = _fit_rank(single.found, seen.pairs, seen.N, seen.dimension, seen.transfer)
    error = np.sqrt(np.diagonal(seen.covariance))
    return _summary(single, error, seen.pairs, rank, seen.dimension, seen.N, population_size is not None)


class RecordingLikelihood(eqx.Module):
    r"""Minus the log-likelihood of g and tau, given the autocovariance of a recording: made by `recording_likelihood`.

    $$ L(x) = \frac12\, s^T B^{-1} s, \qquad s = A^T r(x), \qquad A = \frac{\partial r}{\partial x}\Big|_{\hat x},
       \qquad B = A^T \mathrm{Cov}(r)\, A, $$

    with r(x) what the theory misses at each lag in units of its weight, and x-hat the fit. The misses at different lags
    are correlated, and their covariance is known to some 16 %, so that its inverse is not used: s has as many
    components as there are parameters. Near the fit L has the curvature that the errors of `fit_recording` say, and far
    from it the shape that the theory has. `params` are the fit, `transforms` the ranges of parameters, `data` what r
    depends on, `slopes` A and `precision` the inverse of B.
    """

    __repr__ = one_line

    params: dict[str, Float[Array, ""]]
    transforms: dict[str, Transform]
    data: tuple
    slopes: Float[Array, "K-1 p"]
    precision: Float[Array, "p p"]

    def __call__(self, params: Mapping[str, Float[ArrayLike, ""]]) -> Float[Array, ""]:
        """L at `params`."""
        given = {name: jnp.asarray(params[name], self.slopes.dtype) for name in self.params}
        s = self.slopes.T @ _misses(given, *self.data)
        return s @ self.precision @ s / 2


def recording_likelihood(
    rates: Float[ArrayLike, "time n"],
    interval: Float[ArrayLike, ""],
    *,
    transfer: Transfer | None = None,
    population_size: int | None = None,
    z_scored: bool = False,
    centre: bool = True,
) -> RecordingLikelihood:
    """The likelihood of the strength g and the time constant tau behind a recording, for `inference.posterior`.

    All arguments are those of `fit_recording`, and so is what is valid. With `z_scored` rates their scale is a
    parameter too. The effective rank is not: a fit gives its error.

    Raises:
        ValueError: as `fit_recording`.

    Source: derived here, after the composite likelihoods of Pauli, Racugno & Ventura 2011.
    """
    seen = _looked_at(rates, interval, transfer, population_size, z_scored, centre)
    single = seen.single
    params = {name: jnp.asarray(value) for name, value in single.found.params.items()}
    data = jax.tree.map(jnp.asarray, _data(single.units, single.length, single.family))
    slopes = jax.jacfwd(_misses)(params, *data)
    A = jnp.stack([slopes[name] for name in params], axis=1)
    weights = single.units.weights[1:]
    B = A.T @ jnp.asarray(seen.covariance[1:, 1:] / (weights[:, None] * weights[None]), A.dtype) @ A
    return RecordingLikelihood(params, _ranges(z_scored), data, A, jnp.linalg.inv(B))


class _Seen(NamedTuple):
    """What a recording shows of single units and of pairs, and the covariance of C between networks as well."""

    single: "_SingleFit"
    pairs: "_Pairs"
    covariance: Float[np.ndarray, "K K"]
    dimension: float
    N: int
    transfer: Transfer


def _looked_at(rates, interval, transfer: Transfer | None, population_size, z_scored: bool, centre: bool) -> _Seen:
    transfer = Tanh() if transfer is None else transfer
    require_instance("transfer", transfer, Transfer, "one of `jaxnets.transfer`, such as `Tanh()`")
    x, step = _checked(rates, interval)
    n = x.shape[1]
    if population_size is not None:
        require_whole("population_size", population_size, least=n)
    if z_scored:  # in a unit in which no square overflows
        x = x / np.asarray(binary_scale(jnp.asarray(x)))
    _require_squares(x)
    if centre:
        x = x - np.mean(x, axis=0, keepdims=True)
    if z_scored:
        x = x / np.sqrt(np.mean(x**2, axis=0, keepdims=True))

    N = n if population_size is None else population_size
    length = np.asarray(x.shape[0] * step if centre else np.inf)
    single = _fit_units(_single_units(x, step), length, _family(transfer), z_scored)
    pairs = _measure_pairs(x, step, single)
    dimension = N / (1 + np.maximum((N - 1) * pairs.value[0], 0))
    covariance = single.units.covariance(1 / np.sqrt(dimension))
    return _Seen(single, pairs, covariance, dimension, N, transfer)


def _summary(
    single: "_SingleFit",
    error: Float[np.ndarray, " K"],
    pairs: "_Pairs",
    rank: "_Rank",
    dimension: float,
    N: int,
    known: bool,
) -> RecordingFit:
    found, total = single.found, single.units.measured[0]
    (g, tau), (g_error, tau_error) = ([float(of[name]) for name in ("g", "tau")] for of in (found.params, found.error))
    q, q_error = rank.inverse, rank.error
    effective = 1 / q if q > 0 else np.inf
    numbers = {
        "g": g,
        "g_error": g_error,
        "time_constant": tau,
        "time_constant_error": tau_error,
        "inverse_rank": q if known else np.nan,
        "inverse_rank_error": q_error if known else np.nan,
        "effective_rank": effective if known else np.nan,
        "effective_rank_error": (q_error * effective**2 if q > 0 else np.inf) if known else np.nan,
        "dimension": dimension,
        "dimension_error": dimension**2 * (N - 1) * pairs.error[0] / N,
        "fewest_modes": np.mean(rank.B / pairs.value),
        "fewest_units": np.mean(rank.A / pairs.value),
        "noise": single.noise / total,
        "noise_error": error[1] / total,
        "lags": single.units.lags,
        "measured": single.units.measured,
        "measured_error": error,
        "curve_lags": single.curve_lags,
        "curve": single.curve,
    }
    numbers = {name: jnp.asarray(np.asarray(value, jnp.result_type(float))) for name, value in numbers.items()}
    converged = bool(found.converged)
    notes = _notes(converged, g, g_error, q, q_error, known)
    return RecordingFit(**numbers, converged=jnp.asarray(converged), notes=notes)


def _notes(converged, g, g_error, q, q_error, known) -> tuple[str, ...]:
    notes = []
    if not converged:
        notes.append("the fit of the autocovariance did not converge: this theory has no autocovariance of its shape")
    if g - 1 < 2 * g_error:
        notes.append("g cannot be told from 1, the onset of chaos: record more units, or for longer")
    if g_error > 0.2 * g:
        notes.append("g is known to no better than 20%: shape alone says little of it, or the record is short")
    if g > 0.9 * _LARGEST:
        notes.append(
            f"g is at the end of its range, {_LARGEST:g}: rates are saturated, or not of this transfer function"
        )
    if not known:
        notes.append("PR^D needs the size of the population: only N PR^D and N are bounded from below")
    elif q < 2 * q_error:
        notes.append(f"PR^D cannot be told from infinity, as of independent weights: above {1 / (q + 2 * q_error):.2g}")
    return tuple(notes)


def _checked(rates: ArrayLike, interval: ArrayLike) -> tuple[Float[np.ndarray, "time n"], float]:
    x = np.asarray(real_array("rates", rates))
    if x.ndim != 2 or x.shape[1] < 10:
        raise ValueError(f"`rates` must have shape (time, n) with 10 units or more, got {x.shape}")
    require("interval", scalar("interval", interval), positive, "a finite number > 0")
    gaps = ~np.isfinite(x)
    if gaps.any():
        time, unit = np.argwhere(gaps)[0]
        raise ValueError(
            f"`rates` must be finite, got {x[time, unit]} at time {time}, unit {unit}, and {gaps.sum()} such entries "
            f"in {gaps.any(axis=0).sum()} units: leave these units out, or fit the longest piece without gaps"
        )
    constant = np.flatnonzero(np.ptp(x, axis=0) == 0)
    if constant.size:
        raise ValueError(f"`rates` must vary, got constant units {constant[:8].tolist()}: leave them out")
    return x, float(np.asarray(interval))


def _require_squares(x: Float[np.ndarray, "time n"]) -> None:
    """Raises `ValueError` for numbers of which squares are lost: no rates of a phi of order one."""
    size, limits = float(np.max(np.abs(x))), np.finfo(x.dtype)
    if not float(limits.tiny) ** 0.25 < size < float(limits.max) ** 0.25:
        raise ValueError(
            f"`rates` must have squares that are numbers, got rates up to {size:.3g}: take them in the unit of "
            "`transfer`, or `z_scored=True` for rates in any unit"
        )


# --- single units


class _Units(eqx.Module):
    """C at 0 and 8 lags, what a fit weighs them by, and their covariance within one network."""

    lags: Float[np.ndarray, " K"]
    measured: Float[np.ndarray, " K"]
    within: Float[np.ndarray, "K K"]

    def covariance(self, part: float) -> Float[np.ndarray, "K K"]:
        """With the scatter between networks: of C(0) - C(t), by `part` for a scatter of one."""
        between = _SCATTER_OF_UNITS * part * (self.measured[1] - self.measured)
        return self.within + between[:, None] * between[None]

    @property
    def weights(self) -> Float[np.ndarray, " K"]:
        return np.sqrt(np.diagonal(self.covariance(_USUAL_DIMENSION**-0.5)))


def _single_units(x: Float[np.ndarray, "time n"], interval: float) -> _Units:
    times = x.shape[0]
    transposed = ", or try `rates.T` if this is units x time" if times < x.shape[1] else ""
    too_short = f"got {times} samples: record for longer{transposed}"
    if times < 8 * _BLOCKS:
        raise ValueError(f"`rates` must have {8 * _BLOCKS} times or more, {too_short}")
    # To the lags of `correlation_time`, whose program it shares; those beyond an eighth have few pairs of times.
    c = np.asarray(autocovariance(x, interval, max_lag=times // 2 * interval, centre=False).values)[: times // 8 + 1]
    below = np.flatnonzero(c < 0.6 * c[1])
    if not below.size:
        raise ValueError(f"`rates` must last for 8 times the decay of their covariance, {too_short}")
    white = 5 * c[0] / np.sqrt(x.size)  # what chance makes of no covariance at all, at most
    if c[1] < 0.2 * c[0] and (c[2] < 0.5 * c[1] or c[1] < white):
        raise ValueError(
            "`rates` must be sampled within the decay of their covariance, got next to none at one `interval`"
        )
    step = max(1, round(int(below[0]) / _LAGS))
    last = step * _LAGS
    if times < _BLOCKS * last:
        raise ValueError(f"`rates` must have {_BLOCKS} pieces of {last} samples, the decay of C, {too_short}")
    in_blocks, of_units = _lagged(x, step * np.arange(_LAGS + 1), last)
    within = np.cov(in_blocks) / _BLOCKS + np.cov(of_units) / x.shape[1]
    lags = interval * step * np.arange(_LAGS + 1.0)
    return _Units(lags, np.mean(in_blocks, axis=1), within)


class _SingleFit(NamedTuple):
    """The fit of single units, with the curve that it draws."""

    units: _Units
    length: Float[np.ndarray, ""]  # of the record, inf if its mean was not taken off
    family: "_Family"
    found: Fit  # of g, tau and, of rates without a unit, their scale
    curve_lags: Float[np.ndarray, " L"]
    curve: Float[np.ndarray, " L"]
    noise: float  # variance of the measurement

    @property
    def signal(self) -> float:
        """The variance of the activity."""
        return self.units.measured[0] - self.noise


def _fit_units(units: _Units, length: Float[np.ndarray, ""], family: "_Family", z_scored: bool) -> _SingleFit:
    """g and tau from the mean autocovariance, by plain weights; `_with_scatter` gives their errors."""
    params = {"g": np.asarray(2.5), "tau": units.lags[-1] / 4}
    transforms = _ranges(z_scored)
    if z_scored:
        params["scale"] = units.measured[1]
    with warnings.catch_warnings():  # the notes say so of g, with its error
        warnings.simplefilter("ignore", NotIdentifiable)
        found = least_squares(_misses, params, *_data(units, length, family), transforms=transforms)
    fine = 16
    curve_lags = np.linspace(0, units.lags[-1], fine * _LAGS + 1)
    curve = np.asarray(_predicted(found.params, curve_lags, length, family))
    # At lag 0 the activity has the value at the first lag, and the rise of the fit from there, but no noise.
    signal = curve[0] + (units.measured[1] - curve[fine])
    return _SingleFit(units, length, family, found, curve_lags, curve, units.measured[0] - signal)


def _ranges(z_scored: bool) -> dict[str, Transform]:
    """The parameters of single units, and where they may be."""
    ranges: dict[str, Transform] = {"g": Interval(_SMALLEST, _LARGEST), "tau": Positive()}
    return ranges | {"scale": Positive()} if z_scored else ranges


def _with_scatter(single: _SingleFit, covariance: Float[np.ndarray, "K K"]) -> _SingleFit:
    """The fit with the errors that this covariance of C gives."""
    weights = single.units.weights[1:]
    in_weights = covariance[1:, 1:] / (weights[:, None] * weights[None])
    data = _data(single.units, single.length, single.family)
    return single._replace(found=with_covariance(single.found, _misses, jnp.asarray(in_weights), *data))


def _lagged(
    x: Float[np.ndarray, "time n"], lags: Int[np.ndarray, " K"], last: int
) -> tuple[Float[np.ndarray, "K blocks"], Float[np.ndarray, "K n"]]:
    """Products at `lags` <= last: averaged over units in blocks of time, and over time."""
    size = (x.shape[0] - last) // _BLOCKS
    start = x[: _BLOCKS * size]
    in_blocks, of_units = [], []
    for lag in lags:
        products = start * x[lag : lag + len(start)]
        # Sums of so many terms ask for more than single precision.
        in_blocks.append(np.mean(products.reshape(_BLOCKS, -1), axis=1, dtype=float))
        of_units.append(np.mean(products, axis=0, dtype=float))
    return np.stack(in_blocks), np.stack(of_units)


class _Family(eqx.Module):
    """C^phi(t; g): the theory of single units has one parameter, and is solved once, at Chebyshev points of log g."""

    coefficients: Float[Array, "order T"]  # of the series in log g, at lags `spacing` apart
    spacing: Float[Array, ""]

    def at(self, g: Float[Array, ""]) -> Float[Array, " T"]:
        place = jnp.log(g / _SMALLEST) / np.log(_LARGEST / _SMALLEST)
        order = jnp.arange(self.coefficients.shape[0]).astype(place.dtype)
        return jnp.cos(order * jnp.arccos(2 * place - 1)) @ self.coefficients

    def __call__(self, g: Float[Array, ""], lags: Float[Array, " K"]) -> Float[Array, " K"]:
        """0 beyond the last lag."""
        c, x = self.at(g), lags / self.spacing
        return jnp.where(x < c.shape[0], cubic_interpolation(c[None], x)[0], 0)

    def integral(self, g: Float[Array, ""]) -> Float[Array, ""]:
        """From 0 to infinity."""
        return jnp.trapezoid(self.at(g), dx=self.spacing)


def _family(transfer: Transfer) -> _Family:
    leaves, structure = jax.tree.flatten(transfer)
    if not all(isinstance(leaf, jax.Array) for leaf in leaves):
        return _solved_family(transfer)
    numbers = tuple((np.asarray(leaf).dtype.str, leaf.shape, np.asarray(leaf).tobytes()) for leaf in leaves)
    return _known_family(structure, numbers, jnp.result_type(float))


@functools.lru_cache(maxsize=4)
def _known_family(structure, numbers: tuple, dtype) -> _Family:
    """The family of the transfer function with these parameters, kept for the next recording."""
    leaves = [jnp.asarray(np.frombuffer(data, kind).reshape(shape)) for kind, shape, data in numbers]
    return _solved_family(jax.tree.unflatten(structure, leaves))


def _solved_family(transfer: Transfer) -> _Family:
    # One after the other, since the solver is compiled quicker for one strength than for all together.
    grid = chebyshev.grid(_ORDER)
    gains = _SMALLEST * (_LARGEST / _SMALLEST) ** grid.nodes
    solve = lambda g: stationary(IID(g), transfer, nodes=_NODES, num_lags=_NUM_LAGS, max_lag=_MAX_LAG).c_phi
    solved = np.stack([np.asarray(solve(g)) for g in gains])
    return _Family(jnp.asarray(grid.series @ solved), jnp.asarray(_MAX_LAG / (_NUM_LAGS - 1)))


@as_program
def _predicted(
    params, lags: Float[ArrayLike, " K"], length: Float[ArrayLike, ""], family: _Family
) -> Float[Array, " K"]:
    """C at the lags, less what the mean of a record of that length takes off."""
    g, tau = params["g"], params["tau"]
    c = family(g, lags / tau) - 2 * tau * family.integral(g) / length
    return c if "scale" not in params else params["scale"] * c / family(g, jnp.zeros(1))


def _data(units: _Units, length: Float[np.ndarray, ""], family: _Family) -> tuple:
    return units.lags[1:], units.measured[1:], units.weights[1:], length, family


def _misses(params, lags, measured, weights, length, family: _Family) -> Float[Array, " K-1"]:
    """At all lags but 0, in units of their errors."""
    return (_predicted(params, lags, length, family) - measured) / weights


# --- pairs


class _Pairs(NamedTuple):
    """F / (N - 1) of the activity and of its changes over a delay, with errors."""

    value: Float[np.ndarray, "2"]
    error: Float[np.ndarray, "2"]
    delays: Float[np.ndarray, "2"]


def _measure_pairs(x: Float[np.ndarray, "time n"], interval: float, single: _SingleFit) -> _Pairs:
    step = int(np.clip(round(float(single.found.params["tau"]) / interval), 1, x.shape[0] // 20))
    # The correlation time of the activity alone, without the noise in C(0).
    T2 = float(correlation_time(x, interval, centre=False)) * (single.units.measured[0] / single.signal) ** 2
    changes = x[step:] - x[:-step]  # which have the noise of two samples
    found = [_pairs(x, interval, T2, single.noise), _pairs(changes, interval, T2, 2 * single.noise)]
    value, error = np.array(found).T / (x.shape[1] - 1)
    return _Pairs(value, error, np.array([0.0, step * interval]))


class _Rank(NamedTuple):
    """1 / PR^D with its error, and A and B at the fitted g."""

    inverse: float
    error: float
    A: Float[np.ndarray, "2"]
    B: Float[np.ndarray, "2"]


def _fit_rank(found: Fit, pairs: _Pairs, N: int, dimension: float, transfer: Transfer) -> _Rank:
    """1 / PR^D = (F - A(g)) / B(g), the mean of both sums over pairs."""
    g, g_error, tau = (float(x) for x in (found.params["g"], found.error["g"], found.params["tau"]))
    # At g, and at both ends of its error with the tau that goes with it.
    sides = np.array([0.0, -1.0, 1.0])
    gs = np.clip(g + sides * np.minimum(g_error, _LARGEST), _SMALLEST, _LARGEST)
    taus = tau + sides * np.asarray(found.covariance)[0, -1] / g_error
    sums = [
        _pair_theory(jnp.asarray(g), jnp.asarray(pairs.delays / tau), transfer) for g, tau in zip(gs, taus, strict=True)
    ]
    A, B = np.swapaxes(np.asarray(sums), 0, 1)
    F, F_error = (N - 1) * pairs.value, (N - 1) * pairs.error
    q, at_low, at_high = np.mean((F[None] - A) / B, axis=1)
    between_networks = _SCATTER / np.sqrt(dimension) * np.mean(np.abs(F) / B[0])
    error = np.sqrt(np.mean(F_error / B[0]) ** 2 + ((at_high - at_low) / 2) ** 2 + between_networks**2)
    return _Rank(float(q), float(error), A[0], B[0])


def _pairs(x: Float[np.ndarray, "time n"], interval: float, T2: float, noise: float) -> tuple[float, float]:
    """n / PR - <C_ii^2> / <C_ii>^2 of activity without its measurement noise, and the error."""
    n, half = x.shape[1], x.shape[0] // 2
    estimate = dimension_estimate(x, interval, correlation_time=T2, centre=False)
    value, error = float(estimate.value), float(estimate.error)
    first, second = (np.mean(part**2, axis=0, dtype=float) for part in (x[:half], x[half:]))
    total = np.mean(first + second) / 2
    # Of two halves, so that the errors of C_ii do not add to its square.
    squares = np.mean(first * second) / total**2
    dilution = (total / (total - noise)) ** 2
    return dilution * (n / value - squares), dilution * n * error / value**2


def _pair_theory(
    g: Float[Array, ""], delays: Float[Array, " k"], transfer: Transfer
) -> tuple[Float[Array, " k"], Float[Array, " k"]]:
    r"""A and B for the activity (delay 0) and for its changes over delays in units of tau.

    $$ \frac{\iint W(w_1) W(w_2) (K - 1)}{(\int W)^2}, \qquad W = C^\phi(w)\, (2 - 2 \cos w d) $$

    K is `four_point_sum`, of first order in 1 / PR^D for modes without overlaps.
    """
    # Lags up to 16 decay times, in the program that solved the family.
    solve = lambda max_lag: stationary(IID(g), transfer, nodes=_NODES, num_lags=_NUM_LAGS, max_lag=max_lag)
    rate = solve(_MAX_LAG).decay_rate
    return _pair_sums(solve(_DECAY_TIMES / rate), g, delays)


@as_program
def _pair_sums(state: Stationary, g, delays) -> tuple[Float[Array, " k"], Float[Array, " k"]]:
    # Midpoints converge as exp(-2 pi width / spacing), and the ridge w_1 = w_2 of K has the width rate^2.
    spacing = jnp.minimum(_HIGHEST, 400 * state.decay_rate**2) / _FREQUENCIES
    w = spacing * (jnp.arange(_FREQUENCIES).astype(g.dtype) + 0.5)
    C, S = state.spectrum_phi(w), state.response(w)

    # K at PR^D infinite and 1, and at w_2 of both signs: mapped, as every copy takes long to compile.
    ranks, signs = jnp.array([_INFINITE, 1.0], g.dtype), jnp.array([1.0, -1.0], g.dtype)

    def K(rank, sign, S1, S2):
        modes = RandomModes.of_rank(g, rank)
        return four_point_sum(modes, S1, jax.lax.complex(S2.real, sign * S2.imag))

    every = K
    for axis in range(4):
        every = jax.vmap(every, in_axes=[0 if k == 3 - axis else None for k in range(4)])
    infinite, one = jnp.sum(every(ranks, signs, S, S), axis=1)
    excess = jnp.stack([infinite - 2, one - infinite], axis=-1)

    def at(delay):
        W = C * jnp.where(delay == 0, 1, 2 - 2 * jnp.cos(w * delay))
        return jnp.einsum("i,ijs,j->s", W, excess, W) / (2 * jnp.sum(W) ** 2)

    return tuple(jax.vmap(at)(delays).T)
