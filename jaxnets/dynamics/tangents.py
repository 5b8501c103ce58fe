r"""Linearised dynamics along an orbit: Lyapunov spectrum, what follows from it, and spectra of Jacobians.

The Lyapunov spectrum is that of the tangent flow dV/dt = A(x(t)) V, A the Jacobian of the network, by repeated QR
factorisation (Benettin et al., Meccanica 15, 9 (1980); Geist et al., Prog. Theor. Phys. 83, 875 (1990)).
"""

import math
import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, ArrayLike, Complex, Float, Int, PRNGKeyArray
from tqdm import tqdm

from .._arguments import positive, real_array, require, require_whole, vector
from .._numerics import as_complex, is_concrete
from ..couplings.operators import Operator, Sum
from .network import RateNetwork
from .schemes import Scheme, rk4

# Standard errors come from the scatter of this many blocks, and are then themselves known to 1 / sqrt(2 * 15) = 18 %.
# More blocks would be shorter, and closer to the correlation time, below which the scatter says too little.
BLOCKS = 16


class LyapunovSpectrum(eqx.Module):
    """The largest Lyapunov exponents of one orbit, falling, in the inverse of the unit of tau.

    `history` holds the exponents of each interval between two QR factorisations, which end at `times` (the orbit
    starts at 0); `exponents` are their means. `errors` are standard errors from the means of 16 blocks of consecutive
    intervals: honest where a block is longer than the correlation time of `history`, and too small otherwise.
    `mean_trace` is the mean of tr A over the same time, the sum of all n exponents.
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
    r"""The `num` largest Lyapunov exponents of the orbit that starts at x0, with their errors.

    $$ \dot V = A(x(t))\, V, \qquad V = Q R \text{ every interval}, \qquad
       \lambda_i = \langle \ln |R_{ii}| \rangle / \text{interval} $$

    The tangents V (n, num) start at random and take the steps of x by the same scheme, which is exactly the derivative
    of the discrete flow; J multiplies V and no Jacobian is formed. With noise, which needs a `key`, the exponents are
    those along a noisy path, whose noise V does not see because it is additive: the path that `simulate` takes with the
    same scheme, step and key. Cost: num + 1 products with J per evaluation of the drift.

    Of the whole `duration`, the first part `discard` is left out: the transient, also that of the tangents, which
    align at the rate of the gaps between exponents. The rest is rounded up to 16 blocks of whole intervals, and
    `discard` to whole blocks. Steps are of length `dt` or less, a whole number in each `interval`. The sum of the whole
    spectrum equals `mean_trace` up to the error of the scheme, with rk4 and dt = .05 about 1e-7 for each unit.

    Validity: exp(-interval (lambda_1 - lambda_num)) far above the machine precision. An exponent for which the
    rounding of the first ones would be seen is NaN, and so are all of an orbit that is not finite; both give a
    `RuntimeWarning` (under `jit` or `vmap`, NaN alone).

    Written for one network: `vmap` over networks, states or keys for more. Runs block by block with a progress bar,
    as a single scan under a transformation.

    Raises:
        ValueError: if ``x0`` is not (n,) or not finite, ``num`` not between 1 and n, a time not positive,
            ``discard`` outside [0, duration), ``net`` a batch, or noise without a key.
    """
    x0 = states_of(net, "x0", x0)
    if key is None:
        if not is_concrete(net.noise) or np.any(np.asarray(net.noise)):
            raise ValueError("`key` must be a random key for a network with noise, got None")
        key = jax.random.key(0)
    if x0.ndim != 1:
        raise ValueError(f"`x0` must have shape ({net.size},), got {x0.shape}: map over more with `jax.vmap`")
    require_whole("num", num_exponents)
    if num_exponents > net.size:
        raise ValueError(f"`num` must be at most the number of units, {net.size}, got {num_exponents}")
    for name, value in (("duration", duration), ("dt", dt), ("interval", interval)):
        require(name, value, positive, "a finite number > 0")
    require("discard", discard, lambda x: (x >= 0) & (x < duration), f"in [0, duration) = [0, {duration})")

    intervals = _whole((duration - discard) / (BLOCKS * interval))  # of a block
    skipped = _whole(discard / (intervals * interval))
    steps = _whole(interval / dt)
    flow = _Flow(net, scheme, interval / steps, steps, intervals)

    # Step i has the noise of fold_in(key, i), and no step this number.
    tangents = jax.random.normal(jax.random.fold_in(key, 2**32 - 1), (net.size, num_exponents), net.dtype)
    tangents, _ = jnp.linalg.qr(tangents)
    orbit, blocks = (x0, tangents), jnp.arange(skipped + BLOCKS)
    with jax.default_matmul_precision("highest"):
        if is_concrete(net, x0, key):
            records = []
            for block in tqdm(blocks, desc="Lyapunov spectrum", unit="block", delay=1, disable=not progress):
                orbit, record = _advance(flow, key, orbit, block)
                records.append(jax.block_until_ready(record))
            history, traces = jax.tree.map(lambda *blocks: jnp.stack(blocks), *records)
        else:
            _, (history, traces) = jax.lax.scan(lambda orbit, b: _advance(flow, key, orbit, b), orbit, blocks)

    history = history[skipped:]
    means = jnp.mean(history, 1)
    order = jnp.argsort(-jnp.mean(means, 0))  # NaN last
    spectrum = LyapunovSpectrum(
        exponents=jnp.mean(means, 0)[order],
        error=(jnp.std(means, 0, ddof=1) / math.sqrt(BLOCKS))[order],
        history=history.reshape(-1, num_exponents)[:, order],
        times=interval * jnp.arange(skipped * intervals + 1, (skipped + BLOCKS) * intervals + 1, dtype=net.dtype),
        mean_trace=jnp.mean(traces[skipped:]),
    )
    if is_concrete(spectrum.exponents) and not np.all(np.isfinite(spectrum.exponents)):
        cause = (
            "the orbit is not finite"
            if np.isnan(spectrum.exponents[0])
            else f"they differ so much that rounding hides them within `interval` = {interval}: take a shorter one"
        )
        warnings.warn(f"Lyapunov exponents are NaN: {cause}", RuntimeWarning, stacklevel=2)
    return spectrum


class _Flow(eqx.Module):
    """How a block of intervals is integrated."""

    net: RateNetwork
    scheme: Scheme = eqx.field(static=True)
    dt: float = eqx.field(static=True)
    steps: int = eqx.field(static=True)  # of an interval
    intervals: int = eqx.field(static=True)  # of a block


Orbit = tuple[Float[Array, " n"], Float[Array, "n num"]]


@eqx.filter_jit
def _advance(
    flow: _Flow, key: PRNGKeyArray, orbit: Orbit, block: Int[Array, ""]
) -> tuple[Orbit, tuple[Float[Array, "intervals num"], Float[Array, " intervals"]]]:
    """State and orthonormal tangents after one more block; local exponents and mean of tr A in each interval."""
    net, dt = flow.net, jnp.asarray(flow.dt, flow.net.dtype)
    diagonal = _diagonal(net.J)

    def step(state, count):
        # dW / dt, constant within the step.
        kick = net.kick(jax.random.normal(jax.random.fold_in(key, count), (net.size,), net.dtype) / jnp.sqrt(dt))
        y, unravel = ravel_pytree(state)

        def velocity(t, y):
            x, V, _ = unravel(y)
            A = net.jacobian(x)
            trace = jnp.sum(A.decay + A.left * diagonal * A.right)
            return ravel_pytree((net.drift(t, x) + kick, A @ V, trace))[0]

        return unravel(flow.scheme(velocity, dt * count.astype(dt.dtype), y, dt)), None

    def interval(orbit, index):
        counts = index * flow.steps + jnp.arange(flow.steps)
        (x, V, trace), _ = jax.lax.scan(step, (*orbit, jnp.zeros_like(dt)), counts)
        Q, R = jnp.linalg.qr(V)
        growth = jnp.abs(jnp.diagonal(R))
        # The rounding errors of the largest entry of R are in all others.
        seen = growth > 1000 * jnp.finfo(dt.dtype).eps * jnp.max(growth)
        length = flow.steps * dt
        finite = jnp.all(jnp.isfinite(x))
        local = jnp.where(seen & finite, jnp.log(growth), jnp.nan) / length
        return (x, Q), (local, jnp.where(finite, trace, jnp.nan) / length)

    return jax.lax.scan(interval, orbit, block * flow.intervals + jnp.arange(flow.intervals))


def _whole(ratio: float) -> int:
    """The least whole number that is not below ``ratio``, up to rounding."""
    return math.ceil(ratio - 1e-9)


def _diagonal(J: Operator) -> Float[Array, " n"]:
    """J_ii, without the matrix where there are modes."""
    if isinstance(J, Sum):
        return sum(map(_diagonal, J.terms[1:]), _diagonal(J.terms[0]))
    factors = J.low_rank()
    return jnp.diagonal(J.dense()) if factors is None else jnp.sum(factors[0] * factors[1].T, 1)


def kaplan_yorke_dimension(exponents: Float[ArrayLike, " num"]) -> Float[Array, ""]:
    r"""The dimension at which the sum of the largest Lyapunov exponents, linear in between, falls to zero.

    $$ D = k + \frac{\lambda_1 + \dots + \lambda_k}{|\lambda_{k+1}|}, \qquad
       \lambda_1 + \dots + \lambda_k \ge 0 > \lambda_1 + \dots + \lambda_{k+1} $$

    In any order; 0 if all are negative. NaN if the sum of all is still positive, or any is NaN: it is not known then.
    A zero exponent is zero to its error only: of a limit cycle, D is 1 or 0 by chance. Raises `ValueError` if
    `exponents` is not a non-empty 1-d array.

    Source: Kaplan & Yorke, Lecture Notes in Mathematics 730, 204 (1979).
    """
    falling = -jnp.sort(-vector("exponents", exponents))
    sums = jnp.cumsum(falling)
    # Sums of falling numbers rise, then fall, so that those which are not negative come first.
    k = jnp.sum(sums >= 0)
    below = jnp.append(falling, -jnp.inf)[k]
    whole = k.astype(sums.dtype)
    dimension = jnp.where(k > 0, whole + sums[k - 1] / jnp.abs(below), 0)
    return jnp.where(jnp.isnan(sums[-1]) | (sums[-1] > 0), jnp.nan, dimension)


def entropy_rate(exponents: Float[ArrayLike, " num"]) -> Float[Array, ""]:
    r"""The sum of the positive Lyapunov exponents, an upper bound of the Kolmogorov-Sinai entropy rate (Ruelle).

    The two are equal (Pesin) for a measure that is smooth along the unstable directions. In the unit of the exponents
    (nats per time). NaN if all are positive, or any is NaN: some positive ones may then be missing. Raises `ValueError`
    if `exponents` is not a non-empty 1-d array.
    """
    exponents = vector("exponents", exponents)
    known = jnp.any(exponents <= 0) & ~jnp.any(jnp.isnan(exponents))
    return jnp.where(known, jnp.sum(jnp.maximum(exponents, 0)), jnp.nan)


# --- Jacobians along an orbit


def jacobian_eigenvalues(
    net: RateNetwork, states: Float[ArrayLike, "*batch n"], *, batch: int | None = None, progress: bool = True
) -> Complex[Array, "*batch n"]:
    """Eigenvalues of the Jacobian A = (-1 + gamma J diag(phi'(x))) / tau at each of many states, in no order.

    One state costs O(n^3), or O(n P^2 + P^3) with P < n modes and one time constant. `batch` states are diagonalised
    in one call, and one call at a time; by default as many as have 2^22 matrix entries (32 MiB in float64).

    Raises:
        ValueError: if the last axis of ``states`` is not n, ``states`` is not finite, ``batch`` is not a whole number
            >= 1, or ``net`` a batch.
    """
    states = states_of(net, "states", states)
    batch = whole_matrices(net.size) if batch is None else batch
    require_whole("batch", batch)
    flat = states.reshape(-1, net.size)

    with jax.default_matmul_precision("highest"):
        if not is_concrete(net, states):
            return jax.lax.map(lambda x: _eigenvalues(net, x), flat, batch_size=batch).reshape(states.shape)
        parts = [as_complex(jnp.zeros((0, net.size), net.dtype))]
        with tqdm(total=len(flat), desc="Jacobians", unit="state", delay=1, disable=not progress) as bar:
            for start in range(0, len(flat), batch):
                chunk = flat[start : start + batch]
                parts.append(jax.block_until_ready(net.jacobian(chunk).eigenvalues()))
                bar.update(len(chunk))
    return jnp.concatenate(parts).reshape(states.shape)


@eqx.filter_jit
def _eigenvalues(net: RateNetwork, x: Float[Array, " n"]) -> Complex[Array, " n"]:
    return net.jacobian(x).eigenvalues()


def whole_matrices(n: int) -> int:
    """How many n x n matrices are handled in one call: 2^22 entries, and one at least."""
    return max(1, 2**22 // n**2)


def states_of(net: RateNetwork, name: str, value: ArrayLike) -> Float[Array, "*batch n"]:
    """States (..., n) of one network in its precision, or a `ValueError` that names them."""
    if len(net.J.shape) != 2:
        raise ValueError(f"`net` must be one network, got a batch {net.J.shape[:-2]}: map with `jax.vmap`")
    states = real_array(name, value)
    if states.shape[-1:] != (net.size,):
        raise ValueError(f"`{name}` must have the last axis n = {net.size}, got shape {states.shape}")
    require(name, states, np.isfinite, "finite numbers")
    return states.astype(net.dtype)
