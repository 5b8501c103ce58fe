r"""Tangents along an orbit: the Lyapunov spectrum of a network, and the numbers that follow from it.

A tangent is a small deviation from the orbit, carried along by dV/dt = A(x(t)) V with the Jacobian A. Repeated QR
factorisation keeps several tangents apart, and their growth gives the Lyapunov exponents (Benettin et al., Meccanica
15, 9 (1980); Geist et al., Prog. Theor. Phys. 83, 875 (1990)).
"""

import math
import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, ArrayLike, Bool, Float, Int, PRNGKeyArray
from tqdm import tqdm

from .._arguments import positive, require, require_whole, vector
from .._numerics import is_concrete
from .._results import Result
from ..couplings.operators import Operator, Sum
from .network import RateNetwork, states_of
from .schemes import Scheme, rk4
from .stepping import noisy_drift

# Blocks whose scatter gives the standard errors, which are then known to 1 / sqrt(2 * 15) = 18 %. More blocks would be
# shorter, and closer to the correlation time, below which the scatter says too little.
BLOCKS = 16

# Growth within one interval, relative to the largest growth and in units of rounding, below which an exponent is NaN.
# Rounding errors of the largest entry of R are in all other entries, so that 1000 leaves three digits.
_SEEN = 1000

# Part of one by which a ratio of times may exceed a whole number and still count as it: rounding of times.
_PART = 1e-9

# Number of the random key of the tangents. Step i has the noise of `fold_in(key, i)`, and no run takes 2^32 - 1 steps.
_TANGENTS = 2**32 - 1


class LyapunovSpectrum(
    Result,
    axes={"num": "exponent", "intervals": "times"},
    units={"exponents": "1 / unit of tau", "error": "1 / unit of tau", "times": "unit of tau"},
):
    """The largest Lyapunov exponents of one orbit, falling, in the inverse of the unit of tau.

    `history` holds the growth rates of each interval between two QR factorisations, which end at `times`; the orbit
    starts at time 0. The `exponents` are their means. The standard `error` comes from the means of 16 blocks of
    consecutive intervals: it is honest if a block is longer than the correlation time of `history`, and too small
    otherwise. `mean_trace` is the mean of tr A over the same time, which is the sum of all n exponents.
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
    key: PRNGKeyArray | None = None,
    progress: bool = True,
) -> LyapunovSpectrum:
    r"""The `num_exponents` largest Lyapunov exponents of the orbit that starts at x0, with their errors.

    $$ \dot V = A(x(t))\, V, \qquad V = Q R \text{ every interval}, \qquad
       \lambda_i = \langle \ln |R_{ii}| \rangle / \text{interval} $$

    The tangents V (n, num_exponents) start at random and take the steps of x by the same scheme, which is the exact
    derivative of the discrete flow. J multiplies V, and no Jacobian is formed. A network with noise needs a `key`; its
    exponents belong to the noisy path that `simulate` takes with the same scheme, step and key.

    The first part `discard` of the `duration` is left out, in which the tangents align at the rate of the gaps between
    exponents; it is rounded up to whole blocks, and the rest to 16 blocks of whole intervals. Steps have length `dt` or
    less, a whole number of them in each `interval`. Valid while exp(-interval (lambda_1 - lambda_num)) is far above
    rounding: an exponent that rounding would hide is NaN, and all are if the orbit is not finite. Both give a
    `RuntimeWarning`, or NaN alone under `jit` and `vmap`, which map over networks, states or keys. `progress` shows a
    bar, a block at a time.

    Raises:
        ValueError: if ``x0`` is not (n,) or not finite, ``num_exponents`` not between 1 and n, a time not positive,
            ``discard`` outside [0, duration), ``net`` a batch, or noise without a key (NaN if the noise is traced).
    """
    x0 = _checked_start(net, x0, num_exponents)
    for name, value in (("duration", duration), ("dt", dt), ("interval", interval)):
        require(name, value, positive, "a finite number > 0")
    require("discard", discard, lambda x: (x >= 0) & (x < duration), f"in [0, duration) = [0, {duration})")
    noisy = not is_concrete(net.noise) or bool(np.any(np.asarray(net.noise)))
    if noisy and key is None:
        if is_concrete(net.noise):
            raise ValueError("`key` must be a random key for a network with noise, got None")
        # Traced noise may turn out to be 0; if not, all is NaN, as in `simulate`.
        x0 = jnp.where(jnp.any(net.noise != 0), jnp.nan, x0)
    flow, skipped = _flow(net, scheme, key if noisy else None, duration, dt, discard, interval)
    start = x0, _random_tangents(net, num_exponents, jax.random.key(0) if key is None else key)
    spectrum = _statistics(*_follow(flow, start, skipped + BLOCKS, progress), skipped, interval)
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


def _random_tangents(net: RateNetwork, num: int, key: PRNGKeyArray) -> Float[Array, "n num"]:
    tangents = jax.random.normal(jax.random.fold_in(key, _TANGENTS), (net.size, num), net.dtype)
    with jax.default_matmul_precision("highest"):
        return jnp.linalg.qr(tangents)[0]


def _statistics(
    history: Float[Array, "blocks intervals num"],
    traces: Float[Array, "blocks intervals"],
    skipped: int,
    interval: float,
) -> LyapunovSpectrum:
    """Exponents and errors of the blocks after the first `skipped`."""
    history, (blocks, intervals, num) = history[skipped:], history.shape
    means = jnp.mean(history, 1)
    order = jnp.argsort(-jnp.mean(means, 0))  # NaN last
    return LyapunovSpectrum(
        exponents=jnp.mean(means, 0)[order],
        error=(jnp.std(means, 0, ddof=1) / math.sqrt(BLOCKS))[order],
        history=history.reshape(-1, num)[:, order],
        times=interval * jnp.arange(skipped * intervals + 1, blocks * intervals + 1, dtype=history.dtype),
        mean_trace=jnp.mean(traces[skipped:]),
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
    """How a block of intervals is integrated."""

    net: RateNetwork
    scheme: Scheme = eqx.field(static=True)
    key: PRNGKeyArray | None  # None: no noise
    dt: float = eqx.field(static=True)
    steps: int = eqx.field(static=True)  # of an interval
    intervals: int = eqx.field(static=True)  # of a block


Orbit = tuple[Float[Array, " n"], Float[Array, "n num"]]
Growth = tuple[Float[Array, "intervals num"], Float[Array, " intervals"]]


def _flow(net, scheme, key, duration, dt, discard, interval) -> tuple[_Flow, int]:
    """The flow, and the number of blocks that are left out."""
    intervals = _whole((duration - discard) / (BLOCKS * interval))
    steps = _whole(interval / dt)
    return _Flow(net, scheme, key, interval / steps, steps, intervals), _whole(discard / (intervals * interval))


def _follow(flow: _Flow, orbit: Orbit, num_blocks: int, progress: bool) -> Growth:
    """Growth rates and traces of all intervals, (num_blocks, intervals, ...)."""
    blocks = jnp.arange(num_blocks)
    with jax.default_matmul_precision("highest"):
        if not is_concrete(flow, orbit):
            return jax.lax.scan(lambda orbit, block: _advance(flow, orbit, block), orbit, blocks)[1]
        records = []
        for block in tqdm(blocks, desc="Lyapunov spectrum", unit="block", delay=1, disable=not progress):
            orbit, record = _advance(flow, orbit, block)
            records.append(jax.block_until_ready(record))
    return jax.tree.map(lambda *parts: jnp.stack(parts), *records)


@eqx.filter_jit
def _advance(flow: _Flow, orbit: Orbit, block: Int[Array, ""]) -> tuple[Orbit, Growth]:
    """State and orthonormal tangents after one more block; growth rates and mean of tr A in each interval."""
    net, dt = flow.net, jnp.asarray(flow.dt, flow.net.dtype)
    diagonal = _diagonal(net.J)

    def step(state, count):
        y, unravel = ravel_pytree(state)
        x_velocity = noisy_drift(net, state[0], dt, None if flow.key is None else jax.random.fold_in(flow.key, count))

        def velocity(t, y):
            x, V, _ = unravel(y)
            A = net.jacobian(x)
            trace = jnp.sum(A.decay + A.left * diagonal * A.right)
            # The noise does not depend on x, so that tangents do not see it.
            return ravel_pytree((x_velocity(t, x), A @ V, trace))[0]

        return unravel(flow.scheme(velocity, dt * count.astype(dt.dtype), y, dt)), None

    def interval(orbit, index):
        counts = index * flow.steps + jnp.arange(flow.steps)
        (x, V, trace), _ = jax.lax.scan(step, (*orbit, jnp.zeros_like(dt)), counts)
        Q, R = jnp.linalg.qr(V)
        growth = jnp.abs(jnp.diagonal(R))
        length = flow.steps * dt
        finite = jnp.all(jnp.isfinite(x))
        rates = jnp.where(_is_seen(growth) & finite, jnp.log(growth), jnp.nan) / length
        return (x, Q), (rates, jnp.where(finite, trace, jnp.nan) / length)

    return jax.lax.scan(interval, orbit, block * flow.intervals + jnp.arange(flow.intervals))


def _is_seen(growth: Float[Array, " num"]) -> Bool[Array, " num"]:
    """Whether the growth of a tangent stands above the rounding errors of the largest growth."""
    return growth > _SEEN * jnp.finfo(growth.dtype).eps * jnp.max(growth)


def _diagonal(J: Operator) -> Float[Array, " n"]:
    """The diagonal J_ii, without forming the matrix of modes."""
    if isinstance(J, Sum):
        return sum(map(_diagonal, J.terms[1:]), _diagonal(J.terms[0]))
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
