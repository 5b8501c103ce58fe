"""The damped search (Levenberg-Marquardt) for a root of many equations, or for the point that comes nearest to one.

Roots need not be isolated, nor their Jacobian regular. Along a direction in which the Jacobian is 0 a step has no part:
of a line of roots the search ends at one close to where it came from. |F| falls at each step, so that no step spoils a
root. Near a root, Newton steps take over for as long as they halve |F|; at a bifurcation they are far faster.

The formulas of a step are written once, for NumPy and for JAX, and for several searches at a time. Traced searches are
one compiled loop. Searches with concrete starts are a loop on the host, where only the equations need to be compiled,
and searches that have ended cost no more.
"""

from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .arrays import frozen

# (F, dF/dy) at y.
Equations = Callable[[Float[Array, " k"], Any], tuple[Float[Array, " k"], Float[Array, "k k"]]]

# The trust region: a step is taken if |F|^2 falls by this part of what the linear equations promise,
_ENOUGH = 0.01
# and where it falls by this part, the damping falls; it rises where the step is not taken. optimistix 0.1 asks for .99,
# which a step near a root of multiplicity 2, 3 or 5 never gives (.94, .91, .89), so that the damping stays large there.
# Of the searches of `dynamics.equilibria`, as many arrive with .99, .9, .85 and .75 (541, 536, 537 and 533 of 640).
_AS_PROMISED = 0.85
_DOWN, _UP = 1 / 3.5, 4.0

# A search ends when its steps are this small beside y (roundings in lower precision): a minimum that is no root is
# then known to some 1e-7, and merges with its copies.
_SHORT = 1e-8
_ROUNDINGS = 300

# A search ends when |F| is this part of the tolerance: where F ~ y^3, as at a pitchfork, y is then known to 1e-6.
_FAR_BELOW = 1e-9


class _Searches(NamedTuple):
    """Searches of b points; arrays of NumPy or of JAX."""

    y: Any  # (b, k)
    value: Any  # (b, k)
    jacobian: Any  # (b, k, k)
    damping: Any  # (b,)
    newton: Any  # whether Newton steps have not failed
    ended: Any


def least_squares(
    equations: Equations, start: Float[Array, " k"], args: Any, tolerance: Float[Array, ""], max_steps: Any
) -> Float[Array, " k"]:
    """A point y near `start` at which |F(y)| is least, without gradients; a root to rounding if F = 0 there.

    ``equations(y, args)`` returns F and its Jacobian, scaled so that the damping 1 is neither small nor large beside
    the singular values of the Jacobian. The search stops far below `tolerance`, of max |F|.
    """
    start, args, tolerance = frozen((start, args, tolerance))

    def evaluate(y):
        return jax.tree.map(lambda x: x[None], equations(y[0], args))

    def step(carry):
        at, count = carry
        y, promised = _propose(jnp, jnp.linalg.solve, at, tolerance)
        return _judge(jnp, at, y, promised, evaluate(y), tolerance), count + 1

    begin = _begin(jnp, start[None], evaluate(start[None]), tolerance)
    unfinished = lambda carry: ~carry[0].ended[0] & (carry[1] < max_steps)
    return jax.lax.while_loop(unfinished, step, (begin, jnp.zeros_like(jnp.asarray(max_steps))))[0].y[0]


def least_squares_from_host(
    evaluate: Callable[[np.ndarray], tuple[np.ndarray, ...]],
    starts: Float[np.ndarray, "b k"],
    tolerance: np.ndarray,
    max_steps: int,
) -> tuple[Float[np.ndarray, "b k"], Float[np.ndarray, "b k"]]:
    """`least_squares` from several concrete starts: y and F. ``evaluate`` returns F and its Jacobian at rows of y."""
    at = _begin(np, starts, evaluate(starts), tolerance)
    with np.errstate(all="ignore"):
        for _ in range(max_steps):
            active = np.flatnonzero(~at.ended)
            if not len(active):
                break
            part = _Searches(*(x[active] for x in at))
            y, promised = _propose(np, _solve_or_nan, part, tolerance)
            for all, new in zip(at, _judge(np, part, y, promised, evaluate(y), tolerance), strict=True):
                all[active] = new
    return at.y, at.value


def _solve_or_nan(matrices, vectors):
    try:
        return np.linalg.solve(matrices, vectors)
    except np.linalg.LinAlgError:  # of one singular matrix, for all
        if len(matrices) == 1:
            return np.full_like(vectors, np.nan)
        return np.concatenate([_solve_or_nan(m[None], v[None]) for m, v in zip(matrices, vectors, strict=True)])


# --- one step -------------------------------------------------------------------------------------------------


def _begin(xp: ModuleType, y, equations: tuple, tolerance) -> _Searches:
    value, jacobian = equations
    ended = _at_rounding(xp, y, value, tolerance)
    damping = xp.ones(y.shape[:1], y.dtype)
    # Copies, since the loop on the host writes into them.
    return _Searches(xp.array(y), xp.array(value), xp.array(jacobian), damping, xp.ones_like(ended), ended)


def _propose(xp: ModuleType, solve: Callable, at: _Searches, tolerance):
    """The next points, and the |F|^2 there that the linear equations promise; 0 for Newton steps."""
    newton = _is_newton(xp, at, tolerance)
    transposed = xp.swapaxes(at.jacobian, -1, -2)
    normal = transposed @ at.jacobian
    trace = xp.trace(normal, axis1=-2, axis2=-1)
    # Below some roundings the equations may have no solution: where a singular value is 0.
    damping = xp.maximum(at.damping, 4 * xp.finfo(at.y.dtype).eps * trace)
    damped = normal + damping[:, None, None] * xp.eye(at.y.shape[1], dtype=at.y.dtype)[None]
    slope = (transposed @ at.value[..., None])[..., 0]
    matrix = xp.where(newton[:, None, None], at.jacobian, damped)
    change = -solve(matrix, xp.where(newton[:, None], at.value, slope)[..., None])[..., 0]
    promised = xp.sum((at.value + (at.jacobian @ change[..., None])[..., 0]) ** 2, -1)
    return at.y + change, xp.where(newton, xp.zeros_like(promised), promised)


def _judge(xp: ModuleType, at: _Searches, y, promised, equations: tuple, tolerance) -> _Searches:
    value, jacobian = equations
    newton = _is_newton(xp, at, tolerance)
    now, after = xp.sum(at.value**2, -1), xp.sum(value**2, -1)
    gain = (now - after) / (now - promised)
    # Comparisons with NaN are False.
    taken = xp.where(newton, after <= now / 4, gain > _ENOUGH)
    short = max(_SHORT, _ROUNDINGS * float(xp.finfo(y.dtype).eps))
    still = xp.max(xp.abs(y - at.y), -1) <= short * xp.max(xp.abs(at.y), -1)
    factor = xp.where(newton, 1.0, xp.where(gain > _AS_PROMISED, _DOWN, xp.where(taken, 1.0, _UP)))
    y, value = (xp.where(taken[:, None], new, old) for new, old in ((y, at.y), (value, at.value)))
    jacobian = xp.where(taken[:, None, None], jacobian, at.jacobian)
    ended = (still & ~newton) | _at_rounding(xp, y, value, tolerance)
    return _Searches(y, value, jacobian, at.damping * factor.astype(y.dtype), at.newton & (taken | ~newton), ended)


def _is_newton(xp, at: _Searches, tolerance):
    """Whether the next step is Newton's."""
    return at.newton & (xp.max(xp.abs(at.value), -1) <= xp.sqrt(tolerance))


def _at_rounding(xp, y, value, tolerance):
    roundings = 4 * xp.finfo(y.dtype).eps * xp.max(xp.abs(y), -1)
    return xp.max(xp.abs(value), -1) <= xp.maximum(roundings, _FAR_BELOW * tolerance)
