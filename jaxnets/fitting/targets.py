r"""Residuals for fits: the difference of a prediction and of data, in units of standard errors.

Each function takes an ensemble or a `state` of `meanfield` and returns an array for `least_squares`, alone or joined
with others by `jnp.concatenate`. The number that is `measured`, or wanted, has the standard `error`. `gains` are as in
`spectra.law`, and `time_constant` is tau in the unit of `lags`. Each function raises `ValueError` as the functions do
that it calls. To fit another statistic, add a function of the same form. A fit chooses its parameters by the function
that makes the ensemble from them:

    least_squares(lambda p, data: spectrum_misses(DeepHebbian(p["load"], p["auto"], p["hetero"]), data), ...)
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Complex, Float
from scipy.special import stdtrit

from .._arguments import host_complex, positive, real_array, require, require_whole, scalar, vector
from .._numerics import polish_root
from .._results import Result
from ..couplings import DeepHebbian, Ensemble
from ..meanfield import Stationary
from ..memory import packet_speed
from ..population import dimension, pair_covariance
from ..spectra import law
from ..transfer import Transfer

# --- eigenvalues


class SpectralStatistics(Result, axes={"S": "spectrum", "R": "circle", "R+1+K": "statistic"}):
    """Statistics of S spectra of n eigenvalues, which `spectrum_misses` compares; made by `spectral_statistics`.

    `values` has a row for each spectrum: the fractions of eigenvalues that are not 0 and lie within `radii` of the real
    `centres`, the fraction that is 0, and the traces (1/n) sum_i (lambda_i / reach)^k, k = 1..K. `error` has the
    standard errors of the mean over spectra. `reach` is where the circles end, at the largest |centre| + radius.
    """

    centres: Float[Array, " R"]
    radii: Float[Array, " R"]
    values: Float[Array, "S R+1+K"]
    error: Float[Array, " R+1+K"]

    @property
    def num_traces(self) -> int:
        """K."""
        return self.values.shape[1] - self.radii.shape[0] - 1

    @property
    def reach(self) -> Float[Array, ""]:
        """The unit of eigenvalues in the traces."""
        return jnp.max(jnp.abs(self.centres) + self.radii)

    def covariance(self) -> Float[Array, "m m"]:
        """The covariance of the mean of two or more spectra, in units of `error`, from their scatter.

        It is so wide that one standard error covers 68%. Student's factor makes up for the few spectra from which the
        scatter is known. The fraction that is 0 is rounded to whole modes, which adds an error of up to .5 / n on
        either side, and .34 / n covers 68% of it.
        """
        scaled = self.values / self.error[None]
        S, zero = scaled.shape[0], self.radii.shape[0]
        student = float(stdtrit(S - 1, 0.8413))
        rounding = 0.68 * S**0.5  # where `error` has .5 / n / sqrt(S)
        return (student**2 * jnp.cov(scaled.T) / S).at[zero, zero].add(rounding**2)


def spectral_statistics(
    eigenvalues: Complex[ArrayLike, "S n"], *, num_radii: int = 8, num_traces: int = 3
) -> SpectralStatistics:
    r"""Numbers that say almost all that eigenvalues know, with errors far below the errors of a density.

    $$ \mathrm{Var}\, N(\text{circle}) = L \sqrt{\rho} / \pi $$

    Eigenvalues of random matrices repel each other. So the number of them in a region fluctuates as the length L of its
    boundary at rho eigenvalues per area, and not as the area, and the trace of a power fluctuates by order one. The
    variance holds for real matrices, whose eigenvalues come in conjugate pairs.

    Circles are drawn around 0 and around the two quartiles of the real parts, since circles around 0 alone hardly tell
    how far a spectrum reaches from the real line. The `num_radii` circles around each centre enclose equal parts of the
    eigenvalues that are not 0. Circles that pass close to 0, where theory may have few digits, are left out.
    `num_traces` is K. The errors serve as weights; `covariance` is the measured scatter of several spectra.

    Raises:
        ValueError: if ``eigenvalues`` is not (S, n) and finite with 20 of n not 0 and at different
            places, or a number is not whole and >= 1.

    Source: for counts, Ginibre's ensemble (Forrester 2010, eq. 15.4.10) at the density of each place.
    """
    lam = host_complex("eigenvalues", eigenvalues)
    if lam.ndim != 2 or not np.isfinite(lam).all():
        raise ValueError(f"`eigenvalues` must be finite, of shape (spectra, n), got shape {lam.shape}")
    require_whole("num_radii", num_radii)
    require_whole("num_traces", num_traces)
    S, n = lam.shape
    # In a unit in which no area over- or underflows.
    unit = 2.0 ** np.floor(np.log2(np.max(np.abs(lam), initial=0) or 1.0))
    lam = lam / unit
    size = np.abs(lam)
    zero = size <= 1e-9 * size.max(initial=0)
    moving = lam[~zero]
    if moving.size < 20 * S:
        raise ValueError(f"`eigenvalues` must have 20 or more of n that are not 0, got {moving.size} of {S} spectra")
    middles = np.array([0, *np.quantile(np.real(moving), [0.25, 0.75])])
    distances = np.abs(moving - middles[:, None])
    at = np.quantile(distances, (np.arange(num_radii) + 0.5) / num_radii, axis=1).T.ravel()
    centres = np.repeat(middles, num_radii)
    away = np.abs(np.abs(centres) - at) > 0.1 * np.median(np.abs(moving))
    within = np.mean((np.abs(lam[:, :, None] - centres) < at) & ~zero[:, :, None], axis=1)
    reach = np.max(np.abs(centres[away]) + at[away])
    powers = np.mean((lam / reach)[:, :, None] ** np.arange(1, num_traces + 1), axis=1).real
    # The density at each radius, from the part between its neighbours.
    limits = np.quantile(distances, np.arange(num_radii + 1) / num_radii, axis=1).T
    if np.any(np.diff(limits, axis=1) <= 0):
        raise ValueError("`eigenvalues` must differ from each other, got many at one place")
    per_area = moving.size / S / num_radii / (np.pi * np.diff(limits**2, axis=1)).ravel()
    counts = np.sqrt(2 * at * np.sqrt(per_area))
    orders = np.arange(1, num_traces + 1)
    of_traces = np.sqrt(2 * orders) * (np.quantile(np.abs(moving), 0.95) / reach) ** orders
    errors = np.concatenate([counts, [0.5], of_traces]) / n / S**0.5
    values = np.concatenate([within, np.mean(zero, axis=1, keepdims=True), powers], axis=1)
    kept = np.concatenate([away, np.ones(1 + num_traces, bool)])
    return SpectralStatistics(*map(jnp.asarray, (unit * centres[away], unit * at[away], values[:, kept], errors[kept])))


def spectrum_misses(
    ensemble: Ensemble, data: SpectralStatistics, *, gains: Float[Array, " k"] | None = None, num_points: int = 64
) -> Float[Array, " m"]:
    r"""Fractions of the eigenvalues within circles, the fraction that is 0, and traces: theory against data.

    $$ n(z_0, r) = \frac{1}{2 \pi i} \oint_{|z - z_0| = r} \Big( g(z) - \frac{n_0}{z} \Big) dz, \qquad
       \frac1N \sum_i (\lambda_i / \varrho)^k = \frac{1}{2 \pi i} \oint (z / \varrho)^k g(z)\, dz $$

    n_0 is the fraction that is 0, and varrho is `data.reach`. g is the Green's function at `num_points` points of the
    upper half of each circle, which crowd where the circle meets the real line, for the spectrum may be narrow there.
    The last circle encloses the whole spectrum. NaN where the Green's function does not converge on a circle, as for
    gains so small that their squares are lost.

    Raises:
        ValueError: if ``num_points`` is not whole and >= 1.
    """
    require_whole("num_points", num_points)
    bulk = law(ensemble, gains)
    dtype = data.radii.dtype
    full = 2 * jnp.pi * (jnp.arange(num_points).astype(dtype) + 0.5) / num_points
    angles, weights = (full - jnp.sin(full)) / 2, (1 - jnp.cos(full)) / num_points
    wave = jax.lax.complex(jnp.cos(angles), jnp.sin(angles))
    # Twice where the spectrum ends at most, for |lambda| is below the norm.
    outside = 2 * jax.lax.stop_gradient(data.reach)
    centre, radius = jnp.append(data.centres, 0), jnp.append(data.radii, outside)
    step = radius[:, None].astype(wave.dtype) * wave[None]
    z = centre[:, None].astype(wave.dtype) + step
    at, zero = bulk.solve(z), bulk.zero_mass()
    green = jnp.where(at.converged, at.green, jnp.nan)
    within = (step * (green - zero.astype(z.dtype) / z)).real[:-1] @ weights
    far = z[-1] / data.reach.astype(z.dtype)
    powers = [(green[-1] * z[-1] * far**k).real @ weights for k in range(1, data.num_traces + 1)]
    if gains is None:
        # Where some are 0 the rank is known to be less than full, and more modes than units must not look like as many.
        some = jnp.mean(data.values, axis=0)[data.radii.shape[0]] > 0
        rank = ensemble.rank_fraction()
        zero = jnp.where(some & jnp.isfinite(rank), 1 - rank, zero)
    predicted = jnp.concatenate([within, zero[None], jnp.stack(powers)])
    return (predicted - jnp.mean(data.values, axis=0)) / data.error


def edge_misses(
    ensemble: Ensemble,
    right_edge: Float[ArrayLike, ""],
    error: Float[ArrayLike, ""] = 1.0,
    *,
    gains: Float[Array, " k"] | None = None,
) -> Float[Array, " 1"]:
    """The right edge of the spectrum of J G, against a `right_edge` that is measured or wanted.

    NaN where the edge is not found, as for gains of very different sizes.

    Raises `ValueError` for data and units that do not fit or are not finite, and errors that are not positive.
    """
    measured = _measured(scalar("right_edge", right_edge)[None], error, "right_edge")
    return _miss(law(ensemble, gains).right_edge()[None], *measured)


def onset_misses(
    ensemble: Ensemble, transfer: Transfer, scale: Float[ArrayLike, ""] = 1.0, error: Float[ArrayLike, ""] = 1.0
) -> Float[Array, " 1"]:
    """The scale of J at which chaos begins, 1 / (phi'(0) right edge), against a `scale` that is measured or wanted.

    `meanfield.chaos_onset` finds the same scale. The spectral law gives it also where an overlap or a symmetry is
    fitted.

    Raises `ValueError` for data and units that do not fit or are not finite, and errors that are not positive.
    """
    measured = _measured(scalar("scale", scale)[None], error, "scale")
    growth = transfer.slope(jnp.zeros((), ensemble.variance().dtype)) * law(ensemble).right_edge()
    return _miss(1 / growth[None], *measured)


def void_radius(ensemble: Ensemble, *, num_angles: int = 64) -> Float[Array, ""]:
    r"""The distance from 0 to the nearest eigenvalue that is not 0, of modes with load < 1, for N to infinity.

    $$ \min_\varphi |z(t)|, \qquad z = 1/t + r(t), \quad t = s e^{i \varphi}, \quad
       \kappa(t)\, |t|^2 = 1 \text{ at the largest } s $$

    on rays in `num_angles` directions. Differentiable but at corners, where two directions are equally near; the
    largest void may be at a corner. 0 where there is no void: at load >= 1, or with noise of full rank.

    Raises:
        ValueError: if ``num_angles`` is not whole and >= 1.
    """
    require_whole("num_angles", num_angles)
    variance = jax.lax.stop_gradient(ensemble.variance())
    phases = 2 * np.pi * np.arange(num_angles) / num_angles
    phases = jnp.asarray(np.exp(1j * phases))

    def stability(log_size, args):
        ensemble, phase = args
        t = jnp.exp(log_size).astype(phase.dtype) * phase
        return jnp.log(ensemble.r_and_kappa(t)[1] * jnp.abs(t) ** 2)

    def at(phase):
        # From far outside inwards to the first crossing, then between the two points around it.
        grid = jnp.linspace(12.0, -4.0, 400) - jnp.log(variance) / 2
        unstable = jax.vmap(lambda s: stability(s, jax.lax.stop_gradient((ensemble, phase))))(grid) >= 0
        first = jnp.argmax(unstable)
        start = (grid[first] + grid[jnp.maximum(first - 1, 0)]) / 2
        root = polish_root(lambda s, args: stability(s[0], args)[None], start[None], (ensemble, phase), num_steps=8)
        t = jnp.exp(root.value[0]).astype(phase.dtype) * phase
        z = 1 / t + ensemble.r_and_kappa(t)[0]
        size = jnp.abs(z)
        return jnp.where(root.converged & (first > 0), size, jnp.where(unstable[0], 0, jnp.nan))

    return jnp.min(jax.vmap(at)(phases))


# --- activity


def autocovariance_misses(
    state: Stationary,
    lags: Float[ArrayLike, " L"],
    measured: Float[ArrayLike, " L"],
    error: Float[ArrayLike, " #L"],
    *,
    time_constant: Float[ArrayLike, ""] = 1.0,
    states: bool = False,
) -> Float[Array, " L"]:
    """C(tau) of rates, or of `states`, against values measured at `lags`, in the unit of `time_constant`.

    C is interpolated linearly between the lags of the state.

    Raises `ValueError` for data and units that do not fit or are not finite, and errors that are not positive.
    """
    c = state.c_x if states else state.c_phi
    at = _delays(lags, time_constant).astype(c.dtype)
    return _miss(jnp.interp(at, state.lags, c), *_measured(measured, error, shape=at.shape))


def dimension_misses(
    state: Stationary,
    ensemble: Ensemble,
    measured: Float[ArrayLike, ""],
    error: Float[ArrayLike, ""],
    *,
    states: bool = False,
) -> Float[Array, " 1"]:
    """N / PR of rates, or of `states`, against a measured value: the second moment of the covariance spectrum.

    N / PR is fitted rather than PR / N because the scatter of PR / N between networks is skewed.

    Raises `ValueError` for data and units that do not fit or are not finite, and errors that are not positive.
    """
    data = _measured(scalar("measured", measured)[None], error)
    found = dimension(state, ensemble)
    return _miss(1 / (found.x if states else found.phi)[None], *data)


def population_time_misses(
    state: Stationary,
    ensemble: Ensemble,
    lags: Float[ArrayLike, " L"],
    measured: Float[ArrayLike, " L"],
    error: Float[ArrayLike, " #L"],
    *,
    time_constant: Float[ArrayLike, ""] = 1.0,
) -> Float[Array, " L"]:
    """Squared covariances of pairs at `lags`, divided by those at lag 0: how long population modes live.

    Raises `ValueError` for data and units that do not fit or are not finite, and errors that are not positive.
    """
    at = _delays(lags, time_constant)
    data = _measured(measured, error, shape=at.shape)
    found = pair_covariance(state, ensemble, jnp.append(jnp.zeros(1, at.dtype), at)).phi
    return _miss(found[1:] / found[0], *data)


def speed_misses(
    ensemble: DeepHebbian,
    measured: Float[ArrayLike, ""],
    error: Float[ArrayLike, ""] = 1.0,
    *,
    time_constant: Float[ArrayLike, ""] = 1.0,
) -> Float[Array, " 1"]:
    """Patterns per unit time in the retrieval of a sequence, `memory.packet_speed`, against a `measured` speed.

    The speed is per unit of `time_constant`, and may also be a wanted one. Measure it on late patterns, by
    `memory.retrieval` of a record that begins when several patterns are present together: earlier, a packet is faster
    by a fraction of order 1 / time.

    Raises `ValueError` for data and units that do not fit or are not finite, and errors that are not positive.
    """
    data, unit = _measured(scalar("measured", measured)[None], error), _time_constant(time_constant)
    speed = packet_speed(ensemble)
    return _miss(speed[None] / unit.astype(speed.dtype), *data)


# --- arguments, which a fit traces


def _measured(
    measured: ArrayLike, error: ArrayLike, name: str = "measured", *, shape: tuple[int, ...] = (1,)
) -> tuple[Float[Array, "*L"], Float[Array, "*L"]]:
    """The checked values and their errors, of a shape or one number for all."""
    data = real_array(name, measured), real_array("error", error)
    for argument, array in zip((name, "error"), data, strict=True):
        if array.shape not in ((), shape):
            raise ValueError(f"`{argument}` must be a number or have shape {shape}, got {array.shape}")
    require(name, data[0], np.isfinite, "finite")
    require("error", data[1], lambda e: e > 0, "> 0")
    return data


def _miss(predicted: Float[Array, " L"], measured: Float[Array, "*L"], error: Float[Array, "*L"]) -> Float[Array, " L"]:
    """(predicted - measured) / error, in the precision of the prediction."""
    return (predicted - measured.astype(predicted.dtype)) / error.astype(predicted.dtype)


def _delays(lags: ArrayLike, time_constant: ArrayLike) -> Float[Array, " L"]:
    delays = vector("lags", lags)
    require("lags", delays, np.isfinite, "finite")
    return delays / _time_constant(time_constant).astype(delays.dtype)


def _time_constant(value: ArrayLike) -> Float[Array, ""]:
    number = scalar("time_constant", value)
    require("time_constant", number, positive, "a finite number > 0")
    return number
