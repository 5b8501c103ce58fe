r"""Tangents along an orbit: the Lyapunov spectrum of a network, and the numbers that follow from it.

A tangent is a small deviation from the orbit, carried along by dV/dt = A(x(t)) V with the Jacobian A. Repeated QR
factorisation keeps several tangents apart, and their growth gives the Lyapunov exponents (Benettin et al., Meccanica
15, 9 (1980); Geist et al., Prog. Theor. Phys. 83, 875 (1990)).
"""

import math
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, ArrayLike, Bool, Float, Int, PRNGKeyArray
from tqdm import tqdm

from .._arguments import positive, require, require_key, require_whole, vector
from .._numerics import error_of_mean, is_concrete
from .._numerics.blocking import BLOCKS
from .._results import Result
from ..couplings.operators import Operator, Sum
from ..couplings.sparse import Sparse
from .network import RateNetwork, states_of
from .schemes import Scheme, rk4
from .stepping import white_noise

# Growth within one interval, relative to the largest growth and in units of rounding, below which an exponent is NaN.
# Rounding errors of the largest entry of R are in all other entries, so that 1000 leaves three digits.
_SEEN = 1000

# Part of one by which a ratio of times may exceed a whole number and still count as it: rounding of times.
_PART = 1e-9

# Intervals and multiplications of one compiled call at most, so that Ctrl-C and the progress bar wait for seconds.
_CHUNK = 64
CHUNK_WORK = 2 * 10**9


class LyapunovSpectrum(
    Result,
    axes={"num": "exponent", "intervals": "times"},
    units={"exponents": "1 / unit of tau", "error": "1 / unit of tau", "times": "unit of tau"},
):
    """The largest Lyapunov exponents of one orbit, falling, in the inverse of the unit of tau.

    `history` holds the growth rates of each interval between two QR factorisations, which end at `times`; the orbit
    starts at time 0. The `exponents` are their means. The standard `error` comes from the scatter and the
    correlation of 16 blocks of consecutive intervals. It is honest if `history` spans ten correlation times. It knows
    nothing of states that the orbit has not visited: where attractors coexist or switch rarely, exponents from other
    starts differ by far more. `mean_trace` is the mean of tr A over the same time, the sum of all n exponents.
    """

    exponents: Float[Array, "*batch num"]
    error: Float[Array, "*batch num"]
    history: Float[Array, "*batch intervals num"]
    times: Float[Array, "*batch intervals"]
    mean_trace: Float[Array, "*batch"]


def lyapunov_spectrum(
    net: RateNetwork,
    x0: Float[ArrayLike, " n"],
    *,
    num_exponents: int,
    duration: float,
    dt: float = 0.05,
    discard: float = 50.0,
    interval: float = 0.5,
    scheme: Scheme = rk4,
    key: PRNGKeyArray,
    progress: bool = True,
) -> LyapunovSpectrum:
    r"""The `num_exponents` largest Lyapunov exponents of the orbit that starts at x0, with their errors.

    $$ \dot V = A(x(t))\, V, \qquad V = Q R \text{ every interval}, \qquad
       \lambda_i = \langle \ln |R_{ii}| \rangle / \text{interval} $$

    The tangents V (n, num_exponents) start at random, by `key`, and take the steps of x by the same scheme, which is
    the exact derivative of the discrete flow. J multiplies V, and no Jacobian is formed. The exponents of a network
    with noise belong to the noisy path that `simulate` takes with the same scheme, step and key.

    The first part `discard` of the `duration` is left out, in which the tangents align at the rate of the gaps between
    exponents; it is rounded up to whole blocks, and the rest to 16 blocks of whole intervals. Steps have length `dt` or
    less, a whole number of them in each `interval`. Valid while exp(-interval (lambda_1 - lambda_num)) is far above
    rounding: an exponent that rounding would hide is NaN, and all are if the orbit is not finite. Both give a
    `RuntimeWarning`, or NaN alone under `jit` and `vmap`, which map over networks, states or keys. `progress` shows a
    bar, a block at a time.

    Raises:
        ValueError: if ``x0`` is not (n,) or not finite, ``num_exponents`` not between 1 and n, a time not positive,
            ``discard`` outside [0, duration), ``net`` a batch, or ``key`` not a random key.
    """
    x0 = _checked_start(net, x0, num_exponents)
    for name, value in (("duration", duration), ("dt", dt), ("interval", interval)):
        require(name, value, positive, "a finite number > 0")
    require("discard", discard, lambda x: (x >= 0) & (x < duration), f"in [0, duration) = [0, {duration})")
    require_key("key", key)
    intervals, skipped = _intervals(duration, discard, interval)
    steps = _whole(interval / dt)
    noisy = not is_concrete(net.noise) or bool(np.any(np.asarray(net.noise)))
    start = x0, _random_tangents(key, net.size, num_exponents, net.dtype)
    flow = _Flow(net, scheme, key if noisy else None, jax.device_put(np.asarray(interval / steps, net.dtype)))
    if is_concrete(flow, start):
        history, traces = _in_chunks(flow, start, steps, intervals, progress)
        spectrum = jax.tree.map(jax.device_put, _statistics(np, history[skipped:], traces[skipped:], interval, skipped))
    else:
        history, traces = _in_one(flow, start, steps, intervals)
        spectrum = _statistics(jnp, history[skipped:], traces[skipped:], interval, skipped)
    _warn_of_nan(spectrum, interval)
    return spectrum


# --- arguments and statistics ---------------------------------------------------------------------------------


def _checked_start(net: RateNetwork, x0: ArrayLike, num_exponents: int) -> Float[Array, " n"]:
    x0 = states_of(net, "x0", x0)
    if x0.ndim != 1:
        raise ValueError(f"`x0` must have shape ({net.size},), got {x0.shape}: map over more with `jax.vmap`")
    require_whole("num_exponents", num_exponents)
    if num_exponents > net.size:
        raise ValueError(f"`num_exponents` must be at most the number of units, {net.size}, got {num_exponents}")
    return x0


def _whole(ratio: float) -> int:
    """The least whole number that is not below ``ratio``, up to rounding."""
    return math.ceil(ratio - _PART)


def _intervals(duration: float, discard: float, interval: float) -> tuple[int, int]:
    """The number of all intervals, and of those that are left out; the others make 16 blocks."""
    block = _whole((duration - discard) / (BLOCKS * interval))
    skipped = block * _whole(discard / (block * interval))
    return skipped + BLOCKS * block, skipped


def _random_tangents(key: PRNGKeyArray, n: int, num: int, dtype: Any) -> Float[Array, "n num"]:
    """Orthonormal tangents, drawn on the host: JAX would compile for half a second to draw them once."""
    numbers = jax.random.key_data(key)

    def draw(numbers):
        drawn = np.random.default_rng(np.asarray(numbers)).standard_normal((n, num))
        return np.linalg.qr(drawn)[0].astype(dtype)

    if is_concrete(numbers):
        return jax.device_put(draw(numbers))
    return jax.pure_callback(draw, jax.ShapeDtypeStruct((n, num), dtype), numbers, vmap_method="sequential")


def _statistics(
    xp: ModuleType,
    history: Any,
    traces: Any,
    interval: float,
    skipped: int,
) -> LyapunovSpectrum:
    """Exponents and errors, by NumPy or by JAX, of growth rates (intervals, num) and traces (intervals,)."""
    exponents = xp.mean(history, 0)
    order = xp.argsort(-exponents)  # NaN last
    times: Any = interval * np.arange(skipped + 1, skipped + len(history) + 1)
    return LyapunovSpectrum(
        exponents=exponents[order],
        error=error_of_mean(xp, history)[order],
        history=history[:, order],
        times=xp.asarray(times, history.dtype),
        mean_trace=xp.mean(traces),
    )


def _warn_of_nan(spectrum: LyapunovSpectrum, interval: float) -> None:
    if not is_concrete(spectrum.exponents) or np.all(np.isfinite(spectrum.exponents)):
        return
    cause = (
        "the orbit is not finite"
        if np.isnan(spectrum.exponents[0])
        else f"they differ so much that rounding hides them within `interval` = {interval}: take a shorter one"
    )
    warnings.warn(f"Lyapunov exponents are NaN: {cause}", RuntimeWarning, stacklevel=3)


# --- orbit and tangents ---------------------------------------------------------------------------------------


class _Flow(eqx.Module):
    """How an interval is integrated."""

    net: RateNetwork
    scheme: Scheme = eqx.field(static=True)
    key: PRNGKeyArray | None  # None: no noise
    dt: Float[Array, ""]


Orbit = tuple[Float[Array, " n"], Float[Array, "n num"]]
Growth = tuple[Float[Array, " num"], Float[Array, ""]]


def _in_chunks(flow: _Flow, orbit: Orbit, steps: int, intervals: int, progress: bool):
    """Growth rates and traces of all intervals, by a program that serves any number of steps and intervals."""
    rates, traces = [], []
    work = steps * flow.net.size**2 * (1 + orbit[1].shape[1])
    together = min(_CHUNK, max(1, CHUNK_WORK // work))
    with tqdm(total=intervals, desc="Lyapunov spectrum", unit="interval", delay=1, disable=not progress) as bar:
        for first in range(0, intervals, together):
            count = min(together, intervals - first)
            orbit, grown = _advance(flow, orbit, *(np.asarray(k, np.int32) for k in (steps, first, count)))
            rates.append(np.asarray(grown[0])[:count])
            traces.append(np.asarray(grown[1])[:count])
            bar.update(count)
    return np.concatenate(rates), np.concatenate(traces)


@eqx.filter_jit
def _advance(flow: _Flow, orbit: Orbit, steps: Any, first: Any, count: Any) -> tuple[Orbit, Growth]:
    """The next `count` intervals, up to 64, from number `first` on; growth rates and traces fill the first places."""
    dtype = flow.net.dtype
    empty = jnp.zeros((_CHUNK, orbit[1].shape[1]), dtype), jnp.zeros(_CHUNK, dtype)
    trace = _trace(flow.net)

    def one(k, state):
        orbit, grown = state
        orbit, new = _interval(flow, trace, orbit, first + k, steps)
        return orbit, jax.tree.map(lambda all, one: jax.lax.dynamic_update_index_in_dim(all, one, k, 0), grown, new)

    return jax.lax.fori_loop(0, count, one, (orbit, empty))


@eqx.filter_jit
def _in_one(flow: _Flow, orbit: Orbit, steps: int, intervals: int) -> Growth:
    """Growth rates and traces of all intervals, by one loop of static length for derivatives."""
    indices = jnp.arange(intervals, dtype=jnp.int32)
    trace = _trace(flow.net)
    return jax.lax.scan(lambda orbit, k: _interval(flow, trace, orbit, k, steps), orbit, indices)[1]


def _trace(net: RateNetwork) -> Callable[[Float[Array, " n"]], Float[Array, ""]]:
    """tr A, as a function of the slopes phi'(x)."""
    decay = -jnp.sum(jnp.broadcast_to(1 / net.tau, (net.size,)))
    weights = net.row_gains / net.tau * _diagonal(net.J)
    return lambda slopes: decay + jnp.sum(weights * slopes)


def _interval(
    flow: _Flow, trace_of: Callable, orbit: Orbit, index: Int[Array, ""], steps: int | Int[Array, ""]
) -> tuple[Orbit, Growth]:
    """State and orthonormal tangents after one more interval; growth rates and the mean of tr A in it."""
    net, dt, (x, V) = flow.net, flow.dt, orbit
    y, unravel = ravel_pytree((x, V, jnp.zeros_like(dt)))

    def step(k, y):
        count = index * steps + k
        # The noise does not depend on x, so that tangents do not see it.
        push = 0.0 if flow.key is None else net.kick(white_noise(jax.random.fold_in(flow.key, count), x, dt))

        def velocity(t, y):
            x, V, _ = unravel(y)
            drift, tangents, slopes = net.linearized(t, x, V)
            return ravel_pytree((drift + push, tangents, trace_of(slopes)))[0]

        return flow.scheme(velocity, dt * count.astype(dt.dtype), y, dt)

    with jax.default_matmul_precision("highest"):
        x, V, trace = unravel(jax.lax.fori_loop(0, steps, step, y))
        Q, R = jnp.linalg.qr(V)
    growth = jnp.abs(jnp.diagonal(R))
    length = jnp.asarray(steps, dt.dtype) * dt
    finite = jnp.all(jnp.isfinite(x))
    rates = jnp.where(_is_seen(growth) & finite, jnp.log(growth), jnp.nan) / length
    return (x, Q), (rates, jnp.where(finite, trace, jnp.nan) / length)


def _is_seen(growth: Float[Array, " num"]) -> Bool[Array, " num"]:
    """Whether the growth of a tangent stands above the rounding errors of the largest growth."""
    return growth > _SEEN * jnp.finfo(growth.dtype).eps * jnp.max(growth)


def _diagonal(J: Operator) -> Float[Array, " n"]:
    """The diagonal J_ii, without forming the matrix of modes or of sparse weights."""
    if isinstance(J, Sum):
        return sum(map(_diagonal, J.terms[1:]), _diagonal(J.terms[0]))
    if isinstance(J, Sparse):
        rows, columns = J.pieces.rows[:, None], J.pieces.columns
        weights = jnp.where(columns == rows, J.pieces.weights, 0)
        return jnp.zeros(J.shape[-1], J.dtype).at[J.pieces.rows].add(jnp.sum(weights, 1))
    factors = J.low_rank()
    return jnp.diagonal(J.dense()) if factors is None else jnp.sum(factors[0] * factors[1].T, 1)


# --- numbers that follow from a spectrum ----------------------------------------------------------------------


def kaplan_yorke_dimension(exponents: Float[ArrayLike, " num"]) -> Float[Array, ""]:
    r"""The dimension at which the sum of the largest Lyapunov exponents, linear in between, falls to zero.

    $$ D = k + \frac{\lambda_1 + \dots + \lambda_k}{|\lambda_{k+1}|}, \qquad
       \lambda_1 + \dots + \lambda_k \ge 0 > \lambda_1 + \dots + \lambda_{k+1} $$

    The `exponents` may come in any order. The dimension is 0 if all are negative. It is unknown, and NaN, if the sum of
    all is still positive, or if one is NaN. An exponent that is zero is known to its error only: for a limit cycle, D
    is 1 or 0 by chance. Raises `ValueError` if `exponents` is not a non-empty 1-d array.

    Source: Kaplan & Yorke, Lecture Notes in Mathematics 730, 204 (1979).
    """
    falling = -jnp.sort(-vector("exponents", exponents))
    sums = jnp.cumsum(falling)
    # The sums rise and then fall, so that the sums which are not negative come first.
    k = jnp.sum(sums >= 0)
    below = jnp.append(falling, -jnp.inf)[k]
    whole = k.astype(sums.dtype)
    dimension = jnp.where(k > 0, whole + sums[k - 1] / jnp.abs(below), 0)
    return jnp.where(jnp.isnan(sums[-1]) | (sums[-1] > 0), jnp.nan, dimension)


def entropy_rate(exponents: Float[ArrayLike, " num"]) -> Float[Array, ""]:
    r"""The sum of the positive Lyapunov exponents, an upper bound of the Kolmogorov-Sinai entropy rate (Ruelle).

    $$ h = \sum_i \max(\lambda_i, 0) $$

    The two are equal (Pesin) for a measure that is smooth along the unstable directions. In nats per time, as the
    exponents. NaN if one is NaN, or if all are positive, since more positive exponents may then be
    missing. Raises `ValueError` if `exponents` is not a non-empty 1-d array.
    """
    exponents = vector("exponents", exponents)
    known = jnp.any(exponents <= 0) & ~jnp.any(jnp.isnan(exponents))
    return jnp.where(known, jnp.sum(jnp.maximum(exponents, 0)), jnp.nan)
