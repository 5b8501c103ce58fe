r"""From a recording of part of a network to its strength, its effective rank and its time constant.

Units alone know two numbers, g and tau: their mean autocovariance is C(t) = C^phi(t / tau; g). Pairs know the effective
rank PR^D of modes without overlaps. With M of N units recorded, all pairs alike, and C_ij at equal times,

$$ F = (N - 1)\, \frac{\langle C_{ij}^2 \rangle_{i \ne j}}{\langle C_{ii} \rangle^2}
     = \frac{N - 1}{M - 1} \Big( \frac{M}{\mathrm{PR}_M} - \frac{\langle C_{ii}^2 \rangle}{\langle C_{ii} \rangle^2}
       \Big) = A(g) + \frac{B(g)}{\mathrm{PR}^D}, $$

PR_M the unbiased participation ratio of the recorded ones; of a whole network F = N / PR - 1. Measurement noise that is
white in time and independent between units adds to C(0) and to <C_ii> alone: the first is left out of the fit, the
second corrected.

A and B follow from sums over pairs at two frequencies. The same holds for changes over some lag d, whose spectra have
the weight 2 - 2 cos(w d), and which do without the slow modes that make F so different from network to network. What
is left of that has opposite signs in both, and the effective rank is taken from their mean.
"""

import functools
import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float

from .._arguments import positive, require, require_instance, require_whole, scalar
from .._numerics import chebyshev, cubic_interpolation
from .._results import Result
from ..couplings import IID, RandomModes
from ..meanfield import stationary
from ..observables import autocovariance, correlation_time, dimension_estimate
from ..population import four_point_sum
from ..transfer import Tanh, Transfer
from .engine import NotIdentifiable, least_squares, with_covariance
from .parameters import Interval, Positive


class RecordingFit(Result, axes={"K": "lags", "L": "curve_lags"}):
    """What a recording says of its network, made by `fit_recording`; `<name>_error` is the standard error of `<name>`.

    `gain` is g, `time_constant` tau in the unit of dt, `dimension` the PR of all units without measurement noise (of
    those recorded, if N is not known), `noise` the part of the measurement in the total variance. `measured` is C at
    `lags`, that at 0 with the noise, with `error`; `curve` is C of the fit at the closer `curve_lags`.

    `inverse_rank` is 1 / PR^D, 0 for independent weights, and has the symmetric error; `effective_rank` is its inverse
    (inf if that is not positive). Both are NaN if the size of the population is not known; `fewest_modes` and
    `fewest_units` then bound N PR^D and N from below. `notes` say what the data cannot tell.
    """

    gain: Float[Array, ""]
    gain_error: Float[Array, ""]
    time_constant: Float[Array, ""]  # in the units of dt
    time_constant_error: Float[Array, ""]
    inverse_rank: Float[Array, ""]
    inverse_rank_error: Float[Array, ""]
    effective_rank: Float[Array, ""]
    effective_rank_error: Float[Array, ""]
    dimension: Float[Array, ""]  # PR of all units without measurement noise; of those recorded if N is not known
    dimension_error: Float[Array, ""]
    fewest_modes: Float[Array, ""]
    fewest_units: Float[Array, ""]
    noise: Float[Array, ""]  # variance of the measurement, in units of the total variance
    noise_error: Float[Array, ""]
    lags: Float[Array, " K"]
    measured: Float[Array, " K"]  # C at the lags, that at 0 with the noise
    error: Float[Array, " K"]
    curve_lags: Float[Array, " L"]  # closer, up to the last of them
    curve: Float[Array, " L"]  # C by the fit
    converged: Bool[Array, ""]
    notes: tuple[str, ...] = eqx.field(static=True)


def fit_recording(
    rates: Float[ArrayLike, "time n"],
    dt: Float[ArrayLike, ""],
    *,
    transfer: Transfer | None = None,
    population_size: int | None = None,
    z_scored: bool = False,
    centre: bool = True,
) -> RecordingFit:
    r"""The strength g, the effective rank PR^D and the time constant tau of the network behind a recording.

    $$ C(t) = C^\phi(t / \tau; g), \qquad F = A(g) + B(g) / \mathrm{PR}^D $$

    `rates` are phi(x) of n units at times `dt` apart, of a network dx/dt = -x + J phi(x); phi is `transfer`, tanh if
    None. Valid above the onset of chaos, with independent weights or random modes without overlaps. White measurement
    noise is found and taken off. `z_scored` is for rates in units of their standard deviations, or in any units: the
    rates of each unit are divided by theirs, and only the shape of C is used. `population_size` is N, of which the n
    units are a random part; without it PR^D is bounded (see `RecordingFit`). `centre=False` takes the mean rates to be
    0, which spares short records some error.

    C is fitted at 8 lags, where it falls to about 60%: longer ones differ more from network to network. Its errors come
    from blocks in time and, since units are a sample, from the scatter between units; those of F from the jackknife
    over blocks. To both comes the scatter between networks, which is that of an average over as many independent
    variables as the activity has dimensions; its size was measured in networks of 2000 units.

    Raises:
        ValueError: for rates that are no (time, n) array, have NaN gaps or constant units, or are too few or too
            short; a population smaller than n, and a transfer function that is none.

    Source: Clark et al. 2024 (arXiv 2409.01969) for A and B.
    """
    transfer = Tanh() if transfer is None else transfer
    require_instance("transfer", transfer, Transfer, "one of `jaxnets.transfer`, such as `Tanh()`")
    x, dt = _checked(rates, dt)
    n = x.shape[1]
    if population_size is not None:
        require_whole("population_size", population_size, least=n)
    if centre:
        x = x - jnp.mean(x, axis=0, keepdims=True)
    if z_scored:
        x = x / jnp.sqrt(jnp.mean(x**2, axis=0, keepdims=True))

    N = n if population_size is None else population_size
    units = _single_units(x, dt)
    length = jnp.asarray(x.shape[0] * dt if centre else jnp.inf)
    params = {"gain": jnp.asarray(2.5), "tau": units.lags[-1] / 4, "scale": units.measured[1]}
    transforms = {"gain": Interval(_SMALLEST, _LARGEST), "tau": Positive(), "scale": Positive()}
    if not z_scored:
        del params["scale"], transforms["scale"]
    family = _family(transfer)
    with warnings.catch_warnings():  # the notes say so of g, with its error
        warnings.simplefilter("ignore", NotIdentifiable)
        found = least_squares(_misses, params, units, length, family, transforms=transforms)
    gain, tau = found.params["gain"], found.params["tau"]
    curve_lags = jnp.linspace(0, units.lags[-1], 16 * _LAGS + 1)
    curve = _predicted(found.params, curve_lags, length, family)
    signal = curve[0] + (units.measured[1] - curve[16])  # at lag 0, by the slope of the fit and no more
    noise = units.measured[0] - signal

    step = int(np.clip(round(float(tau) / dt), 1, x.shape[0] // 20))
    T2 = float(correlation_time(x, dt, centre=False)) * float(units.measured[0] / signal) ** 2  # without the noise
    pairs = [_pairs(x, dt, T2, noise), _pairs(x[step:] - x[:-step], dt, T2, 2 * noise)]
    per_pair, per_pair_error = (jnp.stack(values) / (n - 1) for values in zip(*pairs, strict=True))
    F, F_error = (N - 1) * per_pair, (N - 1) * per_pair_error
    dimension = N / (1 + jnp.maximum(F[0], 0))

    covariance = units.covariance(1 / jnp.sqrt(dimension))
    in_weights = covariance[1:, 1:] / (units.weights[1:, None] * units.weights[None, 1:])
    found = with_covariance(found, _misses, in_weights, units, length, family)
    gain_error, tau_error = found.errors["gain"], found.errors["tau"]
    error = jnp.sqrt(jnp.diagonal(covariance))

    # At g, and at both ends of its error with the tau that goes with it.
    sides = jnp.array([0.0, -1.0, 1.0])
    gains = jnp.clip(gain + sides * gain_error, _SMALLEST, _LARGEST)
    taus = tau + sides * found.covariance[0, -1] / gain_error
    delays = jnp.array([0.0, step * dt])
    A, B = jax.vmap(lambda g, tau: _pair_theory(g, delays / tau, transfer))(gains, taus)
    q, at_low, at_high = jnp.mean((F[None] - A) / B, axis=1)
    A, B = A[0], B[0]
    between_networks = _SCATTER / jnp.sqrt(dimension) * jnp.mean(jnp.abs(F) / B)
    q_error = jnp.sqrt(jnp.mean(F_error / B) ** 2 + ((at_high - at_low) / 2) ** 2 + between_networks**2)

    known = population_size is not None
    only_known = lambda value: jnp.where(known, value, jnp.nan)
    rank = jnp.where(q > 0, 1 / jnp.where(q > 0, q, 1), jnp.inf)
    return RecordingFit(
        gain=gain,
        gain_error=gain_error,
        time_constant=tau,
        time_constant_error=tau_error,
        inverse_rank=only_known(q),
        inverse_rank_error=only_known(q_error),
        effective_rank=only_known(rank),
        effective_rank_error=only_known(jnp.where(q > 0, q_error * rank**2, jnp.inf)),
        dimension=dimension,
        dimension_error=dimension**2 * F_error[0] / N,
        fewest_modes=jnp.mean(B / per_pair),
        fewest_units=jnp.mean(A / per_pair),
        noise=noise / units.measured[0],
        noise_error=error[1] / units.measured[0],
        lags=units.lags,
        measured=units.measured,
        error=error,
        curve_lags=curve_lags,
        curve=curve,
        converged=found.converged,
        notes=_notes(found.converged, gain, gain_error, q, q_error, known),
    )


_SMALLEST, _LARGEST, _NODES = 1.1, 10.0, 401  # g, for which the Gaussian averages have so many nodes
_LAGS, _BLOCKS = 8, 20
# Scatter between networks, times the root of their dimension, as a part of C(0) - C(t) and of F: set on 50 networks of
# 2000 units (3 < g < 6, .1 < PR^D < 3), so that one standard error covers 68%. Weights take a dimension of 45.
_SCATTER_OF_UNITS, _SCATTER, _USUAL_DIMENSION = 0.27, 0.37, 45


def _notes(converged, gain, gain_error, q, q_error, known) -> tuple[str, ...]:
    notes = []
    if not converged:
        notes.append("the fit of the autocovariance did not converge: it has another shape than that of this theory")
    if gain - 1 < 2 * gain_error:
        notes.append("g cannot be told from 1, the onset of chaos: record more units, or for longer")
    if gain_error > 0.2 * gain:
        notes.append("g is known to no better than 20%: shape alone says little of it, or the record is short")
    if gain > 0.9 * _LARGEST:
        notes.append(
            f"g is at the end of its range, {_LARGEST:g}: rates are saturated, or not of this transfer function"
        )
    if not known:
        notes.append("PR^D needs the size of the population: only N PR^D and N are bounded from below")
    elif q < 2 * q_error:
        notes.append(f"PR^D cannot be told from infinity, as of independent weights: above {1 / (q + 2 * q_error):.2g}")
    return tuple(notes)


def _checked(rates: ArrayLike, dt: ArrayLike) -> tuple[Float[Array, "time n"], float]:
    try:
        x = np.asarray(rates)
        x = x.astype(np.result_type(x.dtype, np.float32)) if x.dtype.kind in "biuf" else x.astype(float)
    except (TypeError, ValueError) as error:
        raise ValueError(f"`rates` must be an array of real numbers, time x units: {error}") from error
    if x.ndim != 2 or x.shape[1] < 10:
        raise ValueError(f"`rates` must have shape (time, n) with 10 units or more, got {x.shape}")
    require("dt", scalar("dt", dt), positive, "a finite number > 0")
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
    return jnp.asarray(x), float(np.asarray(dt))


# --- single units


class _Units(eqx.Module):
    """C at 0 and 8 lags, what a fit weighs them by, and their covariance within one network."""

    lags: Float[Array, " K"]
    measured: Float[Array, " K"]
    within: Float[Array, "K K"]

    def covariance(self, part: float | Float[Array, ""]) -> Float[Array, "K K"]:
        """With the scatter between networks: of C(0) - C(t), by `part` for a scatter of one."""
        between = _SCATTER_OF_UNITS * part * (self.measured[1] - self.measured)
        return self.within + jnp.outer(between, between)

    @property
    def weights(self) -> Float[Array, " K"]:
        return jnp.sqrt(jnp.diagonal(self.covariance(_USUAL_DIMENSION**-0.5)))


def _single_units(x: Float[Array, "time n"], dt: float) -> _Units:
    times = x.shape[0]
    too_short = f"got {times} samples: record for longer"
    if times < 8 * _BLOCKS:
        raise ValueError(f"`rates` must have {8 * _BLOCKS} times or more, {too_short}")
    longest = times // 8
    c = np.asarray(autocovariance(x, dt, max_lag=longest * dt, centre=False).values)
    below = np.flatnonzero(c < 0.6 * c[1])
    if not below.size:
        raise ValueError(f"`rates` must last for 8 times the decay of their covariance, {too_short}")
    white = 5 * c[0] / np.sqrt(x.size)  # what chance makes of no covariance at all, at most
    if c[1] < 0.2 * c[0] and (c[2] < 0.5 * c[1] or c[1] < white):
        raise ValueError("`rates` must be sampled within the decay of their covariance, got next to none at one `dt`")
    step = max(1, round(int(below[0]) / _LAGS))
    last = step * _LAGS
    if times < _BLOCKS * last:
        raise ValueError(f"`rates` must have {_BLOCKS} pieces of {last} samples, the decay of C, {too_short}")
    in_blocks, of_units = _lagged(x, step * jnp.arange(_LAGS + 1), last, _BLOCKS)
    between_blocks = jnp.cov(in_blocks) / _BLOCKS
    between_units = jnp.cov(of_units) / x.shape[1]
    measured = jnp.mean(in_blocks, axis=1)
    lags = dt * step * jnp.arange(_LAGS + 1).astype(float)
    return _Units(lags, measured, between_blocks + between_units)


@eqx.filter_jit
def _lagged(x: Float[Array, "time n"], lags: Array, last: int, blocks: int) -> tuple[Array, Array]:
    """Products at `lags` <= last: averaged over units in blocks of time (K, blocks), and over time (K, n)."""
    size = (x.shape[0] - last) // blocks
    start = x[: blocks * size]

    def at(lag):
        products = start * jax.lax.dynamic_slice_in_dim(x, lag, blocks * size)
        # Sums of so many terms ask for more than single precision.
        products = products.astype(float)
        return jnp.mean(products.reshape(blocks, -1), axis=1), jnp.mean(products, axis=0)

    return jax.lax.map(at, lags)


class _Family(eqx.Module):
    """C^phi(t; g): the theory of single units has one parameter, and is solved once, at Chebyshev points of log g."""

    coefficients: Float[Array, "order T"]  # of the series in log g, at lags `spacing` apart
    spacing: Float[Array, ""]

    def at(self, gain: Float[Array, ""]) -> Float[Array, " T"]:
        place = jnp.log(gain / _SMALLEST) / np.log(_LARGEST / _SMALLEST)
        return jax.vmap(chebyshev.evaluate, in_axes=(1, None))(self.coefficients, place)

    def __call__(self, gain: Float[Array, ""], lags: Float[Array, " K"]) -> Float[Array, " K"]:
        """0 beyond the last lag."""
        c, x = self.at(gain), lags / self.spacing
        return jnp.where(x < c.shape[0], cubic_interpolation(c[None], x)[0], 0)

    def integral(self, gain: Float[Array, ""]) -> Float[Array, ""]:
        """From 0 to infinity."""
        return jnp.trapezoid(self.at(gain), dx=self.spacing)


@eqx.filter_jit
def _family(transfer: Transfer) -> _Family:
    grid = chebyshev.grid(32)
    gains = jnp.asarray(_SMALLEST * (_LARGEST / _SMALLEST) ** grid.nodes)
    solve = lambda g: stationary(IID(g), transfer, nodes=_NODES, num_lags=1601, max_lag=80.0).c_phi
    return _Family(jnp.asarray(grid.series) @ jax.vmap(solve)(gains), jnp.asarray(80.0 / 1600))


def _predicted(params, lags: Float[Array, " K"], length: Float[Array, ""], family: _Family) -> Float[Array, " K"]:
    """C at the lags, less what the mean of a record of that length takes off."""
    gain, tau = params["gain"], params["tau"]
    c = family(gain, lags / tau) - 2 * tau * family.integral(gain) / length
    return c if "scale" not in params else params["scale"] * c / family(gain, jnp.zeros_like(lags[:1]))


def _misses(params, units: _Units, length: Float[Array, ""], family: _Family) -> Float[Array, " K-1"]:
    """At all lags but 0, in units of their errors."""
    return (_predicted(params, units.lags, length, family) - units.measured)[1:] / units.weights[1:]


# --- pairs


def _pairs(x: Float[Array, "time n"], dt: float, T2: float, noise: Float[Array, ""]) -> tuple[Array, Array]:
    """n / PR - <C_ii^2> / <C_ii>^2 of activity without its measurement noise, and the error."""
    n, half = x.shape[1], x.shape[0] // 2
    estimate = dimension_estimate(x, dt, correlation_time=T2, centre=False)
    first, second = (jnp.mean(part**2, axis=0, dtype=float) for part in (x[:half], x[half:]))
    total = jnp.mean(first + second) / 2
    # Of two halves, so that the errors of C_ii do not add to its square.
    squares = jnp.mean(first * second) / total**2
    dilution = (total / (total - noise)) ** 2
    F, error = (n / estimate.value).astype(noise.dtype) - squares, n * estimate.error / estimate.value**2
    return dilution * F.astype(noise.dtype), dilution * error.astype(noise.dtype)


@eqx.filter_jit
def _pair_theory(
    gain: Float[Array, ""], delays: Float[Array, " k"], transfer: Transfer
) -> tuple[Float[Array, " k"], Float[Array, " k"]]:
    r"""A and B for the activity (delay 0) and for its changes over delays in units of tau.

    $$ \frac{\iint W(w_1) W(w_2) (K - 1)}{(\int W)^2}, \qquad W = C^\phi(w)\, (2 - 2 \cos w d) $$

    K is `four_point_sum`, of first order in 1 / PR^D for modes without overlaps.
    """
    state = stationary(IID(gain), transfer, nodes=_NODES)
    # Midpoints converge as exp(-2 pi width / spacing), and the ridge w_1 = w_2 of K has the width rate^2.
    spacing = jax.lax.stop_gradient(jnp.minimum(_HIGHEST, 400 * state.decay_rate**2)) / _FREQUENCIES
    w = spacing * (jnp.arange(_FREQUENCIES).astype(gain.dtype) + 0.5)
    C, S = state.spectrum_phi(w), state.response(w)

    independent, modes = IID(gain), RandomModes.flat(gain, load=1.0)  # PR^D infinite, and 1

    @functools.partial(jnp.vectorize, signature="(),()->(s)")
    def excess(S1, S2):
        K = four_point_sum(independent, S1, S2)
        return jnp.stack([K - 1, four_point_sum(modes, S1, S2) - K])

    both_signs = excess(S[:, None], S[None]) + excess(S[:, None], jnp.conj(S)[None])

    def at(delay):
        W = C * jnp.where(delay == 0, 1, 2 - 2 * jnp.cos(w * delay))
        return jnp.einsum("i,ijs,j->s", W, both_signs, W) / (2 * jnp.sum(W) ** 2)

    return tuple(jax.vmap(at)(delays).T)


_FREQUENCIES, _HIGHEST = 600, 8.0
