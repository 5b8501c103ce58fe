r"""Branches of solutions y(p) of F(y, p) = 0, and the folds where they turn back.

A solver that only needs a solution at given parameters takes `roots`. This module serves solvers that ask how far in a
parameter p a solution goes on. `fold` makes a rough end of a branch exact and differentiable.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .arrays import frozen
from .roots import Root, polish_root


class Fold(NamedTuple):
    """A fold: the solution y, the direction v in which it is marginal, and the parameter there."""

    y: Float[Array, " k"]
    direction: Float[Array, " k"]
    parameter: Float[Array, ""]


def fold(
    fn: Callable[[Float[Array, " k"], Float[Array, ""], Any], Float[Array, " k"]],
    y: Float[Array, " k"],
    parameter: Float[Array, ""],
    args: Any,
    *,
    jacobian: Callable[[Float[Array, " k"], Float[Array, ""], Any], Float[Array, "k k"]] | None = None,
    num_steps: int = 10,
) -> Root:
    r"""The fold of fn(y, p, args) = 0 near a solution y at p: a `Root` whose value is a `Fold`.

    $$ F(y, p) = 0, \qquad \partial_y F(y, p)\, v = 0, \qquad |v|^2 = 1 $$

    `polish_root` takes ``num_steps`` Newton steps of these 2k + 1 equations from v, the singular vector of the smallest
    singular value of the Jacobian. The fold is differentiable in ``args``. ``fn``, y and p should be scaled to order
    one. ``jacobian`` gives dF/dy if it is known in closed form; otherwise fn is differentiated. Newton's method finds
    any fold near the guess, so a caller has to judge whether the one found ends his branch. A guess at which fn is
    singular with a simple fold is regular for the whole system; at a cusp or a bifurcation the root does not converge.
    """
    size = y.shape[0]

    def along(y, v, p, args):
        if jacobian is None:
            return jax.jvp(lambda y: fn(y, p, args), (y,), (v,))
        return fn(y, p, args), jacobian(y, p, args) @ v

    def conditions(z, args):
        v = z[size:-1]
        values, marginal = along(z[:size], v, z[-1], args)
        return jnp.concatenate([values, marginal, (v @ v - 1)[None]])

    at_guess = frozen((y, parameter, args))
    matrix = jax.jacfwd(fn)(*at_guess) if jacobian is None else jacobian(*at_guess)
    v = jnp.linalg.svd(matrix)[2][-1]
    root = polish_root(conditions, jnp.concatenate([y, v, jnp.atleast_1d(parameter)]), args, num_steps=num_steps)
    z = root.value
    return Root(Fold(z[:size], z[size:-1], z[-1]), root.residual, root.converged)
