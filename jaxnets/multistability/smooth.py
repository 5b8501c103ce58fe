r"""From threshold units to smooth ones: how far a stable pattern survives when units become less steep.

$$ \dot x = -x + J \phi_\beta(x) + b, \qquad
   \phi_\beta(x) = \tfrac12 (1 + \tanh \beta x) \to H(x) \ (\beta \to \infty) $$

At large steepness beta every stable pattern s has a stable fixed point next to f = J s + b. `follow_pattern` follows
this point to smaller steepness until it disappears in a fold, where a real eigenvalue of the Jacobian reaches 0, or
until a complex pair makes it unstable (Hopf). Where sup |phi'| ||J|| = beta ||J|| / 2 < 1 in some norm, the network has
a single fixed point, and that point is stable: a branch that gets there ends at beta = 0.

`_numerics.follow` takes the steps, in log beta, and `_numerics.fold` finds the fold, both in NumPy. Source: derived
here.
"""

import functools
import math
from typing import NamedTuple

import numpy as np
from jaxtyping import ArrayLike, Bool, Float

from .._arguments import positive, require
from .._numerics import Branch, fold, follow
from .._numerics.host import light, newton_on_host, on_host
from .._results import Result
from ..couplings.operators import Operator
from ..eigen import host_eigenvalues
from ..transfer import Logistic
from .patterns import as_couplings, cast_bias, cast_patterns, margins, require_concrete

# The first steepness is this over the margin. There phi differs from H by e^-40, and its slope from 0 by some e^-40
# times the steepness, which is below the rounding of float64: the fixed point is J s + b, of growth -1.
_SATURATED = 20.0
# Relative steps below which the end is solved for as a fold. On 49 branches of random networks of 3 to 8 units, 44 of
# which end in a fold, all ends were found with 1e-2 to 1e-5, at a price of 5 % for each factor of ten.
_SMALLEST_STEP = 1e-4
# A step is accepted when the point moves by at most this multiple of what the tangent predicts. A square root, as at a
# fold, needs a factor of 2.
_TANGENTS = 2.5
# Imaginary parts above this belong to a complex pair: rounding splits a real pair that meets by some 1e-8. Of 2231
# leading eigenvalues on 50 branches 2096 are real, and 15 lie between 1e-9 and 1e-3, next to where two meet.
_COMPLEX = 1e-6
# A fold counts as the end of the branch within this many of the last steps, and this part of the largest |x_i|.
_STEPS_TO_FOLD, _MOVE_TO_FOLD = 4, 0.1
# Attempts in one part. Most branches take 30 to 100; a longer one goes on in another part.
_ATTEMPTS = 128
# A fixed point is one up to this part of its largest |x_i|, after at most so many steps of Newton's. It may miss the
# tangent by another part, where the branch hardly moves.
_RESIDUAL, _MOST_NEWTON, _NEWTON_MISS = 1e-10, 30, 1e-6


class SmoothBranch(Result, axes={"k": "steepness", "n": "unit"}):
    """A stable pattern followed from threshold units to less steep ones.

    `points` (k, n) are the fixed points at each `steepness` (k,), which falls, and `growth` (k,) is the largest real
    part of their Jacobian's eigenvalues, below 0. The branch ends at `critical_steepness`, known to `error`, by a
    `fold` or else by a complex pair. A branch without end has the critical steepness 0. `converged` is False if the end
    was not resolved: the branch was lost between `critical_steepness` and `error` below it.
    """

    steepness: Float[np.ndarray, " k"]
    points: Float[np.ndarray, "k n"]
    growth: Float[np.ndarray, " k"]
    critical_steepness: float
    error: float
    fold: bool
    converged: bool


def follow_pattern(
    J: Operator | Float[ArrayLike, "n n"],
    pattern: Bool[ArrayLike, " n"],
    bias: Float[ArrayLike, "*n"] | None = None,
    *,
    largest_step: float = 0.1,
    tolerance: float = 1e-8,
) -> SmoothBranch:
    r"""The stable fixed point that belongs to a stable pattern, from steep units down to where it ends.

    The `pattern` (n,) is made of 0 and 1. The steepness falls in steps of at most the part `largest_step`. Each step is
    a search by Newton's method from the last point, and is halved when it ends at an unstable point or too far from
    the last one: further than 5/2 of its tangent. When steps have become 10^-4, the fold is solved for,

    $$ x = J \phi_\beta(x) + b, \qquad v = J (\phi_\beta'(x) \circ v), \qquad |v| = 1, $$

    by Newton's method; a complex pair is bisected to `tolerance`, relative. The branch ends at steepness 0 when it
    reaches beta ||J|| / 2 < 1 (the smaller of the largest row sum and singular value). Where two states of a symmetric
    network merge (pitchfork) it goes on as the state that remains. Valid where other fixed points are further away than
    a step moves this one; where the end is not resolved `converged` is False. Each of some 100 steps takes O(n^3).

    Raises:
        ValueError: if ``J`` is not one finite square matrix, ``bias`` does not fit, one of them is traced, ``pattern``
            is not (n,) or not stable, ``largest_step`` not in (0, .5], or ``tolerance`` not positive.
    """
    require_concrete(J, bias, "the number of steps depends on values")
    J = as_couplings(J)
    b = cast_bias(bias, J)
    s = cast_patterns(pattern, J, "pattern")
    if s.ndim != 1:
        raise ValueError(f"`pattern` must have shape ({len(b)},), got {s.shape}")
    margin = float(margins(J, s, b))
    if not margin > 0:
        raise ValueError(f"`pattern` must be stable, got a margin of {margin}")
    require("largest_step", largest_step, lambda part: (part > 0) & (part <= 0.5), "a number in (0, .5]")
    require("tolerance", tolerance, positive, "a finite number > 0")

    matrix, b, s = (np.asarray(x) for x in (J.dense(), b, s))
    norm = float(min(np.max(np.sum(np.abs(matrix), 1)), np.linalg.norm(matrix, 2)))
    start = math.log(_SATURATED / margin)
    # Just below beta ||J|| / 2 = 1, so that the last point is the only one. A weak J may be below at the start.
    stop = min(math.log(1.98 / max(norm, 1e-300)), start)
    with np.errstate(over="ignore"):  # 1 / cosh^2 of a saturated unit is 0
        log_beta, points, growth, last = _followed(matrix, b, matrix @ s + b, start, stop, largest_step, tolerance)
    rows = np.exp(log_beta), points, growth
    beta, step = float(rows[0][-1]), float(last.gap)
    if log_beta[-1] <= stop:
        return SmoothBranch(*rows, 0.0, 0.0, False, True)
    if _lost_to_pair(last):
        return SmoothBranch(*rows, beta, beta * step, False, True)
    with np.errstate(over="ignore"):
        critical, residual, solved = _fold(matrix, b, points[-1], rows[0][-1])
    # Between the last point and the failed step, up to the rounding of the former.
    if solved and abs(critical / beta - 1) < _STEPS_TO_FOLD * step:
        return SmoothBranch(*rows, float(critical), float(residual * critical), True, True)
    return SmoothBranch(*rows, beta, beta * step, False, False)


class _Point(NamedTuple):
    """A fixed point and the largest real part of its Jacobian.

    `pair` says that this eigenvalue is one of a complex pair, `near` that x is where the tangent leads.
    """

    x: Float[np.ndarray, " n"]
    growth: Float[np.ndarray, ""]
    pair: Bool[np.ndarray, ""]
    near: Bool[np.ndarray, ""]


def _followed(J, b, x, start: float, stop: float, largest_step: float, tolerance: float):
    """log beta, points and growth along the branch from x at log beta = start, and its last part."""

    def advance(point: _Point, p, ahead):
        found = _point(J, b, point.x, np.exp(p), np.exp(ahead))
        return found, found.near & (found.growth < 0)

    # Saturated units have no slope, so that all eigenvalues of the Jacobian are -1.
    point = _Point(x, -np.ones((), b.dtype), np.asarray(False), np.asarray(True))
    largest, smallest, p = -math.log1p(-largest_step), _SMALLEST_STEP, np.asarray(start, b.dtype)
    step, rows = largest, [tuple(leaf[None] for leaf in (p, point.x, point.growth))]
    while True:
        part = follow(advance, point, p, stop, largest=largest, smallest=smallest, max_steps=_ATTEMPTS, step=step)
        new = slice(1, int(part.num))
        rows.append(tuple(a[new] for a in (part.parameters, part.values.x, part.values.growth)))
        point, p, step = part.value, part.parameter, float(part.step)
        at_end = float(part.gap) <= smallest
        # A fold is solved for from here. A complex pair has no such equations here, and is bisected.
        if at_end and _lost_to_pair(part) and smallest > tolerance:
            smallest = tolerance
        elif at_end or float(p) <= stop:
            return *(np.concatenate(column) for column in zip(*rows, strict=True)), part


def _lost_to_pair(part: Branch) -> bool:
    """Whether the last step found the point where it should be, but unstable by a complex pair."""
    return bool(part.beyond.near & part.beyond.pair)


def _point(J: Float[np.ndarray, "n n"], b: Float[np.ndarray, " n"], x: Float[np.ndarray, " n"], beta, ahead) -> _Point:
    """The fixed point at the steepness `ahead`, from x at `beta`."""
    eye, scale, phi = np.eye(len(b), dtype=b.dtype), np.max(np.abs(x)), _logistic()
    # (1 - J phi') dx = J (d phi / d beta) d beta
    slope = phi.slope(beta * x)
    tangent = np.linalg.solve(eye - J * (beta * slope), (ahead - beta) * (J @ (x * slope)))
    # In units of the largest |x_i|, and in units of x again.
    y, residual = newton_on_host(
        lambda y: (J @ phi(ahead * scale * y) + b) / scale - y,
        x / scale,
        _MOST_NEWTON,
        lambda y: J * (ahead * phi.slope(ahead * scale * y)) - eye,
    )
    found = scale * y
    values = host_eigenvalues(J * (ahead * phi.slope(ahead * found))) - 1
    leading = values[np.argmax(np.real(values))]
    limit = _TANGENTS * np.max(np.abs(tangent)) + _NEWTON_MISS * scale
    near = (residual <= _converged(b)) & (np.max(np.abs(found - x)) <= limit)
    return _Point(found, leading.real, np.abs(leading.imag) > _COMPLEX, near)


@functools.cache
def _logistic() -> Logistic:
    """phi of steepness 1: phi_beta(x) = phi(beta x), of slope beta phi'(beta x)."""
    return light(on_host(Logistic(1.0)))


def _converged(b: Float[np.ndarray, " n"]) -> float:
    """The largest relative residual of a fixed point."""
    return max(_RESIDUAL, 3000 * float(np.finfo(b.dtype).eps))


def _fold(J: Float[np.ndarray, "n n"], b: Float[np.ndarray, " n"], x: Float[np.ndarray, " n"], beta):
    """The steepness at which the Jacobian near x is singular, the relative residual, and whether it was found."""
    scale, eye, phi = np.max(np.abs(x)), np.eye(len(b), dtype=b.dtype), _logistic()

    # x in units of its largest entry and the steepness in units of the last one: both of order one.
    def field(y, relative, _):
        return -y + (J @ phi(beta * relative * scale * y) + b) / scale

    def jacobian(y, relative, _):
        return J * (beta * relative * phi.slope(beta * relative * scale * y)) - eye

    root = fold(field, x / scale, np.ones((), b.dtype), None, jacobian=jacobian, num_steps=8)
    close = np.max(np.abs(root.value.y * scale - x)) < _MOVE_TO_FOLD * scale
    return beta * root.value.parameter, root.residual, root.converged & close
