r"""From threshold units to smooth ones: how far a stable pattern survives when the gain is lowered.

$$ \dot x = -x + W \phi_\beta(x) + b, \qquad
   \phi_\beta(x) = \tfrac12 (1 + \tanh \beta x) \to H(x) \ (\beta \to \infty) $$

At large gain every stable pattern s has a stable fixed point next to f = W s + b. It is followed to lower gain until it
disappears in a fold, where a real eigenvalue of the Jacobian reaches 0, or turns unstable by a complex pair (Hopf).
Where sup |phi'| ||W|| = beta ||W|| / 2 < 1 in some norm there is one fixed point, which is stable, and a branch that
gets there ends at beta = 0. Source: derived here.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float

from .._arguments import positive, require, scalar
from .._numerics import polish_root
from ..couplings.operators import Operator
from ..dynamics import RateNetwork, find_fixed_point
from ..transfer import Transfer, smooth_covariance, smooth_slope_law
from .patterns import as_bias, as_coupling, as_patterns, margins, require_concrete


class Logistic(Transfer):
    """phi(x) = (1 + tanh(gain x)) / 2, the logistic function of 2 gain x; H(x) for infinite gain.

    Raises `ValueError` unless `gain` is a positive number.
    """

    gain: Float[Array, ""]

    def __init__(self, gain: Float[ArrayLike, ""]):
        self.gain = scalar("gain", gain)
        require("gain", self.gain, positive, "a finite number > 0")

    def __call__(self, x):
        return (1 + jnp.tanh(self.gain.astype(x.dtype) * x)) / 2

    def slope(self, x):
        gain = self.gain.astype(x.dtype)
        return gain / 2 / jnp.cosh(gain * x) ** 2

    def slope_law(self, mean, variance):
        return smooth_slope_law(self, mean, variance)

    def antiderivative(self, x):
        """(x + log cosh(gain x) / gain) / 2."""
        gain = self.gain.astype(x.dtype)
        return (x + (jnp.logaddexp(gain * x, -gain * x) - jnp.log(jnp.asarray(2, x.dtype))) / gain) / 2

    def covariance(self, variance, correlation, nodes=(201, 201)):
        return smooth_covariance(self, variance, correlation, nodes)


class SmoothBranch(eqx.Module):
    """A stable pattern followed from threshold units to lower gain.

    `gains`, falling, with the fixed points (k, n) there and the largest real part of their Jacobian, `growth`, below 0.
    `critical_gain` is where the branch ends, by a `fold` or else by a complex pair, known to `error`; 0 when it does
    not end. `converged` is False where the end was not resolved: the branch was lost between `critical_gain` and
    `error` below it.
    """

    gains: Float[np.ndarray, " k"]
    points: Float[np.ndarray, "k n"]
    growth: Float[np.ndarray, " k"]
    critical_gain: float
    error: float
    fold: bool
    converged: bool


def follow_pattern(
    W: Operator | Float[ArrayLike, "n n"],
    pattern: Bool[ArrayLike, " n"],
    bias: Float[ArrayLike, "*n"] | None = None,
    *,
    largest_step: float = 0.1,
    tolerance: float = 1e-8,
) -> SmoothBranch:
    r"""The stable fixed point that belongs to a stable pattern, from large gain down to where it ends.

    Gains fall in steps of at most the part `largest_step`, each a `dynamics.find_fixed_point` from the last point. A
    step is taken back and halved when it ends at an unstable point or elsewhere: further from the last point than 5/2
    of its tangent, where a square root needs twice. When steps have become 10^-4, the fold is solved for,

    $$ x = W \phi_\beta(x) + b, \qquad v = W (\phi_\beta'(x) \circ v), \qquad |v| = 1, $$

    by Newton's method; a complex pair is bisected to `tolerance`, relative. The branch ends at gain 0 when it reaches
    beta ||W|| / 2 < 1 (the smaller of the largest row sum and singular value). Where two states of a symmetric network
    merge (pitchfork) it goes on as the state that remains. Valid where other fixed points are further away than a step
    moves this one; where the end is not resolved `converged` is False. An O(n^3) step each, about 100 steps.

    Raises:
        ValueError: if ``W`` is not one finite square matrix, ``bias`` does not fit, one of them is traced, ``pattern``
            is not (n,) or not stable, ``largest_step`` not in (0, .5], or ``tolerance`` not positive.
    """
    require_concrete(W, bias, "the number of steps depends on values")
    W = as_coupling(W)
    b = as_bias(bias, W)
    s = as_patterns(pattern, W)
    if s.ndim != 1:
        raise ValueError(f"`pattern` must have shape ({len(b)},), got {s.shape}")
    margin = float(margins(W, s, b))
    if not margin > 0:
        raise ValueError(f"`pattern` must be stable, got a margin of {margin}")
    require("largest_step", largest_step, lambda part: (part > 0) & (part <= 0.5), "a number in (0, .5]")
    require("tolerance", tolerance, positive, "a finite number > 0")

    matrix = W.dense()
    norm = float(jnp.minimum(jnp.max(jnp.sum(jnp.abs(matrix), 1)), jnp.linalg.norm(matrix, 2)))
    # Units are saturated up to rounding errors, slopes times W below them.
    gain = 20 / margin
    x = matrix @ s + b
    x, growth, complex_pair, _, arrived = _step(W, b, x, jnp.asarray(gain, b.dtype), jnp.asarray(gain, b.dtype))
    branch = [(gain, np.asarray(x), float(growth))]
    step, smallest, hopf = largest_step, 1e-4, False
    while gain * norm / 2 >= 1:
        lower = gain * (1 - step)
        x_next, growth, complex_pair, limit, converged = _step(
            W, b, x, jnp.asarray(gain, b.dtype), jnp.asarray(lower, b.dtype)
        )
        near = bool(converged & (jnp.max(jnp.abs(x_next - x)) <= limit))
        if near and growth < 0:
            gain, x = lower, x_next
            branch.append((gain, np.asarray(x), float(growth)))
            step = min(1.5 * step, largest_step)
            continue
        hopf = near and bool(complex_pair)
        if step <= (tolerance if hopf else smallest):
            break
        step /= 2

    gains, points, growths = (np.array(column) for column in zip(*branch, strict=True))
    if gain * norm / 2 < 1:
        return SmoothBranch(gains, points, growths, 0.0, 0.0, False, bool(arrived))
    if hopf:
        return SmoothBranch(gains, points, growths, gain, gain * step, False, bool(arrived))
    fold_gain, residual, solved = _fold(W, b, x, jnp.asarray(gain, b.dtype))
    # Between the last point and the failed step, up to the rounding of the former.
    if solved and abs(fold_gain / gain - 1) < 4 * step:
        return SmoothBranch(gains, points, growths, float(fold_gain), float(residual * fold_gain), True, bool(arrived))
    return SmoothBranch(gains, points, growths, gain, gain * step, False, False)


@eqx.filter_jit
def _step(W: Operator, b: Float[Array, " n"], x: Float[Array, " n"], gain: Float[Array, ""], lower: Float[Array, ""]):
    """The fixed point at a lower gain, its growth rate and whether that is of a pair, and how far it may lie from x."""
    slow = RateNetwork(W, Logistic(lower), input=b)
    # (1 - W phi') dx = W (d phi / d beta) d beta
    change = (lower - gain) * (W @ (x / 2 / jnp.cosh(gain * x) ** 2))
    tangent = jnp.linalg.solve(-RateNetwork(W, Logistic(gain), input=b).jacobian(x).dense(), change)
    found = find_fixed_point(slow, x)
    values = slow.jacobian(found.value).eigenvalues()
    leading = values[jnp.argmax(values.real)]
    limit = 2.5 * jnp.max(jnp.abs(tangent)) + 1e-6 * jnp.max(jnp.abs(x))
    return found.value, leading.real, jnp.abs(leading.imag) > 1e-6, limit, found.converged


@eqx.filter_jit
def _fold(W: Operator, b: Float[Array, " n"], x: Float[Array, " n"], gain: Float[Array, ""]):
    """The gain at which the Jacobian near x is singular, relative residual, and whether it was found."""
    n = len(b)
    jacobian = RateNetwork(W, Logistic(gain), input=b).jacobian(x).dense()
    v = jnp.linalg.svd(jacobian)[2][-1]
    scale = jnp.max(jnp.abs(x))

    def conditions(y, _):
        x, v, beta = scale * y[:n], y[n:-1], gain * y[-1]
        transfer = Logistic(beta)
        fixed = -x + W @ transfer(x) + b
        return jnp.concatenate([fixed / scale, -v + W @ (transfer.slope(x) * v), (v @ v - 1)[None]])

    root = polish_root(conditions, jnp.concatenate([x / scale, v, jnp.ones(1, b.dtype)]), None, num_steps=8)
    close = jnp.max(jnp.abs(root.value[:n] * scale - x)) < 0.1 * scale
    return gain * root.value[-1], root.residual, root.converged & close
