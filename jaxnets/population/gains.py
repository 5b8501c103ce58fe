"""Gains of a unit along sampled paths on a ring of times, with weights that make averages over few paths exact.

The paths are Gaussian, with the covariance of the state on the ring. Averages over units need gains along a few hundred
of them. Weights, found by regression, give averages that are known without error their values: of the gain and of its
products at two times, and of higher powers, which many more paths tell at no cost.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from .._numerics import as_complex, cubic_interpolation, square_modulus
from ..meanfield import Stationary
from ..transfer import Transfer

# Lags, in tau, at which products of gains have their exact average, and times over which gains are averaged before
# their powers. At g = 3 the share of exponents below -.15 from 64 paths scatters by 7e-4 with these lags, by 2e-4 with
# powers at one time as well, and by 1e-4 with three. At s = 0 it scattered by .003 without weights; five more lags, up
# to 11 tau, removed little of what four leave.
_LAGS, _SMOOTHED, _POWERS = (0.0, 0.8, 2.4, 4.8), (1.0, 0.4, 3.0), (3, 4)
# Paths of a group for each of these times: with fewer, weights become negative.
_PATHS_PER_TIME = 20
# Paths that tell powers, for each path: their errors are an eighth of those that weights remove.
_MORE = 64
# Of the variance of features: how exact averages become where features depend on each other.
_RIDGE = 1e-9
# A smaller part of the largest power of x is rounding, whose root has no derivative.
_SILENT = 1e-13


class Gains(NamedTuple):
    """phi'(x) along paths, in groups that know nothing of each other, and the weights of the paths of each group."""

    values: Float[Array, "groups n m"]
    weights: Float[Array, "groups n"]


def gaussian_gains(
    state: Stationary, transfer: Transfer, key: PRNGKeyArray, shape: tuple[int, int, int], period: float
) -> Gains:
    """Gains of a state whose x is Gaussian; the shape is (groups, paths, times)."""
    groups, num, points = shape
    spectrum = _spectrum(state, points, period)
    own, more = jax.random.split(key)
    values = transfer.slope(_paths(own, shape, spectrum))
    many = transfer.slope(_paths(more, (1, _MORE * groups * num, points), spectrum))[0]
    features = _features(many, period, num // _PATHS_PER_TIME)
    exact = _exact(state, points, period)
    known = len(exact)
    scale = jnp.std(features, 0)
    powers = _weights(features[:, :known], exact, scale[:known]) @ features[:, known:]
    target = jnp.concatenate([exact, powers])
    of_group = lambda D: _weights(_features(D, period, num // _PATHS_PER_TIME), target, scale)
    return Gains(values, jax.vmap(of_group)(values))


def _spectrum(state: Stationary, points: int, period: float) -> Float[Array, " m/2+1"]:
    """The power of x at the frequencies of the ring, of C summed over all turns."""
    tau = period / points * np.arange(points // 2 + 1)
    turns = [_at(state.c_x, state, lag) for lag in (tau, period - tau, period + tau)]
    c = turns[0] + turns[1] + turns[2]
    power = jnp.fft.rfft(jnp.concatenate([c, c[-2:0:-1]])).real
    return jnp.where(power > _SILENT * power[0], power, 0)


def _at(c: Float[Array, " T"], state: Stationary, lags: np.ndarray) -> Float[Array, " k"]:
    """A function that decays to 0, between its lags and beyond the last."""
    last = state.lags[-1]
    tau = jnp.asarray(lags, c.dtype)
    inside = cubic_interpolation(c[None], jnp.minimum(tau, last) / state.lags[1])[0]
    return inside * jnp.exp(-state.decay_rate * jnp.maximum(tau - last, 0))


def _paths(
    key: PRNGKeyArray, shape: tuple[int, int, int], spectrum: Float[Array, " m/2+1"]
) -> Float[Array, "groups n m"]:
    """Paths with exactly this power at each frequency, in each group."""
    groups, num, points = shape
    z = jax.lax.complex(*jax.random.normal(key, (2, groups, num, points // 2 + 1), spectrum.dtype))
    # The first and the last coefficient of a real signal are real.
    z = z.at[..., 0].set(as_complex(z[..., 0].real)).at[..., -1].set(as_complex(z[..., -1].real))
    power = jnp.mean(square_modulus(z), 1, keepdims=True)
    size = jnp.where(spectrum > 0, jnp.sqrt(jnp.where(spectrum > 0, spectrum, 1)), 0)
    return jnp.fft.irfft(z * as_complex(size[None, None] * jnp.sqrt(points / power)), points)


def _lag_steps(points: int, period: float) -> list[int]:
    return sorted({min(round(lag * points / period), points // 2) for lag in _LAGS})


def _exact(state: Stationary, points: int, period: float) -> Float[Array, " k"]:
    """<phi'>, and <phi' phi'> at a few lags."""
    far = state.c_slope[-1]
    lags = period / points * np.array(_lag_steps(points, period))
    return jnp.concatenate([state.beta[None], far + _at(state.c_slope - far, state, lags)])


def _features(D: Float[Array, "n m"], period: float, num_times: int) -> Float[Array, "n k"]:
    """Averages over the time of each path: of the gain, its products at lags, and powers of the smoothed gain."""
    points = D.shape[1]
    waves = jnp.fft.rfft(D)
    products = jnp.fft.irfft(as_complex(square_modulus(waves) / points), points)
    features = [jnp.mean(D, 1), *(products[:, step] for step in _lag_steps(points, period))]
    step = np.minimum(np.arange(points), points - np.arange(points))
    for time in _SMOOTHED[:num_times]:
        kernel = np.exp(-step * period / (points * time))
        smoothing = jnp.asarray(np.fft.rfft(kernel / kernel.sum()), waves.dtype)
        smooth = jnp.fft.irfft(waves * smoothing[None], points)
        features += [jnp.mean(smooth**k, 1) for k in _POWERS]
    return jnp.stack(features, 1)


def _weights(f: Float[Array, "n k"], target: Float[Array, " k"], scale: Float[Array, " k"]) -> Float[Array, " n"]:
    """Weights of sum 1 next to equal ones, with which features have the averages of the target."""
    num = f.shape[0]
    varies = scale > 1e-12 * (1 + jnp.abs(target))
    # Their deviations from the target, and a 1: both sums are known.
    z = jnp.where(varies[None], (f - target[None]) / jnp.where(varies, scale, 1)[None], 0)
    z = jnp.concatenate([jnp.ones((num, 1), f.dtype), z], 1)
    miss = jnp.zeros(z.shape[1], f.dtype).at[0].set(1) - jnp.mean(z, 0)
    gram = z.T @ z + num * _RIDGE * jnp.eye(z.shape[1], dtype=f.dtype)
    return 1 / num + z @ jnp.linalg.solve(gram, miss)
