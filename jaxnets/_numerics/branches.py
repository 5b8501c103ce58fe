r"""Branches of solutions y(p) of F(y, p) = 0 in a parameter p, and the folds where they turn back.

A solver that needs a solution at given parameters takes `roots`. This module serves solvers that ask how far a solution
goes on as p changes:

1. `follow` goes along a branch in steps of its own, up to a last parameter or to where the branch ends. It has no
   gradients.
2. `fold` takes the last solution and makes the end exact and differentiable, if the end is a fold.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from .arrays import frozen
from .host import namespace, newton_on_host
from .roots import Root, polish_root

# A step that succeeds is followed by one half as long again, and a step that fails by one half as long. Steps near a
# fold then shrink with the distance that is left, so that a branch to within 1e-4 of its end takes some 30 attempts.
_GROWTH, _CUT = 1.5, 0.5
# Largest residual of a root, as in `polish_root`.
_RESIDUAL = 1e-8


class Branch(NamedTuple):
    """The part of a branch that `follow` found.

    `parameters` and `values` hold `num` solutions, the start first; the rest repeats the last one. `step` is the length
    of the next step to try. `gap` is the length of the last step if it failed, and infinite if it succeeded: the branch
    ends within `gap` of its last solution. `beyond` is what was found at the end of the last step that failed.
    """

    parameters: Float[Any, " max_steps+1"]
    values: Any
    num: Int[Array | np.ndarray, ""]
    step: Float[Array | np.ndarray, ""]
    gap: Float[Array | np.ndarray, ""]
    beyond: Any

    @property
    def parameter(self) -> Float[Any, ""]:
        """The last parameter with a solution."""
        return self.parameters[-1]

    @property
    def value(self) -> Any:
        """The last solution."""
        return jax.tree.map(lambda rows: rows[-1], self.values)


def follow(
    advance: Callable[[Any, Float[Any, ""], Float[Any, ""]], tuple[Any, Bool[Any, ""]]],
    value: Any,
    start: Float[Array | np.ndarray, ""],
    stop: Float[ArrayLike, ""],
    *,
    largest: Float[ArrayLike, ""],
    smallest: Float[ArrayLike, ""],
    max_steps: int,
    step: Float[ArrayLike, ""] | None = None,
) -> Branch:
    """The branch of the solution ``value`` at p = ``start``, towards p = ``stop``.

    ``advance(value, p, next)`` returns what it finds at the parameter ``next`` from the solution at p, and whether that
    still belongs to the branch. Steps are at most ``largest``, and the first is ``step``, if given. A step that fails
    is taken back and shortened. The branch is complete when it arrives at ``stop``, or when a step of at most
    ``smallest`` fails. It is cut short after ``max_steps`` attempts; then `follow` can go on from its last solution
    with its ``step``. No gradients: what ``advance`` closes over must be `frozen`. If ``start`` is a NumPy array, the
    steps are taken on the host, and ``advance`` gets and returns such arrays.
    """
    if namespace(start) is np:
        return _follow_on_host(advance, value, start, stop, largest, smallest, max_steps, step)
    value, start = frozen((value, start))
    stop, largest, smallest = (jnp.asarray(p, start.dtype) for p in frozen((stop, largest, smallest)))
    direction = jnp.sign(stop - start)

    def unfinished(state):
        _, p, _, gap, _, _, _, attempts = state
        return (attempts < max_steps) & (p != stop) & ~(gap <= smallest)

    def attempt(state):
        y, p, step, _, beyond, rows, num, attempts = state
        ahead = p + direction * step
        ahead = jnp.where(direction * (stop - ahead) <= 0, stop, ahead)
        found, present = advance(y, p, ahead)
        choose = lambda new, old: jax.tree.map(lambda a, b: jnp.where(present, a, b), new, old)
        y, p, beyond = choose(found, y), jnp.where(present, ahead, p), choose(beyond, found)
        # A failure writes the last solution once more, where the next success overwrites it.
        num = num + present.astype(num.dtype)
        rows = jax.tree.map(lambda row, new: row.at[num - 1].set(new), rows, (p, y))
        gap = jnp.where(present, jnp.inf, step)
        step = jnp.where(present, jnp.minimum(_GROWTH * step, largest), _CUT * step)
        return y, p, step, gap, beyond, rows, num, attempts + 1

    room = lambda leaf: jnp.zeros((max_steps + 1, *jnp.shape(leaf)), jnp.result_type(leaf)).at[0].set(leaf)
    first = largest if step is None else jnp.asarray(step, start.dtype)
    count = jnp.ones((), jnp.int32)
    state = (value, start, first, jnp.full_like(start, jnp.inf), value, jax.tree.map(room, (start, value)), count, 0)
    y, p, step, gap, beyond, rows, num, _ = jax.lax.while_loop(unfinished, attempt, state)
    # Rows after the last are filled, so that the last row is the last solution.
    index = jnp.minimum(jnp.arange(max_steps + 1, dtype=num.dtype), num - 1)
    parameters, values = jax.tree.map(lambda row: row[index], rows)
    return Branch(parameters, values, num, step, gap, beyond)


def _follow_on_host(advance, value, start, stop, largest, smallest, max_steps, step) -> Branch:
    y, p, gap, beyond = value, start, np.asarray(np.inf, start.dtype), value
    step, direction, found = largest if step is None else step, np.sign(stop - start), [(start, value)]
    for _ in range(max_steps):
        if p == stop or gap <= smallest:
            break
        ahead = p + direction * step
        ahead = np.asarray(stop if direction * (stop - ahead) <= 0 else ahead, start.dtype)
        new, present = advance(y, p, ahead)
        if present:
            y, p, gap, step = new, ahead, np.asarray(np.inf, start.dtype), min(_GROWTH * step, largest)
            found.append((p, y))
        else:
            beyond, gap, step = new, np.asarray(step), _CUT * step
    rows = found + found[-1:] * (max_steps + 1 - len(found))
    parameters, values = jax.tree.map(lambda *leaves: np.stack(leaves), *rows)
    return Branch(parameters, values, np.asarray(len(found)), np.asarray(step), gap, beyond)


def root_near(
    fn: Callable[[Float[Any, " k"], Any], Float[Any, " k"]], y: Float[Any, " k"], args: Any, num_steps: int
) -> Root:
    """`polish_root`, and the same root of NumPy arrays on the host, with no derivatives."""
    if namespace(y) is jnp:
        return polish_root(fn, y, args, num_steps=num_steps)
    y, residual = newton_on_host(lambda y: fn(y, args), y, num_steps)
    return Root(y, residual, residual <= max(_RESIDUAL, 3000 * float(np.finfo(y.dtype).eps)))


class Fold(NamedTuple):
    """A fold: the solution y, the direction v in which it is marginal, and the parameter there."""

    y: Float[Array, " k"]
    direction: Float[Array, " k"]
    parameter: Float[Array, ""]


def fold(
    fn: Callable[[Float[Array, " k"], Float[Array, ""], Any], Float[Array, " k"]],
    y: Float[Array | np.ndarray, " k"],
    parameter: Float[Array | np.ndarray, ""],
    args: Any,
    *,
    jacobian: Callable[[Float[Array, " k"], Float[Array, ""], Any], Float[Array, "k k"]] | None = None,
    num_steps: int = 10,
) -> Root:
    r"""The fold of fn(y, p, args) = 0 near a solution y at p: a `Root` whose value is a `Fold`.

    $$ F(y, p) = 0, \qquad \partial_y F(y, p)\, v = 0, \qquad |v|^2 = 1 $$

    `root_near` takes ``num_steps`` Newton steps of these 2k + 1 equations. The guess of v is the singular vector of
    the smallest singular value of the Jacobian. The fold is differentiable in ``args``. ``fn``, y and p should be
    scaled to order one. ``jacobian`` gives dF/dy if it is known in closed form; otherwise fn is differentiated.

    Newton's method may find another fold than the one that ends the branch, so a caller has to compare it with the end
    that `follow` found. At a cusp or another bifurcation the equations are singular, and the root does not converge.
    """
    size = y.shape[0]

    def along(y, v, p, args):
        if jacobian is None:
            return jax.jvp(lambda y: fn(y, p, args), (y,), (v,))
        return fn(y, p, args), jacobian(y, p, args) @ v

    def conditions(z, args):
        v = z[size:-1]
        values, marginal = along(z[:size], v, z[-1], args)
        return xp.concatenate([values, marginal, (v @ v - 1)[None]])

    xp = namespace(y)
    at_guess = frozen((y, parameter, args))
    matrix = jax.jacfwd(fn)(*at_guess) if jacobian is None else jacobian(*at_guess)
    v = xp.linalg.svd(matrix)[2][-1]
    root = root_near(conditions, xp.concatenate([y, v, xp.atleast_1d(parameter)]), args, num_steps)
    z = root.value
    return Root(Fold(z[:size], z[size:-1], z[-1]), root.residual, root.converged)
