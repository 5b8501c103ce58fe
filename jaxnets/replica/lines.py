r"""Where saddle points end: folds, coexistence of two states, and lines on which a scalar vanishes.

A line between phases is a root of the equations of state with one condition more, in which one parameter p of the
problem is an unknown too. `branch_end` follows a state in p on a grid and finds a rough end. `fold`, `coexistence` and
`vanishing` make such an end exact and differentiable in all other fields of the problem.

In all of them `at(problem, p)` is the problem at the value p of that parameter, for example a method of its class.
Newton's method is best served by a p of order one: pass the logarithm of a parameter that spans decades.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from .. import _numerics
from .._numerics import Root, frozen
from .._numerics.branches import root_near
from .._numerics.host import light, namespace
from .._results import Result
from .problem import Problem
from .saddles import Saddle, solve

P = TypeVar("P", bound=Problem)
At = Callable[[P, Float[Array, ""]], P]

# Parameters of a grid, and grids, each within one step of the grid before: they leave a thousandth of the range.
GRID, GRIDS = 32, 2
# Largest change of an order parameter between two points of one branch that Newton's method alone may find.
NEAR = 0.1
# Newton steps to a line, from a thousandth of the range. At a fold the distance of y is the square root of that.
NEWTON = 10


class BranchEnd(Result):
    """A rough end of a branch, made by `branch_end`: the last point of a grid on it, and whether it ends at all.

    The point is the state y at `parameter`.
    """

    y: Float[Array, " k"]
    parameter: Float[Array, ""]
    found: Bool[Array, ""]


class LinePoint(Result):
    """A point of a line between phases, made by `fold`, `coexistence` and `vanishing`: order parameters and parameter.

    `converged` says whether it solves its equations, up to the largest `residual` that is left.
    """

    y: Float[Array, " k"]
    parameter: Float[Array, ""]
    residual: Float[Array, ""]
    converged: Bool[Array, ""]


def branch_end(
    problem: P,
    at: At[P],
    guess: Float[Array, " k"],
    interval: tuple[Float[Array, ""], Float[Array, ""]],
    holds: Callable[[P, Saddle], Bool[Array, ""]],
    *,
    num_steps: int = 200,
) -> BranchEnd:
    """How far a state goes on from `interval[0]` towards `interval[1]`, to a thousandth of the interval.

    The state at each parameter is `saddle` from `guess` with `num_steps`. The branch ends where that does not converge
    or where `holds(problem, saddle)` is False. The end is `found` if the branch holds at `interval[0]`
    and not at `interval[1]`. No gradients.
    """
    if namespace(guess) is np:
        return _end_on_host(problem, at, guess, interval, holds, num_steps)
    problem, guess = frozen((problem, guess))

    def follow(parameter, guess):
        here = at(problem, parameter)
        state = solve(here, guess, num_steps)
        return state.y, state.converged & holds(here, state)

    def refine(carry, _):
        low, high, y, found = carry
        grid = jnp.linspace(low, high, GRID, dtype=y.dtype)
        ys, present = jax.vmap(follow, (0, None))(grid, y)
        last = jnp.maximum(jnp.argmin(present) - 1, 0)
        return (grid[last], grid[last + 1], ys[last], found & present[0] & ~present[-1]), None

    start = (*(jnp.asarray(end, guess.dtype) for end in frozen(interval)), guess, jnp.asarray(True))
    (parameter, _, y, found), _ = jax.lax.scan(refine, start, None, length=GRIDS)
    return BranchEnd(y, parameter, found)


def _end_on_host(problem, at, guess, interval, holds, num_steps) -> BranchEnd:
    """As fine as the last grid, by halvings: the states, from the last one on, are found one after the other."""

    def follow(parameter, guess, num_steps=num_steps):
        here = at(problem, parameter)
        state = solve(here, guess, num_steps)
        return state.y, bool(state.converged & holds(here, state))

    parameter, beyond = (np.asarray(end, guess.dtype) for end in interval)
    y, present = follow(parameter, guess)
    found = present and not follow(beyond, y)[1]
    for _ in range(round(np.log2(GRID**GRIDS)) if found else 0):
        middle = (parameter + beyond) / 2
        # Newton's method alone from a state near by; the iteration decides where that finds none.
        new, present = follow(middle, y, 0)
        if not present or np.max(np.abs(new - y)) > NEAR:
            new, present = follow(middle, y)
        y, parameter, beyond = (new, middle, beyond) if present else (y, parameter, middle)
    end: Any = y, parameter, np.asarray(found)
    return BranchEnd(*end)


def fold(problem: P, at: At[P], y: Float[Array, " k"], parameter: Float[Array, ""]) -> LinePoint:
    r"""The fold at which a branch turns back, near the order parameters y at `parameter`.

    $$ F(y, p) = 0, \qquad \partial_y F\, v = 0, \qquad |v| = 1 $$

    `branch_end`, with the same `problem` and `at`, gives the rough y and `parameter`. Valid for a simple fold. Newton's
    method may find a fold of another branch: the caller has to judge. Differentiable.
    """
    at = _remembered(at)
    root = _numerics.fold(
        lambda y, p, problem: at(problem, p).mismatch(y),
        y,
        parameter,
        problem,
        jacobian=lambda y, p, problem: at(problem, p).jacobian(y),
        num_steps=NEWTON,
    )
    return LinePoint(root.value.y, root.value.parameter, root.residual, root.converged)


def coexistence(
    problem: P, at: At[P], y: Float[Array, " k"], other: Float[Array, " k"], parameter: Float[Array, ""]
) -> LinePoint:
    r"""Where the states near y and near `other` have the same free energy, from a guess `parameter`.

    $$ F(y, p) = 0, \qquad F(y', p) = 0, \qquad f(y, p) = f(y', p) $$

    The point has the order parameters of the state y. `branch_end` takes the same `problem` and `at`. Valid where
    neither state is at a fold. Differentiable.
    """
    size, xp, at = y.shape[0], namespace(y), _remembered(at)

    def equations(z, problem):
        y, other, here = z[:size], z[size:-1], at(problem, z[-1])
        gap = here.free_energy(y) - here.free_energy(other)
        return xp.concatenate([here.mismatch(y), here.mismatch(other), gap[None]])

    return _line_point(root_near(equations, xp.append(xp.append(y, other), parameter), problem, NEWTON), size)


def vanishing(
    problem: P,
    at: At[P],
    scalar: Callable[[P, Float[Array, " k"]], Float[Array, ""]],
    y: Float[Array, " k"],
    parameter: Float[Array, ""],
) -> LinePoint:
    r"""Where a `scalar` of the state near y vanishes, from a guess `parameter`.

    $$ F(y, p) = 0, \qquad c(y, p) = 0 $$

    c is `scalar(problem, y)`, for example the replicon. Valid where the state is not at a fold. Differentiable.
    """

    xp, at = namespace(y), _remembered(at)

    def equations(z, problem):
        here = at(problem, z[-1])
        return xp.append(here.mismatch(z[:-1]), scalar(here, z[:-1]))

    return _line_point(root_near(equations, xp.append(y, parameter), problem, NEWTON), y.shape[0])


def _remembered(at: At[P]) -> At[P]:
    """On the host `at` makes the problem once for all calls at one p, and without the bookkeeping of modules."""
    made: dict[float, P] = {}

    def remembering(problem: P, p: Float[Array, ""]) -> P:
        if namespace(p) is not np:
            return at(problem, p)
        if float(p) not in made:
            made.clear()
            made[float(p)] = light(at(problem, p))
        return made[float(p)]

    return remembering


def _line_point(root: Root, size: int) -> LinePoint:
    return LinePoint(root.value[:size], root.value[-1], root.residual, root.converged)
